#include "supervisor/audit/json_text.h"

#include <bit>
#include <cstdint>
#include <cstring>

namespace secbox::audit {
namespace {

constexpr char kHex[] = "0123456789abcdef";
constexpr std::uint64_t kOnes = 0x0101010101010101U;
constexpr std::uint64_t kHighs = 0x8080808080808080U;

// The high bit of each of the eight bytes that cannot be copied as it is: below 0x20, '"', '\\', 0x7f and
// above. Bytes after the first that is marked may be marked wrongly (a borrow), so only the first counts.
std::uint64_t needs_escape(std::uint64_t word) {
  const std::uint64_t control = word - kOnes * 0x20;
  const std::uint64_t quote = (word ^ (kOnes * '"')) - kOnes;
  const std::uint64_t backslash = (word ^ (kOnes * '\\')) - kOnes;
  const std::uint64_t del = (word ^ (kOnes * 0x7f)) - kOnes;
  return (((control | quote | backslash | del) & ~word) | word) & kHighs;
}

// How many bytes from `at` on can be copied as they are.
std::size_t plain_run(std::string_view text, std::size_t at) {
  const std::size_t start = at;
  for (; at + 8 <= text.size(); at += 8) {
    std::uint64_t word;
    std::memcpy(&word, text.data() + at, 8);
    static_assert(std::endian::native == std::endian::little);
    if (const std::uint64_t marks = needs_escape(word); marks != 0) {
      return at - start + static_cast<std::size_t>(std::countr_zero(marks)) / 8;
    }
  }
  for (; at < text.size(); ++at) {
    const auto byte = static_cast<unsigned char>(text[at]);
    if (byte < 0x20 || byte >= 0x7f || byte == '"' || byte == '\\') break;
  }
  return at - start;
}

void append_unit(std::string& out, std::uint32_t unit) {
  const char text[] = {
      '\\', 'u', kHex[unit >> 12], kHex[(unit >> 8) & 0xf], kHex[(unit >> 4) & 0xf], kHex[unit & 0xf]};
  out.append(text, sizeof text);
}

void append_escaped(std::string& out, char32_t code) {
  if (code < 0x10000) return append_unit(out, code);
  append_unit(out, 0xd800 + ((code - 0x10000) >> 10));
  append_unit(out, 0xdc00 + ((code - 0x10000) & 0x3ff));
}

}  // namespace

std::size_t decode_utf8(std::string_view text, std::size_t at, char32_t& code) {
  const auto byte = [&](std::size_t i) -> std::uint32_t {
    return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0;
  };
  const auto continues = [&](std::size_t i) { return (byte(i) & 0xc0) == 0x80; };
  const std::uint32_t lead = byte(0);
  if (lead < 0x80) {
    code = lead;
    return 1;
  }
  if (lead >= 0xc2 && lead <= 0xdf && continues(1)) {
    code = ((lead & 0x1f) << 6) | (byte(1) & 0x3f);
    return 2;
  }
  if (lead >= 0xe0 && lead <= 0xef && continues(1) && continues(2)) {
    code = ((lead & 0xf) << 12) | ((byte(1) & 0x3f) << 6) | (byte(2) & 0x3f);
    return code >= 0x800 && (code < 0xd800 || code > 0xdfff) ? 3 : 0;
  }
  if (lead >= 0xf0 && lead <= 0xf4 && continues(1) && continues(2) && continues(3)) {
    code = ((lead & 7) << 18) | ((byte(1) & 0x3f) << 12) | ((byte(2) & 0x3f) << 6) | (byte(3) & 0x3f);
    return code >= 0x10000 && code <= 0x10ffff ? 4 : 0;
  }
  return 0;
}

bool is_unsafe_to_print(char32_t code) {
  if (code < 0x20 || (code >= 0x7f && code < 0xa0)) return true;  // C0, DEL, C1 (0x9b is CSI to a terminal)
  if (code == 0xad || code == 0x61c || code == 0x180e)
    return true;                                      // soft hyphen, Arabic letter mark, vowel separator
  if (code >= 0x200b && code <= 0x200f) return true;  // zero width, left-to-right and right-to-left marks
  if (code >= 0x2028 && code <= 0x202e) return true;  // separators, embeddings, overrides
  if (code >= 0x2060 && code <= 0x206f) return true;  // invisible operators, isolates
  if (code == 0xfeff || (code >= 0xfff9 && code <= 0xfffb))
    return true;                              // byte order mark, interlinear annotation
  return code >= 0xe0000 && code <= 0xe0fff;  // tags
}

bool append_json_text(std::string& out, std::string_view text) {
  bool exact = true;
  for (std::size_t at = 0; at < text.size();) {
    if (const std::size_t run = plain_run(text, at); run != 0) {
      out.append(text, at, run);
      at += run;
      continue;
    }
    const char c = text[at];
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
      ++at;
      continue;
    }
    char32_t code = 0;
    const std::size_t length = decode_utf8(text, at, code);
    if (length == 0) {
      out += "\xef\xbf\xbd";
      exact = false;
      ++at;
      continue;
    }
    if (is_unsafe_to_print(code)) {
      append_escaped(out, code);
    } else {
      out.append(text, at, length);
    }
    at += length;
  }
  return exact;
}

std::string json_string(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 2);
  out += '"';
  append_json_text(out, text);
  out += '"';
  return out;
}

void append_base64(std::string& out, std::string_view bytes) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    std::uint32_t group = 0;
    const std::size_t count = bytes.size() - at < 3 ? bytes.size() - at : 3;
    for (std::size_t i = 0; i < 3; ++i) {
      group = (group << 8) | (i < count ? static_cast<unsigned char>(bytes[at + i]) : 0U);
    }
    out += kDigits[group >> 18];
    out += kDigits[(group >> 12) & 0x3f];
    out += count > 1 ? kDigits[(group >> 6) & 0x3f] : '=';
    out += count > 2 ? kDigits[group & 0x3f] : '=';
  }
}

}  // namespace secbox::audit
