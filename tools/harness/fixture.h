// A fixture: a program that tries something, and what has to come of it, natively and under secbox.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "tools/harness/effect.h"
#include "tools/harness/exit_rule.h"
#include "tools/harness/expectation.h"
#include "tools/harness/world_spec.h"

namespace secbox::harness {

enum class UserKind : std::uint8_t { Root, Ordinary };

struct Route {
  std::string name{};  // "" where there is but one
  std::vector<std::string> argv{};
};

struct Case {
  std::string name{};
  std::vector<Route> routes{};
  std::vector<UserKind> users{UserKind::Root, UserKind::Ordinary};
  std::vector<std::string> args{};
  WorldSpec world{};
  std::string manifest{};  // a file of the fixture's folder
  std::vector<std::string> options{};
  std::string input{};
  std::vector<std::pair<std::string, std::string>> environment{};
  std::chrono::milliseconds timeout{20'000};
  ExitRule native_exit{}, exit{};
  std::vector<Expectation> denied{}, allowed{}, not_denied{};
  std::vector<Effect> forbidden{}, required{};
  std::string golden{};  // a file of the fixture's folder, "" for none
  int line = 1;          // in expect.json
};

struct Fixture {
  std::string folder{};  // absolute
  std::string name{};    // relative to what was asked for
  std::string about{}, kind{"other"};
  std::vector<std::string> covers{};
  std::vector<std::vector<std::string>> build{};
  std::vector<Case> cases{};
};

}  // namespace secbox::harness
