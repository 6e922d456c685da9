// What the handlers share: one set a session, safe to use from every broker thread.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "supervisor/audit/writer.h"
#include "supervisor/broker/call.h"
#include "supervisor/broker/judged_binds.h"
#include "supervisor/checker/module_rules.h"
#include "supervisor/checker/ruleset.h"
#include "supervisor/sys/notify_fd.h"
#include "supervisor/sys/path_resolver.h"
#include "supervisor/sys/target.h"
#include "supervisor/sys/target_memory.h"

namespace secbox::broker {

class BlockingCalls;
class ExecVerifier;
class Callers;

// Counts something while it is under way.
class InFlight {
 public:
  explicit InFlight(std::atomic<int>& count) : count_(count) { count_.fetch_add(1); }
  ~InFlight() { count_.fetch_sub(1); }
  InFlight(const InFlight&) = delete;
  InFlight& operator=(const InFlight&) = delete;

 private:
  std::atomic<int>& count_;
};

// The calls that are being acted on and recorded. After close() none begins: what it would do could not be
// recorded any more.
class UnderWay {
 public:
  // While it lives the call counts. Not open: too late, nothing may be done for the call.
  class Pass {
   public:
    explicit Pass(UnderWay& calls) : calls_(&calls) {
      calls.count_.fetch_add(1);
      if (calls.closed_.load()) leave();
    }
    ~Pass() { leave(); }
    Pass(const Pass&) = delete;
    Pass& operator=(const Pass&) = delete;
    [[nodiscard]] bool open() const { return calls_ != nullptr; }
    void leave() {
      if (calls_ != nullptr) calls_->count_.fetch_sub(1);
      calls_ = nullptr;
    }

   private:
    UnderWay* calls_;
  };

  // Waits for those that have begun, no longer than `patience`. The caller holds no Pass.
  void close(std::chrono::nanoseconds patience);

 private:
  std::atomic<int> count_{0};
  std::atomic<bool> closed_{false};
};

class Services {
 public:
  Services(sys::NotifyChannel& notify_channel, sys::TargetMemory& target_memory, const sys::Procfs& procfs,
           audit::AuditSink& audit_sink)
      : channel(notify_channel), memory(target_memory), proc(procfs), resolver(procfs), sink(audit_sink) {}

  sys::NotifyChannel& channel;
  sys::TargetMemory& memory;
  const sys::Procfs& proc;
  sys::PathResolver resolver;
  audit::AuditSink& sink;

  Mode mode = Mode::Enforce;
  sys::SessionMark mark;
  pid_t supervisor_pid = 0;
  pid_t guardian_pid = 0;               // ends the session where the supervisor dies
  std::atomic<pid_t> first_process{0};  // the plugin's first process
  // Execs of that process between being judged and being verified; and whether its end has been noted, after
  // which there are none.
  std::atomic<int> first_process_execs{0};
  std::atomic<bool> ending{false};
  UnderWay under_way;
  std::atomic<pid_t> started_group{0};  // its process group before the first setpgid(2), then known
  // The Landlock floor holds signals inside the session (ABI 6).
  bool floor_scopes_signals = false;

  // The rules in force. Rulesets live until the session ends, so a plain pointer is enough for readers.
  [[nodiscard]] const checker::Ruleset& rules() const { return *rules_.load(std::memory_order_acquire); }
  void set_rules(const checker::Ruleset* rules) { rules_.store(rules, std::memory_order_release); }
  // What single modules are denied besides; null = none are. They never change.
  const checker::ModuleRules* module_rules = nullptr;
  // Resolves host-name grants again now, at most once a second; true where the rules changed. Blocks: workers
  // only.
  std::function<bool()> refresh_hosts;
  // The granted host name that an address stands for now, or "".
  std::function<std::string(const std::array<std::uint8_t, 16>&)> host_of;

  // This supervisor runs with the right to take other identities, so the plugin may have it too.
  bool can_change_identity = false;
  // A thread may have left the session's user or capabilities (setuid family, capset): identities are looked
  // up from then on.
  std::atomic<bool> identities_differ{false};
  // Audit mode let a call pass that may have given a thread other mounts or another root: its paths mean
  // something else than here, and are left to the kernel.
  std::atomic<bool> views_differ{false};
  // Counts execs: what is cached of a process is dropped when it moves.
  std::atomic<std::uint32_t> exec_epoch{1};

  JudgedBinds judged_binds;
  // Held from the last look at a name to its change. Every change of a name by the plugin passes here, so
  // none can put another object under a name that was judged.
  std::mutex names;
  // Held by the one receiver that is in a call which may wait for a lock of the file's. See Call::may_wait.
  std::timed_mutex receiver_waits;

  BlockingCalls* blocking = nullptr;
  ExecVerifier* execs = nullptr;
  Callers* callers = nullptr;  // none: calls are not attributed
  // A denial was recorded (control thread prints it). Must not block.
  std::function<void(const audit::Record&, std::uint64_t seq)> on_denial;
  // The first process is about to end: ends the rest of the session, then returns. Called on a receiver; the
  // other one goes on.
  std::function<void()> on_first_process_exit;
  // The library that new programs are given: see shim_injection.h. "" = none.
  std::string shim;
  // How many seccomp filters the plugin's first program had; -1 = there was none yet.
  std::atomic<int> plugin_filters{-1};
  // The shim said that it was loaded into this process, and has its board.
  std::function<void(pid_t tgid)> on_hello;
  // A regular file was opened for writing, or made; `size` is what it begins with. Must not block.
  std::function<void(std::string_view path, dev_t dev, ino_t ino, std::uint64_t size)> on_written;
  // The record could not be written: nothing may go on.
  std::function<void()> on_audit_failure;

  // Paths that no grant reaches: the log, the state directory, the supervisor's own /proc, manifests.
  // (Compiled into the ruleset as Protected rules; kept here for identity checks of hard links.)
  [[nodiscard]] bool is_own_process(pid_t pid) const { return mark.on(proc, pid); }
  // By the number of any of its threads, which signals and /proc take as well.
  [[nodiscard]] bool is_supervisor(pid_t pid) const {
    sys::ThreadFacts facts;
    return pid == supervisor_pid || (pid != 0 && pid == guardian_pid) ||
           (pid > 0 && proc.read_facts(ThreadId{pid}, facts) == 0 && facts.tgid == supervisor_pid);
  }

 private:
  std::atomic<const checker::Ruleset*> rules_{nullptr};
};

}  // namespace secbox::broker
