#include "supervisor/audit/encoder.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "supervisor/audit/json_text.h"
#include "supervisor/base/errno_name.h"

namespace secbox::audit {
namespace {

constexpr std::size_t kStampRoom = 192;  // the longest stamp is 149 bytes

// One JSON object under construction: members, each with its comma.
class Members {
 public:
  explicit Members(std::string& out) : out_(out) {}

  void key(std::string_view key) {
    if (out_.back() != '{') out_ += ',';
    out_ += '"';
    out_ += key;
    out_ += "\":";
  }
  // A key that is not one of ours.
  void text_key(std::string_view name) {
    out_ += ",\"";
    append_json_text(out_, name);
    out_ += "\":";
  }
  // A text that may have come from the plugin.
  void text(std::string_view name, std::string_view value) {
    key(name);
    out_ += '"';
    const bool exact = append_json_text(out_, value);
    out_ += '"';
    if (exact) return;
    out_ += ",\"";
    out_ += name;
    out_ += "_bytes\":\"";
    append_base64(out_, value);
    out_ += '"';
  }
  void text_if_any(std::string_view name, std::string_view value) {
    if (!value.empty()) text(name, value);
  }
  template <typename Integer>
  void number(std::string_view name, Integer value) {
    key(name);
    digits(value);
  }
  void raw(std::string_view name, std::string_view value) {
    key(name);
    out_ += value;
  }
  void texts(std::string_view name, std::span<const std::string> values) {
    key(name);
    bool exact = true;
    char before = '[';
    for (const std::string& value : values) {
      out_ += before;
      out_ += '"';
      exact = append_json_text(out_, value) && exact;
      out_ += '"';
      before = ',';
    }
    if (values.empty()) out_ += '[';
    out_ += ']';
    if (!exact) bytes_of(name, values);
  }
  // "file:read|write" as ["file:read","file:write"].
  void permissions(std::string_view name, std::string_view permission) {
    key(name);
    out_ += '[';
    const std::string_view family = permission.substr(0, permission.find(':') + 1);
    std::string_view verbs = permission.substr(family.size());
    while (!verbs.empty()) {
      const std::size_t end = std::min(verbs.find('|'), verbs.size());
      if (out_.back() != '[') out_ += ',';
      out_ += '"';
      append_json_text(out_, family);
      append_json_text(out_, verbs.substr(0, end));
      out_ += '"';
      verbs.remove_prefix(std::min(end + 1, verbs.size()));
    }
    out_ += ']';
  }
  void open(std::string_view name) {
    key(name);
    out_ += '{';
  }
  void close() { out_ += '}'; }
  void milliseconds(std::string_view name, std::int64_t ns) {
    key(name);
    if (ns < 0) {
      out_ += "null";
      return;
    }
    digits(ns / 1'000'000);
    const auto micros = static_cast<unsigned>(ns / 1'000 % 1'000);
    const char fraction[] = {'.', static_cast<char>('0' + micros / 100),
                             static_cast<char>('0' + micros / 10 % 10), static_cast<char>('0' + micros % 10)};
    out_.append(fraction, sizeof fraction);
  }

 private:
  template <typename Integer>
  void digits(Integer value) {
    char buffer[24];
    const auto end = std::to_chars(buffer, buffer + sizeof buffer, value);
    out_.append(buffer, end.ptr);
  }
  void bytes_of(std::string_view name, std::span<const std::string> values) {
    out_ += ",\"";
    out_ += name;
    out_ += "_bytes\":";
    char before = '[';
    std::string ignored;
    for (const std::string& value : values) {
      out_ += before;
      before = ',';
      ignored.clear();
      if (append_json_text(ignored, value)) {
        out_ += "null";
        continue;
      }
      out_ += '"';
      append_base64(out_, value);
      out_ += '"';
    }
    out_ += ']';
  }

  std::string& out_;
};

std::string_view decision_text(Verdict verdict) {
  switch (verdict) {
    case Verdict::None:
      return "";
    case Verdict::Allow:
      return "allow";
    case Verdict::Deny:
      return "deny";
    case Verdict::WouldDeny:
      return "would_deny";
  }
  return "deny";
}

std::string_view enforcement_text(Enforcement enforcement) {
  switch (enforcement) {
    case Enforcement::None:
      return "";
    case Enforcement::SameObject:
      return "seccomp";
    case Enforcement::RegisterOnly:
      return "seccomp-register";
    case Enforcement::FloorBounded:
      return "landlock-floor";
    case Enforcement::Verified:
      return "ptrace-verified";
    case Enforcement::HandleOnly:
      return "handle-only";
    case Enforcement::NoDecision:
      return "none";
  }
  return "";
}

bool is_empty(const TargetRef& target) {
  return target.path.empty() && target.path2.empty() && target.host.empty() && target.ip.empty() &&
         target.port < 0 && target.abstract_name.empty() && target.name.empty() && target.pid == 0;
}

void encode_rule(Members& line, const std::optional<RuleRef>& rule) {
  line.open("rule");
  if (!rule || rule->id.empty()) {
    line.text("id", "default");
    line.text("layer", rule && !rule->layer.empty() ? rule->layer : "default");
    return line.close();
  }
  line.text("id", rule->id);
  line.text_if_any("layer", rule->layer);
  line.text_if_any("file", rule->file);
  if (rule->line > 0) line.number("line", rule->line);
  line.text_if_any("text", rule->text);
  line.close();
}

void encode_target(Members& line, const Record& record) {
  const TargetRef& target = record.target;
  line.open("target");
  // A decision names what it was about, even where that was the call itself.
  if (is_empty(target)) line.text("name", record.syscall.empty() ? record.op : record.syscall);
  line.text_if_any("path", target.path);
  line.text_if_any("to", target.path2);
  line.text_if_any("host", target.host);
  line.text_if_any("ip", target.ip);
  if (target.port >= 0) line.number("port", target.port);
  line.text_if_any("transport", target.transport);
  line.text_if_any("abstract_name", target.abstract_name);
  line.text_if_any("name", target.name);
  if (target.pid != 0) line.number("pid", target.pid);
  line.close();
}

void two_digits(char* at, int value) {
  at[0] = static_cast<char>('0' + value / 10 % 10);
  at[1] = static_cast<char>('0' + value % 10);
}

}  // namespace

Encoder::Encoder(const SinkIdentity& identity) {
  std::string object = "{";
  Members members(object);
  members.text("session", identity.session);
  members.text("plugin", identity.plugin);
  if (identity.version.empty()) {
    members.raw("version", "null");
  } else {
    members.text("version", identity.version);
  }
  members.number("user_id", identity.user_id);
  members.text("mode", identity.mode);
  identity_ = ',' + object.substr(1);
}

void Encoder::encode(const Record& record, std::string& line) const {
  const bool decided = record.verdict != Verdict::None;
  const bool denied = record.verdict == Verdict::Deny;
  line.clear();
  line.append(kStampRoom, ' ');
  line += identity_;
  Members members(line);
  members.text("event", record.event.empty() ? "unknown" : record.event);
  members.text("op", record.op.empty() ? record.event : record.op);
  members.text_if_any("syscall", record.syscall);
  members.text_if_any("permission", record.permission);
  members.permissions("permissions_used", denied ? std::string_view{} : record.permission);
  if (decided) members.text("decision", decision_text(record.verdict));
  members.text("result", record.result.empty() ? errno_name(record.err) : record.result);
  if (denied || record.err != 0) {
    members.number("errno", record.err);
    members.text("errno_name", errno_name(record.err));
  }
  members.text_if_any("reason", record.reason);
  if (decided || record.rule) encode_rule(members, record.rule);
  if (decided || !is_empty(record.target)) encode_target(members, record);
  members.text_if_any("resolved_target", record.resolved_target);
  members.text_if_any("resolved_target2", record.resolved_target2);
  if (record.dev != 0 || record.ino != 0) {
    members.open("object");
    members.number("dev", record.dev);
    members.number("ino", record.ino);
    members.close();
  }
  if (record.flags >= 0) members.number("flags", record.flags);
  if (record.enforcement != Enforcement::None)
    members.text("enforcement", enforcement_text(record.enforcement));
  if (record.pid != 0) {
    members.number("pid", record.pid);
  } else if (decided) {
    members.raw("pid", "null");
    members.text("absent_reason", "pid: the process could not be identified");
  }
  if (record.tid != 0) members.number("tid", record.tid);
  if (record.ppid != 0) members.number("ppid", record.ppid);
  members.text_if_any("exe", record.exe);
  members.text_if_any("comm", record.comm);
  members.text_if_any("cwd", record.cwd);
  if (!record.argv.empty()) members.texts("argv", record.argv);
  if (!record.env_names.empty()) members.texts("env_names", record.env_names);
  members.milliseconds("duration_ms", record.duration_ns);
  for (const auto& [name, value] : record.extra) {
    members.text_key(name);
    const std::size_t begin = line.size();
    line += value;
    // White space to JSON, the end of the record to a reader of lines.
    for (std::size_t at = begin; at < line.size(); ++at) {
      if (static_cast<unsigned char>(line[at]) < 0x20) line[at] = ' ';
    }
  }
  line += "}\n";
}

std::string_view Encoder::stamp(std::string& line, const Stamp& stamp) {
  if (stamp.realtime.tv_sec != second_) {
    second_ = stamp.realtime.tv_sec;
    tm utc{};
    ::gmtime_r(&second_, &utc);
    const int year = std::clamp(utc.tm_year + 1900, 0, 9999);
    std::memcpy(second_text_, "0000-00-00T00:00:00", 20);
    two_digits(second_text_, year / 100);
    two_digits(second_text_ + 2, year);
    two_digits(second_text_ + 5, utc.tm_mon + 1);
    two_digits(second_text_ + 8, utc.tm_mday);
    two_digits(second_text_ + 11, utc.tm_hour);
    two_digits(second_text_ + 14, utc.tm_min);
    two_digits(second_text_ + 17, utc.tm_sec);
  }
  char text[kStampRoom];
  char* at = text;
  const auto put = [&](std::string_view piece) {
    std::memcpy(at, piece.data(), piece.size());
    at += piece.size();
  };
  put("{\"schema\":\"");
  put(kSchemaId);
  put("\",\"timestamp\":\"");
  put({second_text_, 19});
  *at++ = '.';
  const int micros = static_cast<int>(stamp.realtime.tv_nsec / 1'000);
  two_digits(at, micros / 10'000);
  two_digits(at + 2, micros / 100);
  two_digits(at + 4, micros);
  at += 6;
  put("Z\",\"seq\":");
  at = std::to_chars(at, at + 20, stamp.seq).ptr;
  put(",\"mono_ns\":");
  at = std::to_chars(at, at + 20, stamp.mono_ns).ptr;
  const auto length = static_cast<std::size_t>(at - text);
  const std::size_t begin = kStampRoom - length;
  std::memcpy(line.data() + begin, text, length);
  return std::string_view(line).substr(begin);
}

}  // namespace secbox::audit
