#include "manifest/configuration.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

#include "manifest/document.h"
#include "manifest/grammar.h"
#include "manifest/limit_words.h"

namespace secbox::manifest {

class Configuration::Reader {
 public:
  Reader(Configuration& configuration, const std::string& file, Diagnostics& diagnostics)
      : out_(configuration), file_(file), diagnostics_(diagnostics) {}

  void read(const Node& root) {
    if (!expect_object(root, "")) return;
    check_keys(root, "", {"$schema", "limits", "timeouts", "type", "max", "host"});
    read_groups(root, "", out_.defaults_);
    if (const Node* max = root.find("max"); max != nullptr && expect_object(*max, "/max")) {
      check_keys(*max, "/max", {"limits", "timeouts"});
      std::vector<Setting> most;
      read_groups(*max, "/max", most);
      for (const Setting& setting : most) lower(setting);
    }
    if (const Node* host = root.find("host"); host != nullptr && expect_object(*host, "/host"))
      read_host(*host);
    const Node* types = root.find("type");
    if (types == nullptr || !expect_object(*types, "/type")) return;
    for (const auto& [type, node] : types->members) {
      const std::string pointer = "/type/" + type;
      if (!expect_object(node, pointer)) continue;
      check_keys(node, pointer, {"limits", "timeouts"});
      read_groups(node, pointer, out_.by_type_[type]);
    }
  }

 private:
  void problem(const Node& node, const std::string& pointer, const char* code, const std::string& message,
               const std::string& hint) {
    diagnostics_.all.push_back(
        {Severity::Error, code, message, file_, node.line, node.column, pointer, hint});
  }

  bool expect_object(const Node& node, const std::string& pointer) {
    if (node.kind == Node::Kind::Object) return true;
    problem(node, pointer, "SBX-V104", "an object is expected here, not " + std::string(node.kind_name()),
            "");
    return false;
  }

  void check_keys(const Node& object, const std::string& pointer,
                  const std::vector<std::string_view>& known) {
    for (const auto& [key, value] : object.members) {
      if (key.starts_with("x-") || std::ranges::find(known, key) != known.end()) continue;
      const std::string near = nearest_word(key, known);
      problem(value, pointer + "/" + key, "SBX-V106", "unknown key \"" + key + "\"",
              near.empty() ? "" : "did you mean \"" + near + "\"?");
    }
  }

  void read_groups(const Node& object, const std::string& pointer, std::vector<Setting>& settings) {
    for (const char* group : {"limits", "timeouts"}) {
      const Node* node = object.find(group);
      const std::string here = pointer + "/" + group;
      if (node == nullptr || !expect_object(*node, here)) continue;
      check_keys(*node, here, limit_names(group));
      for (const std::string_view name : limit_names(group)) {
        const Node* entry = node->find(name);
        if (entry == nullptr) continue;
        Setting setting{.group = group, .name = std::string(name), .value = {}};
        // TOML has no null: "none" stands for it everywhere.
        if (entry->kind != Node::Kind::Null && entry->text != "none") setting.value = entry->text;
        Limits limits;
        Timeouts timeouts;
        std::string hint;
        if (!set_limit(group, name, setting.value, limits, timeouts, hint)) {
          problem(*entry, here + "/" + setting.name, "SBX-V116",
                  "\"" + entry->text + "\" cannot be read here", hint);
          continue;
        }
        settings.push_back(std::move(setting));
      }
    }
  }

  // What a value may be depends on where a manifest uses it: a path here, the name of a machine there.
  void read_host(const Node& host) {
    for (const auto& [name, value] : host.members) {
      if (value.kind == Node::Kind::String && !value.text.empty()) {
        out_.host_.emplace_back(name, value.text);
      } else {
        problem(value, "/host/" + name, "SBX-V105",
                "this is " + std::string(value.kind_name()) + ", where what ${HOST:" + name +
                    "} stands for belongs",
                "an absolute path, or the name of a host");
      }
    }
  }

  void lower(const Setting& setting) {
    Limits limits = Limits::none();
    Timeouts timeouts{.init_ms = {}, .hook_ms = {}, .run_ms = {}, .heartbeat_ms = {}};
    std::string hint;
    if (set_limit(setting.group, setting.name, setting.value, limits, timeouts, hint))
      (void)lower_to(limits, timeouts, out_.most_, out_.most_time_);
  }

  Configuration& out_;
  const std::string& file_;
  Diagnostics& diagnostics_;
};

void Configuration::read(const std::string& path, Diagnostics& diagnostics) {
  struct stat st{};
  if (::stat(path.c_str(), &st) != 0 && (errno == ENOENT || errno == ENOTDIR)) return;
  std::string text;
  Diagnostics problems;
  const auto root = read_document(path, text, problems);
  if (!root && text.find_first_not_of(" \t\r\n") == std::string::npos && !text.empty())
    return;  // says nothing
  diagnostics.all.insert(diagnostics.all.end(), problems.all.begin(), problems.all.end());
  if (root) Reader(*this, path, diagnostics).read(*root);
}

void Configuration::fill_in(const Manifest& manifest, Limits& limits, Timeouts& timeouts) const {
  const auto apply = [&](const std::vector<Setting>& settings) {
    for (const Setting& setting : settings) {
      if (manifest.limits_set.contains(setting.group + "/" + setting.name)) continue;
      std::string hint;
      (void)set_limit(setting.group, setting.name, setting.value, limits, timeouts, hint);
    }
  };
  apply(defaults_);
  if (const auto type = by_type_.find(manifest.type); type != by_type_.end()) apply(type->second);
}

std::vector<std::string> Configuration::cap(Limits& limits, Timeouts& timeouts) const {
  return lower_to(most_, most_time_, limits, timeouts);
}

}  // namespace secbox::manifest
