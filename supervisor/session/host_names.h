// Host-name grants: what they stand for now. Resolved by the supervisor, at start, every minute, and when a
// connection is about to be refused (addresses of large services change).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "supervisor/broker/services.h"
#include "supervisor/checker/ruleset.h"

namespace secbox::session {

class HostNames {
 public:
  HostNames(broker::Services& services, std::shared_ptr<const checker::Ruleset> rules);

  [[nodiscard]] bool empty() const { return names_.empty(); }
  // Blocks on look-ups. At most once a second; true where the rules in force changed.
  bool refresh();
  // The name that an address was found under, or "".
  [[nodiscard]] std::string name_of(const std::array<std::uint8_t, 16>& address);

 private:
  broker::Services& services_;
  const std::shared_ptr<const checker::Ruleset> base_;
  const std::vector<std::string> names_;
  std::mutex mutex_;
  std::int64_t refreshed_ns_ = 0;
  checker::Ruleset::HostAddresses addresses_;
  // Rulesets in use by readers without a lock: kept until the session ends. They change seldom.
  std::vector<std::shared_ptr<const checker::Ruleset>> generations_;
};

}  // namespace secbox::session
