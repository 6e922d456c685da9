#include "supervisor/launch/floor.h"

#include <cstdint>
#include <set>
#include <string>

#include "supervisor/checker/decide.h"

namespace secbox::launch {

namespace {
using checker::Effect;
using checker::Verb;
}  // namespace

sys::LandlockPlan compile_floor(const checker::Ruleset& rules) {
  sys::LandlockPlan plan;
  std::set<std::string> runnable;
  for (const checker::Rule& rule : rules.rules()) {
    if (rule.effect != Effect::Allow) continue;
    if (rule.verbs.contains(Verb::SignalSend)) plan.scope_signals = false;
    // The kernel opens a program and its loader as the plugin: EXECUTE and READ_FILE are asked for both.
    if (!rule.verbs.intersects(Verb::ExecRun | Verb::FileLoad)) continue;
    for (const checker::PathPattern& pattern : rule.paths) runnable.insert(checker::literal_prefix(pattern));
  }
  for (const std::string& path : runnable) plan.rules.push_back({path, sys::kFsExecute | sys::kFsReadFile});

  // TIOCGPTPEER, an ioctl: the kernel opens the other end of a pseudo-terminal as the plugin. See openpty(3).
  const auto granted = [&](Verb verb) {
    return checker::decide(
               rules, {.verbs = verb, .as_written = "/dev/pts/0", .resolved = "/dev/pts/0", .endpoint = {}})
        .allowed();
  };
  std::uint64_t access = 0;
  if (granted(Verb::FileRead)) access |= sys::kFsReadFile | sys::kFsIoctlDev;
  if (granted(Verb::FileWrite)) access |= sys::kFsWriteFile | sys::kFsIoctlDev;
  if (access != 0) plan.rules.push_back({"/dev/pts", access});
  return plan;
}

}  // namespace secbox::launch
