// The fixtures below a folder, and the tests that they come to.
#pragma once

#include <string>
#include <vector>

#include "manifest/diagnostic.h"
#include "tools/harness/fixture.h"
#include "tools/harness/user.h"

namespace secbox::harness {

struct Test {
  std::size_t fixture = 0, one = 0, route = 0;  // of Suite::fixtures, their cases, and their routes
  UserKind user = UserKind::Ordinary;
};

struct Suite {
  std::vector<Fixture> fixtures{};
  std::vector<Test> tests{};  // in the order of their fixtures

  [[nodiscard]] const Fixture& fixture_of(const Test& test) const { return fixtures[test.fixture]; }
  [[nodiscard]] const Case& case_of(const Test& test) const { return fixture_of(test).cases[test.one]; }
  [[nodiscard]] const Route& route_of(const Test& test) const { return case_of(test).routes[test.route]; }
  // "files/dangling_create creat [static] uid 1000"
  [[nodiscard]] std::string name_of(const Test& test) const;
  // The same without the fixture.
  [[nodiscard]] std::string short_name_of(const Test& test) const;
};

// Folders that hold an expect.json, sorted; what lies below one is part of it. `directory` itself may be one.
[[nodiscard]] std::vector<std::string> find_fixtures(const std::string& directory,
                                                     manifest::Diagnostics& diagnostics);
// Reads them all: every mistake is told of at once.
[[nodiscard]] Suite read_suite(const std::string& directory, manifest::Diagnostics& diagnostics);
// Plans the tests: those of `users` whose name, or whose fixture's or fixture's and case's, matches `filter`.
void plan_tests(Suite& suite, const std::vector<UserKind>& users, const std::string& filter);

}  // namespace secbox::harness
