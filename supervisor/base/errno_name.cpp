#include "supervisor/base/errno_name.h"

#include <cstring>

namespace secbox {

std::string_view errno_name(int error) {
  if (error == 0) return "ok";
  if (const char* name = ::strerrorname_np(error)) return name;
  // include/linux/errno.h: never seen by a program, but a supervisor answers with them.
  switch (error) {
    case 512:
      return "ERESTARTSYS";
    case 513:
      return "ERESTARTNOINTR";
    case 514:
      return "ERESTARTNOHAND";
    case 516:
      return "ERESTART_RESTARTBLOCK";
    default:
      return "unknown";
  }
}

}  // namespace secbox
