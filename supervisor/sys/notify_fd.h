// The seccomp listener: receive a held call, answer it, put a descriptor into the caller.
// Raw ioctls: libseccomp 2.5.4 flattens errno and does not know every flag. See seccomp_unotify(2).
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "supervisor/base/ids.h"
#include "supervisor/base/result.h"
#include "supervisor/base/unique_fd.h"

namespace secbox::sys {

// A held call, as the kernel gave it.
struct Notification {
  std::uint64_t id = 0;
  ThreadId tid;  // a thread, not a process; 0 when it is not visible in our pid namespace
  int number = -1;
  std::array<std::uint64_t, 6> args{};
  std::uint64_t instruction_pointer = 0;  // behind the system call instruction; 0 where it is not known

  // Arguments of C type int: the kernel looks at the low 32 bits alone.
  [[nodiscard]] int int_arg(std::size_t index) const {
    return static_cast<int>(static_cast<std::uint32_t>(args[index]));
  }
};

enum class ReceiveStatus : std::uint8_t { Received, Retry, Ended };
// Gone: the caller was killed or interrupted; ordinary. Failed: the kernel refused our answer.
enum class ReplyStatus : std::uint8_t { Sent, Gone, Failed };

struct InstallResult {
  ReplyStatus status = ReplyStatus::Failed;
  int error = 0;    // Failed: the errno (EMFILE: the caller's table is full)
  int number = -1;  // Sent: the descriptor in the caller
};

class NotifyChannel {
 public:
  virtual ~NotifyChannel() = default;
  // Blocks. Retry: nothing received (signal, or the caller vanished). Ended: no filtered task is left.
  virtual ReceiveStatus receive(Notification& out) = 0;
  // The call returns -err. `err` may be ERESTARTSYS (512) while a signal is pending in the caller.
  virtual ReplyStatus reply_errno(std::uint64_t id, int err) = 0;
  virtual ReplyStatus reply_value(std::uint64_t id, std::int64_t value) = 0;
  // The kernel performs the call with whatever the caller's memory holds then. Only Action Continue may lead
  // here.
  virtual ReplyStatus reply_continue(std::uint64_t id) = 0;
  // Puts a copy of `fd` at the caller's lowest free number, which becomes the call's result, in one step.
  virtual InstallResult install_fd(std::uint64_t id, int fd, bool close_on_exec) = 0;
  // The same, but the call is still to be answered, with that number.
  virtual InstallResult add_fd(std::uint64_t id, int fd, bool close_on_exec) = 0;
  // False once the caller was killed or the call was interrupted. True proves that what was read through its
  // pid just before was still its own; it says nothing about memory that other threads may have changed.
  [[nodiscard]] virtual bool alive(std::uint64_t id) = 0;
};

class LinuxNotifyChannel final : public NotifyChannel {
 public:
  // Takes the listener; turns SYNC_WAKE_UP on where the kernel has it (6.6).
  [[nodiscard]] static Result<LinuxNotifyChannel> make(UniqueFd listener);

  ReceiveStatus receive(Notification& out) override;
  ReplyStatus reply_errno(std::uint64_t id, int err) override;
  ReplyStatus reply_value(std::uint64_t id, std::int64_t value) override;
  ReplyStatus reply_continue(std::uint64_t id) override;
  InstallResult install_fd(std::uint64_t id, int fd, bool close_on_exec) override;
  InstallResult add_fd(std::uint64_t id, int fd, bool close_on_exec) override;
  [[nodiscard]] bool alive(std::uint64_t id) override;

  [[nodiscard]] int listener() const { return listener_.get(); }
  [[nodiscard]] bool sync_wake_up() const { return sync_wake_up_; }
  // True once no task uses the filter any more.
  [[nodiscard]] bool hung_up() const;

 private:
  LinuxNotifyChannel(UniqueFd listener, std::size_t receive_size)
      : listener_(std::move(listener)), receive_size_(receive_size) {}
  InstallResult add(std::uint64_t id, int fd, bool close_on_exec, std::uint32_t flags);
  ReplyStatus send(std::uint64_t id, std::int64_t value, int error, std::uint32_t flags);

  UniqueFd listener_;
  std::size_t receive_size_;
  bool sync_wake_up_ = false;
};

}  // namespace secbox::sys
