// secbox doctor: says what this host gives, by trying it, and what each missing piece costs.
#include <cerrno>
#include <cstdio>
#include <string>
#include <vector>

#include "supervisor/audit/json_text.h"
#include "supervisor/base/errno_name.h"
#include "supervisor/sys/probe.h"
#include "tools/secbox/verbs.h"

namespace secbox::cli {

namespace {

using sys::CgroupKind;
using sys::HostFeatures;
using sys::Probe;

constexpr const char* kHelp =
    "usage: secbox doctor [--json]\n"
    "\n"
    "Tries what secbox needs of this kernel and this user, and says what each missing piece costs. Run it "
    "as\n"
    "the user who will run plugins. Exit 0 where secbox can enforce, 125 where it cannot.\n";

// What a check that fails means for enforcing.
enum class Need : std::uint8_t { Required, Useful, Told };

struct Check {
  std::string id;
  Need need;
  bool ok;
  std::string value;
  std::string meaning;
  std::string cost_if_missing;
  bool tested = true;
};

constexpr const char* kCannotEnforce = "secbox cannot enforce here and refuses to run plugins";

std::string text_of(const Probe& probe) {
  switch (probe.state) {
    case Probe::State::Works:
      return "works";
    case Probe::State::Untested:
      return "not tested";
    case Probe::State::Fails:
      return "fails (" + std::string(errno_name(probe.error)) + ")";
  }
  return "";
}

std::string cgroup_text(const HostFeatures& host) {
  const char* kind = host.cgroup == CgroupKind::V1       ? "v1"
                     : host.cgroup == CgroupKind::V2     ? "v2"
                     : host.cgroup == CgroupKind::Hybrid ? "hybrid (the controllers are in v1)"
                                                         : "none";
  std::string text = kind;
  if (!host.cgroup_directory.empty()) {
    text += ", " + host.cgroup_directory + (host.cgroup_writable.works() ? " writable" : " not writable");
  }
  if (!host.cgroup_controllers.empty()) text += ", controllers " + host.cgroup_controllers;
  return text;
}

std::string yama_text(int scope) {
  switch (scope) {
    case -1:
      return "no Yama";
    case 0:
      return "0, any process of the same user";
    case 1:
      return "1, ancestors only";
    case 2:
      return "2, administrators only";
    default:
      return std::to_string(scope) + ", nobody";
  }
}

std::vector<Check> make_checks(const HostFeatures& host) {
  std::vector<Check> checks;
  const auto probe = [&](const char* id, Need need, const Probe& result, const char* meaning,
                         const char* cost) {
    checks.push_back(
        {id, need, result.works(), text_of(result), meaning, cost, result.state != Probe::State::Untested});
  };
  const auto landlock = [&](const char* id, int abi, Need need, const char* meaning, const char* cost) {
    checks.push_back({id, need, host.landlock_abi >= abi,
                      host.landlock_abi == 0 ? "no Landlock" : "ABI " + std::to_string(host.landlock_abi),
                      meaning, cost});
  };

  checks.push_back(
      {"kernel", Need::Told, true, host.kernel, "the running kernel; 5.19 at least, 6.12 preferred", ""});
  probe("procfs", Need::Required, host.procfs,
        "names, identity and descriptors of the plugin are read in /proc", kCannotEnforce);

  const bool nested = host.listener.state == Probe::State::Fails && host.listener.error == EBUSY;
  checks.push_back(
      {"seccomp-not-nested", Need::Required, !nested, nested ? "another supervisor listens here" : "free",
       "the kernel gives a process one seccomp listener; a container runtime or another sandbox may have it",
       "start secbox outside of that sandbox: inside, secbox cannot enforce and refuses to run plugins"});
  probe("seccomp-listener", Need::Required, host.listener,
        "holds a plugin's calls until they are judged (Linux 5.0)", kCannotEnforce);
  probe("seccomp-wait-killable", Need::Required, host.wait_killable,
        "a signal does not interrupt a call that is being performed (5.19)", kCannotEnforce);
  probe("seccomp-addfd", Need::Required, host.add_fd, "hands an opened file to the plugin (5.9)",
        kCannotEnforce);
  probe("seccomp-addfd-send", Need::Required, host.add_fd_send,
        "hands an opened file over and answers the call in one step (5.14)", kCannotEnforce);
  probe("seccomp-sync-wake-up", Need::Useful, host.sync_wake_up,
        "wakes the supervisor on the plugin's processor (6.6)",
        "a held call takes two to three times as long");

  landlock("landlock", 1, Need::Required,
           "the floor under every decision: what a plugin cannot exceed, whatever race it wins (5.13)",
           kCannotEnforce);
  landlock("landlock-refer", 2, Need::Useful, "the floor knows moves between directories (5.19)",
           "none for what the supervisor performs; the floor refuses every such move that passes by it");
  landlock("landlock-truncate", 3, Need::Useful, "the floor covers truncate(2) (6.2)",
           "emptying a file is stopped by the supervisor alone");
  landlock("landlock-tcp", 4, Need::Useful, "the floor covers TCP connect and bind (6.7)",
           "connections are stopped by the supervisor alone");
  landlock("landlock-ioctl", 5, Need::Useful, "the floor covers ioctl(2) on devices (6.10)",
           "a device that a plugin may open takes every ioctl that the device itself allows");
  landlock("landlock-scope", 6, Need::Useful,
           "the floor keeps signals and abstract sockets within the session (6.12)",
           "signals to process groups and by pidfd are refused where somebody outside could be hit; abstract "
           "sockets "
           "are stopped by the supervisor alone");

  const auto reach = [&](const char* id, Need need, bool ok, const Probe& memory, const Probe& descriptors,
                         const Probe& trace, const char* meaning, const char* cost) {
    checks.push_back(
        {id, need, ok,
         "memory " + text_of(memory) + ", descriptors " + text_of(descriptors) + ", ptrace " + text_of(trace),
         meaning, cost});
  };
  reach("supervise-child", Need::Required, host.can_supervise_child() || host.can_supervise_beside(),
        host.child_memory, host.child_descriptors, host.child_trace,
        "reads a child's memory (process_vm_readv), takes its descriptors (pidfd_getfd), verifies its exec "
        "(ptrace)",
        kCannotEnforce);
  reach("supervise-beside", Need::Useful, host.can_supervise_beside(), host.beside_memory,
        host.beside_descriptors, host.beside_trace,
        "the same for a process that is no child, so that the started process can become the plugin",
        "the supervisor becomes the plugin's parent: it forwards signals and mirrors the plugin's end");
  checks.push_back({"yama", Need::Told, true, yama_text(host.yama_scope),
                    "kernel.yama.ptrace_scope: who may look into a process of the same user", ""});
  probe("pidfd-thread", Need::Useful, host.pidfd_thread, "names a single thread (6.9)",
        "a thread with a descriptor table of its own (unshare) cannot be told from its process: its calls by "
        "descriptor are refused");
  probe("openat2", Need::Required, host.openat2, "resolves a path in steps that cannot be led astray (5.6)",
        kCannotEnforce);
  checks.push_back(
      {"cgroup", Need::Useful, host.cgroup_writable.works(), cgroup_text(host),
       "limits memory, processor and processes of a session as a whole",
       "limits hold for each process by itself (rlimits) and by a watchdog that looks now and then"});
  checks.push_back({"user-namespaces", Need::Told, true,
                    host.user_namespaces.works() ? "available" : "not available", "not needed by secbox",
                    ""});
  return checks;
}

void print_json(const std::vector<Check>& checks, bool ok) {
  std::string out = "{\"version\":1,\"ok\":";
  out += ok ? "true" : "false";
  out += ",\"checks\":[";
  for (const Check& check : checks) {
    if (out.back() != '[') out += ',';
    out += "{\"id\":" + audit::json_string(check.id) + ",\"ok\":" + (check.ok ? "true" : "false") +
           ",\"value\":" + audit::json_string(check.value) +
           ",\"meaning\":" + audit::json_string(check.meaning) +
           ",\"cost_if_missing\":" + audit::json_string(check.cost_if_missing) + "}";
  }
  out += "]}\n";
  std::fputs(out.c_str(), stdout);
}

void print_text(const std::vector<Check>& checks, bool ok) {
  std::string missing;
  for (const Check& check : checks) {
    const char* mark = check.ok ? "ok" : check.tested ? "MISSING" : "?";
    std::printf("%-8s %-22s %s\n", mark, check.id.c_str(), check.value.c_str());
    if (check.ok || !check.tested) continue;
    std::printf("%31s what for: %s\n%31s cost:     %s\n", "", check.meaning.c_str(), "",
                check.cost_if_missing.c_str());
    if (check.need == Need::Required) missing += (missing.empty() ? "" : ", ") + check.id;
  }
  if (ok) {
    std::puts("\nsecbox can enforce here, for this user.");
  } else {
    std::printf("\nsecbox cannot enforce here. Missing: %s.\n", missing.c_str());
  }
}

}  // namespace

int verb_doctor(const Args& args) {
  bool json = false;
  for (const std::string& arg : args) {
    if (arg == "-h" || arg == "--help") {
      std::fputs(kHelp, stdout);
      return 0;
    }
    if (arg == "--json") {
      json = true;
      continue;
    }
    std::fputs(kHelp, stderr);
    return kExitInvalid;
  }
  const HostFeatures host = sys::probe_host();
  const std::vector<Check> checks = make_checks(host);
  const bool ok = host.can_enforce();
  if (json) {
    print_json(checks, ok);
  } else {
    print_text(checks, ok);
  }
  return ok ? 0 : kExitFailed;
}

}  // namespace secbox::cli
