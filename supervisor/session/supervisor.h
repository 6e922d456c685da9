// The supervisor of one session: broker threads, exec verifier, control loop, and the session's end.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "supervisor/audit/denial_message.h"
#include "supervisor/audit/writer.h"
#include "supervisor/base/result.h"
#include "supervisor/base/unique_fd.h"
#include "supervisor/broker/blocking.h"
#include "supervisor/broker/exec_verifier.h"
#include "supervisor/broker/pipeline.h"
#include "supervisor/broker/services.h"
#include "supervisor/launch/environment.h"
#include "supervisor/launch/handoff.h"
#include "supervisor/limits/monitor.h"
#include "supervisor/session/guardian.h"
#include "supervisor/session/host_names.h"
#include "supervisor/session/processes.h"
#include "supervisor/session/session.h"
#include "supervisor/session/shim_coverage.h"
#include "supervisor/session/stderr_stream.h"
#include "supervisor/session/written_files.h"
#include "supervisor/sys/notify_fd.h"
#include "supervisor/sys/target.h"

namespace secbox::session {

class Supervisor {
 public:
  // Opens what the session needs and hardens this process. The plugin does not run yet. `group` must outlive
  // it.
  [[nodiscard]] static Result<std::unique_ptr<Supervisor>> prepare(const SessionPlan& plan,
                                                                   const limits::Cgroup& group,
                                                                   const sys::SessionMark& mark,
                                                                   const launch::Environment& environment);
  ~Supervisor();

  // Takes the listener from `plugin`, serves the session until its first process is gone and nothing of it is
  // left. In Shape::Parent the wait status of the plugin comes back, else 0.
  [[nodiscard]] int serve(pid_t plugin, launch::Handoff& handoff);

  [[nodiscard]] bool had_denials() const { return sink_ != nullptr && sink_->counts().deny > 0; }
  [[nodiscard]] bool would_have_denied() const { return sink_ != nullptr && sink_->counts().would_deny > 0; }
  // A limit or time-out was passed, whatever followed from it.
  [[nodiscard]] bool had_limits() const { return had_limits_.load(); }
  // What secbox ended the plugin for, if it did.
  struct End {
    int exit_code = 0;
    std::string_view cause;  // "limit" or "timeout"
    std::string code;        // SBX-L...
  };
  [[nodiscard]] const std::optional<End>& ended() const { return ended_; }
  [[nodiscard]] bool audit_failed() const { return audit_failed_.load(); }
  // Writes --status-file and --status-fd: the exit status as the host sees it.
  void write_status(int exit_code, std::string_view cause);

 private:
  class Control;

  explicit Supervisor(const SessionPlan& plan, sys::Procfs proc);
  void write_session_start(const launch::Environment& environment);
  void write_coverage();
  // Records it, says it, and, where the plugin runs, ends it if that follows.
  enum class Plugin : std::uint8_t { Runs, Exits, IsDead };
  void on_limit(const limits::Event& event, Plugin plugin);
  void end_plugin(const limits::Event& event, Plugin plugin);
  void look_at_written_files();
  // Ends every process of the session but its first, writes the end record, shows what was denied, clears up.
  // Once.
  void finish(std::optional<int> wait_status, Plugin plugin);
  // True where no process or thread at all was made on this host since before the plugin's first instruction:
  // then there is none to look for.
  bool is_alone() const;
  // The launcher ends by itself, and is not to be killed for it. The session's status.
  int give_up();
  // The plugin's wait status, in Shape::Parent.
  int reap();
  // Takes the filter of this process's own calls, while there is one thread: the others inherit it. The
  // guardian, the last process that is made, comes before. nullptr, or what could not be done.
  const char* confine_calls();
  // nullptr, or what could not be made.
  const char* start_receivers();
  // Tells the launcher, which has installed the filter, why it must end, and lets it. The session's status.
  int refuse_start(launch::Handoff& handoff, const char* why);
  void remove_tmp_dir();
  void note_denial(const audit::Record& record, std::uint64_t seq);
  void print_denials(std::string_view footer = {});

  SessionPlan plan_;
  sys::Procfs proc_;
  std::unique_ptr<Control> control_;  // other threads post to it, until this process ends
  std::optional<Processes> processes_;
  std::optional<limits::Monitor> monitor_;
  Guardian guardian_;
  sys::LinuxTargetMemory memory_;
  StderrStream stderr_;
  std::unique_ptr<audit::CountingSink> sink_;
  std::shared_ptr<const checker::Ruleset> rules_;

  std::optional<sys::LinuxNotifyChannel> channel_;
  std::unique_ptr<broker::Services> services_;
  std::unique_ptr<broker::BlockingCalls> blocking_;
  std::unique_ptr<broker::ExecVerifier> execs_;
  std::unique_ptr<broker::Callers> callers_;
  std::unique_ptr<broker::Pipeline> pipeline_;
  std::unique_ptr<HostNames> hosts_;
  std::vector<std::thread> receivers_;
  std::atomic<bool> serving_{false};  // receivers start with this

  pid_t plugin_ = 0;
  UniqueFd plugin_pidfd_;
  // Held until this process ends: a file system may take milliseconds to free a directory's blocks, and the
  // plugin's end, which waits for its name to be gone, need not wait for those.
  UniqueFd tmp_dir_;
  UniqueFd tmp_parent_;
  std::string tmp_leaf_;
  UniqueFd status_file_;
  UniqueFd status_fd_;
  sys::SessionMark mark_;
  std::int64_t started_ns_ = 0;
  bool has_terminal_ = false;

  std::atomic<bool> had_limits_{false};
  std::atomic<bool> closed_{false};  // nothing is said of limits any more
  std::mutex ended_mutex_;
  std::optional<End> ended_;  // set once
  WrittenFiles written_files_;

  std::mutex looking_mutex_;  // of two threads in one directory stream each would miss processes
  std::mutex finish_mutex_;
  bool finished_ = false;
  std::atomic<bool> finishing_{false};  // or finished
  std::atomic<bool> audit_failed_{false};

  std::mutex denials_mutex_;
  std::unique_ptr<audit::DenialReporter> reporter_;
  std::string pending_text_;
  UniqueFd pending_end_;  // of the operator's stderr, while there is text
  std::function<void()> wake_printer_;

  ShimCoverage coverage_;
};

}  // namespace secbox::session
