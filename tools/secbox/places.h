// Places that the environment names. Nothing is guessed: "" where there is none.
#pragma once

#include <string>

#include "manifest/grammar.h"
#include "manifest/manifest.h"

namespace secbox::cli {

[[nodiscard]] std::string environment_or(const char* name, const std::string& otherwise);

// Absolute and without ".", ".." and "//", by text alone.
[[nodiscard]] std::string absolute_path(const std::string& path);
// The canonical name of an existing object, or "".
[[nodiscard]] std::string canonical_path(const std::string& path);

// $HOME, or what passwd(5) says where that is unset or empty. "" where it is relative or the root directory:
// a grant below it would be one for everything.
[[nodiscard]] std::string home_directory();
// $SECBOX_STATE_DIR, or "secbox" in the XDG directory for state. A HOME that is of no use, as daemons have
// it, is exchanged for what passwd(5) says: a log needs a place.
[[nodiscard]] std::string state_directory();
[[nodiscard]] std::string config_directory();

// The shim beside this program: <prefix>/bin/secbox -> <prefix>/lib[/<arch>]/libsecbox-preload.so. "" where
// it is missing.
[[nodiscard]] std::string find_shim();

// The variables of a run of `manifest`, all but ${TMP} and ${HOST:...}.
[[nodiscard]] manifest::Variables variables_of(const manifest::Manifest& manifest);

}  // namespace secbox::cli
