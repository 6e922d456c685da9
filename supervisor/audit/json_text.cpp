#include "supervisor/audit/json_text.h"

#include <bit>
#include <cstdint>
#include <cstring>

namespace secbox::audit {
namespace {

constexpr char kHex[] = "0123456789abcdef";
// The high bit of each byte that cannot be copied as it is: below 0x20, '"', '\\', 0x7f and above. Bytes
// after the first that is marked may be marked wrongly (a borrow), so only the first counts.
template <typename Word>
Word needs_escape(Word word) {
  constexpr Word kOnes = static_cast<Word>(0x0101010101010101U);
  constexpr Word kHighs = static_cast<Word>(kOnes << 7);
  const Word control = word - kOnes * 0x20;
  const Word quote = (word ^ (kOnes * '"')) - kOnes;
  const Word backslash = (word ^ (kOnes * '\\')) - kOnes;
  const Word del = (word ^ (kOnes * 0x7f)) - kOnes;
  return (((control | quote | backslash | del) & ~word) | word) & kHighs;
}

// Copies a word whether it is plain or not, and says how much of it was. The next copy overwrites the rest.
template <typename Word>
std::size_t copy_plain(char* to, const char* from) {
  static_assert(std::endian::native == std::endian::little);
  Word word;
  std::memcpy(&word, from, sizeof word);
  std::memcpy(to, &word, sizeof word);
  const Word marks = needs_escape(word);
  return marks == 0 ? sizeof word : static_cast<std::size_t>(std::countr_zero(marks)) / 8;
}

// Copies the plain bytes at the front of `text`; returns how many.
std::size_t copy_plain_run(char* to, std::string_view text) {
  std::size_t at = 0;
  for (; at + 8 <= text.size(); at += 8) {
    if (const std::size_t plain = copy_plain<std::uint64_t>(to + at, text.data() + at); plain != 8)
      return at + plain;
  }
  if (at + 4 <= text.size()) {
    if (const std::size_t plain = copy_plain<std::uint32_t>(to + at, text.data() + at); plain != 4)
      return at + plain;
    at += 4;
  }
  for (; at < text.size(); ++at) {
    const auto byte = static_cast<unsigned char>(text[at]);
    if (byte < 0x20 || byte >= 0x7f || byte == '"' || byte == '\\') break;
    to[at] = text[at];
  }
  return at;
}

char* put_unit(char* to, std::uint32_t unit) {
  const char text[] = {
      '\\', 'u', kHex[unit >> 12], kHex[(unit >> 8) & 0xf], kHex[(unit >> 4) & 0xf], kHex[unit & 0xf]};
  std::memcpy(to, text, sizeof text);
  return to + sizeof text;
}

char* put_escaped(char* to, char32_t code) {
  if (code < 0x10000) return put_unit(to, code);
  return put_unit(put_unit(to, 0xd800 + ((code - 0x10000) >> 10)), 0xdc00 + ((code - 0x10000) & 0x3ff));
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

char* put_json_text(char* to, std::string_view text, bool& exact) {
  while (true) {
    const std::size_t plain = copy_plain_run(to, text);
    to += plain;
    text.remove_prefix(plain);
    if (text.empty()) return to;
    const char c = text[0];
    if (c == '"' || c == '\\') {
      *to++ = '\\';
      *to++ = c;
      text.remove_prefix(1);
      continue;
    }
    char32_t code = 0;
    const std::size_t length = decode_utf8(text, 0, code);
    if (length == 0) {
      std::memcpy(to, "\xef\xbf\xbd", 3);
      to += 3;
      exact = false;
      text.remove_prefix(1);
      continue;
    }
    if (is_unsafe_to_print(code)) {
      to = put_escaped(to, code);
    } else {
      std::memcpy(to, text.data(), length);
      to += length;
    }
    text.remove_prefix(length);
  }
}

bool append_json_text(std::string& out, std::string_view text) {
  const std::size_t before = out.size();
  out.resize(before + text.size() * kMostPerByte + kTextSlack);
  bool exact = true;
  const char* const end = put_json_text(out.data() + before, text, exact);
  out.resize(static_cast<std::size_t>(end - out.data()));
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
