// What a hook adds to a call, in nanoseconds. The calls end in hooks_end.c, which does nothing: run-hooks
// starts this with that library alone, and with the shim before it.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>

namespace {

// The least of many short rounds: what was in the way of the others was not the hook.
template <typename Call>
void measure(const char* name, Call call) {
  constexpr int kCalls = 1000;
  constexpr int kRounds = 2000;
  double least = 1e9;
  for (int round = 0; round < kRounds; ++round) {
    const auto start = std::chrono::steady_clock::now();
    for (int number = 0; number < kCalls; ++number) __asm__ volatile("" : : "r"(call()));
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - start;
    least = took.count() / kCalls < least ? took.count() / kCalls : least;
  }
  std::printf("%s %.1f\n", name, least);
}

}  // namespace

int main() {
  measure("open", [] { return ::open("/", O_RDONLY); });
  measure("unlink", [] { return ::unlink("/"); });
  measure("send", [] { return ::send(-1, "", 0, 0); });
  measure("system", [] { return std::system("true"); });
  measure("getenv", [] { return std::getenv("PYTHONDONTWRITEBYTECODE"); });
  measure("mmap", [] { return ::mmap(nullptr, 1, 0, 0, -1, 0); });
  measure("syscall_unmediated", [] { return ::syscall(SYS_getppid); });
  measure("syscall_mediated", [] { return ::syscall(SYS_unlinkat, -1, "/", 0); });
  return 0;
}
