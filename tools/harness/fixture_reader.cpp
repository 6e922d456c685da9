#include "tools/harness/fixture_reader.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <set>

#include "manifest/document.h"
#include "tools/harness/codes.h"
#include "tools/harness/variables.h"

namespace secbox::harness {

namespace {

using manifest::Node;
using Words = std::vector<std::string>;

// Whether a "${NAME}" that the harness does not know is a mistake, or somebody else's to replace.
enum class Unknown : std::uint8_t { IsAnError, Stays };

constexpr const char* kManifestNames[] = {"secbox.json", "secbox.jsonc", "secbox.yaml", "secbox.yml",
                                          "secbox.toml"};
constexpr std::string_view kDefaultKeys[] = {"users",  "args",        "world",   "manifest",    "options",
                                             "input",  "environment", "timeout", "native_exit", "exit",
                                             "denied", "not_denied",  "allowed", "forbidden",   "required",
                                             "golden", "command"};

int signal_number(std::string_view name) {
  if (name.starts_with("SIG")) name.remove_prefix(3);
  for (int signal = 1; signal < NSIG; ++signal) {
    const char* known = ::sigabbrev_np(signal);
    if (known != nullptr && name == known) return signal;
  }
  return 0;
}

template <typename Integer>
bool parse_number(std::string_view text, Integer& out, int base = 10) {
  const auto done = std::from_chars(text.data(), text.data() + text.size(), out, base);
  return done.ec == std::errc() && done.ptr == text.data() + text.size();
}

class Reader {
 public:
  Reader(std::string folder, manifest::Diagnostics& diagnostics)
      : folder_(std::move(folder)), file_(folder_ + "/" + kExpectFile), diagnostics_(diagnostics) {}

  std::optional<Fixture> read(const std::string& name) {
    std::string text;
    const std::size_t before = diagnostics_.all.size();
    const auto root = manifest::read_document(file_, text, diagnostics_);
    if (!root) return std::nullopt;
    if (root->kind != Node::Kind::Object) {
      problem(*root, "", "SBX-V105", "a fixture is an object, not " + std::string(root->kind_name()), "");
      return std::nullopt;
    }
    fixture_.folder = folder_;
    fixture_.name = name;
    read_top(*root);
    if (diagnostics_.all.size() != before) return std::nullopt;
    return std::move(fixture_);
  }

 private:
  // A default is read once a case: what is wrong with it is said once.
  void problem(const Node& node, const std::string& pointer, const char* code, const std::string& message,
               const std::string& hint) {
    if (!seen_.emplace(node.line, node.column, message).second) return;
    diagnostics_.all.push_back(
        {manifest::Severity::Error, code, message, file_, node.line, node.column, pointer, hint});
  }

  void check_keys(const Node& object, const std::string& pointer,
                  const std::vector<std::string_view>& known) {
    for (const auto& [key, value] : object.members) {
      if (key.starts_with("x-") || std::ranges::find(known, key) != known.end()) continue;
      unknown_word(value, pointer + "/" + key, "SBX-V106", "unknown key \"" + key + "\"", key, known);
    }
  }

  void unknown_word(const Node& node, const std::string& pointer, const char* code,
                    const std::string& message, std::string_view word,
                    const std::vector<std::string_view>& known) {
    const std::string near = manifest::nearest_word(word, known);
    std::string list;
    for (const std::string_view each : known) list += (list.empty() ? "" : ", ") + std::string(each);
    problem(node, pointer, code, message,
            near.empty() ? "known here: " + list : "did you mean \"" + near + "\"?");
  }

  bool expect(const Node& node, Node::Kind kind, const std::string& pointer, const char* what) {
    if (node.kind == kind) return true;
    problem(node, pointer, "SBX-V105",
            "this is " + std::string(node.kind_name()) + ", where " + what + " belongs", "");
    return false;
  }

  std::string read_text(const Node* node, const std::string& pointer, Unknown unknown = Unknown::IsAnError) {
    if (node == nullptr || !expect(*node, Node::Kind::String, pointer, "a string")) return {};
    if (node->text.find('\0') != std::string::npos)
      problem(*node, pointer, kBadFixture, "a NUL cannot be in a name or an argument", "");
    check_variables(*node, pointer, unknown);
    return node->text;
  }

  // What the world of the case does not have is a mistake wherever it is named.
  void check_variables(const Node& node, const std::string& pointer, Unknown unknown) {
    for (const std::string& name : variables_in(node.text)) {
      if (std::ranges::find(known_variables_, name) != known_variables_.end()) continue;
      const std::string_view family = std::string_view(name).substr(0, name.find(':'));
      if (family == "OUT" && has_outside_) continue;
      const bool ours = family == "OUT" || family == "PORT" || family == "SOCKET" || family == "PID";
      if (!ours && unknown == Unknown::Stays) continue;
      std::vector<std::string_view> known(known_variables_.begin(), known_variables_.end());
      unknown_word(node, pointer, "SBX-V121", "there is no variable ${" + name + "} in this world", name,
                   known);
    }
  }

  bool read_flag(const Node& node, const std::string& pointer) {
    return expect(node, Node::Kind::Bool, pointer, "true or false") && node.text == "true";
  }

  Words read_words(const Node* node, const std::string& pointer, Unknown unknown = Unknown::IsAnError) {
    Words words;
    if (node == nullptr || !expect(*node, Node::Kind::Array, pointer, "a list of strings")) return words;
    for (std::size_t i = 0; i < node->items.size(); ++i)
      words.push_back(read_text(&node->items[i], pointer + "/" + std::to_string(i), unknown));
    return words;
  }
  Words read_command(const Node& node, const std::string& pointer) {
    Words words = read_words(&node, pointer);
    if (node.kind == Node::Kind::Array && (words.empty() || words.front().empty()))
      problem(node, pointer, "SBX-V107", "a command needs a program", "[\"python3\", \"plugin.py\"]");
    return words;
  }

  void read_top(const Node& root) {
    std::vector<std::string_view> known = {"$schema", "about", "class", "covers", "build", "routes", "cases"};
    known.insert(known.end(), std::begin(kDefaultKeys), std::end(kDefaultKeys));
    check_keys(root, "", known);
    const Node* schema = root.find("$schema");
    if (schema == nullptr || schema->text != kFixtureSchema)
      problem(schema != nullptr ? *schema : root, "/$schema", "SBX-V109",
              schema == nullptr ? "\"$schema\" is missing" : "unknown schema \"" + schema->text + "\"",
              "this version reads " + std::string(kFixtureSchema));
    fixture_.about = read_text(root.find("about"), "/about", Unknown::Stays);
    if (const Node* kind = root.find("class")) fixture_.kind = read_text(kind, "/class", Unknown::Stays);
    fixture_.covers = read_words(root.find("covers"), "/covers", Unknown::Stays);
    know_world(nullptr);
    const Node* build = root.find("build");
    if (build != nullptr) read_build(*build);
    if (const Node* routes = root.find("routes")) {
      // Their words are checked with each case, whose world they are used in.
      if (expect(*routes, Node::Kind::Object, "/routes", "an object of names and commands") &&
          routes->members.empty())
        problem(*routes, "/routes", "SBX-V107", "there is no route in it", "leave it out, or name one");
    }
    const Node* cases = root.find("cases");
    if (cases == nullptr) {
      read_case(root, root, "");
      return;
    }
    if (!expect(*cases, Node::Kind::Array, "/cases", "a list of cases")) return;
    if (cases->items.empty()) problem(*cases, "/cases", "SBX-V107", "there is no case in it", "leave it out");
    for (std::size_t i = 0; i < cases->items.size(); ++i) {
      const std::string pointer = "/cases/" + std::to_string(i);
      const Node& node = cases->items[i];
      if (expect(node, Node::Kind::Object, pointer, "a case")) read_case(node, root, pointer);
    }
  }

  void read_build(const Node& node) {
    if (node.kind == Node::Kind::String) {
      if (node.text != "c") {
        problem(node, "/build", kBadFixture, "unknown build \"" + node.text + "\"",
                "\"c\", or a list of commands");
        return;
      }
      build_is_c_ = true;
      Words sources;
      std::error_code error;
      for (const auto& entry : std::filesystem::directory_iterator(folder_, error)) {
        if (entry.path().extension() == ".c") sources.push_back(entry.path().filename().string());
      }
      std::ranges::sort(sources);
      if (sources.empty()) problem(node, "/build", kBadFixture, "there is no *.c beside it", "");
      for (const bool is_static : {false, true}) {
        Words command = {"cc", "-O1", "-w", "-pthread", "-D_GNU_SOURCE"};
        if (is_static) command.emplace_back("-static");
        command.insert(command.end(), {"-o", is_static ? "${BUILD}/attack-static" : "${BUILD}/attack"});
        command.insert(command.end(), sources.begin(), sources.end());
        fixture_.build.push_back(std::move(command));
      }
      return;
    }
    if (!expect(node, Node::Kind::Array, "/build", "\"c\" or a list of commands")) return;
    for (std::size_t i = 0; i < node.items.size(); ++i)
      fixture_.build.push_back(read_command(node.items[i], "/build/" + std::to_string(i)));
  }

  void know_world(const Node* world) {
    known_variables_ = {"WORK", "OUTSIDE", "BUILD", "UID", "GID", "BOX_AUDIT", "BOX_MANIFEST"};
    servers_.clear();
    has_outside_ = has_victim_ = false;
    if (world == nullptr || world->kind != Node::Kind::Object) return;
    if (const Node* servers = world->find("servers")) {
      for (const auto& [name, kind] : servers->members) {
        servers_.push_back(name);
        const bool is_socket = kind.text.starts_with("unix") || kind.text == "abstract";
        known_variables_.push_back((is_socket ? "SOCKET:" : "PORT:") + name);
      }
    }
    const Node* victim = world->find("victim");
    has_victim_ = victim != nullptr && victim->text == "true";
    if (has_victim_) known_variables_.emplace_back("PID:victim");
    has_outside_ = world->find("outside") != nullptr;
  }

  void read_case(const Node& node, const Node& root, const std::string& pointer) {
    const bool is_root = &node == &root;
    if (!is_root) {
      std::vector<std::string_view> known = {"name", "routes", "about"};
      known.insert(known.end(), std::begin(kDefaultKeys), std::end(kDefaultKeys));
      check_keys(node, pointer, known);
    }
    // A member of the case, or the default from the top.
    std::string at;
    const auto pick = [&](const char* key) {
      const Node* own = node.find(key);
      at = (own != nullptr ? pointer : "") + "/" + key;
      return own != nullptr ? own : root.find(key);
    };
    Case c;
    c.line = std::max(node.line, 1);
    const Node* world = pick("world");
    know_world(world);
    if (world != nullptr) read_world(*world, at, c.world);
    if (!is_root) c.name = read_text(node.find("name"), pointer + "/name", Unknown::Stays);
    if (const Node* users = pick("users")) read_users(*users, at, c.users);
    c.args = read_words(pick("args"), at);
    const Node* command = pick("command");
    c.routes = read_routes(root, command, at, is_root ? nullptr : node.find("routes"), pointer + "/routes");
    read_manifest(pick("manifest"), at, node, c);
    c.options = read_words(pick("options"), at, Unknown::Stays);
    c.input = read_text(pick("input"), at, Unknown::Stays);
    if (const Node* environment = pick("environment");
        environment != nullptr &&
        expect(*environment, Node::Kind::Object, at, "an object of names and values")) {
      for (const auto& [name, value] : environment->members)
        c.environment.emplace_back(name, read_text(&value, at + "/" + name, Unknown::Stays));
    }
    if (const Node* timeout = pick("timeout")) read_timeout(*timeout, at, c.timeout);
    c.denied = read_expectations(pick("denied"), at);
    c.allowed = read_expectations(pick("allowed"), at);
    c.not_denied = read_expectations(pick("not_denied"), at);
    c.forbidden = read_effects(pick("forbidden"), at);
    c.required = read_effects(pick("required"), at);
    if (const Node* golden = pick("golden")) c.golden = read_own_file_name(*golden, at);
    const auto is_exit = [](const Effect& effect) { return effect.kind == Effect::Kind::Exit; };
    if (const Node* exit = pick("native_exit")) {
      c.native_exit = read_exit(*exit, at);
    } else if (std::ranges::none_of(c.forbidden, is_exit) && std::ranges::none_of(c.required, is_exit)) {
      c.native_exit = {.any = false, .statuses = {0}};
    }
    if (const Node* exit = pick("exit")) c.exit = read_exit(*exit, at);
    if (c.forbidden.empty() && c.required.empty() && c.denied.empty() && c.allowed.empty() && c.exit.any &&
        c.not_denied.empty() && c.golden.empty())
      problem(node, pointer, kBadFixture, "this case expects nothing: it could not fail",
              "\"forbidden\", \"required\", \"denied\", \"allowed\", \"exit\" or \"golden\"");
    fixture_.cases.push_back(std::move(c));
  }

  void read_users(const Node& node, const std::string& pointer, std::vector<UserKind>& users) {
    users.clear();
    for (const std::string& word : read_words(&node, pointer)) {
      if (word == "root") {
        users.push_back(UserKind::Root);
      } else if (word == "ordinary") {
        users.push_back(UserKind::Ordinary);
      } else {
        unknown_word(node, pointer, kBadFixture, "unknown user \"" + word + "\"", word, {"root", "ordinary"});
      }
    }
    if (users.empty()) problem(node, pointer, "SBX-V107", "there is no user in it", "leave it out for both");
  }

  std::vector<Route> read_routes(const Node& root, const Node* command, const std::string& command_pointer,
                                 const Node* subset, const std::string& pointer) {
    std::vector<Route> routes;
    const Node* given = root.find("routes");
    if (given != nullptr && given->kind == Node::Kind::Object) {
      for (const auto& [name, words] : given->members)
        routes.push_back({name, read_command(words, "/routes/" + name)});
    } else if (command != nullptr) {
      routes.push_back({"", read_command(*command, command_pointer)});
    } else if (build_is_c_) {
      for (const char* where : {"here", "thread", "child", "shared"})
        routes.push_back({where, {"${BUILD}/attack", where}});
      routes.push_back({"static", {"${BUILD}/attack-static", "here"}});
    } else {
      problem(root, "", "SBX-V107", "there is nothing to run", "\"command\", \"routes\" or \"build\": \"c\"");
    }
    if (subset == nullptr) return routes;
    std::vector<std::string_view> known;
    for (const Route& route : routes) known.push_back(route.name);
    std::vector<Route> chosen;
    for (const std::string& name : read_words(subset, pointer)) {
      const auto found = std::ranges::find(routes, name, &Route::name);
      if (found != routes.end() && !name.empty()) {
        chosen.push_back(*found);
      } else {
        unknown_word(*subset, pointer, kBadFixture, "there is no route \"" + name + "\"", name, known);
      }
    }
    if (chosen.empty())
      problem(*subset, pointer, "SBX-V107", "there is no route in it", "leave it out for all");
    return chosen;
  }

  void read_manifest(const Node* node, const std::string& pointer, const Node& of, Case& c) {
    if (node != nullptr) {
      c.manifest = read_own_file_name(*node, pointer);
      if (!c.manifest.empty() && ::access((folder_ + "/" + c.manifest).c_str(), R_OK) != 0)
        problem(*node, pointer, kBadFixture, "there is no " + c.manifest + " beside it", "check the name");
      return;
    }
    for (const char* name : kManifestNames) {
      if (::access((folder_ + "/" + name).c_str(), F_OK) != 0) continue;
      c.manifest = name;
      return;
    }
    problem(of, pointer, kBadFixture, "the fixture has no manifest", "put a secbox.json beside expect.json");
  }

  // A name of the fixture's own folder: what lies elsewhere is no part of it.
  std::string read_own_file_name(const Node& node, const std::string& pointer) {
    std::string name = read_text(&node, pointer);
    if (!name.empty() && is_below(name)) return name;
    if (node.kind == Node::Kind::String)
      problem(node, pointer, kBadFixture, "this is no name of a file in the fixture's folder", "");
    return {};
  }
  static bool is_below(const std::string& path) {
    const std::filesystem::path p(path);
    return !p.empty() && p.is_relative() && std::ranges::find(p, "..") == p.end();
  }

  void read_timeout(const Node& node, const std::string& pointer, std::chrono::milliseconds& out) {
    std::string_view text = node.text;
    int factor = 1000;
    if (text.ends_with("ms")) {
      factor = 1;
      text.remove_suffix(2);
    } else if (text.ends_with("s")) {
      text.remove_suffix(1);
    } else if (text.ends_with("m")) {
      factor = 60'000;
      text.remove_suffix(1);
    }
    int number = 0;
    if (!parse_number(text, number) || number <= 0 || number > 3'600'000 / factor) {
      problem(node, pointer, "SBX-V116", "\"" + node.text + "\" is no time of at most an hour",
              "\"20s\", \"500ms\"");
      return;
    }
    out = std::chrono::milliseconds(std::int64_t{number} * factor);
  }

  ExitRule read_exit(const Node& node, const std::string& pointer) {
    ExitRule rule{.any = false};
    const auto add = [&](const Node& one, const std::string& where) {
      int number = 0;
      if (one.kind == Node::Kind::Number && parse_number(one.text, number) && number >= 0 && number <= 255) {
        rule.statuses.push_back(number);
      } else if (one.kind == Node::Kind::String && one.text == "any") {
        rule.any = true;
      } else if (one.kind == Node::Kind::String && one.text.starts_with("signal:") &&
                 signal_number(one.text.substr(7)) != 0) {
        rule.signals.push_back(signal_number(one.text.substr(7)));
      } else {
        problem(one, where, kBadFixture, "this is no exit status",
                "0 to 255, a list of them, \"any\" or \"signal:KILL\"");
      }
    };
    if (node.kind != Node::Kind::Array) {
      add(node, pointer);
    } else {
      for (std::size_t i = 0; i < node.items.size(); ++i)
        add(node.items[i], pointer + "/" + std::to_string(i));
    }
    return rule;
  }

  void read_count(const Node& node, const std::string& pointer, Expectation& out) {
    std::string_view text = node.text;
    std::string_view how = text.substr(0, text.find_first_of("0123456789"));
    std::size_t number = 0;
    if ((node.kind != Node::Kind::String && node.kind != Node::Kind::Number) ||
        !parse_number(text.substr(how.size()), number) ||
        (how != "" && how != "==" && how != ">=" && how != "<=")) {
      problem(node, pointer, kBadFixture, "this is no count", "2, \">=1\" or \"<=3\"");
      return;
    }
    out.least = how == "<=" ? 0 : number;
    if (how != ">=") out.most = number;
  }

  std::vector<Expectation> read_expectations(const Node* node, const std::string& pointer) {
    std::vector<Expectation> list;
    if (node == nullptr || !expect(*node, Node::Kind::Array, pointer, "a list of records")) return list;
    for (std::size_t i = 0; i < node->items.size(); ++i) {
      const Node& item = node->items[i];
      const std::string at = pointer + "/" + std::to_string(i);
      if (!expect(item, Node::Kind::Object, at, "an object")) continue;
      check_keys(item, at, {"op", "target", "errno", "syscall", "rule", "count"});
      Expectation one;
      one.op = read_text(item.find("op"), at + "/op");
      one.target = read_text(item.find("target"), at + "/target");
      one.errno_name = read_text(item.find("errno"), at + "/errno");
      one.syscall = read_text(item.find("syscall"), at + "/syscall");
      one.rule = read_text(item.find("rule"), at + "/rule");
      if (const Node* count = item.find("count")) read_count(*count, at + "/count", one);
      list.push_back(std::move(one));
    }
    return list;
  }

  std::vector<Effect> read_effects(const Node* node, const std::string& pointer) {
    std::vector<Effect> list;
    if (node == nullptr || !expect(*node, Node::Kind::Array, pointer, "a list of effects")) return list;
    for (std::size_t i = 0; i < node->items.size(); ++i) {
      const Node& item = node->items[i];
      const std::string at = pointer + "/" + std::to_string(i);
      if (!expect(item, Node::Kind::Object, at, "an effect")) continue;
      check_keys(item, at,
                 {"output", "exists", "missing", "changed", "contacted", "signalled", "victim", "outside",
                  "survivor", "exit"});
      const auto real =
          std::ranges::count_if(item.members, [](const auto& m) { return !m.first.starts_with("x-"); });
      if (real != 1)
        problem(item, at, kBadFixture, "an effect has exactly one key",
                "{\"output\": \"...\"}, {\"exists\": \"...\"}");
      for (const auto& [key, value] : item.members) {
        if (!key.starts_with("x-")) read_effect(key, value, at + "/" + key, list);
      }
    }
    return list;
  }

  void read_effect(const std::string& key, const Node& value, const std::string& at,
                   std::vector<Effect>& list) {
    using Kind = Effect::Kind;
    const auto is_true = [&] {
      if (!read_flag(value, at) && value.kind == Node::Kind::Bool)
        problem(value, at, kBadFixture, "an effect that is not meant is left out", "true");
    };
    if (key == "output" || key == "exists" || key == "missing" || key == "changed") {
      const Kind kind = key == "output"    ? Kind::Output
                        : key == "exists"  ? Kind::Exists
                        : key == "missing" ? Kind::Missing
                                           : Kind::Changed;
      list.push_back({kind, read_text(&value, at)});
      if (value.kind == Node::Kind::String && value.text.empty())
        problem(value, at, "SBX-V107", "\"" + key + "\" is empty", "");
    } else if (key == "contacted") {
      list.push_back({Kind::Contacted, read_text(&value, at)});
      if (std::ranges::find(servers_, value.text) == servers_.end())
        unknown_word(value, at, kBadFixture, "this world has no server \"" + value.text + "\"", value.text,
                     {servers_.begin(), servers_.end()});
    } else if (key == "signalled" || key == "victim") {
      list.push_back({key == "victim" ? Kind::VictimChanged : Kind::Signalled, {}});
      const char* only = key == "victim" ? "changed" : "victim";
      if (read_text(&value, at) != only && value.kind == Node::Kind::String)
        problem(value, at, kBadFixture, "\"" + key + "\" takes nothing but \"" + only + "\"", "");
      if (!has_victim_)
        problem(value, at, kBadFixture, "this world has no victim", "\"world\": {\"victim\": true}");
    } else if (key == "outside") {
      is_true();
      list.push_back({Kind::Outside, {}});
      if (!has_outside_)
        problem(value, at, kBadFixture, "this world has no outside process",
                "\"world\": {\"outside\": [...]}");
    } else if (key == "survivor") {
      is_true();
      list.push_back({Kind::Survivor, {}});
    } else if (key == "exit") {
      int number = 0;
      if (value.kind != Node::Kind::Number || !parse_number(value.text, number) || number < 0 || number > 255)
        problem(value, at, kBadFixture, "this is no exit status", "0 to 255");
      list.push_back({Kind::Exit, {}, number});
    }
  }

  void read_world(const Node& node, const std::string& pointer, WorldSpec& world) {
    if (!expect(node, Node::Kind::Object, pointer, "an object")) return;
    check_keys(node, pointer, {"files", "work", "servers", "victim", "outside"});
    world.files = read_files(node.find("files"), pointer + "/files");
    world.work = read_files(node.find("work"), pointer + "/work");
    if (const Node* servers = node.find("servers")) read_servers(*servers, pointer + "/servers", world);
    if (const Node* victim = node.find("victim")) world.victim = read_flag(*victim, pointer + "/victim");
    if (const Node* outside = node.find("outside"))
      world.outside = read_command(*outside, pointer + "/outside");
  }

  void read_servers(const Node& node, const std::string& pointer, WorldSpec& world) {
    using Kind = ServerSpec::Kind;
    static constexpr std::pair<std::string_view, Kind> kKinds[] = {
        {"tcp", Kind::Tcp},          {"udp", Kind::Udp},   {"tcp6", Kind::Tcp6},
        {"udp6", Kind::Udp6},        {"unix", Kind::Unix}, {"unix-dgram", Kind::UnixDgram},
        {"abstract", Kind::Abstract}};
    if (!expect(node, Node::Kind::Object, pointer, "an object of names and kinds")) return;
    for (const auto& [name, kind] : node.members) {
      const std::string at = pointer + "/" + name;
      const std::string text = read_text(&kind, at);
      const bool plain = !name.empty() && name.find_first_not_of(
                                              "abcdefghijklmnopqrstuvwxyz"
                                              "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == std::string::npos;
      if (!plain) problem(kind, at, kBadFixture, "a server's name is made of letters, digits, _ and -", "");
      const auto* found = std::ranges::find(kKinds, text, &std::pair<std::string_view, Kind>::first);
      if (found != std::end(kKinds)) {
        world.servers.push_back({name, found->second});
        continue;
      }
      std::vector<std::string_view> known;
      for (const auto& each : kKinds) known.push_back(each.first);
      unknown_word(kind, at, kBadFixture, "unknown kind of server \"" + text + "\"", text, known);
    }
  }

  std::vector<FileSpec> read_files(const Node* node, const std::string& pointer) {
    std::vector<FileSpec> files;
    if (node == nullptr || !expect(*node, Node::Kind::Object, pointer, "an object of names and files"))
      return files;
    for (const auto& [path, value] : node->members) {
      const std::string at = pointer + "/" + path;
      if (!is_below(path) || path.find('\0') != std::string::npos)
        problem(value, at, kBadFixture, "a file's name is relative and without \"..\"", "");
      FileSpec file{.path = path};
      if (value.kind == Node::Kind::String) {
        file.value = read_text(&value, at, Unknown::Stays);
      } else if (expect(value, Node::Kind::Object, at, "a text or an object")) {
        read_file(value, at, file);
      }
      files.push_back(std::move(file));
    }
    return files;
  }

  void read_file(const Node& node, const std::string& pointer, FileSpec& file) {
    using Kind = FileSpec::Kind;
    check_keys(node, pointer, {"content", "symlink", "dir", "fifo", "copy", "mode", "owner"});
    int kinds = 0;
    const auto is = [&](const char* key, Kind kind) {
      const Node* member = node.find(key);
      if (member == nullptr) return;
      ++kinds;
      file.kind = kind;
      const std::string at = pointer + "/" + key;
      if (kind == Kind::Directory || kind == Kind::Fifo) {
        if (!read_flag(*member, at) && member->kind == Node::Kind::Bool)
          problem(*member, at, kBadFixture, std::string("\"") + key + "\" is true or left out", "");
      } else {
        file.value = read_text(member, at, kind == Kind::Text ? Unknown::Stays : Unknown::IsAnError);
      }
    };
    is("content", Kind::Text);
    is("symlink", Kind::Symlink);
    is("dir", Kind::Directory);
    is("fifo", Kind::Fifo);
    is("copy", Kind::Copy);
    if (kinds != 1)
      problem(node, pointer, kBadFixture, "a file is one of content, symlink, dir, fifo and copy", "");
    if (const Node* mode = node.find("mode")) {
      if (!parse_number(std::string_view(read_text(mode, pointer + "/mode")), file.mode, 8) ||
          file.mode < 0 || file.mode > 07777)
        problem(*mode, pointer + "/mode", kBadFixture, "a mode is octal digits in quotes", "\"0644\"");
    }
    if (const Node* owner = node.find("owner")) {
      const std::string text = read_text(owner, pointer + "/owner");
      if (text == "root") file.owner = FileSpec::Owner::Root;
      if (text != "root" && text != "user")
        unknown_word(*owner, pointer + "/owner", kBadFixture, "unknown owner \"" + text + "\"", text,
                     {"user", "root"});
    }
  }

  std::string folder_, file_;
  manifest::Diagnostics& diagnostics_;
  Fixture fixture_;
  std::set<std::tuple<int, int, std::string>> seen_;
  bool build_is_c_ = false;
  // Of the case that is being read.
  Words known_variables_, servers_;
  bool has_outside_ = false, has_victim_ = false;
};

}  // namespace

std::optional<Fixture> read_fixture(const std::string& folder, const std::string& name,
                                    manifest::Diagnostics& diagnostics) {
  return Reader(folder, diagnostics).read(name);
}

}  // namespace secbox::harness
