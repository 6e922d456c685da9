// Positions, bounds and malformed files of the three formats.
#include "manifest/document.h"

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/unit/manifest/support.h"

namespace secbox::manifest {
namespace {

struct Fault {
  const char* name;
  Format format;
  std::string text;
  const char* code;
  int line, column;  // column 0: any
};
void PrintTo(const Fault& fault, std::ostream* out) { *out << fault.name; }

class Malformed : public testing::TestWithParam<Fault> {};
TEST_P(Malformed, SaysWhere) {
  Diagnostics diagnostics;
  const auto root = parse_document(GetParam().format, GetParam().text, "f", diagnostics);
  EXPECT_FALSE(root.has_value());
  ASSERT_EQ(diagnostics.all.size(), 1U);
  const Diagnostic& d = diagnostics.all.front();
  EXPECT_EQ(d.code, GetParam().code) << d.message;
  EXPECT_EQ(d.line, GetParam().line) << d.message;
  if (GetParam().column != 0) {
    EXPECT_EQ(d.column, GetParam().column) << d.message;
  }
  EXPECT_EQ(d.file, "f");
}
std::string nested(const char* open, const char* close, int depth) {
  std::string text;
  for (int i = 0; i < depth; ++i) text += open;
  for (int i = 0; i < depth; ++i) text += close;
  return text;
}
INSTANTIATE_TEST_SUITE_P(
    Table, Malformed,
    testing::Values(Fault{"json colon", Format::Json, "{\"a\":1,\n \"b\" 5}", "SBX-V101", 2, 6},
                    Fault{"json comma", Format::Json, "{\"a\":1\n\n \"b\":5}", "SBX-V101", 3, 0},
                    Fault{"json open", Format::Json, "{\"a\":[1,\n2", "SBX-V101", 2, 0},
                    Fault{"json rest", Format::Json, "{}\n{}", "SBX-V101", 2, 1},
                    Fault{"json twice", Format::Json, "{\"a\":1,\n  \"a\":2}", "SBX-V101", 2, 3},
                    Fault{"json twice inside", Format::Json, "{\"a\":{\"b\":1, \"c\":2,\n\"b\":2}}",
                          "SBX-V101", 2, 1},
                    Fault{"json deep", Format::Json, nested("[", "]", 100), "SBX-V101", 1, 65},
                    Fault{"yaml twice", Format::Yaml, "a: 1\nb: 2\na: 3\n", "SBX-V101", 3, 1},
                    Fault{"yaml flow", Format::Yaml, "a: [1, 2\nb: 3\n", "SBX-V101", 2, 0},
                    Fault{"yaml two", Format::Yaml, "a: 1\n---\nb: 2\n", "SBX-V101", 2, 1},
                    // YAML::LoadAll() does not end here.
                    Fault{"yaml stray comma", Format::Yaml, ",\n \"p", "SBX-V101", 1, 0},
                    Fault{"yaml comments alone", Format::Yaml, "# x\n", "SBX-V101", 1, 0},
                    Fault{"yaml deep", Format::Yaml, nested("[", "]", 1000), "SBX-V101", 1, 0},
                    Fault{"yaml key", Format::Yaml, "a: 1\n[x, y]: 2\n", "SBX-V101", 1, 0},
                    Fault{"yaml alias of itself", Format::Yaml, "a: &a [*a]\n", "SBX-V101", 1, 0},
                    Fault{"toml twice", Format::Toml, "a = 1\na = 2\n", "SBX-V101", 2, 0},
                    Fault{"toml value", Format::Toml, "a = 1\n\nb = \n", "SBX-V101", 3, 0},
                    Fault{"toml date", Format::Toml, "a = 2026-01-01\n", "SBX-V101", 1, 0},
                    Fault{"empty", Format::Json, "", "SBX-V102", 0, 0},
                    Fault{"blank", Format::Yaml, " \n\t\n", "SBX-V102", 0, 0},
                    Fault{"latin1", Format::Yaml, "id: x\nname: caf\xe9\n", "SBX-V103", 2, 0},
                    Fault{"overlong", Format::Json, "\n\"\xc0\xaf\"", "SBX-V103", 2, 0},
                    Fault{"overlong, three bytes", Format::Json, "\"\xe0\x80\xaf\"", "SBX-V103", 1, 0},
                    Fault{"surrogate", Format::Yaml, "a: \xed\xa0\x80", "SBX-V103", 1, 0},
                    Fault{"beyond Unicode", Format::Yaml, "a: \xf4\x90\x80\x80", "SBX-V103", 1, 0},
                    // Read as UTF-32 by yaml-cpp: another text than the one that was checked.
                    Fault{"yaml zero bytes", Format::Yaml, std::string("a\0\0\0file", 8), "SBX-V103", 1, 0},
                    Fault{"zero byte", Format::Json, std::string("{\n\0}", 4), "SBX-V103", 2, 0},
                    // An assertion of toml++.
                    Fault{"toml key", Format::Toml, "a = 1\n[${home}]\n", "SBX-V101", 2, 2},
                    Fault{"cut", Format::Toml, "a = \"\xe2\x82", "SBX-V103", 1, 0}));

// An alias is worth the nodes that it stands for.
TEST(Bounds, AliasesAreCountedEachTime) {
  std::string text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 10; ++i) {
    text += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
    for (int n = 0; n < 10; ++n) text += (n == 0 ? "*a" : ", *a") + std::to_string(i - 1);
    text += "]\n";
  }
  Diagnostics diagnostics;
  EXPECT_FALSE(parse_document(Format::Yaml, text, "f", diagnostics).has_value());
  EXPECT_TRUE(diagnostics.has_errors());
}

struct Place {
  std::string_view key;
  int line, column;
};
void expect_places(Format format, std::string_view text, const std::vector<Place>& places) {
  Diagnostics diagnostics;
  const auto root = parse_document(format, text, "f", diagnostics);
  ASSERT_TRUE(root.has_value()) << diagnostics.all.front().message;
  for (const Place& place : places) {
    const Node* node = root->find(place.key);
    ASSERT_NE(node, nullptr) << place.key;
    EXPECT_EQ(node->line, place.line) << place.key;
    EXPECT_EQ(node->column, place.column) << place.key;
  }
}
TEST(Positions, OfJsonMembersAreThoseOfTheirKeys) {
  expect_places(
      Format::Json,
      "{ \"a\": 1,\n  \"b\":\n     [1],\n\t\"c\": \"x\\\"\\\\\",  \"d\": {\"e\": null}, \"f\": 1.5e3}",
      {{"a", 1, 3}, {"b", 2, 3}, {"c", 4, 2}, {"d", 4, 17}, {"f", 4, 35}});
}
TEST(Positions, OfJsonGoOverComments) {
  expect_places(Format::Json,
                "// { \"no\": 1\n{/* \"a\":\n 2 */ \"a\": // x\n 1, \"u\": \"//\", \"b\": true}",
                {{"a", 3, 7}, {"u", 4, 5}, {"b", 4, 16}});
}
TEST(Positions, OfJsonItemsAreTheirOwn) {
  Diagnostics diagnostics;
  const auto root =
      parse_document(Format::Json, "\xef\xbb\xbf[\"a\",\n  [], {\"k\": 1},\n 7]", "f", diagnostics);
  ASSERT_TRUE(root.has_value());
  ASSERT_EQ(root->items.size(), 4U);
  EXPECT_EQ(root->items[0].column, 2 + 3);  // bytes
  EXPECT_EQ(root->items[1].line, 2);
  EXPECT_EQ(root->items[1].column, 3);
  EXPECT_EQ(root->items[2].column, 7);
  EXPECT_EQ(root->items[3].line, 3);
  EXPECT_EQ(root->items[3].column, 2);
}
TEST(Positions, OfYamlAndToml) {
  expect_places(Format::Yaml, "# x\na: 1\nb:\n  - 1\nc: {d: 1}\n", {{"a", 2, 1}, {"b", 3, 1}, {"c", 5, 1}});
  expect_places(Format::Toml, "# x\na = 1\n\n[b]\nc = 1\n", {{"a", 2, 1}, {"b", 4, 2}});
}

TEST(Scalars, KeepTheTextOfAVersion) {
  for (const auto& [format, text] : {std::pair{Format::Json, "{\"version\": 1.10}"},
                                     {Format::Yaml, "version: 1.10\n"},
                                     {Format::Toml, "# caf\u00e9\nversion = 1.10\n"}}) {
    Diagnostics diagnostics;
    const auto root = parse_document(format, text, "f", diagnostics);
    ASSERT_TRUE(root.has_value());
    EXPECT_EQ(root->find("version")->text, "1.10") << text;
    EXPECT_EQ(root->find("version")->kind, Node::Kind::Number);
  }
}
TEST(Scalars, OfYamlFollowTheCoreSchema) {
  Diagnostics diagnostics;
  const auto root =
      parse_document(Format::Yaml, "a: yes\nb: true\nc: ~\nd: 1e3\ne: '5'\nf:\ng: 1.2.3\n", "f", diagnostics);
  ASSERT_TRUE(root.has_value());
  using Kind = Node::Kind;
  for (const auto& [key, kind] : {std::pair{"a", Kind::String},
                                  {"b", Kind::Bool},
                                  {"c", Kind::Null},
                                  {"d", Kind::Number},
                                  {"e", Kind::String},
                                  {"f", Kind::Null},
                                  {"g", Kind::String}}) {
    EXPECT_EQ(root->find(key)->kind, kind) << key;
  }
}

TEST(FormatOf, EndingThenFirstCharacter) {
  EXPECT_EQ(format_of("a.json", "id: x"), Format::Json);
  EXPECT_EQ(format_of("a.jsonc", ""), Format::Json);
  EXPECT_EQ(format_of("a.yaml", "{}"), Format::Yaml);
  EXPECT_EQ(format_of("a.yml", "{}"), Format::Yaml);
  EXPECT_EQ(format_of("a.toml", "{}"), Format::Toml);
  EXPECT_EQ(format_of("/dev/fd/63", " \n{}"), Format::Json);
  EXPECT_EQ(format_of("manifest", "// x\n{}"), Format::Json);
  EXPECT_EQ(format_of("manifest", "id: x"), Format::Yaml);
}

class Files : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "/manifest-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    dir_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  std::string write(const std::string& name, const std::string& text) {
    std::ofstream(dir_ / name, std::ios::binary) << text;
    return dir_ / name;
  }
  static Diagnostic only_problem(const std::string& path) {
    const Loaded loaded = load_manifest_file(path);
    EXPECT_FALSE(loaded.manifest.has_value());
    EXPECT_EQ(loaded.diagnostics.all.size(), 1U);
    return loaded.diagnostics.all.empty() ? Diagnostic{} : loaded.diagnostics.all.front();
  }
  std::filesystem::path dir_;
};
TEST_F(Files, AreReadInEveryFormat) {
  EXPECT_TRUE(load_manifest_file(write("a.json", "{\"id\":\"x\"}")).manifest.has_value());
  EXPECT_TRUE(load_manifest_file(write("a.yaml", "id: x\n")).manifest.has_value());
  EXPECT_TRUE(load_manifest_file(write("a.toml", "id = \"x\"\n")).manifest.has_value());
  const Loaded loaded = load_manifest_file(write("b.json", "{\"id\":\"y\"}"));
  EXPECT_EQ(loaded.text, "{\"id\":\"y\"}");
  EXPECT_EQ(loaded.manifest->file, (dir_ / "b.json").string());
}
TEST_F(Files, ThatCannotBeReadSayWhy) {
  EXPECT_NE(only_problem(dir_ / "none.json").message.find("No such file"), std::string::npos);
  EXPECT_NE(only_problem(dir_).message.find("directory"), std::string::npos);
  EXPECT_EQ(only_problem(write("empty.json", "")).code, "SBX-V102");
  EXPECT_EQ(only_problem(write("big.json", std::string(kMaxFileSize + 1, ' '))).code, "SBX-V100");
}

TEST(JsonCommas, BehindTheLastAreAllowedAndOthersNot) {
  for (const char* text :
       {R"({"a":[1,2,],"b":{"c":1,},})", "{\"a\":[1,/* , */ // ]\n ] , }", R"({"a":",]","b":"\\",})"}) {
    Diagnostics diagnostics;
    EXPECT_TRUE(parse_document(Format::Json, text, "m", diagnostics)) << text;
  }
  for (const char* text : {"{,}", "[,]", "[1,,]", "[,1]", "{\"a\":,}", "[1],", ",", "{\"a\",}", "[\",]"}) {
    Diagnostics diagnostics;
    EXPECT_FALSE(parse_document(Format::Json, text, "m", diagnostics)) << text;
  }
  Diagnostics diagnostics;
  const auto root = parse_document(Format::Json, "{\"a\": [\n1,\n],\n\"b\": 2,\n}", "m", diagnostics);
  ASSERT_TRUE(root);
  EXPECT_EQ(root->find("b")->line, 4);
}

}  // namespace
}  // namespace secbox::manifest
