#include "tools/harness/sarif.h"

#include <map>
#include <nlohmann/json.hpp>
#include <string_view>
#include <tuple>

#include "tools/harness/codes.h"
#include "tools/harness/fixture_reader.h"

namespace secbox::harness {

namespace {

using Json = nlohmann::ordered_json;

// RFC 3986.
std::string encoded(std::string_view path) {
  constexpr std::string_view kPlain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/";
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string out;
  for (const char c : path) {
    if (kPlain.find(c) != std::string_view::npos) {
      out += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return out;
}

std::string uri_of(const std::string& path, const std::string& base) {
  if (path.starts_with(base + "/")) return encoded(path.substr(base.size() + 1));
  return "file://" + encoded(path);
}

Json rules() {
  Json list = Json::array();
  for (const Code& code : kCodes)
    list.push_back({{"id", code.name},
                    {"shortDescription", {{"text", code.title}}},
                    {"fullDescription", {{"text", code.text}}},
                    {"defaultConfiguration", {{"level", "error"}}}});
  return list;
}

}  // namespace

std::string sarif_report(const Report& report, const std::string& base) {
  const Suite& suite = *report.suite;
  // Routes and users of one case that fail in the same way are one finding.
  std::map<std::tuple<std::size_t, std::size_t, std::string>, std::string> found;
  for (std::size_t i = 0; i < report.results.size(); ++i) {
    const Test& test = suite.tests[i];
    for (const Failure& failure : report.results[i].failures) {
      std::string& text = found[{test.fixture, test.one, failure.code}];
      text += (text.empty() ? "" : "\n") + suite.name_of(test) + ": " + failure.message;
    }
  }
  Json results = Json::array();
  for (const auto& [key, text] : found) {
    const auto& [f, c, code] = key;
    const Fixture& fixture = suite.fixtures[f];
    const Json location = {
        {"physicalLocation",
         {{"artifactLocation", {{"uri", uri_of(fixture.folder + "/" + kExpectFile, base)}}},
          {"region", {{"startLine", fixture.cases[c].line}}}}},
        {"logicalLocations",
         Json::array({{{"fullyQualifiedName", fixture.name + " " + fixture.cases[c].name}}})}};
    results.push_back({{"ruleId", code},
                       {"level", "error"},
                       {"message", {{"text", text}}},
                       {"locations", Json::array({location})},
                       {"partialFingerprints",
                        {{"secboxCase/v1", fixture.name + "/" + fixture.cases[c].name + "/" + code}}},
                       {"properties", {{"class", fixture.kind}, {"covers", fixture.covers}}}});
  }
  const Json document = {
      {"$schema", "https://json.schemastore.org/sarif-2.1.0.json"},
      {"version", "2.1.0"},
      {"runs",
       Json::array(
           {{{"tool", {{"driver", {{"name", "secbox"}, {"version", SECBOX_VERSION}, {"rules", rules()}}}}},
             {"columnKind", "utf16CodeUnits"},
             {"results", results}}})}};
  return document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace secbox::harness
