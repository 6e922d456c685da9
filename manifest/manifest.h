// The native manifest, as read: one model for JSON, YAML and TOML. See docs/manifest.md.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "supervisor/base/limits.h"
#include "supervisor/checker/ruleset.h"

namespace secbox::manifest {

// One grant or denial as written.
struct Entry {
  std::string use;            // "file:read:/srv/**"
  std::vector<Entry> except;  // bare scopes are completed with the class and verbs of `use`
  std::string reason;
  checker::Source source;
  int column = 0;  // 1-based, beside source.line
};

// What one library, or one program, is denied besides.
struct ModuleEntry {
  Entry match;  // `use` is the glob over its path
  std::vector<Entry> deny;
};

struct Manifest {
  std::string id, name, version, type, description, protocol;
  std::vector<std::string> entry_point;
  std::vector<std::string> presets = {"base"};
  std::vector<Entry> required, optional, deny;
  std::vector<Entry> env_allow, env_deny;  // `use` is a name or a glob over names
  std::vector<ModuleEntry> modules;
  Limits limits;
  Timeouts timeouts;
  // Members that the manifest sets itself ("limits/memory", null as well): a configuration's defaults are for
  // the others.
  std::set<std::string, std::less<>> limits_set;
  std::string file;  // as the operator named it
};

}  // namespace secbox::manifest
