#include "supervisor/session/nearest_grant.h"

#include <arpa/inet.h>

#include <string>
#include <utility>

#include "supervisor/checker/decide.h"

namespace secbox::session {

namespace {

std::optional<checker::Endpoint> endpoint_of(const audit::TargetRef& target) {
  checker::Endpoint end{.port = static_cast<std::uint16_t>(target.port)};
  const std::string address(target.ip);
  end.address[10] = end.address[11] = 0xff;
  if (::inet_pton(AF_INET, address.c_str(), end.address.data() + 12) == 1) return end;
  if (::inet_pton(AF_INET6, address.c_str(), end.address.data()) == 1) return end;
  return std::nullopt;
}

}  // namespace

audit::NearestGrant nearest_grant(std::shared_ptr<const checker::Ruleset> rules) {
  return [rules = std::move(rules)](const audit::Record& record, std::string_view path,
                                    std::string_view resolved) -> std::optional<audit::RuleRef> {
    const checker::AccessView access{.verbs = checker::verbs_named(record.permission),
                                     .as_written = path,
                                     .resolved = resolved.empty() ? path : resolved,
                                     .endpoint = endpoint_of(record.target)};
    const checker::Rule* rule = checker::nearest_grant(*rules, access, record.target.host);
    if (rule == nullptr) return std::nullopt;
    return audit::RuleRef{.id = rule->id,
                          .layer = layer_name(rule->layer),
                          .file = rule->source.file,
                          .line = rule->source.line,
                          .text = rule->source.text};
  };
}

}  // namespace secbox::session
