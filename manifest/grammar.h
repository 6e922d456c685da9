// The permission grammar: class ":" verb ["|" verb ...] ":" scope. See docs/manifest.md.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "supervisor/checker/ruleset.h"

namespace secbox::manifest {

enum class GrantClass : std::uint8_t { File, Net, Exec, Env, Unix, Signal, Later };

struct Grant {
  GrantClass kind = GrantClass::File;
  checker::VerbSet verbs;
  std::string scope;         // as written, behind "class:verbs:"
  std::string not_enforced;  // what is read and grants nothing in this version: "rpc:call:x", "resolve"
};

struct GrammarError {
  std::string code, message, hint;
};

// Splits a grant. Scopes are read by the functions below, which need the variables of a run.
[[nodiscard]] std::expected<Grant, GrammarError> parse_grant(std::string_view text);

// What a ${HOST:name} stands for that `host` does not have. StandIn: a place or host that exists nowhere, for
// checking a manifest away from its host.
enum class UnknownHostValue : std::uint8_t { Error, StandIn };

// Values of ${...}. An empty one is unset: using it is an error.
struct Variables {
  std::string home, cwd, tmp, plugin_dir, plugin_data;
  std::vector<std::pair<std::string, std::string>> host;  // ${HOST:name}
  UnknownHostValue unknown_host = UnknownHostValue::Error;
};
// Values that mean nothing but are there: what checks the form of a scope before a run.
[[nodiscard]] const Variables& stand_in_variables();

// Pattern: wildcards, braces and commas in a value mean themselves. Plain: the value as it is.
enum class Quoting : std::uint8_t { Pattern, Plain };
// Names of the ${HOST:...} that got a stand-in are added to `stand_ins`.
[[nodiscard]] std::expected<std::string, GrammarError> expand_variables(std::string_view text,
                                                                        const Variables& variables,
                                                                        Quoting quoting,
                                                                        std::vector<std::string>& stand_ins);

// {a,b} alternatives, nested ones too, become patterns of their own; at most 256.
[[nodiscard]] std::expected<std::vector<std::string>, GrammarError> expand_braces(std::string_view text);

// An expanded file, exec or unix scope: absolute or "**/...", "/x/" means "/x/**". Validates the glob.
[[nodiscard]] std::expected<std::vector<checker::PathPattern>, GrammarError> path_patterns(
    std::string_view scope);

// "[tcp/|udp/]HOST[:PORTS]". `warning` is set for what this version cannot match. tcp where nothing is said.
[[nodiscard]] std::expected<std::vector<checker::NetPattern>, GrammarError> net_patterns(
    std::string_view scope, std::string& warning);

// The whole scope of a grant, by its class; empty for GrantClass::Later.
struct Scope {
  std::vector<checker::PathPattern> paths;
  std::vector<checker::NetPattern> nets;
  bool names_transport = false;        // "tcp/" or "udp/" was written
  std::string warning;                 // what this version cannot match
  std::vector<std::string> stand_ins;  // the ${HOST:...} that have no value
};
[[nodiscard]] std::expected<Scope, GrammarError> read_scope(const Grant& grant, const Variables& variables);

// The globs that the "match" of a rule by module stands for: each over the whole path of a module, or,
// without a
// '/', over its last component. See checker::ModuleRule.
[[nodiscard]] std::expected<std::vector<std::string>, GrammarError> module_patterns(
    std::string_view match, const Variables& variables, std::vector<std::string>& stand_ins);

// What is wrong with `except` as an exception of `use`: of another class, or about none of its verbs.
[[nodiscard]] std::expected<void, GrammarError> check_exception(const Grant& use, const Grant& except);

// True where the text begins with the name of a class ("file:..."); a bare scope does not.
[[nodiscard]] bool begins_with_class(std::string_view text);

}  // namespace secbox::manifest
