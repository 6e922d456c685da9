#include "tools/harness/golden.h"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

namespace secbox::harness {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kLeftOut[] = {"seq",
                                         "mono_ns",
                                         "session",
                                         "user_id",
                                         "duration_ms",
                                         "object",
                                         "tid",
                                         "ppid",
                                         "rules",
                                         "host",
                                         "shape",
                                         "counts",
                                         "supervisor_pid",
                                         "limits",
                                         "limits_kept_by",
                                         "usage",
                                         "coverage",
                                         "caller",
                                         "images",
                                         "rules_digest",
                                         "env_names",
                                         "exit",
                                         "mode",
                                         "schema",
                                         "manifest_digest",
                                         "environment_held_back",
                                         "version",
                                         "argv_bytes",
                                         "via"};
constexpr std::string_view kSecboxTmp = "/tmp/secbox-";

void replace_all(std::string& text, std::string_view what, std::string_view with) {
  for (std::size_t at = 0; !what.empty() && (at = text.find(what, at)) != std::string::npos;
       at += with.size())
    text.replace(at, what.size(), with);
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

class Normaliser {
 public:
  Normaliser(const std::string& directory, const Variables& variables) {
    places_.emplace_back(directory, "<TMP>");
    for (const auto& [name, value] : variables.values()) {
      if (name == "BUILD") places_.emplace_back(value, "<TMP>/build");
      if (name.starts_with("PORT:")) ports_.push_back(value);
      if (name == "PID:victim") victim_ = value;
      if (name.starts_with("SOCKET:") && value.starts_with('@'))
        places_.emplace_back(value.substr(1), "<NAME>");
    }
    // "/x/1/boxed" before "/x/1".
    std::ranges::sort(places_, [](const auto& a, const auto& b) { return a.first.size() > b.first.size(); });
  }

  void apply(Json& json, const std::string& key) const {
    if (json.is_object()) {
      for (const std::string_view name : kLeftOut) json.erase(std::string(name));
      for (auto& [name, value] : json.items()) apply(value, name);
    } else if (json.is_array()) {
      for (Json& item : json) apply(item, key);
    } else if (key == "timestamp") {
      json = "<TIME>";
    } else if (key == "pid") {
      json = "<PID>";
    } else if (key == "port" && std::ranges::find(ports_, json.dump()) != ports_.end()) {
      json = "<PORT>";
    } else if (json.is_string()) {
      json = text_of(json.get<std::string>());
    }
  }

 private:
  [[nodiscard]] std::string text_of(std::string text) const {
    if (!victim_.empty() && text == victim_) return "<PID>";
    if (std::ranges::find(ports_, text) != ports_.end()) return "<PORT>";
    for (const auto& [value, name] : places_) replace_all(text, value, name);
    // The private directory of the run: mkdtemp(3) makes six characters.
    for (std::size_t at = 0; (at = text.find(kSecboxTmp, at)) != std::string::npos; at += 5) {
      std::size_t end = at + kSecboxTmp.size();
      while (end < text.size() && std::isalnum(static_cast<unsigned char>(text[end])) != 0) ++end;
      if (end == at + kSecboxTmp.size() + 6) text.replace(at, end - at, "<TMP>");
    }
    replace_number(text, "/proc/", "<PID>", [](std::string_view) { return true; });
    replace_number(text, ":", "<PORT>", [this](std::string_view number) {
      return std::ranges::find(ports_, number) != ports_.end();
    });
    return text;
  }

  template <typename Wanted>
  static void replace_number(std::string& text, std::string_view before, std::string_view with,
                             Wanted wanted) {
    for (std::size_t at = 0; (at = text.find(before, at)) != std::string::npos;) {
      at += before.size();
      std::size_t end = at;
      while (end < text.size() && is_digit(text[end])) ++end;
      if (end > at && wanted(std::string_view(text).substr(at, end - at))) text.replace(at, end - at, with);
    }
  }

  std::vector<std::pair<std::string, std::string>> places_;
  std::vector<std::string> ports_;
  std::string victim_;
};

std::string_view next_line(std::string_view& text) {
  const std::string_view line = text.substr(0, text.find('\n'));
  text.remove_prefix(std::min(line.size() + 1, text.size()));
  return line;
}

}  // namespace

std::string normalise_log(std::string_view log, const std::string& directory, const Variables& variables) {
  const Normaliser normaliser(directory, variables);
  std::string out;
  while (!log.empty()) {
    Json json = Json::parse(next_line(log), nullptr, false);
    if (!json.is_object()) continue;
    if (json.value("decision", "") == "allow") {
      const auto rule = json.find("rule");
      const std::string layer = rule != json.end() ? rule->value("layer", "") : "";
      if (layer == "preset" || layer == "implied") continue;
    }
    normaliser.apply(json, "");
    out += json.dump() + "\n";
  }
  return out;
}

std::string golden_difference(std::string_view golden, std::string_view log) {
  for (int number = 1; !golden.empty() || !log.empty(); ++number) {
    const bool has_golden = !golden.empty();
    const bool has_log = !log.empty();
    const std::string_view a = next_line(golden);
    const std::string_view b = next_line(log);
    if (has_golden && has_log && a == b) continue;
    return "line " + std::to_string(number) + ": " + (has_golden ? std::string(a) : "(end)") + " is now " +
           (has_log ? std::string(b) : "(end)");
  }
  return {};
}

}  // namespace secbox::harness
