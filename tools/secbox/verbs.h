// The verbs of the command line: one function a verb, one file a verb.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace secbox::cli {

// Own exit codes; the plugin's status is passed through untouched (docs/cli.md).
inline constexpr int kExitRefused = 120;  // required permission not granted
inline constexpr int kExitDenials = 121;  // --fail-on denial
inline constexpr int kExitInvalid = 122;  // manifest or command line invalid
inline constexpr int kExitFailed = 125;   // secbox itself failed, or could not enforce
inline constexpr int kExitNotExecutable = 126;
inline constexpr int kExitNotFound = 127;

// `args` without the program and the verb. Returns the exit code of the process.
using Args = std::vector<std::string>;
int verb_run(const Args& args);
int verb_validate(const Args& args);
int verb_import(const Args& args);
int verb_schema(const Args& args);
int verb_preset(const Args& args);
int verb_doctor(const Args& args);
int verb_test(const Args& args);
// `secbox help SBX-D101`. The exit code; nullopt where `name` does not look like a code.
[[nodiscard]] std::optional<int> help_on_code(std::string_view name);

}  // namespace secbox::cli
