#include "tools/harness/exit_rule.h"

#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <cstring>

namespace secbox::harness {

namespace {
std::string signal_text(int signal) {
  const char* name = ::sigabbrev_np(signal);
  return name != nullptr ? "SIG" + std::string(name) : "signal " + std::to_string(signal);
}
}  // namespace

bool ExitRule::holds(int wait_status) const {
  if (any) return true;
  if (WIFSIGNALED(wait_status)) return std::ranges::find(signals, WTERMSIG(wait_status)) != signals.end();
  return WIFEXITED(wait_status) && std::ranges::find(statuses, WEXITSTATUS(wait_status)) != statuses.end();
}

std::string ExitRule::text() const {
  if (any) return "any";
  std::string out;
  for (const int status : statuses) out += (out.empty() ? "" : " or ") + std::to_string(status);
  for (const int signal : signals) out += (out.empty() ? "" : " or ") + signal_text(signal);
  return out;
}

std::string ending_text(int wait_status) {
  if (WIFSIGNALED(wait_status)) return "killed by " + signal_text(WTERMSIG(wait_status));
  return "exit status " + std::to_string(WEXITSTATUS(wait_status));
}

}  // namespace secbox::harness
