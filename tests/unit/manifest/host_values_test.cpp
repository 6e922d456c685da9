// ${HOST:name}: what a host's configuration says it stands for.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "manifest/configuration.h"
#include "tests/unit/manifest/support.h"

namespace secbox::manifest {
namespace {

class HostValues : public testing::Test {
 protected:
  ~HostValues() override { std::filesystem::remove(path_); }
  void read(const std::string& text) {
    std::ofstream(path_) << text;
    configuration_.read(path_, diagnostics_);
  }
  // What a manifest with one grant compiles to on this host.
  Compiled compiled(const std::string& grant) const {
    CompileOptions options;
    options.variables = run_variables();
    options.variables.host = configuration_.host();
    return compile_text(required(grant), {}, options);
  }

  std::string path_ = testing::TempDir() + "host-values-" + std::to_string(::getpid()) + ".toml";
  Configuration configuration_;
  Diagnostics diagnostics_;
};

TEST_F(HostValues, StandForAPlaceOrAMachine) {
  read("[host]\ndocuments = \"/srv/docs\"\ndb = \"127.0.0.1:5432\"\n");
  ASSERT_FALSE(diagnostics_.has_errors());
  const Compiled files = compiled(R"("file:read:${HOST:documents}/**")");
  EXPECT_TRUE(files.allowed(checker::Verb::FileRead, "/srv/docs/a"));
  EXPECT_FALSE(files.allowed(checker::Verb::FileRead, "/srv/other"));
  const Compiled net = compiled(R"("net:connect:${HOST:db}")");
  EXPECT_TRUE(net.connects(endpoint("127.0.0.1", 5432)));
  EXPECT_FALSE(net.connects(endpoint("127.0.0.1", 5433)));
}

TEST_F(HostValues, ALaterFileGoesBeforeAnEarlierOne) {
  read("[host]\ndocuments = \"/srv/docs\"\nother = \"/o\"\n");
  read("[host]\ndocuments = \"/home/ana/docs\"\n");
  EXPECT_TRUE(
      compiled(R"("file:read:${HOST:documents}/**")").allowed(checker::Verb::FileRead, "/home/ana/docs/a"));
  EXPECT_FALSE(
      compiled(R"("file:read:${HOST:documents}/**")").allowed(checker::Verb::FileRead, "/srv/docs/a"));
  EXPECT_TRUE(compiled(R"("file:read:${HOST:other}/**")").allowed(checker::Verb::FileRead, "/o/a"));
}

TEST_F(HostValues, AWildcardInOneMeansItself) {
  read("[host]\ndocuments = \"/srv/*\"\n");
  EXPECT_TRUE(compiled(R"("file:read:${HOST:documents}/**")").allowed(checker::Verb::FileRead, "/srv/*/a"));
  EXPECT_FALSE(compiled(R"("file:read:${HOST:documents}/**")").allowed(checker::Verb::FileRead, "/srv/x/a"));
}

TEST_F(HostValues, WhatIsMissingIsAnErrorThatSaysWhereItBelongs) {
  read("[host]\ndocuments = \"/srv/docs\"\n");
  const Compiled missing = compiled(R"("file:read:${HOST:models}/**")");
  ASSERT_EQ(missing.codes(), "SBX-V122");
  EXPECT_EQ(missing.diagnostics.all[0].hint,
            "say it in config.toml, under [host]: models = \"/absolute/path\"");
}

TEST_F(HostValues, OnlyTextIsAValue) {
  read("[host]\na = 1\nb = \"\"\nc = [\"/x\"]\n");
  ASSERT_EQ(diagnostics_.all.size(), 3U);
  for (const Diagnostic& d : diagnostics_.all) EXPECT_EQ(d.code, "SBX-V105");
  EXPECT_EQ(diagnostics_.all[2].line, 4);
  EXPECT_TRUE(configuration_.host().empty());
}

TEST_F(HostValues, AreNoListAndNoText) {
  read("host = \"/srv\"\n");
  ASSERT_EQ(diagnostics_.all.size(), 1U);
  EXPECT_EQ(diagnostics_.all[0].code, "SBX-V104");
}

}  // namespace
}  // namespace secbox::manifest
