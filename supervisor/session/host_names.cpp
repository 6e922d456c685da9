#include "supervisor/session/host_names.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <time.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <sstream>

#include "supervisor/session/session.h"

namespace secbox::session {

namespace {

using Address = std::array<std::uint8_t, 16>;

Address mapped(const in_addr& v4) {
  Address address{};
  address[10] = address[11] = 0xff;
  std::memcpy(address.data() + 12, &v4, 4);
  return address;
}

std::vector<Address> look_up(const std::string& name) {
  std::vector<Address> found;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  if (::getaddrinfo(name.c_str(), nullptr, &hints, &list) != 0) return found;
  for (const addrinfo* entry = list; entry != nullptr; entry = entry->ai_next) {
    if (entry->ai_family == AF_INET) {
      sockaddr_in address{};
      std::memcpy(&address, entry->ai_addr, sizeof address);
      found.push_back(mapped(address.sin_addr));
    } else if (entry->ai_family == AF_INET6) {
      sockaddr_in6 address{};
      std::memcpy(&address, entry->ai_addr, sizeof address);
      Address bytes{};
      std::memcpy(bytes.data(), &address.sin6_addr, bytes.size());
      found.push_back(bytes);
    }
  }
  ::freeaddrinfo(list);
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  return found;
}

std::int64_t now_ns() {
  timespec ts{};
  ::clock_gettime(CLOCK_MONOTONIC, &ts);
  return std::int64_t{ts.tv_sec} * 1'000'000'000 + ts.tv_nsec;
}

}  // namespace

HostNames::HostNames(broker::Services& services, std::shared_ptr<const checker::Ruleset> rules)
    : services_(services), base_(std::move(rules)), names_(base_->host_names()) {
  generations_.push_back(base_);
  services_.set_rules(base_.get());
}

bool HostNames::refresh() {
  if (names_.empty()) return false;
  const std::lock_guard lock(mutex_);
  if (refreshed_ns_ != 0 && now_ns() - refreshed_ns_ < 1'000'000'000) return false;
  checker::Ruleset::HostAddresses found;
  for (const std::string& name : names_) found.emplace_back(name, look_up(name));
  refreshed_ns_ = now_ns();
  if (found == addresses_) return false;
  addresses_ = std::move(found);
  generations_.push_back(base_->with_host_addresses(addresses_));
  services_.set_rules(generations_.back().get());
  return true;
}

std::string HostNames::name_of(const Address& address) {
  const std::lock_guard lock(mutex_);
  for (const auto& [name, list] : addresses_) {
    if (std::find(list.begin(), list.end(), address) != list.end()) return name;
  }
  return {};
}

std::vector<checker::Rule> resolver_rules(const std::vector<checker::Rule>& rules) {
  const bool by_name = std::any_of(rules.begin(), rules.end(), [](const checker::Rule& rule) {
    return rule.effect == checker::Effect::Allow &&
           std::any_of(rule.nets.begin(), rule.nets.end(),
                       [](const checker::NetPattern& net) { return !net.host.empty(); });
  });
  if (!by_name) return {};
  checker::Rule rule;
  rule.id = "implied:resolver";
  rule.effect = checker::Effect::Allow;
  rule.layer = checker::Layer::Implied;
  rule.verbs = checker::Verb::NetConnect;
  rule.reason = "name look-ups, for a grant by host name";
  rule.source.text = "net:connect:<name servers of /etc/resolv.conf>:53";
  std::ifstream file("/etc/resolv.conf");
  std::string line;
  while (std::getline(file, line)) {
    std::istringstream words(line);
    std::string key;
    std::string value;
    if (!(words >> key >> value) || key != "nameserver") continue;
    checker::NetPattern net;
    net.prefix_bits = 128;
    net.port_low = net.port_high = 53;
    in_addr v4{};
    if (::inet_pton(AF_INET, value.c_str(), &v4) == 1) {
      net.network = mapped(v4);
    } else if (::inet_pton(AF_INET6, value.substr(0, value.find('%')).c_str(), net.network.data()) != 1) {
      continue;
    }
    rule.nets.push_back(net);
  }
  if (rule.nets.empty()) return {};
  return {rule};
}

}  // namespace secbox::session
