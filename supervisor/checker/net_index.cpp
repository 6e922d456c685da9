#include "supervisor/checker/net_index.h"

#include <algorithm>
#include <bit>

namespace secbox::checker {

Address masked(Address address, int bits) {
  for (std::size_t i = 0; i < address.size(); ++i) {
    const int keep = std::clamp(bits - static_cast<int>(i) * 8, 0, 8);
    address[i] = static_cast<std::uint8_t>(address[i] & (0xff00U >> keep));
  }
  return address;
}

int common_bits(const Address& a, const Address& b) {
  int bits = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const auto difference = static_cast<std::uint8_t>(a[i] ^ b[i]);
    bits += std::countl_zero(difference);
    if (difference != 0) break;
  }
  return bits;
}

bool matches_numbers(const NetPattern& pattern, const Endpoint& endpoint) {
  if (pattern.transport && *pattern.transport != endpoint.transport) return false;
  if (endpoint.port < pattern.port_low || endpoint.port > pattern.port_high) return false;
  return common_bits(pattern.network, endpoint.address) >= pattern.prefix_bits;
}

void NetIndex::append(List& list, const NetEntry& entry) {
  if (!entry.has_excepts) {
    // An earlier rule already says the same of the same end points.
    for (const NetEntry& earlier : list) {
      if (earlier.has_excepts || earlier.tier != entry.tier || earlier.verbs != entry.verbs) continue;
      if (earlier.transport != entry.transport) continue;
      if (earlier.port_low == entry.port_low && earlier.port_high == entry.port_high) return;
    }
  }
  list.push_back(entry);
}

void NetIndex::add(const NetPattern& pattern, NetEntry entry) {
  entry.transport = pattern.transport;
  entry.port_low = pattern.port_low;
  entry.port_high = pattern.port_high;
  const auto bits = static_cast<std::uint8_t>(pattern.prefix_bits);
  const Address network = masked(pattern.network, bits);
  if (std::ranges::find(lengths_, bits) == lengths_.end()) lengths_.push_back(bits);
  const std::uint32_t id = networks_.insert(network_hash(network, bits), bits, 0, view(network));
  if (id == by_network_.size()) by_network_.emplace_back();
  if (entry.port_low != entry.port_high) return append(by_network_[id], entry);
  const auto port = port_key(entry.port_low);
  const std::uint32_t port_id = ports_.insert(port_hash(id, port), id, 0, {port.data(), port.size()});
  if (port_id == by_port_.size()) by_port_.emplace_back();
  append(by_port_[port_id], entry);
}

}  // namespace secbox::checker
