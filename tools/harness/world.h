// All that is around one run, made new for it: directories, servers, a victim, an outside process.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "supervisor/base/result.h"
#include "tools/harness/fixture.h"
#include "tools/harness/outside.h"
#include "tools/harness/servers.h"
#include "tools/harness/user.h"
#include "tools/harness/variables.h"
#include "tools/harness/victim.h"

namespace secbox::harness {

enum class Way : std::uint8_t { Native, Boxed };

class World {
 public:
  // In `directory`, which exists and is empty. `build` is what the fixture's build made.
  [[nodiscard]] static Result<World> make(const Fixture& fixture, const Case& c, const User& user, Way way,
                                          const std::string& directory, const std::string& build);

  [[nodiscard]] std::string work() const { return directory_ + "/folder"; }
  [[nodiscard]] std::string outside_directory() const { return directory_ + "/outside"; }
  [[nodiscard]] std::string manifest() const { return directory_ + "/box/manifest/" + manifest_name_; }
  [[nodiscard]] std::string audit() const { return directory_ + "/box/log/audit.ndjson"; }
  [[nodiscard]] const std::string& directory() const { return directory_; }
  [[nodiscard]] const Variables& variables() const { return variables_; }
  // What programs of this world are given: nothing of the harness's own, whose secrets are no business of an
  // attacker that is run natively.
  [[nodiscard]] const std::vector<std::string>& environment() const { return environment_; }

  Servers servers;
  Victim victim;
  Outside outside;

 private:
  [[nodiscard]] Result<void> make_directories(const User& user);
  [[nodiscard]] Result<void> make_files(const std::vector<FileSpec>& files, const std::string& below,
                                        const User& user) const;
  [[nodiscard]] Result<void> make_file(const FileSpec& file, const std::string& path, const User& user) const;
  [[nodiscard]] Result<void> write_manifest(const std::string& from, const User& user);

  std::string directory_, manifest_name_;
  Variables variables_;
  std::vector<std::string> environment_;
};

}  // namespace secbox::harness
