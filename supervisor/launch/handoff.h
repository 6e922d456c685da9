// How the process that becomes the plugin and the supervisor pass the listener: one shared page and futexes.
// No system call that the new filter would hold is made between installing it and the supervisor serving it.
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstdint>

#include "supervisor/base/result.h"

namespace secbox::launch {

enum class Stage : std::uint32_t {
  Starting,
  SupervisorReady,   // the supervisor can take the listener
  SupervisorFailed,  // see message
  ListenerReady,     // the filter is installed; listener_fd is its number in the plugin's process
  Serving,           // the supervisor answers: exec may begin
  LaunchFailed,      // the plugin's side gave up before exec; see message
};

// Lives in memory shared by both sides (MAP_SHARED | MAP_ANONYMOUS), made before the fork. The page is not
// mapped any more once the plugin's program runs: exec drops it.
class Handoff {
 public:
  [[nodiscard]] static Result<Handoff*> make();

  void advance(Stage stage);
  // Blocks until the stage is past `current`, or until the process behind `peer_pidfd` is gone: then
  // `current` comes back.
  [[nodiscard]] Stage wait_past(Stage current, int peer_pidfd);
  [[nodiscard]] Stage stage() const { return static_cast<Stage>(stage_.load(std::memory_order_acquire)); }

  void fail(Stage stage, const char* message);
  [[nodiscard]] const char* message() const { return message_.data(); }

  std::atomic<pid_t> supervisor_pid{0};
  std::atomic<int> listener_fd{-1};
  std::atomic<int> exec_errno{0};

 private:
  std::atomic<std::uint32_t> stage_{0};
  std::array<char, 1024> message_{};
};

}  // namespace secbox::launch
