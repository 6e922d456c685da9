// The administrator's and the user's configuration (config.toml, or the same in JSON or YAML): limits and
// time-outs for plugins whose manifests say none, by type of plugin, what no manifest and no option may
// exceed, and what the ${HOST:...} of this host stand for. See docs/cli.md.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "manifest/diagnostic.h"
#include "manifest/manifest.h"

namespace secbox::manifest {

class Configuration {
 public:
  // Reads one file on top of what was read so far: its defaults replace earlier ones, the lower of two maxima
  // holds. A file that does not exist is none. Errors go to `diagnostics`.
  void read(const std::string& path, Diagnostics& diagnostics);
  // Fills in what `manifest` does not set itself.
  void fill_in(const Manifest& manifest, Limits& limits, Timeouts& timeouts) const;
  // Lowers what exceeds the maxima. The names of what was lowered.
  std::vector<std::string> cap(Limits& limits, Timeouts& timeouts) const;
  // The values of ${HOST:name}, a later file's behind an earlier one's.
  [[nodiscard]] const std::vector<std::pair<std::string, std::string>>& host() const { return host_; }

 private:
  struct Setting {
    std::string group, name;  // "limits", "memory"
    std::optional<std::string> value;
  };
  class Reader;

  std::vector<Setting> defaults_;
  std::map<std::string, std::vector<Setting>, std::less<>> by_type_;
  std::vector<std::pair<std::string, std::string>> host_;
  Limits most_ = Limits::none();
  Timeouts most_time_{.init_ms = {}, .hook_ms = {}, .run_ms = {}, .heartbeat_ms = {}};
};

}  // namespace secbox::manifest
