#include "supervisor/broker/sockaddr.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <array>
#include <cstring>
#include <string>
#include <vector>

namespace secbox::broker {
namespace {

using Bytes = std::vector<std::byte>;

template <typename T>
Bytes bytes_of(const T& address, std::size_t size = sizeof(T)) {
  const auto* begin = reinterpret_cast<const std::byte*>(&address);
  return {begin, begin + size};
}
sockaddr_in v4(const char* text, std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  EXPECT_EQ(::inet_pton(AF_INET, text, &address.sin_addr), 1);
  return address;
}
sockaddr_in6 v6(const char* text, std::uint16_t port) {
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(port);
  EXPECT_EQ(::inet_pton(AF_INET6, text, &address.sin6_addr), 1);
  return address;
}
Bytes local(std::string_view name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, name.data(), name.size());
  return bytes_of(address, offsetof(sockaddr_un, sun_path) + name.size());
}
checker::Endpoint endpoint(const Bytes& bytes) {
  return std::get<InetAddress>(decode_address(bytes)).endpoint;
}
checker::Endpoint any_v4() { return endpoint(bytes_of(v4("0.0.0.0", 9))); }
checker::Endpoint any_v6() { return endpoint(bytes_of(v6("::", 9))); }

TEST(DecodeAddress, ReadsInternetAddresses) {
  EXPECT_EQ(address_text(endpoint(bytes_of(v4("10.1.2.3", 443)))), "10.1.2.3");
  EXPECT_EQ(endpoint(bytes_of(v4("10.1.2.3", 443))).port, 443);
  EXPECT_EQ(address_text(endpoint(bytes_of(v6("fe80::1", 53)))), "fe80::1");
  // The scope id may be left out.
  EXPECT_EQ(endpoint(bytes_of(v6("fe80::1", 53), 24)), endpoint(bytes_of(v6("fe80::1", 53))));
}

TEST(DecodeAddress, OneHostHasOneForm) {
  EXPECT_EQ(endpoint(bytes_of(v4("10.1.2.3", 443))), endpoint(bytes_of(v6("::ffff:10.1.2.3", 443))));
}

TEST(DecodeAddress, WhatIsTooShortIsMalformed) {
  for (std::size_t size = 0; size < sizeof(sockaddr_in); ++size) {
    const Address value = decode_address(bytes_of(v4("10.1.2.3", 443), size));
    EXPECT_TRUE(std::holds_alternative<MalformedAddress>(value)) << size;
  }
  for (std::size_t size = 2; size < 24; ++size) {
    const Address value = decode_address(bytes_of(v6("::1", 443), size));
    EXPECT_TRUE(std::holds_alternative<MalformedAddress>(value)) << size;
  }
  sockaddr_nl netlink{};
  netlink.nl_family = AF_NETLINK;
  EXPECT_TRUE(std::holds_alternative<MalformedAddress>(decode_address(bytes_of(netlink, 11))));
}

TEST(DecodeAddress, UnixNamesEndAsTheKernelSays) {
  EXPECT_EQ(std::get<UnixPath>(decode_address(local("/run/x"))).path, "/run/x");
  EXPECT_EQ(std::get<UnixPath>(decode_address(local(std::string_view("/run/x\0rest", 11)))).path, "/run/x");
  EXPECT_EQ(std::get<UnixPath>(decode_address(local(std::string(108, 'x')))).path.size(), 108U);
  EXPECT_EQ(std::get<UnixAbstract>(decode_address(local(std::string_view("\0a\0b", 4)))).name,
            std::string("a\0b", 3));
  EXPECT_EQ(std::get<UnixAbstract>(decode_address(local(std::string_view("\0", 1)))).name, "");
  EXPECT_TRUE(std::holds_alternative<UnixAutobind>(decode_address(local(""))));
  Bytes longer = local(std::string(108, 'x'));
  longer.push_back(std::byte{'x'});
  EXPECT_TRUE(std::holds_alternative<MalformedAddress>(decode_address(longer)));
}

TEST(DecodeAddress, TellsOtherFamilies) {
  sockaddr_nl netlink{};
  netlink.nl_family = AF_NETLINK;
  netlink.nl_pid = 7;
  EXPECT_EQ(std::get<NetlinkAddress>(decode_address(bytes_of(netlink))).pid, 7U);
  sockaddr_storage other{};
  EXPECT_TRUE(std::holds_alternative<UnspecifiedAddress>(decode_address(bytes_of(other, 2))));
  other.ss_family = 40;
  EXPECT_EQ(std::get<OtherAddress>(decode_address(bytes_of(other, 16))).family, 40);
}

TEST(AsDestination, AnyIsThisHost) {
  EXPECT_EQ(address_text(as_destination(any_v4(), {})), "127.0.0.1");
  EXPECT_EQ(address_text(as_destination(any_v4(), any_v4())), "127.0.0.1");
  EXPECT_EQ(address_text(as_destination(any_v6(), {})), "::1");
  EXPECT_EQ(address_text(as_destination(any_v4(), endpoint(bytes_of(v4("10.0.0.5", 1))))), "10.0.0.5");
  EXPECT_EQ(as_destination(any_v4(), {}).port, 9);
}

TEST(AsDestination, LeavesAnyOtherAlone) {
  const checker::Endpoint other = endpoint(bytes_of(v4("10.0.0.5", 1)));
  EXPECT_EQ(as_destination(other, any_v4()), other);
  EXPECT_EQ(as_destination(other, any_v6()), other);
}

TEST(SetInetAddress, WritesTheAddressAndNothingElse) {
  std::array<std::byte, sizeof(sockaddr_storage)> bytes{};
  const sockaddr_in6 before = v6("2001:db8::1", 53);
  std::memcpy(bytes.data(), &before, sizeof before);
  set_inet_address(bytes, AF_INET6, endpoint(bytes_of(v6("::1", 1))));
  EXPECT_EQ(std::memcmp(bytes.data() + offsetof(sockaddr_in6, sin6_addr), &in6addr_loopback, 16), 0);
  const auto after = decode_address(std::span(bytes).first(sizeof before));
  EXPECT_EQ(std::get<InetAddress>(after).endpoint.port, 53);
}

}  // namespace
}  // namespace secbox::broker
