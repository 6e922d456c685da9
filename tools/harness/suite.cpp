#include "tools/harness/suite.h"

#include <algorithm>
#include <filesystem>

#include "tools/harness/audit_matcher.h"
#include "tools/harness/codes.h"
#include "tools/harness/fixture_reader.h"

namespace secbox::harness {

namespace {

namespace fs = std::filesystem;

// One that cannot be read is an error: a fixture in it would never be missed.
void find_below(const fs::path& directory, std::vector<std::string>& found,
                manifest::Diagnostics& diagnostics) {
  std::error_code error;
  if (fs::exists(directory / kExpectFile, error)) {
    found.push_back(directory.string());
    return;
  }
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    if (entry.is_directory(error) && !entry.is_symlink(error)) find_below(entry.path(), found, diagnostics);
  }
  if (error)
    diagnostics.all.push_back({manifest::Severity::Error, kBadFixture, "cannot be read: " + error.message(),
                               directory.string(), 0, 0, "", "check who may read it"});
}

}  // namespace

std::string Suite::short_name_of(const Test& test) const {
  const Case& c = case_of(test);
  const Route& route = route_of(test);
  std::string name = c.name;
  const auto add = [&](const std::string& part) { name += (name.empty() ? "" : " ") + part; };
  if (!route.name.empty()) add("[" + route.name + "]");
  const auto user = user_of(test.user);
  add(user ? "uid " + std::to_string(user->uid) : "uid 0");
  return name;
}

std::string Suite::name_of(const Test& test) const {
  return fixture_of(test).name + " " + short_name_of(test);
}

std::vector<std::string> find_fixtures(const std::string& directory, manifest::Diagnostics& diagnostics) {
  std::vector<std::string> found;
  find_below(directory, found, diagnostics);
  std::ranges::sort(found);
  return found;
}

Suite read_suite(const std::string& directory, manifest::Diagnostics& diagnostics) {
  Suite suite;
  for (const std::string& folder : find_fixtures(directory, diagnostics)) {
    std::string name = fs::path(folder).lexically_relative(directory).string();
    if (name == ".") name = fs::path(directory).filename().string();
    if (auto fixture = read_fixture(folder, name, diagnostics)) suite.fixtures.push_back(std::move(*fixture));
  }
  return suite;
}

void plan_tests(Suite& suite, const std::vector<UserKind>& users, const std::string& filter) {
  for (std::size_t f = 0; f < suite.fixtures.size(); ++f) {
    const Fixture& fixture = suite.fixtures[f];
    for (std::size_t c = 0; c < fixture.cases.size(); ++c) {
      for (std::size_t r = 0; r < fixture.cases[c].routes.size(); ++r) {
        for (const UserKind user : fixture.cases[c].users) {
          const Test test{f, c, r, user};
          const std::string names[] = {fixture.name, fixture.name + " " + fixture.cases[c].name,
                                       suite.name_of(test)};
          const bool wanted = filter.empty() || std::ranges::any_of(names, [&](const std::string& name) {
                                return matches_glob(filter, name);
                              });
          if (wanted && std::ranges::find(users, user) != users.end()) suite.tests.push_back(test);
        }
      }
    }
  }
}

}  // namespace secbox::harness
