#include "tools/harness/result_text.h"

#include <nlohmann/json.hpp>

namespace secbox::harness {

using Json = nlohmann::json;

std::string result_to_text(const TestResult& result) {
  Json failures = Json::array();
  for (const Failure& failure : result.failures) failures.push_back({failure.code, failure.message});
  const Json json = {{"status", static_cast<int>(result.status)},
                     {"skip_reason", result.skip_reason},
                     {"failures", failures},
                     {"denials", result.denials},
                     {"native_output", result.native_output},
                     {"boxed_output", result.boxed_output},
                     {"duration_ms", result.duration.count()}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::optional<TestResult> result_from_text(std::string_view text) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return std::nullopt;
  try {
    TestResult result;
    result.status = static_cast<TestResult::Status>(json.at("status").get<int>());
    result.skip_reason = json.at("skip_reason").get<std::string>();
    for (const Json& failure : json.at("failures"))
      result.failures.push_back({failure.at(0).get<std::string>(), failure.at(1).get<std::string>()});
    result.denials = json.at("denials").get<std::vector<std::string>>();
    result.native_output = json.at("native_output").get<std::string>();
    result.boxed_output = json.at("boxed_output").get<std::string>();
    result.duration = std::chrono::milliseconds(json.at("duration_ms").get<std::int64_t>());
    return result;
  } catch (const Json::exception&) {
    return std::nullopt;
  }
}

}  // namespace secbox::harness
