// Whatever a plugin puts into its names, a record is one line that a JSON parser reads back as it was meant.
#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "supervisor/audit/denial_message.h"
#include "supervisor/audit/encoder.h"
#include "supervisor/audit/json_text.h"
#include "tests/fuzz/require.h"

namespace {

using namespace secbox::audit;

using secbox::fuzz::require;

void require_safe(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    char32_t code = 0;
    const std::size_t length = decode_utf8(text, at, code);
    require(length != 0, "valid UTF-8");
    require(!is_unsafe_to_print(code), "no raw control character");
    at += length;
  }
}

std::string from_base64(std::string_view text) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  std::uint32_t bits = 0;
  int have = 0;
  for (const char c : text.substr(0, text.find('='))) {
    bits = (bits << 6) | static_cast<std::uint32_t>(kDigits.find(c));
    have += 6;
    if (have < 8) continue;
    have -= 8;
    bytes += static_cast<char>((bits >> have) & 0xff);
  }
  return bytes;
}

void require_text(const nlohmann::json& object, const std::string& name, std::string_view bytes) {
  if (bytes.empty()) return;
  const bool inexact = object.contains(name + "_bytes");
  require((inexact ? from_base64(object[name + "_bytes"].get<std::string>())
                   : object[name].get<std::string>()) == bytes,
          "the bytes come back");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider input(data, size);
  const auto text = [&] { return input.ConsumeRandomLengthString(300); };
  const std::string path = text(), resolved = text(), comm = text(), exe = text(), cwd = text(),
                    name = text();
  const std::string reason = text(), rule_text = text(), plugin = text();
  std::vector<std::string> argv;
  for (std::size_t count = input.ConsumeIntegralInRange<std::size_t>(0, 4); count > 0; --count)
    argv.push_back(text());

  Record record;
  record.event = "file_open";
  record.op = "open";
  record.permission = "file:read|write";
  record.verdict = input.PickValueInArray({Verdict::None, Verdict::Allow, Verdict::Deny, Verdict::WouldDeny});
  record.err = input.ConsumeIntegral<int>();
  record.reason = reason;
  if (input.ConsumeBool()) {
    record.rule = RuleRef{.id = "m1",
                          .layer = "manifest",
                          .file = cwd,
                          .line = input.ConsumeIntegral<int>(),
                          .text = rule_text};
  }
  record.target.path = path;
  record.target.name = name;
  record.target.abstract_name = name;
  record.target.port = input.ConsumeIntegral<int>();
  record.resolved_target = resolved;
  record.dev = input.ConsumeIntegral<std::uint64_t>();
  record.flags = input.ConsumeIntegral<std::int64_t>();
  record.pid = input.ConsumeIntegral<pid_t>();
  record.exe = exe;
  record.comm = comm;
  record.cwd = cwd;
  record.argv = argv;
  record.env_names = argv;
  record.duration_ns = input.ConsumeIntegral<std::int64_t>();

  static Line line;
  Encoder encoder({.session = "s", .plugin = plugin, .version = name, .mode = "enforce", .user_id = 0});
  encoder.encode(record, line);
  const std::string_view bytes = encoder.stamp(line, {.seq = 1, .realtime = {}, .mono_ns = 0});
  require(bytes.ends_with("}\n") && std::ranges::count(bytes, '\n') == 1, "one line");
  require_safe(bytes.substr(0, bytes.size() - 1));

  static Line once_more;
  encoder.encode(record, once_more);
  require(encoder.stamp(once_more, {.seq = 1, .realtime = {}, .mono_ns = 0}) == bytes,
          "equal records, equal lines");

  const auto json = nlohmann::json::parse(bytes, nullptr, false);
  require(json.is_object(), "one JSON object");
  require(json.contains("decision") == (record.verdict != Verdict::None), "the decision is ours");
  if (record.verdict == Verdict::Deny) require(json["decision"] == "deny", "a denial stays one");
  require_text(json, "plugin", plugin);
  require_text(json, "comm", comm);
  require_text(json, "exe", exe);
  require_text(json, "cwd", cwd);
  require_text(json, "reason", reason);
  require_text(json, "resolved_target", resolved);
  if (json.contains("target")) {
    require_text(json["target"], "path", path);
    require_text(json["target"], "abstract_name", name);
  }
  if (json.contains("argv")) {
    for (std::size_t i = 0; i < argv.size(); ++i) {
      const bool inexact = json.contains("argv_bytes") && json["argv_bytes"][i].is_string();
      const std::string back = inexact ? from_base64(json["argv_bytes"][i].get<std::string>())
                                       : json["argv"][i].get<std::string>();
      require(back == argv[i], "the arguments come back");
    }
  }

  DenialReporter reporter({.plugin = plugin, .version = name, .session = "s", .manifest_path = cwd});
  std::string message = reporter.report(record, 1) + reporter.report(record, 2) + reporter.footer();
  std::erase(message, '\n');
  require_safe(message);
  return 0;
}
