#include "supervisor/checker/access.h"

namespace secbox::checker {

std::string_view verb_name(Verb verb) {
  switch (verb) {
    case Verb::FileRead:
      return "file:read";
    case Verb::FileList:
      return "file:list";
    case Verb::FileWrite:
      return "file:write";
    case Verb::FileCreate:
      return "file:create";
    case Verb::FileDelete:
      return "file:delete";
    case Verb::FileLoad:
      return "file:load";
    case Verb::ExecRun:
      return "exec:run";
    case Verb::NetConnect:
      return "net:connect";
    case Verb::NetBind:
      return "net:bind";
    case Verb::UnixSocket:
      return "ipc:unix";
    case Verb::SignalSend:
      return "signal:send";
    case Verb::EnvRead:
      return "env:read";
  }
  return "unknown";
}

VerbSet verbs_named(std::string_view permission) {
  const std::size_t colon = permission.find(':');
  VerbSet verbs;
  for (std::size_t at = colon; at != std::string_view::npos; at = permission.find('|', at + 1)) {
    const std::string_view word = permission.substr(at + 1, permission.find('|', at + 1) - (at + 1));
    for (std::uint32_t bit = 1; bit <= static_cast<std::uint32_t>(Verb::EnvRead); bit <<= 1) {
      const std::string_view name = verb_name(static_cast<Verb>(bit));
      if (name.substr(0, colon + 1) == permission.substr(0, colon + 1) && name.substr(colon + 1) == word)
        verbs |= static_cast<Verb>(bit);
    }
  }
  return verbs;
}

bool Endpoint::is_v4() const {
  for (std::size_t i = 0; i < 10; ++i) {
    if (address[i] != 0) return false;
  }
  return address[10] == 0xff && address[11] == 0xff;
}

}  // namespace secbox::checker
