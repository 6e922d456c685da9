// How a hook is written: it has the name of what it stands before, tells what is going on, and calls that.
#ifndef SECBOX_PRELOAD_HOOK_H
#define SECBOX_PRELOAD_HOOK_H

#include "preload/context.h"
#include "preload/real.h"

// The name is given to the assembler alone: libc's own declarations would bring attributes (nonnull) with
// which the compiler takes checks away.
#define SECBOX_EXPORT(result, name, parameters)                                             \
  extern "C" [[gnu::visibility("default")]] result secbox_##name parameters __asm__(#name); \
  result secbox_##name parameters

#define SECBOX_REAL(result, name, parameters) \
  ::secbox::preload::real<result parameters>(SECBOX_FUNCTION_##name)

#define SECBOX_AS_DECLARED(result, name, parameters) \
  static_assert(requires { static_cast<result(*) parameters>(&::name); })

#define SECBOX_HOOK_BODY(context, result, name, parameters, arguments, told, ...)   \
  SECBOX_EXPORT(result, name, parameters) {                                         \
    ::secbox::preload::context context_{SECBOX_FUNCTION_##name, SECBOX_SITE, told}; \
    result result_ = SECBOX_REAL(result, name, parameters) arguments;               \
    return context_.done(result_ __VA_OPT__(, ) __VA_ARGS__);                       \
  }

// HOOK(result type, name, (parameters), (arguments), pointer that the system call has too or nullptr)
#define HOOK(result, name, parameters, arguments, pointer) \
  SECBOX_AS_DECLARED(result, name, parameters);            \
  SECBOX_HOOK_BODY(Context, result, name, parameters, arguments, pointer)

// For what returns 0 where it succeeded, else which error it was.
#define HOOK_STATUS(result, name, parameters, arguments, pointer) \
  SECBOX_AS_DECLARED(result, name, parameters);                   \
  SECBOX_HOOK_BODY(Context, result, name, parameters, arguments, pointer, result_ != 0)

// For what libc's headers do not declare.
#define HOOK_UNDECLARED(result, name, parameters, arguments, pointer) \
  SECBOX_HOOK_BODY(Context, result, name, parameters, arguments, pointer)

#endif
