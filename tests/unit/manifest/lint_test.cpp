// What may be changed may not be run. Each overlap has a twin that is none.
#include "manifest/lint.h"

#include "tests/unit/manifest/support.h"

namespace secbox::manifest {
namespace {

struct Row {
  const char* permissions;
  const char* codes;
};
void PrintTo(const Row& row, std::ostream* out) { *out << row.permissions; }
class Overlap : public testing::TestWithParam<Row> {};
TEST_P(Overlap, IsFoundOrNot) {
  const Compiled c = compile_text(bare(GetParam().permissions), merged_usr());
  EXPECT_EQ(c.codes(), GetParam().codes) << GetParam().permissions;
}
INSTANTIATE_TEST_SUITE_P(
    Table, Overlap,
    testing::Values(
        // one path
        Row{R"("required":["file:write:/srv/t","exec:run:/srv/t"])", "SBX-V201"},
        Row{R"("required":["file:create:/srv/t","exec:run:/srv/t"])", "SBX-V201"},
        Row{R"("required":["file:delete:/srv/t","exec:run:/srv/t"])", "SBX-V201"},
        Row{R"("required":["file:write:/srv/t.so","file:load:/srv/t.so"])", "SBX-V201"},
        Row{R"("required":["file:write|load:/srv/t.so"])", "SBX-V201"},
        Row{R"("required":["file:read:/srv/t","exec:run:/srv/t"])", ""},
        Row{R"("required":["file:write:/srv/u","exec:run:/srv/t"])", ""},
        Row{R"("required":["file:write:/bin/t","exec:run:/usr/bin/t"])", "SBX-V201"},
        // a path in a tree
        Row{R"("required":["file:rw:/srv/**","exec:run:/srv/bin/t"])", "SBX-V201"},
        Row{R"("required":["file:rw:/srv/bin/t","exec:run:/srv/**"])", "SBX-V201"},
        Row{R"("required":["file:rw:/srv/","exec:run:/srv"])", "SBX-V201"},
        Row{R"("required":["file:rw:/srv/**","exec:run:/srvbin/t"])", ""},
        // trees
        Row{R"("required":["file:rw:/srv/**","exec:run:/srv/**"])", "SBX-V201"},
        Row{R"("required":["file:rw:/srv/**","exec:run:/srv/bin/**"])", "SBX-V201"},
        Row{R"("required":["file:rw:/srv/bin/**","exec:run:/srv/**"])", "SBX-V201"},
        Row{R"("required":["file:rw:/srv/data/**","exec:run:/srv/bin/**"])", ""},
        // wildcards: only what is sure
        Row{R"("required":["file:rw:/srv/*.sh","exec:run:/srv/a.sh"])", "SBX-V201"},
        Row{R"("required":["file:rw:/srv/a.sh","exec:run:/srv/*.sh"])", "SBX-V201"},
        Row{R"("required":["file:rw:/srv/a.py","exec:run:/srv/*.sh"])", ""},
        Row{R"("required":["file:rw:/srv/**","exec:run:/srv/*/t"])", "SBX-V201"},
        Row{R"("required":["file:create:/srv/*","file:load:/srv/*"])", "SBX-V201"},
        Row{R"("required":["file:rw:/srv/[ab]","exec:run:/srv/[ab]"])", "SBX-V201"},
        Row{R"("required":["file:rw:/srv/*.sh","exec:run:/srv/*"])", "SBX-V201"},
        Row{R"("required":["file:rw:/srv/*","exec:run:/srv/*.sh"])", "SBX-V201"},
        Row{R"("required":["file:rw:/srv/*/*","exec:run:/srv/bin/*.sh"])", "SBX-V201"},
        Row{R"("required":["file:rw:/srv/*.py","exec:run:/srv/*.sh"])", ""},
        Row{R"("required":["file:rw:/srv/[ab]","exec:run:/srv/[cd]"])", ""},
        Row{R"("required":["file:rw:**/t","exec:run:/srv/t"])", "SBX-V201"},
        Row{R"("required":["file:rw:/srv/t","exec:run:**/t"])", "SBX-V201"},
        Row{R"("required":["file:rw:/srv/**","file:load:**/_sqlite3*"])", ""},
        // an optional grant is one that may be given
        Row{R"("required":["file:rw:/srv/**"],"optional":["exec:run:/srv/t"])", "SBX-V201"},
        // several
        Row{R"("required":["file:rw:/srv/**","exec:run:/srv/t","exec:run:/srv/u"])", "SBX-V201 SBX-V201"},
        Row{R"("required":["file:rw:/srv/**","exec:run:/srv/{a,b,c}"])", "SBX-V201"},
        // denials
        Row{R"("required":["file:rw:/srv/**","exec:run:/srv/t"],"deny":["file:write|create|delete:/srv/t"])",
            ""},
        Row{R"("required":["file:rw:/srv/**","exec:run:/srv/t"],"deny":["file:write:/srv/t","file:create|delete:/srv/**"])",
            ""},
        Row{R"("required":["file:rw:/srv/**","exec:run:/srv/t"],"deny":["file:write:/srv/t"])", "SBX-V201"},
        Row{R"("required":["file:write:/srv/**","file:load:/srv/t.so"],"deny":["file:write:/srv/t.so"])", ""},
        Row{R"("required":["file:rw:/srv/**","exec:run:/srv/t"],"deny":["exec:run:**/t"])", ""},
        Row{R"("required":["file:rw:/srv/**","file:load:/srv/t"],"deny":["exec:run:**/t"])", "SBX-V201"},
        Row{R"("required":["file:rw:/srv/**","exec:run:/srv/bin/**"],"deny":["file:rw:/srv/bin/**"])", ""},
        Row{R"("required":["file:rw:/srv/**","exec:run:/srv/bin/**"],"deny":["file:rw:/srv/bin/a/**"])",
            "SBX-V201"},
        Row{R"("required":["file:rw:/srv/**","exec:run:/srv/t"],"deny":[{"use":"file:rw:/srv/**","except":["/srv/t"]}])",
            "SBX-V201"},
        Row{R"("required":["file:rw:/srv/**","exec:run:/srv/t"],"deny":[{"use":"file:rw:/srv/**","except":["/srv/u"]}])",
            ""},
        // exceptions
        Row{R"("required":[{"use":"file:rw:/srv/**","except":["/srv/bin/**"]},"exec:run:/srv/bin/t"])", ""},
        Row{R"("required":[{"use":"file:rw:/srv/**","except":["/srv/bin/**"]},"exec:run:/srv/bin/**"])", ""},
        Row{R"("required":["file:rw:/srv/data/**",{"use":"exec:run:/srv/**","except":["/srv/data/**"]}])",
            ""},
        Row{R"("required":[{"use":"file:rw:/srv/**","except":["/srv/bin/a"]},"exec:run:/srv/bin/**"])",
            "SBX-V201"},
        // every verb in one word: to work in a directory
        Row{R"("required":["file:*:/srv/**"])", "SBX-V202"},
        Row{R"("required":["file:*:/srv/t"])", "SBX-V202"},
        Row{R"("required":["file:*:/srv/*.so"])", "SBX-V202"},
        Row{R"("required":["file:*:{/srv/a,/srv/b}/**"])", "SBX-V202"},
        Row{R"("required":["file:*|load:/srv/**"])", "SBX-V202"},
        Row{R"("required":["file:*:/srv/**"],"deny":["file:load:/srv/**"])", ""},
        Row{R"("required":["file:rw|load:/srv/**"])", "SBX-V201"},
        Row{R"("required":["file:*:/srv/**","exec:run:/srv/t"])", "SBX-V202 SBX-V201"},
        Row{R"("required":["file:*:/srv/**","file:load:/srv/t"])", "SBX-V202 SBX-V201"},
        // everything: to observe
        Row{R"("required":["file:*:/**","exec:run:/**"])", "SBX-V202"},
        Row{R"("required":["exec:run:/**","file:rw:/srv/**"])", "SBX-V202"},
        Row{R"("required":["exec:run:**","file:rw:/srv/t"])", "SBX-V202"},
        Row{R"("required":["exec:run:/usr/bin/t","file:write:/**"])", "SBX-V202"},
        Row{R"("required":["exec:run:/**"])", ""}, Row{R"("required":["file:rw:/**"])", ""},
        Row{R"("required":["exec:run:/**","file:rw:/srv/**"],"deny":["exec:run:/srv/**"])", ""}));

TEST(OverlapPlace, IsTheWritingGrantAndBothAreNamed) {
  const Compiled c = compile_text(
      "{\"id\":\"x\",\"presets\":[],\"permissions\":{\"required\":[\n \"exec:run:/srv/t\",\n   "
      "\"file:rw:/srv/**\"]}}");
  ASSERT_EQ(c.diagnostics.all.size(), 1U);
  const Diagnostic& d = c.diagnostics.all.front();
  EXPECT_EQ(d.severity, Severity::Error);
  EXPECT_EQ(d.line, 3);
  EXPECT_EQ(d.column, 4);
  EXPECT_EQ(d.pointer, "/permissions/required/1");
  EXPECT_NE(d.message.find("exec:run:/srv/t"), std::string::npos);
  EXPECT_NE(d.message.find("file:rw:/srv/**"), std::string::npos);
}

TEST(OverlapWithPreset, CountsAtTheManifestsGrant) {
  const Compiled loads =
      compile_text(R"({"id":"x","permissions":{"required":["file:rw:/usr/lib/x/**"]}})", merged_usr());
  EXPECT_EQ(loads.codes(), "SBX-V201");
  EXPECT_EQ(loads.diagnostics.all.front().pointer, "/permissions/required/0");
  const Compiled runs =
      compile_text(R"({"id":"x","permissions":{"required":["exec:run:${TMP}/t"]}})", merged_usr());
  EXPECT_EQ(runs.codes(), "SBX-V201");
  EXPECT_EQ(runs.diagnostics.all.front().pointer, "/permissions/required/0");
  EXPECT_EQ(compile_text(R"({"id":"x"})", merged_usr()).codes(), "");
}

std::string many(int count, const char* first, const char* second, const char* tail = "") {
  std::string grants;
  for (int i = 0; i < count; ++i)
    grants +=
        (i == 0 ? "\"" : ",\"") + std::string(i % 2 == 0 ? first : second) + std::to_string(i) + tail + "\"";
  return required(grants);
}
TEST(OverlapBounds, TenThousandRulesAreLookedAt) {
  EXPECT_EQ(compile_text(many(10'000, "exec:run:/opt/t", "file:rw:/srv/d", "/**")).codes(), "");
  EXPECT_EQ(compile_text(many(10'000, "exec:run:/opt/t", "file:rw:/srv/d")).codes(), "");
}
// Padding hides nothing: what cannot be looked at is refused.
TEST(OverlapBounds, TooManyWildcardsAreAnError) {
  const Compiled c = compile_text(many(10'000, "exec:run:/srv/x", "file:rw:/srv/*y"));
  EXPECT_EQ(c.count("SBX-V205"), 1);
  EXPECT_FALSE(c.ruleset);
}
TEST(OverlapBounds, ReportsAreFew) {
  std::string grants = "\"file:rw:/srv/**\"";
  for (int i = 0; i < 1000; ++i) grants += ",\"exec:run:/srv/t" + std::to_string(i) + "\"";
  EXPECT_EQ(compile_text(required(grants)).count("SBX-V201"), 20);
}

}  // namespace
}  // namespace secbox::manifest
