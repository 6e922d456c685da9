// The story of one held call: row -> decode -> resolve -> decide -> act -> record -> reply, in this order for
// every call.
#pragma once

#include <atomic>
#include <functional>

#include "supervisor/broker/call.h"
#include "supervisor/broker/services.h"

namespace secbox::broker {

class Pipeline {
 public:
  explicit Pipeline(Services& services) : services_(services) {}

  // Body of a receiver thread: until the last filtered task is gone or stop().
  void receive_loop();
  // Makes receive_loop() return at its next wake-up; the caller also signals the threads.
  void stop() { stopping_.store(true, std::memory_order_release); }

 private:
  void handle(const sys::Notification& notification, bool on_worker);
  Action act(Call& call);
  bool is_the_end(std::uint64_t id);
  void finish(Call& call, Action action, UnderWay::Pass& pass);
  // Puts a descriptor into the caller and answers with its number. An errno where the caller still waits.
  int install(Call& call, InstallFd& install);
  // False: it could not be written, and nothing may go on.
  enum class Recorded : std::uint8_t { Written, Failed, Over };
  Recorded write_record(Call& call, const Action& action);

  Services& services_;
  std::atomic<bool> stopping_{false};
};

// For a session that cannot be: its launcher, which has the filter already, can end only if that call is
// answered. Everything else is refused. Returns once it has ended, or about to; `before_end` is called before
// that.
void serve_only_the_end(sys::NotifyChannel& channel, const std::function<void()>& before_end);

}  // namespace secbox::broker
