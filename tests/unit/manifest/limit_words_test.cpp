#include "manifest/limit_words.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "manifest/configuration.h"
#include "manifest/load.h"

namespace secbox::manifest {
namespace {

bool sets(std::string_view group, std::string_view name, std::optional<std::string_view> value,
          Limits& limits, Timeouts& timeouts) {
  std::string hint;
  const bool ok = set_limit(group, name, value, limits, timeouts, hint);
  EXPECT_EQ(ok, ok || hint.empty()) << "a refused value has a hint";
  return ok;
}

TEST(LimitWords, ReadsUnits) {
  Limits limits;
  Timeouts timeouts;
  EXPECT_TRUE(sets("limits", "memory", "64MiB", limits, timeouts));
  EXPECT_EQ(limits.memory_bytes, 64U << 20);
  EXPECT_TRUE(sets("limits", "cpu", "150%", limits, timeouts));
  EXPECT_EQ(limits.cpu_percent, 150U);
  EXPECT_TRUE(sets("limits", "on_cpu", "throttle", limits, timeouts));
  EXPECT_EQ(limits.on_cpu, OnLimit::Throttle);
  EXPECT_TRUE(sets("timeouts", "run", "250ms", limits, timeouts));
  EXPECT_EQ(timeouts.run_ms, 250U);
  EXPECT_TRUE(sets("timeouts", "run", std::nullopt, limits, timeouts));
  EXPECT_FALSE(timeouts.run_ms);
}

TEST(LimitWords, RefusesWhatItCannotRead) {
  Limits limits;
  Timeouts timeouts;
  for (const auto& [name, value] :
       std::vector<std::pair<const char*, const char*>>{{"memory", "lots"},
                                                        {"memory", ""},
                                                        {"memory", "-1"},
                                                        {"memory", "99999999999GB"},
                                                        {"pids", "5000000000"},
                                                        {"cpu", "80 %"},
                                                        {"on_memory", "throttle"},
                                                        {"on_cpu", ""},
                                                        {"nonsense", "1"}}) {
    EXPECT_FALSE(sets("limits", name, value, limits, timeouts)) << name << "=" << value;
  }
  EXPECT_FALSE(sets("limits", "on_memory", std::nullopt, limits, timeouts));
  EXPECT_FALSE(sets("timeouts", "runs", "1s", limits, timeouts));
}

class ConfigurationTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "secbox-configuration-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    dir_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  Diagnostics read(const std::string& text) {
    const std::string path = (dir_ / "config.toml").string();
    std::ofstream(path) << text;
    Diagnostics diagnostics;
    configuration_.read(path, diagnostics);
    return diagnostics;
  }
  std::filesystem::path dir_;
  Configuration configuration_;
};

TEST_F(ConfigurationTest, FillsInWhatTheManifestLeavesOutAndKeepsBelowTheMaximum) {
  EXPECT_TRUE(read(R"([limits]
memory = "200MB"
pids = 50
[type.agent.limits]
memory = "1GB"
[max.limits]
memory = "300MB"
open_files = 64
[max.timeouts]
run = "60s"
)")
                  .all.empty());
  const auto with = [&](const char* text) {
    const Loaded loaded = load_manifest_text(text, Format::Json, "m");
    EXPECT_TRUE(loaded.manifest);
    std::pair<Limits, Timeouts> result{loaded.manifest->limits, loaded.manifest->timeouts};
    configuration_.fill_in(*loaded.manifest, result.first, result.second);
    return result;
  };
  auto [limits, timeouts] = with(R"({"id":"x"})");
  EXPECT_EQ(limits.memory_bytes, 200'000'000U);
  EXPECT_EQ(limits.pids, 50U);
  EXPECT_EQ(configuration_.cap(limits, timeouts),
            (std::vector<std::string>{"limits.open_files", "timeouts.run"}));
  EXPECT_EQ(limits.open_files, 64U);
  EXPECT_EQ(timeouts.run_ms, 60'000U);

  auto [own, own_times] = with(R"({"id":"x","limits":{"memory":"400MB"},"timeouts":{"run":"1s"}})");
  EXPECT_EQ(own.memory_bytes, 400'000'000U);
  EXPECT_EQ(own.pids, 50U);
  (void)configuration_.cap(own, own_times);
  EXPECT_EQ(own.memory_bytes, 300'000'000U);
  EXPECT_EQ(own_times.run_ms, 1000U);

  EXPECT_EQ(with(R"({"id":"x","type":"agent"})").first.memory_bytes, 1'000'000'000U);
  auto [none, none_times] = with(R"({"id":"x","limits":null})");
  EXPECT_FALSE(none.memory_bytes);
  (void)configuration_.cap(none, none_times);
  EXPECT_EQ(none.memory_bytes, 300'000'000U) << "no limit is above every maximum";
}

TEST_F(ConfigurationTest, TheLowerOfTwoMaximaHolds) {
  (void)read("[max.limits]\npids = 10\n");
  (void)read("[max.limits]\npids = 20\n");
  Limits limits;
  Timeouts timeouts;
  (void)configuration_.cap(limits, timeouts);
  EXPECT_EQ(limits.pids, 10U);
}

TEST_F(ConfigurationTest, SaysWhereItIsWrong) {
  const Diagnostics wrong = read("[limits]\nmemroy = 1\n[max.limits]\nmemory = \"lots\"\n");
  ASSERT_EQ(wrong.all.size(), 2U);
  EXPECT_EQ(wrong.all[0].pointer, "/limits/memroy");
  EXPECT_NE(wrong.all[0].hint.find("memory"), std::string::npos);
  EXPECT_EQ(wrong.all[1].code, "SBX-V116");
  EXPECT_EQ(wrong.all[1].line, 4);
  EXPECT_TRUE(read("limits = 3\n").has_errors());
  EXPECT_TRUE(read("\n \n").all.empty()) << "it says nothing";
  Diagnostics missing;
  configuration_.read((dir_ / "none.toml").string(), missing);
  EXPECT_TRUE(missing.all.empty());
}

}  // namespace
}  // namespace secbox::manifest
