// expect.json -> Fixture, or everything that is wrong with it.
#pragma once

#include <optional>
#include <string>

#include "manifest/diagnostic.h"
#include "tools/harness/fixture.h"

namespace secbox::harness {

inline constexpr const char* kExpectFile = "expect.json";
inline constexpr const char* kFixtureSchema = "urn:secbox:schema:fixture:1";

// Reads the fixture in `folder` (absolute). nullopt after an error in `diagnostics`.
[[nodiscard]] std::optional<Fixture> read_fixture(const std::string& folder, const std::string& name,
                                                  manifest::Diagnostics& diagnostics);

}  // namespace secbox::harness
