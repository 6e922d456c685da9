// A record with everything, and lines taken apart again by a parser that is not ours.
#pragma once

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "supervisor/audit/encoder.h"

namespace secbox::audit {

inline SinkIdentity identity() {
  return {
      .session = "8f3a", .plugin = "custom-embedder", .version = "1.2.0", .mode = "enforce", .user_id = 1000};
}

inline Record denied_open(std::string_view path = "/home/ana/.aws/credentials") {
  Record record;
  record.event = "file_open";
  record.op = "open";
  record.syscall = "openat";
  record.permission = "file:read";
  record.verdict = Verdict::Deny;
  record.result = "EACCES";
  record.err = 13;
  record.reason = "no grant matches";
  record.target.path = path;
  record.resolved_target = path;
  record.pid = 4121;
  record.tid = 4122;
  record.ppid = 4100;
  record.exe = "/usr/bin/python3.11";
  record.comm = "python3.11";
  record.duration_ns = 12'345;
  return record;
}

// The line as the log has it.
inline std::string encoded(const Record& record,
                           Stamp stamp = {.seq = 17, .realtime = {1773570645, 123456789}, .mono_ns = 42}) {
  Encoder encoder(identity());
  Line line;
  encoder.encode(record, line);
  return std::string(encoder.stamp(line, stamp));
}

inline nlohmann::json parsed(std::string_view line) {
  auto json = nlohmann::json::parse(line, nullptr, false);
  EXPECT_FALSE(json.is_discarded()) << line;
  return json;
}

inline std::string from_base64(std::string_view text) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  std::uint32_t bits = 0;
  int have = 0;
  for (const char c : text) {
    if (c == '=') break;
    bits = (bits << 6) | static_cast<std::uint32_t>(kDigits.find(c));
    have += 6;
    if (have >= 8) {
      have -= 8;
      bytes += static_cast<char>((bits >> have) & 0xff);
    }
  }
  return bytes;
}

}  // namespace secbox::audit
