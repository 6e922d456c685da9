// Builds with a sanitizer alone: options that must hold where the environment is not the operator's, as
// inside another secbox. The operator's own (TSAN_OPTIONS=log_path=...) come after these.

#if defined(__SANITIZE_ADDRESS__)
// The search for leaks traces the process, which nobody may any more when it ends.
extern "C" const char* __asan_default_options() { return "detect_leaks=0"; }
#elif defined(__SANITIZE_THREAD__)
#include <pthread.h>
#include <time.h>

// The supervisor is made by fork(2), ends by _exit(2) without waiting for its threads, and may have neither
// stderr nor anybody who looks at its status: only a race that ends it is seen.
extern "C" const char* __tsan_default_options() {
  return "die_after_fork=0:report_thread_leaks=0:halt_on_error=1";
}

// What std::timed_mutex calls, and gcc's run-time (12) does not know: it would miss that the mutex is held.
extern "C" int pthread_mutex_clocklock(pthread_mutex_t* mutex, clockid_t clock,
                                       const timespec* until) noexcept {
  constexpr long kSecond_ns = 1'000'000'000;
  timespec there{};
  timespec deadline{};
  (void)::clock_gettime(clock, &there);
  (void)::clock_gettime(CLOCK_REALTIME, &deadline);
  deadline.tv_sec += until->tv_sec - there.tv_sec;
  deadline.tv_nsec += until->tv_nsec - there.tv_nsec;
  if (deadline.tv_nsec < 0 || deadline.tv_nsec >= kSecond_ns) {
    const long carried = deadline.tv_nsec < 0 ? -1 : 1;
    deadline.tv_sec += carried;
    deadline.tv_nsec -= carried * kSecond_ns;
  }
  return ::pthread_mutex_timedlock(mutex, &deadline);
}
#endif
