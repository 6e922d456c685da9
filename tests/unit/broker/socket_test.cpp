// Sockets: messages, addresses and control data as a hostile caller may write them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

#include <cerrno>
#include <climits>
#include <cstring>

#include "tests/unit/broker/fakes.h"

namespace secbox::broker {
namespace {

using audit::Verdict;
using Kind = Answer::Kind;

constexpr std::uint64_t kUnmapped = 0x7fff0000;

class SocketCallTest : public BrokerTest {
 protected:
  struct Pair {
    UniqueFd here, there;
  };
  static Pair pair(int type) {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends), 0);
    return {UniqueFd(ends[0]), UniqueFd(ends[1])};
  }
  static sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
  }
  static void* pointer(std::uint64_t address) { return reinterpret_cast<void*>(address); }

  // A header with one piece of data; `control` is copied into the plugin.
  msghdr message(std::string_view data, std::span<const std::byte> control = {}) {
    const iovec piece{.iov_base = pointer(memory.put_text(data)), .iov_len = data.size()};
    msghdr header{};
    header.msg_iov = static_cast<iovec*>(pointer(memory.put_object(piece)));
    header.msg_iovlen = 1;
    if (!control.empty()) {
      header.msg_control = pointer(memory.put(control));
      header.msg_controllen = control.size();
    }
    return header;
  }
  template <typename T>
  static std::vector<std::byte> control(int level, int type, const T& value) {
    std::vector<std::byte> bytes(CMSG_SPACE(sizeof value));
    cmsghdr header{};
    header.cmsg_len = CMSG_LEN(sizeof value);
    header.cmsg_level = level;
    header.cmsg_type = type;
    std::memcpy(bytes.data(), &header, sizeof header);
    std::memcpy(bytes.data() + CMSG_LEN(0), &value, sizeof value);
    return bytes;
  }
  const Answer* send(const UniqueFd& fd, const msghdr& header, int flags = MSG_DONTWAIT) {
    return call("sendmsg", {as_argument(fd.get()), memory.put_object(header), as_argument(flags)});
  }
  const Answer* connect(const UniqueFd& fd, std::span<const std::byte> address) {
    return call("connect", {as_argument(fd.get()), memory.put(address), address.size()});
  }
  const Answer* bind(const UniqueFd& fd, std::span<const std::byte> address) {
    return call("bind", {as_argument(fd.get()), memory.put(address), address.size()});
  }
  template <typename T>
  static std::span<const std::byte> bytes(const T& address) {
    return std::as_bytes(std::span(&address, 1));
  }
};

TEST_F(SocketCallTest, SendsWhatWasCopied) {
  const Pair sockets = pair(SOCK_DGRAM);
  EXPECT_EQ(send(sockets.here, message("text"))->value, 4);
  char got[16]{};
  EXPECT_EQ(::recv(sockets.there.get(), got, sizeof got, MSG_DONTWAIT), 4);
  EXPECT_STREQ(got, "text");
  EXPECT_TRUE(sink.lines().empty()) << "no address: nothing is judged";
}

TEST_F(SocketCallTest, PassedDescriptorsAreDuplicatesOfTheCallers) {
  const Pair sockets = pair(SOCK_DGRAM);
  const UniqueFd file(::open(make_file("passed").c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(send(sockets.here, message("x", control(SOL_SOCKET, SCM_RIGHTS, file.get())))->value, 1);
  char byte = 0;
  iovec piece{.iov_base = &byte, .iov_len = 1};
  alignas(cmsghdr) std::byte space[CMSG_SPACE(sizeof(int))];
  msghdr received{};
  received.msg_iov = &piece;
  received.msg_iovlen = 1;
  received.msg_control = space;
  received.msg_controllen = sizeof space;
  ASSERT_EQ(::recvmsg(sockets.there.get(), &received, MSG_DONTWAIT | MSG_CMSG_CLOEXEC), 1);
  ASSERT_NE(CMSG_FIRSTHDR(&received), nullptr);
  int number = -1;
  std::memcpy(&number, CMSG_DATA(CMSG_FIRSTHDR(&received)), sizeof number);
  const UniqueFd passed(number);
  char text[16]{};
  EXPECT_EQ(::read(passed.get(), text, sizeof text), 7);
  EXPECT_STREQ(text, "content");
  EXPECT_TRUE(send(sockets.here, message("x", control(SOL_SOCKET, SCM_RIGHTS, 999)))->is_errno(EBADF));
}

TEST_F(SocketCallTest, ControlDataThatLiesIsRefused) {
  const Pair sockets = pair(SOCK_DGRAM);
  auto lying = control(SOL_SOCKET, SCM_RIGHTS, 0);
  const auto with_length = [&](std::size_t length) {
    std::memcpy(lying.data(), &length, sizeof length);
    return send(sockets.here, message("x", lying));
  };
  EXPECT_TRUE(with_length(0)->is_errno(EINVAL));
  EXPECT_TRUE(with_length(sizeof(cmsghdr) - 1)->is_errno(EINVAL));
  EXPECT_TRUE(with_length(4096)->is_errno(EINVAL));
  EXPECT_TRUE(with_length(SIZE_MAX)->is_errno(EINVAL));
  msghdr header = message("x", lying);
  header.msg_controllen = 65 << 10;
  EXPECT_TRUE(send(sockets.here, header)->is_errno(ENOBUFS));
  header.msg_controllen = lying.size() + 1;
  EXPECT_TRUE(send(sockets.here, header)->is_errno(EFAULT));
  std::array<int, 254> many{};
  EXPECT_TRUE(send(sockets.here, message("x", control(SOL_SOCKET, SCM_RIGHTS, many)))->is_errno(EINVAL));
}

TEST_F(SocketCallTest, CredentialsAndRoutesInAMessageAreRefused) {
  const Pair sockets = pair(SOCK_DGRAM);
  const ucred claimed{.pid = ::getpid(), .uid = 0, .gid = 0};
  EXPECT_TRUE(
      send(sockets.here, message("x", control(SOL_SOCKET, SCM_CREDENTIALS, claimed)))->is_errno(EPERM));
  EXPECT_EQ(sink.lines().back().verdict, Verdict::Deny);
  EXPECT_TRUE(send(sockets.here, message("x", control(IPPROTO_IP, IP_RETOPTS, 0)))->is_errno(EPERM));
  EXPECT_TRUE(send(sockets.here, message("x", control(IPPROTO_IPV6, IPV6_RTHDR, 0)))->is_errno(EPERM));
  EXPECT_EQ(sink.lines().size(), 3U);
}

TEST_F(SocketCallTest, HeadersThatLieAreRefused) {
  const Pair sockets = pair(SOCK_DGRAM);
  const std::uint64_t fd = as_argument(sockets.here.get());
  EXPECT_TRUE(call("sendmsg", {fd, kUnmapped, 0})->is_errno(EFAULT));
  msghdr header = message("x");
  header.msg_iovlen = IOV_MAX + 1;
  EXPECT_TRUE(send(sockets.here, header)->is_errno(EMSGSIZE));
  header.msg_iovlen = 2;
  EXPECT_TRUE(send(sockets.here, header)->is_errno(EFAULT)) << "the second is not mapped";
  header = message("x");
  header.msg_name = pointer(memory.put_object(loopback(9)));
  header.msg_namelen = 0x80000000U;
  EXPECT_TRUE(send(sockets.here, header)->is_errno(EINVAL));
  iovec piece{.iov_base = pointer(kUnmapped), .iov_len = 1};
  header = message("x");
  header.msg_iov = static_cast<iovec*>(pointer(memory.put_object(piece)));
  EXPECT_TRUE(send(sockets.here, header)->is_errno(EFAULT));
  piece.iov_len = SIZE_MAX;
  header.msg_iov = static_cast<iovec*>(pointer(memory.put_object(piece)));
  EXPECT_TRUE(send(sockets.here, header)->is_errno(EINVAL));
  const std::uint64_t long_text = memory.put_text(std::string((4 << 20) + 1, 'x'));
  EXPECT_TRUE(call("sendto", {fd, long_text, (4 << 20) + 1, MSG_DONTWAIT, 0, 0})->is_errno(EMSGSIZE))
      << "never a part of a datagram";
  memory.unreadable = EPERM;
  EXPECT_TRUE(call("sendto", {fd, long_text, 1, 0, 0, 0})->is_errno(EACCES));
  EXPECT_TRUE(call("sendmsg", {fd, long_text, 0})->is_errno(EACCES));
  EXPECT_EQ(sink.lines().back().rule, "failed-closed");
}

TEST_F(SocketCallTest, SeveralMessagesAreToldByHowManyWent) {
  const Pair sockets = pair(SOCK_DGRAM);
  std::array<mmsghdr, 3> headers{};
  headers[0].msg_hdr = message("one");
  headers[1].msg_hdr = message("three");
  headers[2].msg_hdr = message("x", control(SOL_SOCKET, SCM_RIGHTS, 999));
  const std::uint64_t where = memory.put_object(headers);
  const std::uint64_t fd = as_argument(sockets.here.get());
  EXPECT_EQ(call("sendmmsg", {fd, where, 3, MSG_DONTWAIT})->value, 2)
      << "the third fails: told by the next call";
  ASSERT_EQ(sys::read_object(memory, caller, TargetAddress{where}, headers), 0);
  EXPECT_EQ(headers[0].msg_len, 3U);
  EXPECT_EQ(headers[1].msg_len, 5U);
  EXPECT_TRUE(call("sendmmsg", {fd, where + 2 * sizeof(mmsghdr), 1, MSG_DONTWAIT})->is_errno(EBADF));
  EXPECT_TRUE(call("sendmmsg", {fd, kUnmapped, 1, 0})->is_errno(EFAULT));
  EXPECT_EQ(call("sendmmsg", {fd, where, 0, 0})->value, 0);
  memory.read_only = true;
  EXPECT_TRUE(call("sendmmsg", {fd, where, 1, MSG_DONTWAIT})->is_errno(EFAULT));
}

TEST_F(SocketCallTest, FullSocketsAndBrokenOnesAnswerAsNatively) {
  const Pair stream = pair(SOCK_STREAM);
  const std::uint64_t fd = as_argument(stream.here.get());
  const std::uint64_t text = memory.put_text(std::string(1 << 20, 'x'));
  const Answer* answer = call("sendto", {fd, text, 1 << 20, MSG_DONTWAIT, 0, 0});
  EXPECT_GT(answer->value, 0);
  EXPECT_EQ(answer->kind, Kind::Value);
  EXPECT_TRUE(call("sendto", {fd, text, 1 << 20, MSG_DONTWAIT, 0, 0})->is_errno(EAGAIN));
  Pair broken = pair(SOCK_STREAM);
  broken.there.reset();
  EXPECT_TRUE(call("sendto", {as_argument(broken.here.get()), text, 1, MSG_NOSIGNAL, 0, 0})->is_errno(EPIPE));
}

TEST_F(SocketCallTest, WhatIsNoSocketSaysSo) {
  const UniqueFd file(::open("/dev/null", O_RDWR | O_CLOEXEC));
  const sockaddr_in address = loopback(9);
  for (const char* name : {"connect", "bind", "listen", "sendto", "sendmsg", "sendmmsg"}) {
    SCOPED_TRACE(name);
    EXPECT_TRUE(call(name, {999, 0, 0, 0, 0, 0})->is_errno(EBADF));
    EXPECT_TRUE(call(name, {as_argument(file.get()), 0, 0, 0, 0, 0})->is_errno(ENOTSOCK));
  }
  const UniqueFd udp(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const std::uint64_t fd = as_argument(udp.get());
  EXPECT_TRUE(call("connect", {fd, kUnmapped, sizeof address})->is_errno(EFAULT));
  EXPECT_TRUE(call("connect", {fd, kUnmapped, as_argument(-1)})->is_errno(EINVAL));
  EXPECT_TRUE(call("connect", {fd, kUnmapped, 4096})->is_errno(EINVAL));
  const std::uint64_t good = memory.put_object(address);
  memory.unreadable = EPERM;
  EXPECT_TRUE(call("connect", {fd, good, sizeof address})->is_errno(EACCES));
}

TEST_F(SocketCallTest, AddressOfAnotherFamilyIsTheKernelsOwnError) {
  const UniqueFd udp(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const UniqueFd local(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const UniqueFd link(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  sockaddr_un path{};
  path.sun_family = AF_UNIX;
  std::strcpy(path.sun_path, "/tmp/x");
  sockaddr_un abstract{};
  abstract.sun_family = AF_UNIX;
  abstract.sun_path[1] = 'a';
  sockaddr_nl netlink{};
  netlink.nl_family = AF_NETLINK;
  const sockaddr_in inet = loopback(9);
  const sa_family_t unspecified = AF_UNSPEC;
  const sa_family_t other = AF_X25;
  EXPECT_TRUE(connect(local, bytes(inet))->is_errno(EINVAL));
  EXPECT_TRUE(connect(link, bytes(path))->is_errno(EINVAL));
  EXPECT_TRUE(connect(link, bytes(abstract))->is_errno(EINVAL));
  EXPECT_TRUE(connect(local, bytes(netlink))->is_errno(EINVAL));
  EXPECT_TRUE(connect(local, bytes(other))->is_errno(EAFNOSUPPORT));
  EXPECT_TRUE(connect(local, std::as_bytes(std::span("", 1)))->is_errno(EINVAL));
  EXPECT_TRUE(bind(local, bytes(inet))->is_errno(EINVAL));
  EXPECT_TRUE(bind(link, bytes(inet))->is_errno(EINVAL));
  EXPECT_TRUE(bind(udp, bytes(netlink))->is_errno(EAFNOSUPPORT));
  EXPECT_TRUE(bind(udp, bytes(other))->is_errno(EAFNOSUPPORT));
  EXPECT_TRUE(bind(udp, bytes(unspecified))->is_errno(EACCES)) << "0.0.0.0, which nothing grants";
  EXPECT_EQ(connect(udp, bytes(unspecified))->kind, Kind::Value) << "gives a connection up";
}

TEST_F(SocketCallTest, NetlinkReachesTheKernelAndNoOtherProcess) {
  const UniqueFd link(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  sockaddr_nl netlink{};
  netlink.nl_family = AF_NETLINK;
  EXPECT_EQ(bind(link, bytes(netlink))->kind, Kind::Value);
  EXPECT_EQ(connect(link, bytes(netlink))->kind, Kind::Value);
  netlink.nl_pid = 1;
  EXPECT_TRUE(connect(link, bytes(netlink))->is_errno(EPERM));
  EXPECT_EQ(sink.lines().back().rule, "protected:netlink-peer");
}

TEST_F(SocketCallTest, UnixNamesAreJudgedAndPicked) {
  const UniqueFd local(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un abstract{};
  abstract.sun_family = AF_UNIX;
  const std::string name = "secbox-test-" + std::to_string(::getpid());
  std::memcpy(abstract.sun_path + 1, name.data(), name.size());
  const auto address = bytes(abstract).first(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  EXPECT_TRUE(bind(local, address)->is_errno(EACCES));
  EXPECT_TRUE(connect(local, address)->is_errno(EACCES));
  grant({"@" + name}, checker::Verb::UnixSocket);
  EXPECT_EQ(bind(local, address)->kind, Kind::Value);
  const UniqueFd other(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(connect(other, address)->kind, Kind::Value);
  EXPECT_EQ(bind(other, bytes(abstract).first(offsetof(sockaddr_un, sun_path)))->kind, Kind::Value)
      << "a name that the kernel picks";
}

}  // namespace
}  // namespace secbox::broker
