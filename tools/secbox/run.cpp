// secbox run: reads the manifest, works out what the command may do, and starts it.
#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "manifest/compile.h"
#include "manifest/configuration.h"
#include "manifest/limit_words.h"
#include "manifest/load.h"
#include "supervisor/audit/json_text.h"
#include "supervisor/audit/writer.h"
#include "supervisor/base/digest.h"
#include "supervisor/base/unique_fd.h"
#include "supervisor/session/session.h"
#include "tools/secbox/diagnostics.h"
#include "tools/secbox/places.h"
#include "tools/secbox/verbs.h"

namespace secbox::cli {

namespace {

constexpr const char* kHelp =
    "usage: secbox run [options] -- COMMAND [ARGUMENT...]\n"
    "\n"
    "Runs an unmodified program, held to a manifest of permissions. The program's own exit status is passed "
    "through.\n"
    "\n"
    "  -m, --manifest FILE   the permissions (JSON, YAML or TOML); named here, it counts as approved for "
    "this run\n"
    "      --plugin-dir DIR  find the manifest in DIR, ours (secbox.json, .yaml, .toml) or another "
    "host's;\n"
    "                        its permissions need an approval\n"
    "      --allow-plugin N  approve the plugin named N, found by --plugin-dir, for this run\n"
    "      --allow GRANT     grant one more permission for this run (may be repeated)\n"
    "      --deny GRANT      deny one permission for this run; a denial always wins (may be repeated)\n"
    "      --mode MODE       enforce (default), or audit: the same decisions, nothing is blocked\n"
    "      --audit FILE      write the audit log there; 'none' for no log (default: below "
    "$XDG_STATE_HOME/secbox/audit)\n"
    "      --limit NAME=V    memory, memory_warn, on_memory, cpu, on_cpu, cpu_time, file_size, pids, "
    "open_files: as "
    "in\n"
    "                        the manifest, before which it goes; 'none' for no limit (may be repeated)\n"
    "      --memory SIZE     the same as --limit memory=SIZE\n"
    "      --timeout T       the plugin's time, 300s unless said otherwise; also run=T, init=T; 'none' for "
    "no end\n"
    "      --fail-on WHAT    'denial', 'would-deny' or 'limit': exit with 121 where there was one\n"
    "      --status-file F   write {\"exit\",\"cause\",\"denials\",\"session\"} there at the end "
    "(--status-fd N: to a descriptor)\n"
    "      --supervisor S    beside, parent or auto: which process is whose parent "
    "(docs/adr/0001-process-shape.md)\n"
    "      --no-shim         do not preload the shim; decisions are the same\n"
    "      --dry-run         print the rules that would hold, and start nothing\n"
    "  -q, --quiet           no denial lines on stderr; the log has them\n"
    "\n"
    "Own exit codes: 120 not approved, 121 --fail-on, 122 invalid manifest or command line, 123 ended "
    "by a\n"
    "limit, 124 by a time-out, 125 could not enforce, 126 not executable, 127 not found.\n";

struct Options {
  std::string manifest;
  std::string plugin_dir;
  std::vector<std::string> allow_plugin, allow, deny, limits, timeouts, command;
  std::optional<std::string> audit;
  std::string mode;
  std::string status_file;
  int status_fd = -1;
  bool fail_on_denial = false, fail_on_would_deny = false, fail_on_limit = false;
  std::string supervisor = "auto";
  bool shim = true, quiet = false, dry_run = false, help = false;
};

int usage_error(const std::string& text) {
  std::fprintf(stderr, "secbox run: %s\nhint: secbox run --help\n", printable_text(text).c_str());
  return kExitInvalid;
}

// Options end at "--" or at the first word that is none. 0, or the exit code to end with.
int parse(const Args& args, Options& out) {
  std::size_t i = 0;
  std::string value;
  // "--name VALUE" and "--name=VALUE".
  const auto takes = [&](std::string_view name, std::string_view short_name = {}) {
    const std::string& arg = args[i];
    if (arg.starts_with(name) && arg.size() > name.size() && arg[name.size()] == '=') {
      value = arg.substr(name.size() + 1);
      return true;
    }
    if (arg != name && (short_name.empty() || arg != short_name)) return false;
    if (i + 1 >= args.size()) throw std::invalid_argument(arg + " needs a value");
    value = args[++i];
    return true;
  };
  try {
    for (; i < args.size(); ++i) {
      const std::string& arg = args[i];
      if (arg == "--") {
        ++i;
        break;
      }
      if (!arg.starts_with('-') || arg == "-") break;
      if (arg == "-h" || arg == "--help") {
        out.help = true;
        return 0;
      }
      if (arg == "--no-shim") {
        out.shim = false;
      } else if (arg == "-q" || arg == "--quiet") {
        out.quiet = true;
      } else if (arg == "--dry-run") {
        out.dry_run = true;
      } else if (takes("--manifest", "-m")) {
        if (!out.manifest.empty()) return usage_error("one manifest a run: --manifest stands here twice");
        out.manifest = value;
      } else if (takes("--plugin-dir")) {
        if (!out.plugin_dir.empty()) return usage_error("one plugin a run: --plugin-dir stands here twice");
        out.plugin_dir = value;
      } else if (takes("--allow-plugin")) {
        if (value.find('=') != std::string::npos)
          return usage_error(
              "--allow-plugin takes NAME or NAME@VERSION, and no grants in this version: add them with "
              "--allow");
        out.allow_plugin.push_back(value);
      } else if (takes("--allow")) {
        out.allow.push_back(value);
      } else if (takes("--deny")) {
        out.deny.push_back(value);
      } else if (takes("--limit")) {
        out.limits.push_back(value);
      } else if (takes("--memory")) {
        out.limits.push_back("memory=" + value);
      } else if (takes("--timeout")) {
        out.timeouts.push_back(value.find('=') == std::string::npos ? "run=" + value : value);
      } else if (takes("--audit")) {
        out.audit = value;
      } else if (takes("--mode")) {
        out.mode = value;
      } else if (takes("--status-file")) {
        out.status_file = value;
      } else if (takes("--status-fd")) {
        char* end = nullptr;
        out.status_fd = static_cast<int>(std::strtol(value.c_str(), &end, 10));
        if (value.empty() || *end != '\0' || out.status_fd < 0)
          return usage_error("--status-fd needs a descriptor number");
      } else if (takes("--supervisor")) {
        out.supervisor = value;
        if (value != "auto" && value != "beside" && value != "parent") {
          return usage_error("--supervisor is beside, parent or auto, not '" + value + "'");
        }
      } else if (takes("--fail-on")) {
        if (value == "denial") {
          out.fail_on_denial = true;
        } else if (value == "would-deny") {
          out.fail_on_would_deny = true;
        } else if (value == "limit") {
          out.fail_on_limit = true;
        } else {
          return usage_error("--fail-on is denial, would-deny or limit, not '" + value + "'");
        }
      } else {
        return usage_error("unknown option '" + arg + "'");
      }
    }
  } catch (const std::invalid_argument& error) {
    return usage_error(error.what());
  }
  out.command.assign(args.begin() + static_cast<std::ptrdiff_t>(i), args.end());
  return 0;
}

std::string random_id() {
  std::array<unsigned char, 8> bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) std::abort();
  std::string text;
  for (const unsigned char byte : bytes) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

// A pattern that matches exactly this path: wildcards in a file's own name mean themselves.
std::string literal_pattern(const std::string& path) {
  std::string pattern;
  for (const char c : path) {
    if (c == '*' || c == '?' || c == '[') {
      pattern += '[';
      pattern += c;
      pattern += ']';
    } else {
      pattern += c;
    }
  }
  return pattern;
}

void add_spellings(checker::Rule& rule, const std::string& path) {
  const std::string written = absolute_path(path);
  rule.paths.push_back(literal_pattern(written));
  if (const std::string real = canonical_path(path); !real.empty() && real != written)
    rule.paths.push_back(literal_pattern(real));
}

// Finds the program as execvp(3) would. 0, or 126 / 127 after a message.
int find_program(const std::string& name, std::string& out) {
  const auto check = [](const std::string& path) {
    struct stat st{};
    if (::stat(path.c_str(), &st) != 0) return errno;
    if (!S_ISREG(st.st_mode)) return EACCES;
    return ::access(path.c_str(), X_OK) == 0 ? 0 : errno;
  };
  int worst = ENOENT;
  if (name.find('/') != std::string::npos) {
    worst = check(name);
    out = name;
  } else {
    const std::string path = environment_or("PATH", "/usr/local/bin:/usr/bin:/bin");
    std::size_t at = 0;
    while (worst != 0 && at <= path.size()) {
      const std::size_t end = std::min(path.find(':', at), path.size());
      const std::string dir = end == at ? "." : path.substr(at, end - at);
      const int error = check(dir + "/" + name);
      if (error == 0) {
        worst = 0;
        out = dir + "/" + name;
      } else if (error == EACCES) {
        worst = EACCES;
      }
      at = end + 1;
    }
  }
  if (worst == 0) return 0;
  if (worst == ENOENT || worst == ENOTDIR) {
    std::fprintf(stderr, "secbox: command not found: %s\n", printable_text(name).c_str());
    return kExitNotFound;
  }
  std::fprintf(stderr, "secbox: cannot execute %s: %s\n", printable_text(name).c_str(), std::strerror(worst));
  return kExitNotExecutable;
}

std::string find_manifest(const std::string& dir) {
  for (const char* name : manifest::manifest_file_names()) {
    std::string path = dir + "/" + name;
    if (::access(path.c_str(), F_OK) == 0) return path;
  }
  return {};
}

// The entry point, with the place where the plugin is.
std::vector<std::string> command_of(const manifest::Manifest& manifest) {
  constexpr std::string_view kDirectory = "${PLUGIN_DIR}";
  const std::string directory = variables_of(manifest).plugin_dir;
  std::vector<std::string> command;
  for (std::string_view rest : manifest.entry_point) {
    std::string& word = command.emplace_back();
    for (std::size_t at = 0; (at = rest.find(kDirectory)) != std::string_view::npos;) {
      word += std::string(rest.substr(0, at)) + directory;
      rest.remove_prefix(at + kDirectory.size());
    }
    word += rest;
  }
  return command;
}

std::string make_tmp_dir() {
  for (const std::string& base :
       {environment_or("XDG_RUNTIME_DIR", ""), environment_or("TMPDIR", ""), std::string("/tmp")}) {
    if (!base.starts_with('/')) continue;
    std::string name = base + "/secbox-XXXXXX";
    if (::mkdtemp(name.data()) != nullptr) return canonical_path(name);
  }
  return {};
}

// Of `group` ("limits", "timeouts"): NAME=VALUE each. 0, or the exit code to end with.
int apply_settings(std::string_view option, std::string_view group, const std::vector<std::string>& settings,
                   session::SessionPlan& plan) {
  for (const std::string& setting : settings) {
    const std::string name = setting.substr(0, setting.find('='));
    const auto& known = manifest::limit_names(group);
    if (name.size() == setting.size() || std::ranges::find(known, name) == known.end()) {
      const std::string near = manifest::nearest_word(name, known);
      return usage_error(std::string(option) + " takes NAME=VALUE, and knows no '" + name + "'" +
                         (near.empty() || near == name ? "" : "; did you mean '" + near + "'?"));
    }
    const std::string value = setting.substr(name.size() + 1);
    std::string hint;
    if (!manifest::set_limit(group, name,
                             value == "none" ? std::nullopt : std::optional<std::string_view>(value),
                             plan.limits, plan.timeouts, hint))
      return usage_error(std::string(option) + ": '" + value + "' is no value for " + name + "; " + hint);
  }
  return 0;
}

// The administrator's, and on top of it the user's. 0, or the exit code to end with.
int read_configuration(manifest::Configuration& configuration) {
  manifest::Diagnostics diagnostics;
  const std::string own = config_directory();
  configuration.read("/etc/secbox/config.toml", diagnostics);
  if (const std::string named = environment_or("SECBOX_CONFIG", ""); !named.empty()) {
    struct stat st{};
    if (::stat(named.c_str(), &st) != 0 || !S_ISREG(st.st_mode))
      return usage_error("SECBOX_CONFIG names no file: " + named);
    configuration.read(named, diagnostics);
  } else if (const std::string file = own + "/config.toml";
             !own.empty() && ::access(file.c_str(), F_OK) == 0) {
    // (A HOME that this user cannot enter, sudo's, holds nothing of theirs.)
    configuration.read(file, diagnostics);
  }
  if (!diagnostics.has_errors()) return 0;
  print_diagnostics(diagnostics);
  return kExitInvalid;
}

// What holds in the end: the manifest's, the configuration's where that says nothing, the command line's, and
// never more than the administrator's maximum. 0, or the exit code to end with.
int set_limits(const Options& options, const manifest::Manifest& manifest,
               const manifest::Configuration& configuration, session::SessionPlan& plan) {
  plan.limits = manifest.limits;
  plan.timeouts = manifest.timeouts;
  configuration.fill_in(manifest, plan.limits, plan.timeouts);
  if (const int code = apply_settings("--limit", "limits", options.limits, plan); code != 0) return code;
  if (const int code = apply_settings("--timeout", "timeouts", options.timeouts, plan); code != 0)
    return code;
  const std::vector<std::string> lowered = configuration.cap(plan.limits, plan.timeouts);
  const bool asked = !options.limits.empty() || !options.timeouts.empty() || !manifest.limits_set.empty();
  if (!lowered.empty() && asked && !options.quiet) {
    std::string list;
    for (const std::string& name : lowered) list += (list.empty() ? "" : ", ") + name;
    std::fprintf(stderr, "secbox: lowered to what the configuration allows: %s\n", list.c_str());
  }
  return 0;
}

// Removes the private directory on every way out that does not hand it to a session.
struct TmpDirGuard {
  std::string path;
  ~TmpDirGuard() {
    if (!path.empty()) (void)::rmdir(path.c_str());
  }
};

// Where control groups are mounted. See proc_pid_mountinfo(5); octal escapes stand for blanks in names.
std::vector<std::string> control_group_mounts() {
  std::vector<std::string> mounts;
  std::ifstream file("/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    const std::size_t type = line.find(" - cgroup");
    if (type == std::string::npos) continue;
    std::istringstream fields(line);
    std::string skipped;
    std::string place;
    fields >> skipped >> skipped >> skipped >> skipped >> place;
    if (place.find('\\') == std::string::npos) mounts.push_back(place);
  }
  return mounts;
}

// Rules that no manifest can widen, and those that follow from the command line itself.
void add_built_in_rules(const Options& options, const session::SessionPlan& plan,
                        std::vector<checker::Rule>& rules) {
  using checker::Effect;
  using checker::Layer;
  using checker::Verb;

  checker::Rule command;
  command.id = "command";
  command.effect = Effect::Allow;
  command.layer = Layer::Flag;
  command.verbs = Verb::ExecRun;
  command.source.text = "the command that was asked for";
  add_spellings(command, plan.program);
  checker::Rule sealed = command;
  sealed.id = "implied:command-sealed";
  sealed.effect = Effect::Deny;
  sealed.layer = Layer::Implied;
  sealed.verbs = Verb::FileWrite | Verb::FileCreate | Verb::FileDelete;
  sealed.source.text = "what may run may not be changed";
  rules.push_back(std::move(command));
  rules.push_back(std::move(sealed));

  if (!plan.shim.empty()) {
    checker::Rule shim;
    shim.id = "implied:shim";
    shim.effect = Effect::Allow;
    shim.layer = Layer::Implied;
    shim.verbs = Verb::FileRead | Verb::FileLoad;
    shim.source.text = "the preload shim";
    add_spellings(shim, plan.shim);
    rules.push_back(std::move(shim));
  }

  checker::Rule state;
  state.id = "protected:state";
  state.effect = Effect::Deny;
  state.layer = Layer::Protected;
  state.verbs = Verb::FileWrite | Verb::FileCreate | Verb::FileDelete;
  state.source.text = "secbox's own state, log, manifest and programs, and control groups";
  const auto subtree = [&](const std::string& path) {
    if (path.empty() || path == "/") return;
    state.paths.push_back(literal_pattern(path) + "/**");
  };
  for (const std::string& dir : {state_directory(), std::string("/etc/secbox"), config_directory()}) {
    subtree(dir);
    subtree(canonical_path(dir));
  }
  // A process that writes its number into another control group has left the session's limits.
  const Limits& limits = plan.limits;
  if (limits.memory_bytes || limits.pids || limits.cpu_percent || limits.cpu_time_ms) {
    for (const std::string& dir : control_group_mounts()) subtree(dir);
  }
  for (const std::string& file :
       {options.manifest, plan.audit_path, plan.status_file, plan.shim, std::string("/proc/self/exe")}) {
    if (file.empty() || file.starts_with("fd:")) continue;
    if (file != "/proc/self/exe") {
      add_spellings(state, file);
    } else if (const std::string self = canonical_path(file); !self.empty()) {
      state.paths.push_back(literal_pattern(self));
    }
  }
  rules.push_back(std::move(state));
}

// Starts what was asked for. Returns where nothing was started, with the exit code to end with; `session_id`
// is set where there was a session by then.
int start(Options& options, std::string& session_id) {
  if (options.mode != "enforce" && options.mode != "audit") {
    return usage_error("--mode is enforce or audit, not '" + options.mode + "'");
  }
  if (!options.manifest.empty() && !options.plugin_dir.empty())
    return usage_error("--manifest and --plugin-dir exclude each other");
  if (!options.plugin_dir.empty()) {
    options.manifest = find_manifest(options.plugin_dir);
    if (options.manifest.empty())
      return usage_error("no secbox.json, .yaml or .toml, nor another host's manifest, in " +
                         options.plugin_dir);
  }
  if (options.manifest.empty()) {
    return usage_error(
        "no manifest: name one with -m FILE (nothing runs without permissions that somebody approved)");
  }

  manifest::Loaded loaded = manifest::load_manifest_file(options.manifest);
  if (!loaded.manifest) {
    print_diagnostics(loaded.diagnostics);
    return kExitInvalid;
  }
  const manifest::Manifest& manifest = *loaded.manifest;
  if (!loaded.enabled) {
    std::fprintf(stderr, "secbox: %s was not started: it is disabled\nhint: \"enabled\" in %s\n",
                 printable_text(manifest.name).c_str(), printable_text(options.manifest).c_str());
    return kExitRefused;
  }
  if (options.command.empty()) options.command = command_of(manifest);
  if (options.command.empty()) return usage_error("no command: put it behind --");

  session::SessionPlan plan;
  plan.mode = options.mode == "audit" ? broker::Mode::Audit : broker::Mode::Enforce;
  plan.id = random_id();
  plan.plugin = !manifest.name.empty() ? manifest.name : !manifest.id.empty() ? manifest.id : "plugin";
  plan.version = manifest.version;
  plan.manifest_path = options.manifest;
  plan.argv = options.command;
  plan.quiet = options.quiet;
  plan.status_file = options.status_file;
  plan.status_fd = options.status_fd;
  plan.fail_on_denial = options.fail_on_denial;
  plan.fail_on_would_deny = options.fail_on_would_deny;
  plan.fail_on_limit = options.fail_on_limit;
  manifest::Configuration configuration;
  if (const int code = read_configuration(configuration); code != 0) return code;
  if (const int code = set_limits(options, manifest, configuration, plan); code != 0) return code;
  plan.shim = options.shim ? find_shim() : std::string();
  if (!options.plugin_dir.empty() && !manifest.required.empty()) {
    const bool approved =
        std::any_of(options.allow_plugin.begin(), options.allow_plugin.end(), [&](const std::string& name) {
          return name == manifest.id || name == manifest.name ||
                 name == manifest.id + "@" + manifest.version ||
                 name == manifest.name + "@" + manifest.version;
        });
    if (!approved) {
      const std::string name = printable_text(plan.plugin);
      std::fprintf(stderr, "secbox: %s %s was not started: nobody has approved what it requires:\n",
                   name.c_str(), printable_text(plan.version).c_str());
      for (const auto& entry : manifest.required)
        std::fprintf(stderr, "  %s\n", printable_text(entry.use).c_str());
      std::fprintf(stderr, "hint: after reading them, run again with --allow-plugin %s\n", name.c_str());
      return kExitRefused;
    }
  }
  if (const int code = find_program(options.command.front(), plan.program); code != 0) return code;

  TmpDirGuard tmp{make_tmp_dir()};
  if (tmp.path.empty()) {
    std::fprintf(stderr, "secbox: cannot make a private temporary directory: %s\n", std::strerror(errno));
    return kExitFailed;
  }
  plan.tmp_dir = tmp.path;

  manifest::CompileOptions compile;
  compile.variables = variables_of(manifest);
  compile.variables.tmp = tmp.path;
  compile.variables.host = configuration.host();
  compile.allow = options.allow;
  compile.deny = options.deny;
  std::vector<checker::Rule> rules = manifest::compile(manifest, compile, loaded.diagnostics);
  std::vector<checker::ModuleRule> modules =
      manifest::compile_modules(manifest, compile, rules, loaded.diagnostics);
  if (loaded.diagnostics.has_errors()) {
    print_diagnostics(loaded.diagnostics);
    return kExitInvalid;
  }

  // Others are for who writes the manifest; what does not hold here matters to who runs it.
  if (!options.quiet)
    print_diagnostics(loaded.diagnostics, [](const manifest::Diagnostic& d) {
      return d.code == "SBX-V193" || d.code == "SBX-V204";
    });

  const std::string audit = options.audit ? *options.audit : environment_or("SECBOX_AUDIT", "");
  if (audit == "-")
    return usage_error("the audit log goes to a file; a descriptor is named fd:N (standard error: fd:2)");
  if (audit == "journald") {
    std::fputs(
        "secbox: writing the audit log to journald is not in this version. The program was not started.\n"
        "hint: name a file, fd:N or none\n",
        stderr);
    return kExitFailed;
  }
  if (audit.empty()) {
    const std::string state = state_directory();
    if (state.empty()) {
      std::fputs(
          "secbox: the audit log has no place: HOME is not set to a directory of its own, nor does passwd "
          "know "
          "one\nhint: name one with --audit FILE, or set XDG_STATE_HOME\n",
          stderr);
      return kExitFailed;
    }
    plan.audit_path = audit::default_log_path(state, plan.id);
  } else if (audit != "none") {
    plan.audit_path = audit;
  }
  plan.manifest_digest = "sha256:" + sha256_hex(loaded.text);
  add_built_in_rules(options, plan, rules);
  for (checker::Rule& rule : session::resolver_rules(rules)) rules.push_back(std::move(rule));
  auto ruleset = checker::Ruleset::make(std::move(rules));
  auto module_rules = checker::ModuleRules::make(std::move(modules));
  if (!ruleset || !module_rules) {
    const Error& error = ruleset ? module_rules.error() : ruleset.error();
    std::fprintf(stderr, "secbox: %s\n", printable_text(error.text()).c_str());
    return kExitInvalid;
  }
  const std::string by_module = module_rules->canonical_text();
  plan.rules_digest = "sha256:" + sha256_hex(ruleset->canonical_text() + by_module);
  if (options.dry_run) {
    std::fputs(ruleset->canonical_text().c_str(), stdout);
    if (!by_module.empty())
      std::printf("by module, advisory: hostile code in the same process can evade this\n%s",
                  by_module.c_str());
    return 0;
  }

  if (!module_rules->empty())
    plan.modules = std::make_shared<const checker::ModuleRules>(std::move(*module_rules));
  plan.rules = std::make_shared<const checker::Ruleset>(std::move(*ruleset));

  const bool own_codes = plan.fail_on_denial || plan.fail_on_would_deny || plan.fail_on_limit ||
                         !plan.status_file.empty() || plan.status_fd >= 0;
  plan.shape = options.supervisor == "parent" || own_codes ||
                       (options.supervisor == "auto" && !session::can_supervise_from_beside())
                   ? session::Shape::Parent
                   : session::Shape::Beside;
  session_id = plan.id;
  return session::run_session(std::move(plan));
}

// For a host that reads --status-file or --status-fd: the plugin was not started. Otherwise the session
// writes it.
void write_status(const Options& options, int exit_code, const std::string& session_id) {
  const std::string text = "{\"exit\":" + std::to_string(exit_code) +
                           ",\"cause\":\"secbox\",\"denials\":0,\"session\":" +
                           (session_id.empty() ? "null" : audit::json_string(session_id)) + "}\n";
  const auto put = [&](int fd, const std::string& name) {
    if (fd >= 0 && ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size())) return;
    std::fprintf(stderr, "secbox: cannot write the status to %s: %s\n", printable_text(name).c_str(),
                 std::strerror(errno));
  };
  if (!options.status_file.empty()) {
    const UniqueFd file(
        ::open(options.status_file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0600));
    put(file.get(), options.status_file);
  }
  if (options.status_fd >= 0) put(options.status_fd, "fd:" + std::to_string(options.status_fd));
}

}  // namespace

int verb_run(const Args& args) {
  Options options;
  options.mode = environment_or("SECBOX_MODE", "enforce");
  int code = parse(args, options);
  if (options.help) {
    std::fputs(kHelp, stdout);
    return 0;
  }
  std::string session_id;
  if (code == 0) code = start(options, session_id);
  write_status(options, code, session_id);
  return code;
}

}  // namespace secbox::cli
