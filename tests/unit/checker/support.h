// Short ways to write rules and questions down in a table.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "supervisor/checker/decide.h"

namespace secbox::checker {

inline Rule path_rule(Effect effect, VerbSet verbs, std::vector<PathPattern> paths,
                      std::vector<PathPattern> excepts = {}, Layer layer = Layer::Manifest) {
  Rule rule;
  rule.effect = effect;
  rule.layer = layer;
  rule.verbs = verbs;
  rule.paths = std::move(paths);
  rule.except_paths = std::move(excepts);
  rule.source.file = "m.json";
  return rule;
}
inline Rule allow(VerbSet verbs, std::vector<PathPattern> paths, std::vector<PathPattern> excepts = {}) {
  return path_rule(Effect::Allow, verbs, std::move(paths), std::move(excepts));
}
inline Rule deny(VerbSet verbs, std::vector<PathPattern> paths, std::vector<PathPattern> excepts = {}) {
  return path_rule(Effect::Deny, verbs, std::move(paths), std::move(excepts));
}
inline Rule optional_grant(VerbSet verbs, std::vector<PathPattern> paths,
                           std::vector<PathPattern> excepts = {}) {
  return path_rule(Effect::Optional, verbs, std::move(paths), std::move(excepts));
}
inline Rule protect(VerbSet verbs, std::vector<PathPattern> paths) {
  return path_rule(Effect::Deny, verbs, std::move(paths), {}, Layer::Protected);
}

inline std::array<std::uint8_t, 16> v4(int a, int b, int c, int d) {
  std::array<std::uint8_t, 16> address{};
  address[10] = address[11] = 0xff;
  address[12] = static_cast<std::uint8_t>(a);
  address[13] = static_cast<std::uint8_t>(b);
  address[14] = static_cast<std::uint8_t>(c);
  address[15] = static_cast<std::uint8_t>(d);
  return address;
}
inline std::array<std::uint8_t, 16> v6(std::uint16_t first, std::uint16_t last) {
  std::array<std::uint8_t, 16> address{};
  address[0] = static_cast<std::uint8_t>(first >> 8);
  address[1] = static_cast<std::uint8_t>(first & 0xff);
  address[14] = static_cast<std::uint8_t>(last >> 8);
  address[15] = static_cast<std::uint8_t>(last & 0xff);
  return address;
}
inline NetPattern net(std::array<std::uint8_t, 16> network, int bits, int low = 0, int high = 65535,
                      std::optional<Transport> transport = std::nullopt) {
  NetPattern pattern;
  pattern.transport = transport;
  pattern.network = network;
  pattern.prefix_bits = bits;
  pattern.port_low = static_cast<std::uint16_t>(low);
  pattern.port_high = static_cast<std::uint16_t>(high);
  return pattern;
}
inline NetPattern host(std::string name, int low = 0, int high = 65535) {
  NetPattern pattern = net({}, 0, low, high);
  pattern.host = std::move(name);
  return pattern;
}
inline Rule net_rule(Effect effect, VerbSet verbs, std::vector<NetPattern> nets,
                     std::vector<NetPattern> excepts = {}) {
  Rule rule;
  rule.effect = effect;
  rule.verbs = verbs;
  rule.nets = std::move(nets);
  rule.except_nets = std::move(excepts);
  rule.source.file = "m.json";
  return rule;
}

// Rules without an id are numbered r0, r1, ... in order.
inline Ruleset ruleset(std::vector<Rule> rules) {
  for (std::size_t i = 0; i < rules.size(); ++i) {
    if (rules[i].id.empty()) rules[i].id = "r" + std::to_string(i);
  }
  auto made = Ruleset::make(std::move(rules));
  EXPECT_TRUE(made.has_value()) << (made ? "" : made.error().text());
  return made ? std::move(*made) : std::move(*Ruleset::make({}));
}

inline AccessView ask(VerbSet verbs, std::string_view path) {
  return {.verbs = verbs, .as_written = path, .resolved = path, .endpoint = {}};
}
inline AccessView ask(VerbSet verbs, std::string_view as_written, std::string_view resolved) {
  return {.verbs = verbs, .as_written = as_written, .resolved = resolved, .endpoint = {}};
}
inline AccessView ask_net(VerbSet verbs, std::array<std::uint8_t, 16> address, int port,
                          Transport transport = Transport::Tcp) {
  AccessView view;
  view.verbs = verbs;
  view.endpoint = Endpoint{transport, address, static_cast<std::uint16_t>(port)};
  return view;
}

// Calls of operator new so far, in the whole program.
[[nodiscard]] std::size_t allocation_count();

inline std::string rule_id(const Rule* rule) { return rule == nullptr ? "" : rule->id; }

}  // namespace secbox::checker
