// syscall(2): what goes by number. Only the calls that the supervisor may hold are told of; with all others
// nothing of ours may be on the stack, for some come back twice, or on another stack.
#include <sys/syscall.h>

#include <cerrno>

#include "preload/hook.h"

namespace {

bool is_mediated(long number) {
  switch (number) {
#ifdef SYS_open
    case SYS_open:
    case SYS_creat:
    case SYS_unlink:
    case SYS_rmdir:
    case SYS_rename:
    case SYS_link:
    case SYS_symlink:
    case SYS_mkdir:
    case SYS_mknod:
    case SYS_chmod:
    case SYS_chown:
    case SYS_lchown:
    case SYS_utime:
    case SYS_utimes:
    case SYS_futimesat:
#endif
#ifdef SYS_renameat
    case SYS_renameat:
#endif
    case SYS_openat:
    case SYS_openat2:
    case SYS_unlinkat:
    case SYS_renameat2:
    case SYS_linkat:
    case SYS_symlinkat:
    case SYS_mkdirat:
    case SYS_mknodat:
    case SYS_fchmod:
    case SYS_fchmodat:
    case SYS_fchown:
    case SYS_fchownat:
    case SYS_truncate:
    case SYS_utimensat:
    case SYS_setxattr:
    case SYS_lsetxattr:
    case SYS_fsetxattr:
    case SYS_removexattr:
    case SYS_lremovexattr:
    case SYS_fremovexattr:
    case SYS_inotify_add_watch:
    case SYS_connect:
    case SYS_bind:
    case SYS_listen:
    case SYS_sendto:
    case SYS_sendmsg:
    case SYS_sendmmsg:
    case SYS_kill:
    case SYS_tkill:
    case SYS_tgkill:
      return true;
    default:
      return false;
  }
}

using Call = long(long, long, long, long, long, long, long);

[[gnu::noinline, gnu::cold]] long fail(long answer) {
  errno = static_cast<int>(-answer);
  return -1;
}

}  // namespace

// Jumped to, so that the caller is who called syscall().
extern "C" {

// Before the real one is known.
long secbox_syscall_early(long number, long a, long b, long c, long d, long e, long f) {
  const long answer = secbox::preload::kernel_call(number, a, b, c, d, e, f);
  return secbox::preload::is_error(answer) ? fail(answer) : answer;
}

long secbox_syscall_mediated(long number, long a, long b, long c, long d, long e, long f) {
  secbox::preload::Context context{SECBOX_FUNCTION_syscall, SECBOX_SITE, nullptr};
  return context.done(secbox::preload::real<Call>(SECBOX_FUNCTION_syscall)(number, a, b, c, d, e, f));
}

long secbox_syscall_exec(long number, long a, long b, long c, long d, long e, long f) {
  secbox::preload::ExecContext context{SECBOX_FUNCTION_syscall, SECBOX_SITE, nullptr};
  return context.done(secbox::preload::real<Call>(SECBOX_FUNCTION_syscall)(number, a, b, c, d, e, f));
}

// What those take, and the real one, as the jump hands it on. Who calls syscall() with fewer arguments has
// something else where the last ones would be: registers do no harm, but the stack must not even be written
// with what it holds.
#if defined(__x86_64__)
#define SECBOX_IN_REGISTERS (long number, long a, long b, long c, long d, long e)
#define SECBOX_HANDED_ON (number, a, b, c, d, e)
#elif defined(__aarch64__)
#define SECBOX_IN_REGISTERS (long number, long a, long b, long c, long d, long e, long f)
#define SECBOX_HANDED_ON (number, a, b, c, d, e, f)
#endif
long secbox_jump_early SECBOX_IN_REGISTERS;
long secbox_jump_mediated SECBOX_IN_REGISTERS;
long secbox_jump_exec SECBOX_IN_REGISTERS;
}
// Other names, so that no compiler compares the arguments.
__asm__(".set secbox_jump_early, secbox_syscall_early");
__asm__(".set secbox_jump_mediated, secbox_syscall_mediated");
__asm__(".set secbox_jump_exec, secbox_syscall_exec");

SECBOX_EXPORT(long, syscall, SECBOX_IN_REGISTERS) {
  void* known = __atomic_load_n(&secbox::preload::real_functions[SECBOX_FUNCTION_syscall], __ATOMIC_RELAXED);
  if (known == nullptr) return secbox_jump_early SECBOX_HANDED_ON;
  if (is_mediated(number)) return secbox_jump_mediated SECBOX_HANDED_ON;
  if (number == SYS_execve || number == SYS_execveat) return secbox_jump_exec SECBOX_HANDED_ON;
  return reinterpret_cast<long(*) SECBOX_IN_REGISTERS>(known) SECBOX_HANDED_ON;
}
