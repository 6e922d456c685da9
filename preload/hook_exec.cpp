// What starts programs. execve() and its kin may run in a child of vfork(2), on the parent's memory.
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstdarg>
#include <cstddef>

#include "preload/hook.h"

#define HOOK_EXEC(name, parameters, arguments, pointer) \
  SECBOX_AS_DECLARED(int, name, parameters);            \
  SECBOX_HOOK_BODY(ExecContext, int, name, parameters, arguments, pointer)

#define HOOK_COMMAND(result, name, parameters, arguments, command) \
  SECBOX_AS_DECLARED(result, name, parameters);                    \
  SECBOX_HOOK_BODY(TextContext, result, name, parameters, arguments, command)

using secbox::preload::ExecContext;

namespace {

// The file itself where it names one. What is looked for in PATH is a text of libc's own.
const char* unless_searched(const char* file) {
  if (file == nullptr) return nullptr;
  for (const char* at = file; *at != '\0'; ++at) {
    if (*at == '/') return file;
  }
  return nullptr;
}

// Of execl() and its kin: how many there are, with the null pointer at their end.
std::size_t count_arguments(va_list rest) {
  std::size_t count = 2;
  while (va_arg(rest, char*) != nullptr) ++count;
  return count;
}

}  // namespace

HOOK_EXEC(execve, (const char* path, char* const* arguments, char* const* environment),
          (path, arguments, environment), path)
HOOK_EXEC(execv, (const char* path, char* const* arguments), (path, arguments), path)
HOOK_EXEC(execvp, (const char* file, char* const* arguments), (file, arguments), unless_searched(file))
HOOK_EXEC(execvpe, (const char* file, char* const* arguments, char* const* environment),
          (file, arguments, environment), unless_searched(file))
HOOK_EXEC(fexecve, (int fd, char* const* arguments, char* const* environment), (fd, arguments, environment),
          arguments)
HOOK_EXEC(execveat,
          (int directory, const char* path, char* const* arguments, char* const* environment, int flags),
          (directory, path, arguments, environment, flags), path)

// The arguments, with their null pointer, into an array on the stack: it may be as long as the stack has room
// for, as in libc. `rest` is left behind them, where execle() has the environment.
#define COLLECT_ARGUMENTS(list, first, rest)                                  \
  va_start(rest, first);                                                      \
  const std::size_t count = first == nullptr ? 1 : count_arguments(rest);     \
  va_end(rest);                                                               \
  char** list = static_cast<char**>(__builtin_alloca(count * sizeof(char*))); \
  va_start(rest, first);                                                      \
  list[0] = const_cast<char*>(first);                                         \
  for (std::size_t number = 1; number < count; ++number) list[number] = va_arg(rest, char*)

SECBOX_AS_DECLARED(int, execl, (const char*, const char*, ...));
SECBOX_EXPORT(int, execl, (const char* path, const char* first, ...)) {
  va_list rest;
  COLLECT_ARGUMENTS(list, first, rest);
  va_end(rest);
  ExecContext context{SECBOX_FUNCTION_execl, SECBOX_SITE, path};
  return context.done(SECBOX_REAL(int, execv, (const char*, char* const*))(path, list));
}

SECBOX_AS_DECLARED(int, execlp, (const char*, const char*, ...));
SECBOX_EXPORT(int, execlp, (const char* file, const char* first, ...)) {
  va_list rest;
  COLLECT_ARGUMENTS(list, first, rest);
  va_end(rest);
  ExecContext context{SECBOX_FUNCTION_execlp, SECBOX_SITE, unless_searched(file)};
  return context.done(SECBOX_REAL(int, execvp, (const char*, char* const*))(file, list));
}

SECBOX_AS_DECLARED(int, execle, (const char*, const char*, ...));
SECBOX_EXPORT(int, execle, (const char* path, const char* first, ...)) {
  va_list rest;
  COLLECT_ARGUMENTS(list, first, rest);
  char* const* environment = va_arg(rest, char* const*);
  va_end(rest);
  ExecContext context{SECBOX_FUNCTION_execle, SECBOX_SITE, path};
  return context.done(
      SECBOX_REAL(int, execve, (const char*, char* const*, char* const*))(path, list, environment));
}

HOOK_STATUS(int, posix_spawn,
            (pid_t * child, const char* path, const posix_spawn_file_actions_t* actions,
             const posix_spawnattr_t* attributes, char* const* arguments, char* const* environment),
            (child, path, actions, attributes, arguments, environment), path)
HOOK_STATUS(int, posix_spawnp,
            (pid_t * child, const char* file, const posix_spawn_file_actions_t* actions,
             const posix_spawnattr_t* attributes, char* const* arguments, char* const* environment),
            (child, file, actions, attributes, arguments, environment), unless_searched(file))
HOOK_COMMAND(int, system, (const char* command), (command), command)
HOOK_COMMAND(FILE*, popen, (const char* command, const char* type), (command, type), command)
