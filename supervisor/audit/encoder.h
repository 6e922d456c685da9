// Record -> one line of JSON.
//
// A line is one object, ends in one newline, is valid UTF-8 and has no other control character, whatever the
// plugin put into its paths and arguments. Where a text holds bytes that are no UTF-8, those are U+FFFD in
// the member and
// "<member>_bytes" beside it has all of its bytes in base64 (for "argv" and "env_names" an array of the same
// length, null where the element is exact): the pair is unambiguous, since a text that really has U+FFFD has
// no "_bytes".
//
// Always there: schema, timestamp, seq, mono_ns, session, plugin, version, user_id, mode, event, op,
// permissions_used (what was exercised, so [] for a denial), result, duration_ms (null where it was not
// measured). With a decision: decision, rule, target and pid (null with "absent_reason" where the process
// could not be identified). With a denial also errno and errno_name. Other members are left out where they do
// not apply.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <ctime>
#include <memory>
#include <string>
#include <string_view>

#include "supervisor/audit/record.h"

namespace secbox::audit {

inline constexpr std::string_view kSchemaId = "urn:secbox:schema:audit:1";

// What every record of a session has in common.
struct SinkIdentity {
  std::string session;
  std::string plugin;
  std::string version;  // empty = the manifest names none
  std::string mode;     // "enforce" or "audit"
  uid_t user_id = 0;
};

// What is only known when the line is written.
struct Stamp {
  std::uint64_t seq = 0;
  timespec realtime{};
  std::int64_t mono_ns = 0;
};

// The memory of one line, used again for the next.
class Line {
 public:
  // Gives memory back where a very long record took much.
  void trim(std::size_t capacity) {
    if (capacity_ > capacity) *this = Line();
  }

 private:
  friend class Encoder;
  friend class LineOutput;
  std::unique_ptr<char[]> bytes_;
  std::size_t capacity_ = 0;
  std::size_t size_ = 0;
};

class Encoder {
 public:
  explicit Encoder(const SinkIdentity& identity);

  // Replaces `line` by everything but the stamp, with room in front for that. Allocates only to grow `line`.
  // From any thread.
  void encode(const Record& record, Line& line) const;
  // Puts the stamp in front of what encode() made. The result, newline included, is a part of `line`.
  // Before::Newline ends what a torn line left. One thread at a time.
  enum class Before : std::uint8_t { Nothing, Newline };
  [[nodiscard]] std::string_view stamp(Line& line, const Stamp& stamp, Before before = Before::Nothing);

 private:
  std::string identity_;  // the members of SinkIdentity, encoded
  // Date and time of day of the last stamp: it changes once a second.
  time_t second_ = -1;
  char second_text_[20] = {};
};

}  // namespace secbox::audit
