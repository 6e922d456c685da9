#include "tools/harness/audit_log.h"

#include <nlohmann/json.hpp>

namespace secbox::harness {

namespace {

using Json = nlohmann::json;

std::string text_of(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

void add_targets(const Json& json, LogRecord& record) {
  const auto add = [&](std::string text) {
    if (!text.empty()) record.targets.push_back(std::move(text));
  };
  const auto target = json.find("target");
  if (target != json.end() && target->is_object()) {
    for (const char* key : {"path", "to", "name", "abstract_name"}) add(text_of(*target, key));
    // As ${SOCKET:x} names it.
    if (const std::string name = text_of(*target, "abstract_name"); !name.empty()) add("@" + name);
    const auto port = target->find("port");
    const std::string number = port != target->end() && port->is_number_integer()
                                   ? ":" + std::to_string(port->get<int>())
                                   : std::string();
    if (const std::string ip = text_of(*target, "ip"); !ip.empty())
      add((ip.find(':') != std::string::npos ? "[" + ip + "]" : ip) + number);
    if (const std::string host = text_of(*target, "host"); !host.empty()) add(host + number);
    const auto pid = target->find("pid");
    if (pid != target->end() && pid->is_number_integer()) add(std::to_string(pid->get<long>()));
  }
  add(text_of(json, "resolved_target"));
  add(text_of(json, "resolved_target2"));
}

}  // namespace

std::string LogRecord::text() const {
  std::string out = permission.empty() ? (syscall.empty() ? op : syscall) : permission;
  if (!targets.empty()) out += " " + targets.front();
  if (!errno_name.empty()) out += " " + errno_name;
  if (!rule.empty()) out += " (rule " + rule + ")";
  return out;
}

Result<AuditLog> parse_audit_log(std::string_view text) {
  AuditLog log;
  int number = 0;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    ++number;
    const Json json = Json::parse(line, nullptr, false);
    if (!json.is_object())
      return failure("line " + std::to_string(number) + " of the audit log is no JSON object");
    LogRecord record;
    record.event = text_of(json, "event");
    record.op = text_of(json, "op");
    record.syscall = text_of(json, "syscall");
    record.permission = text_of(json, "permission");
    record.decision = text_of(json, "decision");
    record.errno_name = text_of(json, "errno_name");
    record.reason = text_of(json, "reason");
    if (const auto rule = json.find("rule"); rule != json.end() && rule->is_object()) {
      record.rule = text_of(*rule, "id");
      record.layer = text_of(*rule, "layer");
    }
    add_targets(json, record);
    log.has_start = log.has_start || record.event == "session_start";
    log.has_end = log.has_end || record.event == "session_end";
    log.records.push_back(std::move(record));
  }
  return log;
}

}  // namespace secbox::harness
