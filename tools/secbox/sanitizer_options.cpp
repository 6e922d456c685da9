// Builds with a sanitizer alone: options that must hold where the environment is not the operator's, as
// inside another secbox.

#if defined(__SANITIZE_ADDRESS__)
// The search for leaks traces the process, which nobody may any more when it ends.
extern "C" const char* __asan_default_options() { return "detect_leaks=0"; }
#elif defined(__SANITIZE_THREAD__)
// The supervisor is made by fork(2).
extern "C" const char* __tsan_default_options() { return "die_after_fork=0"; }
#endif
