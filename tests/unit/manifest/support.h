// Manifests in a line, a file system of links, and questions to what they compile to.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "manifest/compile.h"
#include "manifest/load.h"
#include "supervisor/checker/decide.h"

namespace secbox::manifest {

class FakeLinks final : public LinkReader {
 public:
  explicit FakeLinks(std::map<std::string, std::string> links = {}) : links_(std::move(links)) {}
  std::optional<std::string> read_link(const std::string& path) override {
    ++reads;
    const auto found = links_.find(path);
    return found == links_.end() ? std::nullopt : std::optional(found->second);
  }
  int reads = 0;

 private:
  std::map<std::string, std::string> links_;
};

// The links that a Debian 12 has in its root directory.
inline std::map<std::string, std::string> merged_usr() {
  return {{"/bin", "usr/bin"}, {"/sbin", "usr/sbin"}, {"/lib", "usr/lib"}, {"/lib64", "usr/lib64"}};
}

inline Variables run_variables() {
  return {.home = "/home/ana",
          .cwd = "/project",
          .tmp = "/tmp/run",
          .plugin_dir = "/opt/plugin",
          .plugin_data = "/home/ana/.local/share/secbox/x",
          .host = {{"documents", "/home/ana/Documents"}, {"db", "127.0.0.1:5432"}}};
}

// A JSON manifest without presets: `permissions` and what else stands behind it.
inline std::string bare(const std::string& permissions, const std::string& more = {}) {
  return R"({"id":"x","presets":[],"permissions":{)" + permissions + "}" + more + "}";
}
inline std::string required(const std::string& grants) { return bare("\"required\":[" + grants + "]"); }

struct Compiled {
  Diagnostics diagnostics;
  std::vector<checker::Rule> rules;
  std::shared_ptr<const checker::Ruleset> ruleset;  // null after an error

  [[nodiscard]] bool allowed(checker::VerbSet verbs, std::string_view path) const {
    return allowed(verbs, path, path);
  }
  [[nodiscard]] bool allowed(checker::VerbSet verbs, std::string_view as_written,
                             std::string_view resolved) const {
    return decide({.verbs = verbs, .as_written = as_written, .resolved = resolved, .endpoint = {}}).allowed();
  }
  [[nodiscard]] bool connects(const checker::Endpoint& endpoint) const {
    return net(checker::Verb::NetConnect, endpoint);
  }
  [[nodiscard]] bool binds(const checker::Endpoint& endpoint) const {
    return net(checker::Verb::NetBind, endpoint);
  }
  [[nodiscard]] bool net(checker::Verb verb, const checker::Endpoint& endpoint) const {
    return decide({.verbs = verb, .as_written = {}, .resolved = {}, .endpoint = endpoint}).allowed();
  }
  [[nodiscard]] checker::Decision decide(const checker::AccessView& view) const {
    return ruleset ? checker::decide(*ruleset, view) : checker::Decision();
  }
  [[nodiscard]] int count(std::string_view code) const {
    return static_cast<int>(std::ranges::count(diagnostics.all, code, &Diagnostic::code));
  }
  [[nodiscard]] std::string codes() const {
    std::string out;
    for (const Diagnostic& d : diagnostics.all) out += (out.empty() ? "" : " ") + d.code;
    return out;
  }
};

inline Compiled compile_manifest(const Manifest& manifest, CompileOptions options, Diagnostics diagnostics) {
  Compiled result;
  result.diagnostics = std::move(diagnostics);
  result.rules = compile(manifest, options, result.diagnostics);
  if (result.diagnostics.has_errors()) return result;
  auto ruleset = checker::Ruleset::make(result.rules);
  EXPECT_TRUE(ruleset.has_value()) << "what compiles without an error is a ruleset: "
                                   << (ruleset ? "" : ruleset.error().text());
  if (ruleset) result.ruleset = std::make_shared<const checker::Ruleset>(std::move(*ruleset));
  return result;
}

inline Compiled compile_text(std::string_view text, std::map<std::string, std::string> links = {},
                             CompileOptions options = {}, Format format = Format::Json) {
  FakeLinks reader(std::move(links));
  if (options.links == nullptr) options.links = &reader;
  if (options.variables.home.empty()) options.variables = run_variables();
  Loaded loaded = load_manifest_text(text, format, "m.json");
  if (!loaded.manifest) {
    Compiled failed;
    failed.diagnostics = std::move(loaded.diagnostics);
    return failed;
  }
  return compile_manifest(*loaded.manifest, options, std::move(loaded.diagnostics));
}

// "a.b.c.d" or IPv6, as the rules see it.
checker::Endpoint endpoint(const std::string& address, int port,
                           checker::Transport transport = checker::Transport::Tcp);

}  // namespace secbox::manifest
