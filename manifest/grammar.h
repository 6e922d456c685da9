// The permission grammar: class ":" verb ["|" verb ...] ":" scope. See docs/manifest.md.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/checker/ruleset.h"

namespace secbox::manifest {

enum class GrantClass : std::uint8_t { File, Net, Exec, Env, Unix, Signal, Later };

struct Grant {
  GrantClass kind = GrantClass::File;
  checker::VerbSet verbs;
  std::string scope;  // as written, behind "class:verbs:"
};

struct GrammarError {
  std::string code, message, hint;
};

// Splits a grant. Scopes are read by the functions below, which need the variables of a run.
[[nodiscard]] std::expected<Grant, GrammarError> parse_grant(std::string_view text);

// Values of ${...}. An empty one is unset: using it is an error.
struct Variables {
  std::string home, cwd, tmp, plugin_dir, plugin_data;
  std::vector<std::pair<std::string, std::string>> host;  // ${HOST:name}
};
[[nodiscard]] std::expected<std::string, GrammarError> expand_variables(std::string_view text,
                                                                        const Variables& variables);

// {a,b} alternatives, nested ones too, become patterns of their own; at most 256.
[[nodiscard]] std::expected<std::vector<std::string>, GrammarError> expand_braces(std::string_view text);

// An expanded file, exec or unix scope: absolute or "**/...", "/x/" means "/x/**". Validates the glob.
[[nodiscard]] std::expected<std::vector<checker::PathPattern>, GrammarError> path_patterns(
    std::string_view scope);

// "[tcp/|udp/]HOST[:PORTS]". `warning` is set for what this version cannot match. tcp where nothing is said.
[[nodiscard]] std::expected<std::vector<checker::NetPattern>, GrammarError> net_patterns(
    std::string_view scope, std::string& warning);

}  // namespace secbox::manifest
