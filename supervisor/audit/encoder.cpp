#include "supervisor/audit/encoder.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <memory>

#include "supervisor/audit/json_text.h"
#include "supervisor/base/errno_name.h"

namespace secbox::audit {
namespace {

constexpr std::size_t kStampRoom = 192;   // the longest stamp is 149 bytes
constexpr std::size_t kUsualLine = 2048;  // so that a line that is not unusual never makes the buffer grow

}  // namespace

// Writes into a Line. Every put_*() needs room() first, which keeps the checks to one a member.
class LineOutput {
 public:
  explicit LineOutput(Line& line) : line_(line), at_(line.bytes_.get()), end_(at_ + line.capacity_) {}
  ~LineOutput() { line_.size_ = used(); }
  LineOutput(const LineOutput&) = delete;
  LineOutput& operator=(const LineOutput&) = delete;

  void room(std::size_t size) {
    if (static_cast<std::size_t>(end_ - at_) < size) grow(size);
  }
  void put(char c) { *at_++ = c; }
  void put(std::string_view text) {
    std::memcpy(at_, text.data(), text.size());
    at_ += text.size();
  }
  void put_text(std::string_view text, bool& exact) { at_ = put_json_text(at_, text, exact); }
  template <typename Integer>
  void put_number(Integer value) {
    at_ = std::to_chars(at_, end_, value).ptr;
  }
  void skip(std::size_t size) { at_ += size; }
  [[nodiscard]] char last() const { return at_[-1]; }

 private:
  [[nodiscard]] std::size_t used() const { return static_cast<std::size_t>(at_ - line_.bytes_.get()); }
  void grow(std::size_t size) {
    const std::size_t before = used();
    const std::size_t capacity = std::max(line_.capacity_ * 2, before + size);
    auto bytes = std::make_unique_for_overwrite<char[]>(capacity);
    if (before != 0) std::memcpy(bytes.get(), line_.bytes_.get(), before);
    line_.bytes_ = std::move(bytes);
    line_.capacity_ = capacity;
    at_ = line_.bytes_.get() + before;
    end_ = line_.bytes_.get() + capacity;
  }

  Line& line_;
  char* at_;
  char* end_;
};

namespace {

constexpr std::size_t kNumberRoom = 24;
constexpr std::size_t kKeyRoom = 40;  // the longest of our keys, with its quotes, commas and "_bytes"

// A key, as a literal: its length is known, so it is copied without a call.
template <std::size_t N>
using Key = const char (&)[N];

// One JSON object under construction: members, each with its comma.
class Members {
 public:
  explicit Members(LineOutput& out) : out_(out) {}

  // A text that may have come from the plugin.
  template <std::size_t N>
  void text(Key<N> name, std::string_view value) {
    out_.room(kKeyRoom + value.size() * kMostPerByte + kTextSlack);
    key(name);
    out_.put('"');
    bool exact = true;
    out_.put_text(value, exact);
    out_.put('"');
    if (!exact) bytes_of(name, value);
  }
  template <std::size_t N>
  void text_if_any(Key<N> name, std::string_view value) {
    if (!value.empty()) text(name, value);
  }
  template <std::size_t N>
  void text_or_null(Key<N> name, std::string_view value) {
    if (value.empty()) return raw(name, "null");
    text(name, value);
  }
  template <std::size_t N, typename Integer>
  void number(Key<N> name, Integer value) {
    out_.room(kKeyRoom + kNumberRoom);
    key(name);
    out_.put_number(value);
  }
  template <std::size_t N>
  void raw(Key<N> name, std::string_view value) {
    out_.room(kKeyRoom + value.size());
    key(name);
    out_.put(value);
  }
  template <std::size_t N>
  void texts(Key<N> name, std::span<const std::string> values) {
    out_.room(kKeyRoom);
    key(name);
    bool exact = true;
    char before = '[';
    for (const std::string& value : values) {
      out_.room(kKeyRoom + value.size() * kMostPerByte + kTextSlack);
      out_.put(before);
      out_.put('"');
      out_.put_text(value, exact);
      out_.put('"');
      before = ',';
    }
    out_.put(']');
    if (!exact) bytes_of(name, values);
  }
  // "file:read|write" as ["file:read","file:write"].
  template <std::size_t N>
  void permissions(Key<N> name, std::string_view permission) {
    out_.room(kKeyRoom);
    key(name);
    out_.put('[');
    const std::string_view family = permission.substr(0, permission.find(':') + 1);
    std::string_view verbs = permission.substr(family.size());
    bool ignored = true;
    while (!verbs.empty()) {
      const std::size_t end = std::min(verbs.find('|'), verbs.size());
      out_.room(kKeyRoom + (family.size() + end) * kMostPerByte + kTextSlack);
      if (out_.last() != '[') out_.put(',');
      out_.put('"');
      out_.put_text(family, ignored);
      out_.put_text(verbs.substr(0, end), ignored);
      out_.put('"');
      verbs.remove_prefix(std::min(end + 1, verbs.size()));
    }
    out_.room(1);
    out_.put(']');
  }
  template <std::size_t N>
  void open(Key<N> name) {
    out_.room(kKeyRoom);
    key(name);
    out_.put('{');
  }
  void close() {
    out_.room(2);
    out_.put('}');
  }
  template <std::size_t N>
  void milliseconds(Key<N> name, std::int64_t ns) {
    if (ns < 0) return raw(name, "null");
    out_.room(kKeyRoom + kNumberRoom);
    key(name);
    out_.put_number(ns / 1'000'000);
    const auto micros = static_cast<unsigned>(ns / 1'000 % 1'000);
    const char fraction[] = {'.', static_cast<char>('0' + micros / 100),
                             static_cast<char>('0' + micros / 10 % 10), static_cast<char>('0' + micros % 10)};
    out_.put({fraction, sizeof fraction});
  }
  // A member that somebody else encoded. Control characters are white space to JSON, but the end of the
  // record to a reader of lines.
  void foreign(std::string_view name, std::string_view value) {
    out_.room(kKeyRoom + name.size() * kMostPerByte + kTextSlack + value.size());
    bool ignored = true;
    out_.put(",\"");
    out_.put_text(name, ignored);
    out_.put("\":");
    for (const char c : value) out_.put(static_cast<unsigned char>(c) < 0x20 ? ' ' : c);
  }

 private:
  template <std::size_t N>
  void key(Key<N> name) {
    if (out_.last() != '{') out_.put(',');
    out_.put('"');
    out_.put(std::string_view(name, N - 1));
    out_.put("\":");
  }
  void bytes_key(std::string_view name) {
    out_.put(",\"");
    out_.put(name);
    out_.put("_bytes\":");
  }
  void bytes_of(std::string_view name, std::string_view value) {
    std::string text;
    append_base64(text, value);
    out_.room(kKeyRoom + text.size());
    bytes_key(name);
    out_.put('"');
    out_.put(text);
    out_.put('"');
  }
  void bytes_of(std::string_view name, std::span<const std::string> values) {
    out_.room(kKeyRoom);
    bytes_key(name);
    char before = '[';
    std::string text;
    for (const std::string& value : values) {
      text.clear();
      const bool exact = append_json_text(text, value);
      text.clear();
      if (!exact) append_base64(text, value);
      out_.room(kKeyRoom + text.size());
      out_.put(before);
      before = ',';
      if (exact) {
        out_.put("null");
        continue;
      }
      out_.put('"');
      out_.put(text);
      out_.put('"');
    }
    out_.put(']');
  }

  LineOutput& out_;
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

void encode_caller(Members& line, const CallerRef& caller) {
  line.open("caller");
  if (caller.checked) {
    line.text("module", caller.module);
  } else {
    line.raw("module", "null");
    line.text("absent_reason", "module: no file's code is at the address");
  }
  line.number("offset", caller.offset);
  line.text_or_null("function", caller.function);
  line.text_or_null("build_id", caller.build_id);
  line.text_if_any("call", caller.call);
  line.text_if_any("host", caller.host);
  line.text_if_any("command", caller.command);
  line.text_if_any("library", caller.library);
  line.text("source", caller.from_shim ? "shim" : "instruction");
  line.raw("checked", caller.checked ? "true" : "false");
  if (caller.invalid_claim) line.raw("invalid_claim", "true");
  line.close();
}

void two_digits(char* at, int value) {
  at[0] = static_cast<char>('0' + value / 10 % 10);
  at[1] = static_cast<char>('0' + value % 10);
}

}  // namespace

Encoder::Encoder(const SinkIdentity& identity) {
  Line line;
  {
    LineOutput out(line);
    out.room(1);
    out.put('{');
    Members members(out);
    members.text("session", identity.session);
    members.text("plugin", identity.plugin);
    members.text_or_null("version", identity.version);
    members.number("user_id", identity.user_id);
    members.text("mode", identity.mode);
  }
  identity_ = ',' + std::string(line.bytes_.get() + 1, line.size_ - 1);
}

void Encoder::encode(const Record& record, Line& line) const {
  const bool decided = record.verdict != Verdict::None;
  const bool denied = record.verdict == Verdict::Deny;
  LineOutput out(line);
  out.room(kUsualLine + identity_.size());
  out.skip(kStampRoom);
  out.put(identity_);
  Members members(out);
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
  if (record.caller) encode_caller(members, *record.caller);
  if (!record.argv.empty()) members.texts("argv", record.argv);
  if (!record.env_names.empty()) members.texts("env_names", record.env_names);
  members.milliseconds("duration_ms", record.duration_ns);
  for (const auto& [name, value] : record.extra) members.foreign(name, value);
  out.room(2);
  out.put("}\n");
}

std::string_view Encoder::stamp(Line& line, const Stamp& stamp, Before before) {
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
  if (before == Before::Newline) *at++ = '\n';
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
  std::memcpy(line.bytes_.get() + begin, text, length);
  return {line.bytes_.get() + begin, line.size_ - begin};
}

}  // namespace secbox::audit
