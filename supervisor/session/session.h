// One plugin run: wires launch, broker and audit, and holds the control plane.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "supervisor/base/limits.h"
#include "supervisor/base/result.h"
#include "supervisor/broker/call.h"
#include "supervisor/checker/module_rules.h"
#include "supervisor/checker/ruleset.h"

namespace secbox::session {

// Who is whose parent. See docs/adr/0001-process-shape.md.
enum class Shape : std::uint8_t {
  Beside,  // the started process becomes the plugin; the supervisor is a process beside it
  Parent,  // the supervisor is the started process; it forwards signals and mirrors the plugin's end
};

struct SessionPlan {
  broker::Mode mode = broker::Mode::Enforce;
  Shape shape = Shape::Beside;
  std::string id;  // of this run, random

  std::string plugin, version;  // from the manifest
  std::string manifest_path;    // as the operator named it; for messages
  std::string manifest_digest, rules_digest;
  std::shared_ptr<const checker::Ruleset> rules;  // everything: presets, manifest, flags, implied, protected
  std::shared_ptr<const checker::ModuleRules> modules;  // null = none

  std::string program;  // absolute path of the command
  std::vector<std::string> argv;
  std::string tmp_dir;  // private TMPDIR, made by the caller, removed by the session
  std::string shim;     // the preload library, "" = without

  std::string audit_path;  // "" = none
  std::string status_file;
  int status_fd = -1;
  bool fail_on_denial = false;
  bool fail_on_would_deny = false;
  bool fail_on_limit = false;
  bool quiet = false;  // no denial lines on stderr

  Limits limits;
  Timeouts timeouts;
};

// What a grant by host name needs besides: the name servers of resolv.conf. Empty where no rule names a host.
[[nodiscard]] std::vector<checker::Rule> resolver_rules(const std::vector<checker::Rule>& rules);

// True where a supervisor that is no ancestor may look into the plugin (Yama, CAP_SYS_PTRACE).
[[nodiscard]] bool can_supervise_from_beside();

// Runs the plugin. Shape Beside: returns only where the plugin could not be started (exit code 125..127),
// otherwise this process has become the plugin. Shape Parent: returns the exit code to end with, or ends this
// process by the signal that ended the plugin.
[[nodiscard]] int run_session(SessionPlan plan);

}  // namespace secbox::session
