// The preload shim: says once that it is loaded, so that the log can tell which programs it covers.
//
// It decides nothing and hides nothing: static programs, direct system calls and `env -i` go without it, and
// enforcement is the same. It must never allocate, lock, write, change errno, or need more than libc: it runs
// in every program, before main(), among other people's preloads.
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>

#include "preload/wire.h"

namespace {

[[gnu::constructor]] void announce() {
  const int saved = errno;
  (void)::prctl(SECBOX_HELLO_PRCTL, static_cast<unsigned long>(SECBOX_WIRE_VERSION),
                static_cast<unsigned long>(::getpid()), 0UL, 0UL);
  errno = saved;
}

}  // namespace
