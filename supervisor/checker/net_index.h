// Finds the network patterns that an end point could match: one look-up for each prefix length in use, one
// more for the port. Internal to the checker.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "supervisor/checker/key_table.h"
#include "supervisor/checker/path_index.h"
#include "supervisor/checker/ruleset.h"

namespace secbox::checker {

using Address = std::array<std::uint8_t, 16>;

// `address` with all but the first `bits` cleared.
[[nodiscard]] Address masked(Address address, int bits);
// How many leading bits are the same.
[[nodiscard]] int common_bits(const Address& a, const Address& b);
// Everything but the host name of a pattern.
[[nodiscard]] bool matches_numbers(const NetPattern& pattern, const Endpoint& endpoint);

struct NetEntry {
  std::uint32_t rule = 0;
  std::uint32_t verbs = 0;
  Tier tier = Tier::Allow;
  bool has_excepts = false;
  std::optional<Transport> transport;
  std::uint16_t port_low = 0;
  std::uint16_t port_high = 65535;
};

class NetIndex {
 public:
  // Fills the transport and the ports of `entry` from the pattern. Entries must come in the order of their
  // rules.
  void add(const NetPattern& pattern, NetEntry entry);

  // Calls visit(entry) for every entry of `verbs` that matches.
  template <typename Visit>
  void for_matches(const Endpoint& endpoint, std::uint32_t verbs, Visit&& visit) const {
    for (const std::uint8_t bits : lengths_) {
      const Address network = masked(endpoint.address, bits);
      const std::uint32_t id = networks_.find(network_hash(network, bits), bits, 0, view(network));
      if (id == KeyTable::kNone) continue;
      each(by_network_[id], endpoint, verbs, visit);
      const auto port = port_key(endpoint.port);
      const std::uint32_t port_id = ports_.find(port_hash(id, port), id, 0, {port.data(), port.size()});
      if (port_id != KeyTable::kNone) each(by_port_[port_id], endpoint, verbs, visit);
    }
  }

 private:
  using List = std::vector<NetEntry>;

  static std::string_view view(const Address& address) {
    return {reinterpret_cast<const char*>(address.data()), address.size()};
  }
  static std::array<char, 2> port_key(std::uint16_t port) {
    return {static_cast<char>(port & 0xff), static_cast<char>(port >> 8)};
  }
  static std::uint64_t network_hash(const Address& network, std::uint8_t bits) {
    return mix(hash_bytes(view(network)), bits);
  }
  static std::uint64_t port_hash(std::uint32_t network, const std::array<char, 2>& port) {
    return mix(hash_bytes({port.data(), port.size()}), network);
  }
  static void append(List& list, const NetEntry& entry);
  template <typename Visit>
  static void each(const List& list, const Endpoint& endpoint, std::uint32_t verbs, Visit& visit) {
    for (const NetEntry& entry : list) {
      if ((entry.verbs & verbs) == 0) continue;
      if (entry.transport && *entry.transport != endpoint.transport) continue;
      if (endpoint.port < entry.port_low || endpoint.port > entry.port_high) continue;
      visit(entry);
    }
  }

  std::vector<std::uint8_t> lengths_;
  KeyTable networks_;
  KeyTable ports_;
  std::vector<List> by_network_;  // ranges of ports
  std::vector<List> by_port_;     // single ports
};

}  // namespace secbox::checker
