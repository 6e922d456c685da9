#include "supervisor/launch/floor.h"

#include <algorithm>
#include <cstdint>
#include <set>
#include <string>

#include "supervisor/checker/decide.h"

namespace secbox::launch {

namespace {
using checker::Effect;
using checker::Verb;

bool is_granted(const checker::Ruleset& rules, Verb verb) {
  return std::ranges::any_of(rules.rules(), [&](const checker::Rule& rule) {
    return rule.effect == Effect::Allow && rule.verbs.contains(verb);
  });
}
}  // namespace

sys::LandlockPlan compile_session_layer(const checker::Ruleset& rules) {
  sys::LandlockPlan plan;
  // A domain that does not speak of REFER denies it.
  plan.handled_fs = sys::kFsMakeChar | sys::kFsMakeBlock | sys::kFsRefer;
  plan.rules.push_back({"/", sys::kFsRefer});
  plan.handled_net = 0;
  if (!is_granted(rules, Verb::NetBind)) plan.handled_net |= sys::kNetBindTcp;
  if (!is_granted(rules, Verb::NetConnect)) plan.handled_net |= sys::kNetConnectTcp;
  plan.scope_signals = !is_granted(rules, Verb::SignalSend);
  plan.scope_abstract_sockets = !is_granted(rules, Verb::UnixSocket);
  return plan;
}

sys::LandlockPlan compile_floor(const checker::Ruleset& rules) {
  sys::LandlockPlan plan;
  plan.scope_signals = !is_granted(rules, Verb::SignalSend);
  std::set<std::string> runnable;
  for (const checker::Rule& rule : rules.rules()) {
    if (rule.effect != Effect::Allow) continue;
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
