// The published schema: about the form of a manifest it says what the reader says.
#include "manifest/schema.h"

#include <nlohmann/json.hpp>

#include "tests/unit/manifest/support.h"

#if __has_include(<valijson/validator.hpp>)
#include <valijson/adapters/nlohmann_json_adapter.hpp>
#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>
#include <valijson/validator.hpp>
#define HAS_SCHEMA_VALIDATOR 1
#else
#define HAS_SCHEMA_VALIDATOR 0
#endif

namespace secbox::manifest {
namespace {

using nlohmann::json;

TEST(Schema, IsPublishedByName) {
  const json schema_json = json::parse(schema("manifest"));
  EXPECT_EQ(schema_json["$id"], "urn:secbox:schema:manifest:1");
  EXPECT_EQ(schema_json["$schema"], "https://json-schema.org/draft/2020-12/schema");
  EXPECT_EQ(schema("approvals"), "");
}

// Every "$ref" leads somewhere, and every object of the schema is closed.
void check_references(const json& node, const json& root) {
  if (node.is_array()) {
    for (const json& item : node) check_references(item, root);
  }
  if (!node.is_object()) return;
  if (const auto ref = node.find("$ref"); ref != node.end() && ref->is_string()) {
    EXPECT_TRUE(root.contains(json::json_pointer(ref->get<std::string>().substr(1)))) << *ref;
  }
  if (const auto properties = node.find("properties"); properties != node.end() && properties->is_object()) {
    EXPECT_EQ(node.value("additionalProperties", true), false) << node.dump().substr(0, 100);
    EXPECT_TRUE(node.contains("patternProperties")) << "x-*";
  }
  for (const auto& [key, value] : node.items()) check_references(value, root);
}
TEST(Schema, IsClosedAndComplete) {
  const json root = json::parse(schema("manifest"));
  check_references(root, root);
}

struct Example {
  const char* text;
  bool valid;
};
void PrintTo(const Example& example, std::ostream* out) { *out << example.text; }

bool reader_accepts(const char* text) {
  return load_manifest_text(text, Format::Json, "m").manifest.has_value();
}

#if HAS_SCHEMA_VALIDATOR
bool schema_accepts(const char* text) {
  static const json schema_json = json::parse(schema("manifest"));
  valijson::Schema compiled;
  valijson::SchemaParser parser(valijson::SchemaParser::kDraft7);
  parser.populateSchema(valijson::adapters::NlohmannJsonAdapter(schema_json), compiled);
  const json document = json::parse(text);
  valijson::Validator validator;
  return validator.validate(compiled, valijson::adapters::NlohmannJsonAdapter(document), nullptr);
}
#endif

class SchemaExamples : public testing::TestWithParam<Example> {};
TEST_P(SchemaExamples, AreJudgedAlikeByReaderAndSchema) {
  EXPECT_EQ(reader_accepts(GetParam().text), GetParam().valid);
#if HAS_SCHEMA_VALIDATOR
  EXPECT_EQ(schema_accepts(GetParam().text), GetParam().valid);
#endif
}
INSTANTIATE_TEST_SUITE_P(
    Table, SchemaExamples,
    testing::Values(
        Example{R"({"id":"x"})", true}, Example{R"({"name":"x","x-note":{"a":1}})", true},
        Example{R"({})", false}, Example{R"([])", false}, Example{R"({"version":"1"})", false},
        Example{R"({"id":5})", false}, Example{R"({"id":""})", false},
        Example{R"({"id":"x","name":""})", false}, Example{R"({"id":"x","name":"n\u202ex"})", false},
        Example{R"({"id":"x","name":"n\u009bx"})", false},
        Example{R"({"id":"x","protocol":"mcp-stdio"})", true},
        Example{R"({"id":"x","protocol":"bogus"})", false}, Example{R"({"id":"x","protocol":""})", false},
        Example{R"({"id":"x","entry_point":""})", false}, Example{R"({"id":"x","entry_point":[]})", false},
        Example{R"({"id":"x","entry_point":["a",""]})", true},
        Example{R"({"id":"x","entry_point":["a\u001b[2J"]})", false},
        Example{R"({"id":"x","limits":{"pids":"64"}})", true},
        Example{R"({"id":"x","limits":{"pids":"a"}})", false},
        Example{R"({"id":"x","env":{"allow":["A B"]}})", false},
        Example{R"({"id":"x","env":{"allow":["/a"]}})", false},
        Example{R"({"id":"x","permissions":{"required":["env:read:A B"]}})", false},
        Example{R"({"id":"x","permissions":{"required":["env:read:A=B"]}})", false},
        Example{R"({"id":"x","permissions":{"required":["file:read:x"]}})", false},
        Example{R"({"id":"x","permissions":{"required":["file:read:*/x"]}})", false},
        Example{R"({"id":"x","permissions":{"required":["exec:run:x"]}})", false},
        Example{R"({"id":"x","permissions":{"required":["ipc:unix:x"]}})", false},
        Example{R"({"id":"x","permissions":{"required":["signal:send:sshd"]}})", false},
        Example{R"({"id":"x","permissions":{"required":["file:read:/x\u202ey"]}})", false},
        Example{
            R"({"id":"x","permissions":{"required":["file:read:**","file:read:**/x","file:read:{/a,/b}/c","file:read:${HOME}/x","file:read:/a b/c","ipc:unix:@a","ipc:unix:/a","signal:send:12"]}})",
            true},
        Example{R"({"id":"x","$schema":"urn:secbox:schema:manifest:1"})", true},
        Example{
            R"({"id":"x","modules":[{"match":"*/libfoo.so*","deny":["file:read:/etc/**",{"use":"net:connect:*"}],"reason":"r","x-a":1},{"match":"libfoo.so","deny":["exec:run:/**"]},{"match":"${PLUGIN_DIR}/{a,b}.so","deny":["ipc:unix:*"]}]})",
            true},
        Example{R"({"id":"x","modules":[]})", true},
        Example{R"({"id":"x","modules":{"match":"a","deny":["file:read:/x"]}})", false},
        Example{R"({"id":"x","modules":[{"match":"a","deny":["file:read:/x"],"allow":[]}]})", false},
        Example{R"({"id":"x","modules":[{"match":"a"}]})", false},
        Example{R"({"id":"x","modules":[{"deny":["file:read:/x"]}]})", false},
        Example{R"({"id":"x","modules":[{"match":"","deny":["file:read:/x"]}]})", false},
        Example{R"({"id":"x","modules":[{"match":"lib/a.so","deny":["file:read:/x"]}]})", false},
        Example{R"({"id":"x","modules":[{"match":"/lib/","deny":["file:read:/x"]}]})", false},
        Example{R"({"id":"x","modules":[{"match":"a\u0007","deny":["file:read:/x"]}]})", false},
        Example{R"({"id":"x","modules":[{"match":"a","deny":["file:raed:/x"]}]})", false},
        Example{R"({"id":"x","$schema":"urn:x"})", false}, Example{R"({"id":"x","permisions":{}})", false},
        Example{R"({"id":"x","version":1.2,"type":"tool","protocol":"none"})", true},
        Example{R"({"id":"x","presets":[]})", true}, Example{R"({"id":"x","presets":["bse"]})", false},
        Example{R"({"id":"x","entry_point":"main.py"})", true},
        Example{R"({"id":"x","entry_point":["a","b"]})", true},
        Example{R"({"id":"x","entry_point":[1]})", false}, Example{R"({"id":"x","entry_point":{}})", false},
        Example{
            R"({"id":"x","permissions":{"required":["file:read|write:/srv/**","file:*:/**","file:rw:/a"]}})",
            true},
        Example{
            R"({"id":"x","permissions":{"required":["net:connect|bind:*","net:connect:udp/*","exec:run:/**","env:read:*","ipc:unix:*","signal:send:*"]}})",
            true},
        Example{R"({"id":"x","permissions":{"required":["rpc:call:x","reg:tool:a","sys:x"]}})", true},
        Example{R"({"id":"x","permissions":{"required":["net:resolve:a","net:connect|resolve:a"]}})", true},
        Example{R"({"id":"x","permissions":{"required":["file:raed:/x"]}})", false},
        Example{R"({"id":"x","permissions":{"required":["file:read"]}})", false},
        Example{R"({"id":"x","permissions":{"required":["file:read:"]}})", false},
        Example{R"({"id":"x","permissions":{"required":["disk:read:/x"]}})", false},
        Example{R"({"id":"x","permissions":{"required":["exec:read:/x"]}})", false},
        Example{R"({"id":"x","permissions":{"required":"file:read:/x"}})", false},
        Example{R"({"id":"x","permissions":{"requird":[]}})", false},
        Example{
            R"({"id":"x","permissions":{"optional":[{"use":"net:connect:a:443","except":["@metadata"],"reason":"r","x-a":1}]}})",
            true},
        Example{
            R"({"id":"x","permissions":{"deny":[{"use":"file:read:/x/**","except":["file:read:/x/y"]}]}})",
            true},
        Example{R"({"id":"x","permissions":{"deny":[{"reason":"r"}]}})", false},
        Example{R"({"id":"x","permissions":{"deny":[{"use":"file:read:/x","exept":[]}]}})", false},
        Example{R"({"id":"x","permissions":{"deny":[{"use":"file:read:/x","except":"y"}]}})", false},
        Example{R"({"id":"x","env":{"allow":["LANG","LC_*"],"deny":["*_TOKEN"]}})", true},
        Example{R"({"id":"x","env":{"allow":["A=B"]}})", false},
        Example{R"({"id":"x","env":{"allow":["{A,B}"]}})", false},
        Example{R"({"id":"x","env":["A"]})", false}, Example{R"({"id":"x","limits":null})", true},
        Example{
            R"({"id":"x","limits":{"memory":"500MB","memory_warn":"80%","on_memory":"warn","cpu":"80%","cpu_time":"10s","file_size":"100MB","pids":64,"open_files":256}})",
            true},
        Example{R"({"id":"x","limits":{"memory":500,"cpu":null,"cpu_time":"500ms","file_size":"1GiB"}})",
                true},
        Example{R"({"id":"x","limits":{"memory":"5XB"}})", false},
        Example{R"({"id":"x","limits":{"memory":-1}})", false},
        Example{R"({"id":"x","limits":{"pids":"many"}})", false},
        Example{R"({"id":"x","limits":{"mem":1}})", false},
        Example{R"({"id":"x","limits":{"on_memory":"stop"}})", false},
        Example{R"({"id":"x","limits":[]})", false},
        Example{R"({"id":"x","timeouts":{"init":"30s","hook":"5s","run":"300s","heartbeat":10}})", true},
        Example{R"({"id":"x","timeouts":{"start":"1s"}})", false},
        Example{R"({"id":"x","timeouts":{"run":"1 day"}})", false},
        Example{
            R"({"id":"x","registers":{"tools":["a"],"channels":[],"commands":[],"services":[],"hooks":[]}})",
            true},
        Example{R"({"id":"x","registers":{"tool":[]}})", false},
        Example{R"({"id":"x","registers":{"tools":[1]}})", false}));

}  // namespace
}  // namespace secbox::manifest
