// SHA-256, for digests of manifests and rulesets. libsodium does the work: no cryptography of our own.
#pragma once

#include <string>
#include <string_view>

namespace secbox {

// 64 lower-case hexadecimal digits.
[[nodiscard]] std::string sha256_hex(std::string_view bytes);

}  // namespace secbox
