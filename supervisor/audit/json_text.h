// Text that a plugin chose, as a JSON string that can neither forge a line of the log nor reach a terminal as
// a control sequence.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace secbox::audit {

// Appends the inside of a JSON string. Quotes and backslashes are escaped; so are, as \uXXXX, control
// characters (C0, DEL, C1), line and paragraph separators, and characters that reorder or hide text
// (bidirectional controls, zero-width ones, tags). A byte that is no UTF-8 becomes U+FFFD. False where there
// was one: the text alone does not give the bytes back.
bool append_json_text(std::string& out, std::string_view text);

// The same to memory: `at` must have room for kMostPerByte bytes a byte of `text`, and kTextSlack more.
// Returns the end. Clears `exact` where a byte is no UTF-8, and leaves it alone otherwise.
inline constexpr std::size_t kMostPerByte = 6;
inline constexpr std::size_t kTextSlack = 8;
[[nodiscard]] char* put_json_text(char* at, std::string_view text, bool& exact);

// The whole string, quotes included.
[[nodiscard]] std::string json_string(std::string_view text);

// RFC 4648, with padding.
void append_base64(std::string& out, std::string_view bytes);

// The next character of `text` at `at`: its length in bytes, and its code point in `code`; 0 where the bytes
// are not valid UTF-8 (no overlong forms, no surrogates). `at` must be inside.
[[nodiscard]] std::size_t decode_utf8(std::string_view text, std::size_t at, char32_t& code);
// True for what append_json_text() and messages escape although it is valid.
[[nodiscard]] bool is_unsafe_to_print(char32_t code);

}  // namespace secbox::audit
