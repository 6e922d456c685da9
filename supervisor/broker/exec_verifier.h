// The one thread that ptraces. It lets an approved exec go on and looks at the new image before its first
// instruction runs: what runs is what was approved, or it is killed. See mediation of exec in
// docs/architecture.md.
//
// How: PTRACE_SEIZE(TRACEEXEC | EXITKILL) and PTRACE_INTERRUPT while the call is held, then CONTINUE. Either
// the thread stops at PTRACE_EVENT_EXEC (the new image is in place), or, if exec failed, at the interrupt on
// its way back: so there is always exactly one stop to wait for and never a time-out.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "supervisor/audit/record.h"
#include "supervisor/base/unique_fd.h"
#include "supervisor/broker/callers.h"
#include "supervisor/broker/services.h"
#include "supervisor/broker/shim_injection.h"
#include "supervisor/sys/elf_file.h"

namespace secbox::broker {

// An approved exec, with its record-to-be. Everything owned: the call's own strings are gone by then.
struct ExecTicket {
  std::uint64_t id = 0;
  ThreadId tid;
  dev_t dev = 0;  // the image that must be running: the file itself, or the script's last interpreter
  ino_t ino = 0;
  dev_t loader_dev = 0;  // the ELF loader that it asks for, where it asks for one, and its canonical name
  ino_t loader_ino = 0;
  std::string loader;
  sys::ElfFile elf;  // what the image's file says
  std::string
      script;  // the name as passed, where the file is a script: the interpreter must be given this very one
  std::string as_written, resolved, name, permission, reason, rule_id, rule_layer, rule_file, rule_text;
  int rule_line = 0;
  audit::Verdict verdict = audit::Verdict::Allow;
  dev_t file_dev = 0;
  ino_t file_ino = 0;
  std::string syscall;
  std::string caller_exe;
  std::optional<Caller> caller;
  pid_t caller_tgid = 0, caller_ppid = 0;
  bool enforce = true;
  std::unique_ptr<InFlight> in_flight;  // where the first process calls
};

class ExecVerifier {
 public:
  // What a process became.
  struct Image {
    pid_t tgid = 0;
    std::string exe;
    ShimGiven shim;
  };

  explicit ExecVerifier(Services& services) : services_(services) {}
  ~ExecVerifier() { stop(); }

  // From here on tickets are taken; SIGCHLD must be blocked in every thread before. False where the thread's
  // descriptors cannot be made.
  [[nodiscard]] bool prepare();
  // The thread, which may come a little after the first ticket. False where it cannot be made.
  [[nodiscard]] bool start();
  void stop();

  // The verifier thread's number: given out before the plugin's first instruction can run. 0 before it
  // started.
  [[nodiscard]] pid_t thread() const { return tid_.load(std::memory_order_acquire); }

  void submit(ExecTicket ticket);

  // How the first process ended, where it was traced then: this process may also be its parent, and then
  // nobody else is told. To be asked after stop().
  [[nodiscard]] std::optional<int> first_process_end() const { return first_process_end_; }

  std::function<void(const Image&)> on_image;  // called from the verifier thread
  std::function<void()> on_child_event;        // SIGCHLD of any kind

 private:
  void run();
  void admit(ExecTicket ticket);
  void attach(ExecTicket ticket);
  void done(pid_t tid);
  void reap();
  void on_stop(pid_t pid, int status);
  void verify(pid_t tgid, const ExecTicket& ticket);
  // Why what was started is not what the ticket approved; empty where it is. `exe` is the image's name.
  std::string_view mismatch(pid_t tgid, const ExecTicket& ticket, const std::string& exe) const;
  bool is_script(pid_t tgid, const ExecTicket& ticket) const;
  void write_failure(const ExecTicket& ticket, int err);
  void write_denial(const ExecTicket& ticket, pid_t tgid, std::string_view why, std::string_view actual);
  bool write(const audit::Record& record, bool denial);
  audit::Record base_record(const ExecTicket& ticket) const;

  Services& services_;
  std::thread thread_;
  std::atomic<pid_t> tid_{0};
  UniqueFd wake_;
  UniqueFd signals_;
  std::mutex mutex_;
  std::vector<ExecTicket> queue_;
  std::optional<int> first_process_end_;
  bool stopping_ = false;
  std::unordered_map<pid_t, ExecTicket> active_;  // by the tid that called
  // One exec of a process at a time: the others of its threads that called meanwhile. See admit().
  std::unordered_map<pid_t, std::vector<ExecTicket>> waiting_;  // by the process
};

}  // namespace secbox::broker
