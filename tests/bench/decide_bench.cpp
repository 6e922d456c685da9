// decide() by the number of rules. The rulesets mix all kinds of patterns; the budget is 1 us at 10,000
// rules.
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "supervisor/checker/decide.h"

namespace {

using namespace secbox::checker;
using enum Verb;

std::array<std::uint8_t, 16> v4(std::size_t a, std::size_t b, std::size_t c, std::size_t d) {
  std::array<std::uint8_t, 16> address{};
  address[10] = address[11] = 0xff;
  address[12] = static_cast<std::uint8_t>(a);
  address[13] = static_cast<std::uint8_t>(b);
  address[14] = static_cast<std::uint8_t>(c);
  address[15] = static_cast<std::uint8_t>(d);
  return address;
}

Rule path_rule(Effect effect, VerbSet verbs, std::string pattern) {
  Rule rule;
  rule.effect = effect;
  rule.verbs = verbs;
  rule.paths.push_back(std::move(pattern));
  return rule;
}

// Of ten rules: three objects, two trees, one glob under a directory, two for any depth, one for a network,
// one for names.
Ruleset mixed_rules(std::size_t count) {
  std::vector<Rule> rules;
  for (std::size_t i = 0; rules.size() < count; ++i) {
    const std::string n = std::to_string(i);
    switch (i % 10) {
      case 0:
      case 1:
      case 2:
        rules.push_back(path_rule(Effect::Allow, FileRead | FileWrite, "/srv/app/config/item" + n));
        break;
      case 3:
        rules.push_back(path_rule(Effect::Allow, kFileVerbs, "/srv/data/set" + n + "/**"));
        break;
      case 4:
        rules.push_back(path_rule(Effect::Deny, kFileVerbs, "/srv/data/set" + n + "/private/**"));
        break;
      case 5:
        rules.push_back(path_rule(Effect::Allow, FileRead, "/srv/data/*/cache" + n + "/*.idx"));
        rules.back().except_paths.push_back("**/*.tmp");
        break;
      case 6:
        rules.push_back(path_rule(Effect::Deny, FileRead, "**/secret" + n));
        break;
      case 7:
        rules.push_back(path_rule(Effect::Deny, FileWrite, "**/*.ext" + n));
        break;
      case 8: {
        Rule rule;
        rule.effect = i % 20 == 8 ? Effect::Allow : Effect::Deny;
        rule.verbs = NetConnect;
        NetPattern net;
        net.network = v4(10 + i % 7, (i >> 8) & 0xff, i & 0xff, 0);
        net.prefix_bits = i % 3 == 0 ? 112 : i % 3 == 1 ? 120 : 128;
        net.port_low = net.port_high = static_cast<std::uint16_t>(i / 10 % 2 == 0 ? 443 : 80);
        rule.nets.push_back(net);
        rules.push_back(rule);
        break;
      }
      default:
        rules.push_back(path_rule(Effect::Allow, EnvRead, i % 20 == 9 ? "APP_" + n : "*_SUFFIX" + n));
    }
  }
  return std::move(*Ruleset::make(std::move(rules)));
}

void judge(benchmark::State& state, const AccessView& access, bool expected) {
  const Ruleset rules = mixed_rules(static_cast<std::size_t>(state.range(0)));
  if (decide(rules, access).allowed() != expected) return state.SkipWithError("unexpected decision");
  for (auto _ : state) benchmark::DoNotOptimize(decide(rules, access));
}

void DecideObject(benchmark::State& state) {
  judge(state, {FileRead | FileWrite, "/srv/app/config/item1", "/srv/app/config/item1", {}}, true);
}
void DecideTree(benchmark::State& state) {
  constexpr std::string_view kPath = "/srv/data/set3/year/month/day/record.json";
  judge(state, {FileRead, kPath, kPath, {}}, true);
}
void DecideTreeThroughLink(benchmark::State& state) {
  judge(state,
        {FileRead, "/srv/data/set3/latest/record.json", "/srv/data/set3/year/month/day/record.json", {}},
        true);
}
void DecideGlob(benchmark::State& state) {
  constexpr std::string_view kPath = "/srv/data/set77/cache5/main.idx";
  judge(state, {FileRead, kPath, kPath, {}}, true);
}
void DecideGlobThatNearlyMatches(benchmark::State& state) {
  constexpr std::string_view kPath = "/srv/data/set77/cache-old/main.idx";
  judge(state, {FileRead, kPath, kPath, {}}, false);
}
void DecideNothingMatches(benchmark::State& state) {
  constexpr std::string_view kPath = "/usr/lib/python3/dist-packages/package/module/__init__.py";
  judge(state, {FileRead, kPath, kPath, {}}, false);
}
void DecideNetwork(benchmark::State& state) {
  AccessView access;
  access.verbs = NetConnect;
  access.endpoint = Endpoint{Transport::Tcp, v4(11, 0, 8, 0), 443};
  judge(state, access, true);
}
void DecideName(benchmark::State& state) { judge(state, {EnvRead, "APP_9", "APP_9", {}}, true); }

BENCHMARK(DecideObject)->Arg(10)->Arg(1000)->Arg(10000);
BENCHMARK(DecideTree)->Arg(10)->Arg(1000)->Arg(10000);
BENCHMARK(DecideTreeThroughLink)->Arg(10)->Arg(1000)->Arg(10000);
BENCHMARK(DecideGlob)->Arg(10)->Arg(1000)->Arg(10000);
BENCHMARK(DecideGlobThatNearlyMatches)->Arg(10)->Arg(1000)->Arg(10000);
BENCHMARK(DecideNothingMatches)->Arg(10)->Arg(1000)->Arg(10000);
BENCHMARK(DecideNetwork)->Arg(10)->Arg(1000)->Arg(10000);
BENCHMARK(DecideName)->Arg(10)->Arg(1000)->Arg(10000);

// Different questions in turn, so that not every look-up finds its lines in the first-level cache.
void DecideManyPaths(benchmark::State& state) {
  const auto count = static_cast<std::size_t>(state.range(0));
  const Ruleset rules = mixed_rules(count);
  std::vector<std::string> paths;
  for (std::size_t i = 0; i < 4096; ++i) {
    const std::string n = std::to_string((i * 7919) % count / 10 * 10 + 3);
    paths.push_back("/srv/data/set" + n + "/dir" + std::to_string(i % 97) + "/record.json");
  }
  std::size_t at = 0;
  for (auto _ : state) {
    const std::string& path = paths[at++ % paths.size()];
    benchmark::DoNotOptimize(decide(rules, {FileRead, path, path, {}}));
  }
}
BENCHMARK(DecideManyPaths)->Arg(10)->Arg(1000)->Arg(10000);

void MakeRuleset(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(mixed_rules(static_cast<std::size_t>(state.range(0))));
}
BENCHMARK(MakeRuleset)->Arg(10)->Arg(1000)->Arg(10000);

}  // namespace
