// Documents made to cost more than they look like: they end in a diagnostic, in little time, memory and
// stack.
#include <gtest/gtest.h>

#include "tests/unit/manifest/support.h"

namespace secbox::manifest {
namespace {

std::string repeated(std::string_view text, std::size_t times) {
  std::string out;
  out.reserve(text.size() * times);
  for (std::size_t i = 0; i < times; ++i) out += text;
  return out;
}

struct Bomb {
  std::string name;
  Format format;
  std::string (*text)();  // made when it is needed: every start of this program makes the table
  std::string message;
};
class Bombs : public testing::TestWithParam<Bomb> {};
TEST_P(Bombs, AreRefused) {
  Diagnostics diagnostics;
  EXPECT_FALSE(parse_document(GetParam().format, GetParam().text(), "f", diagnostics).has_value());
  ASSERT_EQ(diagnostics.all.size(), 1U);
  EXPECT_EQ(diagnostics.all.front().code, "SBX-V101");
  EXPECT_EQ(diagnostics.all.front().message, GetParam().message);
}
INSTANTIATE_TEST_SUITE_P(
    Table, Bombs,
    testing::Values(
        Bomb{"json_brackets", Format::Json, [] { return repeated("[", 1'000'000); }, "nested too deeply"},
        Bomb{"json_items", Format::Json, [] { return "[" + repeated("0,", 2'000'000) + "0]"; },
             "the document is too large"},
        Bomb{"yaml_brackets", Format::Yaml, [] { return repeated("[", 100'000); }, "nested too deeply"},
        Bomb{"yaml_brackets_behind_closed_ones", Format::Yaml,
             [] { return "# " + repeated("]", 100'000) + "\n" + repeated("[", 100'000); },
             "nested too deeply"},
        Bomb{"yaml_dashes", Format::Yaml, [] { return repeated("- ", 100'000); }, "nested too deeply"},
        Bomb{"yaml_items", Format::Yaml, [] { return "a: [" + repeated("a,", 2'000'000) + "a]"; },
             "the document is too large"},
        Bomb{"yaml_text_by_alias", Format::Yaml,
             [] {
               return "a: &a '" + repeated("x", 1'000'000) + "'\nb: [" + repeated("*a, ", 10'000) + "*a]\n";
             },
             "the document is too large"},
        Bomb{"yaml_keys_by_alias", Format::Yaml,
             [] {
               return "a: &a {'" + repeated("x", 1'000) + "': 1}\nb: [" + repeated("*a, ", 100'000) + "*a]\n";
             },
             "the document is too large"},
        Bomb{"toml_items", Format::Toml, [] { return "a = [" + repeated("1,", 2'000'000) + "1]"; },
             "the document is too large"},
        Bomb{"toml_dotted_key", Format::Toml, [] { return repeated("a.", 1'000'000) + "a = 1"; },
             "nested too deeply"},
        Bomb{"toml_dotted_header", Format::Toml, [] { return "[" + repeated("a . ", 1'000'000) + "a]"; },
             "nested too deeply"},
        Bomb{"toml_quoted_keys", Format::Toml, [] { return repeated("\"=\".", 1'000'000) + "a = 1"; },
             "nested too deeply"},
        Bomb{"toml_quoted_keys_behind_a_string", Format::Toml,
             [] { return "x = {y = \"\"\"\n\"\"\", " + repeated("a.\"b\".", 1'000'000) + "a = 1}"; },
             "nested too deeply"}),
    [](const auto& row) { return row.param.name; });

// Brackets that are escaped characters of a path, and dots that are text, nest nothing.
TEST(BombsTwin, ManyEscapesAndDotsAreNoNesting) {
  std::string yaml = "id: x\npermissions:\n  required:\n";
  std::string toml = "id = 'x'\ndescription = '" + repeated(".", 300) + "'\npermissions.required = [\n";
  for (int i = 0; i < 1000; ++i) {
    const std::string grant = "'file:read:/srv/a.b.c/[[]" + std::to_string(i) + ".txt'";
    yaml += "    - " + grant + "\n";
    toml += grant + ", ";
  }
  EXPECT_TRUE(load_manifest_text(yaml, Format::Yaml, "m.yaml").manifest);
  EXPECT_TRUE(load_manifest_text(toml + "]\n", Format::Toml, "m.toml").manifest);
}

TEST(LinkBounds, ThousandsOfComponentsNeedNoStack) {
  std::map<std::string, std::string> links;
  std::string target = "/" + repeated("d/", 2000) + "end";
  for (int i = 0; i < 60; ++i)
    links["/l" + std::to_string(i)] = repeated("d/", 2000) + "../l" + std::to_string(i + 1);
  links["/srv/link"] = target;
  FakeLinks reader(links);
  LinkResolver resolver(reader);
  EXPECT_EQ(resolver.resolve("/srv/link/x").path, target + "/x");
  EXPECT_EQ(resolver.resolve("/srv/link/x").hops, std::vector<std::string>{"/srv/link"});
  EXPECT_EQ(resolver.resolve("/" + repeated("a/", 2000) + "b").hops.size(), 0U);
}
TEST(LinkBounds, LoopsEndAfterAsManyLinksAsTheKernelFollows) {
  FakeLinks reader({{"/a", "b"}, {"/b", "a"}, {"/c", "c/c/c/c"}});
  LinkResolver resolver(reader);
  EXPECT_EQ(resolver.resolve("/a/x").hops.size(), 40U);
  EXPECT_EQ(resolver.resolve("/c").hops.size(), 40U);
  EXPECT_LT(reader.reads, 1000);
}
TEST(LinkResolution, FollowsAsTheKernelDoes) {
  FakeLinks reader({{"/bin", "usr/bin"},
                    {"/usr/bin/vi", "/etc/alternatives/vi"},
                    {"/etc/alternatives/vi", "../../usr/bin/./vim.tiny"},
                    {"/up", ".."},
                    {"/srv/root", "/"}});
  LinkResolver resolver(reader);
  const std::pair<const char*, const char*> rows[] = {
      {"/", "/"},
      {"/bin", "/usr/bin"},
      {"/bin/vi", "/usr/bin/vim.tiny"},
      {"/bin/sh", "/usr/bin/sh"},
      {"/up/up/x", "/x"},
      {"/srv/root/bin/vi", "/usr/bin/vim.tiny"},
      {"/srv/root", "/"},
      {"/no/such/thing", "/no/such/thing"},
      {"/proc/self/exe", "/proc/self/exe"},
  };
  for (const auto& [path, expected] : rows) EXPECT_EQ(resolver.resolve(path).path, expected) << path;
  EXPECT_EQ(resolver.resolve("/bin/vi").hops,
            (std::vector<std::string>{"/bin", "/usr/bin/vi", "/etc/alternatives/vi"}));
}

}  // namespace
}  // namespace secbox::manifest
