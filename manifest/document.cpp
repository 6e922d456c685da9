#include "manifest/document.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <toml++/toml.h>
#include <unistd.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <nlohmann/json.hpp>

#include "supervisor/base/unique_fd.h"

namespace secbox::manifest {

const Node* Node::find(std::string_view key) const {
  for (const auto& [name, node] : members) {
    if (name == key) return &node;
  }
  return nullptr;
}

std::string_view Node::kind_name() const {
  switch (kind) {
    case Kind::Null:
      return "null";
    case Kind::Bool:
      return "a boolean";
    case Kind::Number:
      return "a number";
    case Kind::String:
      return "a string";
    case Kind::Array:
      return "a list";
    case Kind::Object:
      return "an object";
  }
  return "nothing";
}

namespace {

// The problem of a whole document: reading stops at the first.
struct SyntaxError {
  std::string message;
  int line = 0, column = 0;
  std::string hint;
};

void check_size(std::size_t& nodes, int depth, int line, int column) {
  if (++nodes > kMaxNodes) throw SyntaxError{"the document is too large", line, column, {}};
  if (depth > kMaxDepth) throw SyntaxError{"nested too deeply", line, column, "at most 64 levels"};
}

void add_member(Node& object, std::string key, Node value) {
  if (object.members.size() > 10'000)
    throw SyntaxError{"too many keys in one object", value.line, value.column, {}};
  if (object.find(key) != nullptr)
    throw SyntaxError{"the key \"" + key + "\" stands here twice", value.line, value.column,
                      "keep one of them"};
  object.members.emplace_back(std::move(key), std::move(value));
}

// ---- JSON: nlohmann's parser, fed through an iterator that knows where it is ----

struct Position {
  int line = 1, column = 0;
  int token_line = 1, token_column = 0;  // before the last character: the parser looks one ahead
};

class TrackedIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  TrackedIterator(const char* at, Position* position) : at_(at), position_(position) {}
  reference operator*() const { return *at_; }
  TrackedIterator& operator++() {
    position_->token_line = position_->line;
    position_->token_column = position_->column;
    if (*at_ == '\n') {
      ++position_->line;
      position_->column = 0;
    } else {
      ++position_->column;
    }
    ++at_;
    return *this;
  }
  TrackedIterator operator++(int) {
    TrackedIterator old = *this;
    ++*this;
    return old;
  }
  bool operator==(const TrackedIterator& other) const { return at_ == other.at_; }

 private:
  const char* at_;
  Position* position_;
};

class JsonReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit JsonReader(const Position& position) : position_(position) {}

  bool null() override { return put({.kind = Node::Kind::Null}); }
  bool boolean(bool value) override {
    return put({.kind = Node::Kind::Bool, .text = value ? "true" : "false"});
  }
  bool number_integer(number_integer_t value) override {
    return put({.kind = Node::Kind::Number, .text = std::to_string(value)});
  }
  bool number_unsigned(number_unsigned_t value) override {
    return put({.kind = Node::Kind::Number, .text = std::to_string(value)});
  }
  bool number_float(number_float_t, const string_t& text) override {
    return put({.kind = Node::Kind::Number, .text = text});
  }
  bool string(string_t& value) override { return put({.kind = Node::Kind::String, .text = value}); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open({.kind = Node::Kind::Object}); }
  bool end_object() override { return close(); }
  bool start_array(std::size_t) override { return open({.kind = Node::Kind::Array}); }
  bool end_array() override { return close(); }
  bool key(string_t& name) override {
    keys_.push_back({name, position_.token_line, position_.token_column});
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& error) override {
    std::string text = error.what();
    // "[json.exception.parse_error.101] parse error at line 3, column 5: syntax error while ...": the tail is
    // for people.
    if (const std::size_t at = text.find(": "); at != std::string::npos) text.erase(0, at + 2);
    throw SyntaxError{text, position_.line, std::max(1, position_.column),
                      "check for a missing comma, quote or bracket just before"};
  }

  Node root;

 private:
  struct Key {
    std::string name;
    int line, column;
  };

  void place(Node& node) {
    node.line = position_.token_line;
    node.column = std::max(1, position_.token_column);
    // A member is found by its key.
    if (!stack_.empty() && stack_.back().kind == Node::Kind::Object && !keys_.empty()) {
      node.line = keys_.back().line;
      node.column = std::max(1, keys_.back().column);
    }
  }
  bool put(Node node) {
    place(node);
    check_size(nodes_, static_cast<int>(stack_.size()), node.line, node.column);
    attach(std::move(node));
    return true;
  }
  bool open(Node node) {
    place(node);
    check_size(nodes_, static_cast<int>(stack_.size()) + 1, node.line, node.column);
    stack_.push_back(std::move(node));
    return true;
  }
  bool close() {
    Node node = std::move(stack_.back());
    stack_.pop_back();
    attach(std::move(node));
    return true;
  }
  void attach(Node node) {
    if (stack_.empty()) {
      root = std::move(node);
    } else if (stack_.back().kind == Node::Kind::Array) {
      stack_.back().items.push_back(std::move(node));
    } else {
      Key key = std::move(keys_.back());
      keys_.pop_back();
      node.line = key.line;
      add_member(stack_.back(), std::move(key.name), std::move(node));
    }
  }

  const Position& position_;
  std::vector<Node> stack_;
  std::vector<Key> keys_;
  std::size_t nodes_ = 0;
};

Node parse_json(std::string_view text) {
  Position position;
  JsonReader reader(position);
  const TrackedIterator begin(text.data(), &position);
  const TrackedIterator end(text.data() + text.size(), &position);
  if (!nlohmann::json::sax_parse(begin, end, &reader, nlohmann::json::input_format_t::json, true, true)) {
    throw SyntaxError{"this is no JSON", position.line, position.column, {}};
  }
  return std::move(reader.root);
}

// ---- YAML ----

Node from_yaml(const YAML::Node& yaml, int depth, std::size_t& nodes) {
  Node node;
  node.line = yaml.Mark().line + 1;
  node.column = yaml.Mark().column + 1;
  check_size(nodes, depth, node.line, node.column);
  switch (yaml.Type()) {
    case YAML::NodeType::Undefined:
    case YAML::NodeType::Null:
      break;
    case YAML::NodeType::Scalar: {
      node.text = yaml.Scalar();
      node.kind = Node::Kind::String;
      if (yaml.Tag() == "?") {  // plain, not quoted: the core schema decides
        const std::string& text = node.text;
        if (text == "true" || text == "false") node.kind = Node::Kind::Bool;
        if (text == "null" || text == "~" || text.empty()) node.kind = Node::Kind::Null;
        double number = 0;
        if (!text.empty() && text.find_first_not_of("0123456789+-.eE") == std::string::npos &&
            YAML::convert<double>::decode(yaml, number)) {
          node.kind = Node::Kind::Number;
        }
      }
      break;
    }
    case YAML::NodeType::Sequence:
      node.kind = Node::Kind::Array;
      for (const auto& item : yaml) node.items.push_back(from_yaml(item, depth + 1, nodes));
      break;
    case YAML::NodeType::Map:
      node.kind = Node::Kind::Object;
      for (const auto& member : yaml) {
        if (!member.first.IsScalar()) throw SyntaxError{"a key must be a word", node.line, node.column, {}};
        Node value = from_yaml(member.second, depth + 1, nodes);
        value.line = member.first.Mark().line + 1;
        value.column = member.first.Mark().column + 1;
        add_member(node, member.first.Scalar(), std::move(value));
      }
      break;
  }
  return node;
}

Node parse_yaml(std::string_view text) {
  // yaml-cpp's parser recurses: bound what nests before it sees it.
  int flow = 0;
  int line = 1;
  for (const char c : text) {
    if (c == '\n') ++line;
    if (c == '[' || c == '{') ++flow;
    if (c == ']' || c == '}') --flow;
    if (flow > 4 * kMaxDepth) throw SyntaxError{"nested too deeply", line, 1, "at most 64 levels"};
  }
  try {
    std::size_t nodes = 0;
    return from_yaml(YAML::Load(std::string(text)), 0, nodes);
  } catch (const YAML::Exception& error) {
    throw SyntaxError{error.msg, error.mark.line + 1, error.mark.column + 1,
                      "check the indentation and the quotes"};
  }
}

// ---- TOML ----

Node from_toml(const toml::node& toml, int depth, std::size_t& nodes) {
  Node node;
  node.line = static_cast<int>(toml.source().begin.line);
  node.column = static_cast<int>(toml.source().begin.column);
  check_size(nodes, depth, node.line, node.column);
  if (const toml::table* table = toml.as_table()) {
    node.kind = Node::Kind::Object;
    for (const auto& [key, value] : *table) {
      Node member = from_toml(value, depth + 1, nodes);
      if (key.source().begin.line != 0) {
        member.line = static_cast<int>(key.source().begin.line);
        member.column = static_cast<int>(key.source().begin.column);
      }
      add_member(node, std::string(key.str()), std::move(member));
    }
  } else if (const toml::array* array = toml.as_array()) {
    node.kind = Node::Kind::Array;
    for (const toml::node& item : *array) node.items.push_back(from_toml(item, depth + 1, nodes));
  } else if (const auto* text = toml.as_string()) {
    node.kind = Node::Kind::String;
    node.text = text->get();
  } else if (const auto* flag = toml.as_boolean()) {
    node.kind = Node::Kind::Bool;
    node.text = flag->get() ? "true" : "false";
  } else if (const auto* integer = toml.as_integer()) {
    node.kind = Node::Kind::Number;
    node.text = std::to_string(integer->get());
  } else if (const auto* real = toml.as_floating_point()) {
    node.kind = Node::Kind::Number;
    node.text = std::to_string(real->get());
  } else {
    throw SyntaxError{"dates have no place here", node.line, node.column, "put it into quotes"};
  }
  return node;
}

Node parse_toml(std::string_view text) {
  try {
    const toml::table table = toml::parse(text);
    std::size_t nodes = 0;
    return from_toml(table, 0, nodes);
  } catch (const toml::parse_error& error) {
    throw SyntaxError{std::string(error.description()),
                      static_cast<int>(error.source().begin.line),
                      static_cast<int>(error.source().begin.column),
                      {}};
  }
}

// The offset of the first byte that is no UTF-8, or npos.
std::size_t find_invalid_utf8(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const auto lead = static_cast<unsigned char>(text[at]);
    const std::size_t length = lead < 0x80                   ? 1
                               : lead >= 0xc2 && lead < 0xe0 ? 2
                               : lead >= 0xe0 && lead < 0xf0 ? 3
                               : lead >= 0xf0 && lead < 0xf5 ? 4
                                                             : 0;
    if (length == 0 || at + length > text.size()) return at;
    for (std::size_t i = 1; i < length; ++i) {
      if ((static_cast<unsigned char>(text[at + i]) & 0xc0) != 0x80) return at;
    }
    at += length;
  }
  return std::string_view::npos;
}

}  // namespace

Format format_of(std::string_view path, std::string_view text) {
  const auto ends = [&](std::string_view ending) { return path.ends_with(ending); };
  if (ends(".json") || ends(".jsonc")) return Format::Json;
  if (ends(".yaml") || ends(".yml")) return Format::Yaml;
  if (ends(".toml")) return Format::Toml;
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first != std::string_view::npos && (text[first] == '{' || text[first] == '/')) return Format::Json;
  return Format::Yaml;
}

std::optional<Node> parse_document(Format format, std::string_view text, const std::string& file,
                                   Diagnostics& diagnostics) {
  const auto problem = [&](const SyntaxError& error, const char* code) {
    diagnostics.all.push_back(
        {Severity::Error, code, error.message, file, error.line, error.column, "", error.hint});
    return std::nullopt;
  };
  if (const std::size_t bad = find_invalid_utf8(text); bad != std::string_view::npos) {
    const auto line =
        1 + static_cast<int>(std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(bad), '\n'));
    return problem({"the file is not UTF-8", line, 1, "save it as UTF-8"}, "SBX-V103");
  }
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos) {
    return problem({"the file is empty", 0, 0, "secbox schema manifest prints what belongs here"},
                   "SBX-V102");
  }
  try {
    switch (format) {
      case Format::Json:
        return parse_json(text);
      case Format::Yaml:
        return parse_yaml(text);
      case Format::Toml:
        return parse_toml(text);
    }
  } catch (const SyntaxError& error) {
    return problem(error, "SBX-V101");
  }
  return std::nullopt;
}

std::optional<Node> read_document(const std::string& path, std::string& text, Diagnostics& diagnostics) {
  const auto problem = [&](const std::string& message, const std::string& hint) {
    diagnostics.all.push_back({Severity::Error, "SBX-V100", message, path, 0, 0, "", hint});
    return std::nullopt;
  };
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  struct stat st{};
  if (!fd.valid() || ::fstat(fd.get(), &st) != 0) {
    return problem(std::string("cannot be read: ") + std::strerror(errno),
                   errno == ENOENT ? "check the path" : "check who may read it");
  }
  if (S_ISDIR(st.st_mode))
    return problem("is a directory", "name the manifest file in it, or use --plugin-dir");
  text.clear();
  char buffer[65536];
  while (true) {
    const ssize_t got = ::read(fd.get(), buffer, sizeof buffer);
    if (got < 0) {
      if (errno == EINTR) continue;
      return problem(std::string("cannot be read: ") + std::strerror(errno), "");
    }
    if (got == 0) break;
    text.append(buffer, static_cast<std::size_t>(got));
    if (text.size() > kMaxFileSize)
      return problem("is larger than 16 MiB", "a manifest of that size is a mistake");
  }
  return parse_document(format_of(path, text), text, path, diagnostics);
}

}  // namespace secbox::manifest
