#include "supervisor/launch/handoff.h"

#include <linux/futex.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <new>

namespace secbox::launch {

Result<Handoff*> Handoff::make() {
  void* page = ::mmap(nullptr, sizeof(Handoff), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return errno_failure("mmap for the hand-off");
  return new (page) Handoff;
}

void Handoff::advance(Stage stage) {
  stage_.store(static_cast<std::uint32_t>(stage), std::memory_order_release);
  (void)::syscall(SYS_futex, &stage_, FUTEX_WAKE, 2, nullptr, nullptr, 0);
}

Stage Handoff::wait_past(Stage current, int peer_pidfd) {
  const auto value = static_cast<std::uint32_t>(current);
  while (stage_.load(std::memory_order_acquire) == value) {
    const timespec patience{.tv_sec = 0, .tv_nsec = 50'000'000};
    (void)::syscall(SYS_futex, &stage_, FUTEX_WAIT, value, &patience, nullptr, 0);
    pollfd peer{.fd = peer_pidfd, .events = POLLIN, .revents = 0};
    if (stage() == current && ::poll(&peer, 1, 0) > 0) return stage();
  }
  return stage();
}

void Handoff::fail(Stage stage, const char* message) {
  std::strncpy(message_.data(), message, message_.size() - 1);
  advance(stage);
}

}  // namespace secbox::launch
