// The native manifest, as read: one model for JSON, YAML and TOML. See docs/manifest.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

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

struct Limits {
  std::optional<std::uint64_t> memory_bytes = 500'000'000;
  std::optional<unsigned> memory_warn_percent = 80;
  bool terminate_on_memory = true;
  std::optional<unsigned> cpu_percent = 80;  // of one core
  std::optional<std::uint64_t> cpu_time_ms;
  std::optional<std::uint64_t> file_size_bytes = 100'000'000;
  std::optional<unsigned> pids;
  std::optional<unsigned> open_files;
};

struct Timeouts {
  std::optional<std::uint64_t> init_ms = 30'000;
  std::optional<std::uint64_t> hook_ms = 5'000;
  std::optional<std::uint64_t> run_ms = 300'000;
  std::optional<std::uint64_t> heartbeat_ms;
};

struct Manifest {
  std::string id, name, version, type, description, protocol;
  std::vector<std::string> entry_point;
  std::vector<std::string> presets = {"base"};
  std::vector<Entry> required, optional, deny;
  std::vector<Entry> env_allow, env_deny;  // `use` is a name or a glob over names
  std::optional<Limits> limits =
      Limits{};  // nullopt: "limits": null. Read and kept; not enforced by this version.
  Timeouts timeouts;
  std::string file;  // as the operator named it
};

}  // namespace secbox::manifest
