// What is being asked, as values alone: the input of decide().
// No descriptor, clock or kernel call belongs here.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace secbox::checker {

// One permission word of the grammar, `class:verb`.
enum class Verb : std::uint32_t {
  FileRead = 1U << 0,    // contents, and listing of directories
  FileList = 1U << 1,    // listing alone
  FileWrite = 1U << 2,   // contents and metadata of what exists
  FileCreate = 1U << 3,  // new entries, link and rename targets
  FileDelete = 1U << 4,  // unlink, rmdir, rename sources
  FileLoad = 1U << 5,    // PROT_EXEC mapping, dlopen
  ExecRun = 1U << 6,
  NetConnect = 1U << 7,
  NetBind = 1U << 8,
  UnixSocket = 1U << 9,   // ipc:unix, both ends
  SignalSend = 1U << 10,  // signals and scheduling of processes outside the session
  EnvRead = 1U << 11,
};

class VerbSet {
 public:
  constexpr VerbSet() = default;
  constexpr VerbSet(Verb verb) : bits_(static_cast<std::uint32_t>(verb)) {}  // NOLINT: a verb is a set of one
  [[nodiscard]] constexpr bool contains(VerbSet other) const { return (bits_ & other.bits_) == other.bits_; }
  [[nodiscard]] constexpr bool intersects(VerbSet other) const { return (bits_ & other.bits_) != 0; }
  [[nodiscard]] constexpr bool empty() const { return bits_ == 0; }
  [[nodiscard]] constexpr std::uint32_t bits() const { return bits_; }
  constexpr VerbSet& operator|=(VerbSet other) {
    bits_ |= other.bits_;
    return *this;
  }
  friend constexpr VerbSet operator|(VerbSet a, VerbSet b) { return a |= b; }
  // What is in `a` and not in `b`.
  friend constexpr VerbSet operator-(VerbSet a, VerbSet b) {
    VerbSet result;
    result.bits_ = a.bits_ & ~b.bits_;
    return result;
  }
  constexpr bool operator==(const VerbSet&) const = default;

 private:
  std::uint32_t bits_ = 0;
};
constexpr VerbSet operator|(Verb a, Verb b) { return VerbSet(a) | VerbSet(b); }

inline constexpr VerbSet kFileVerbs =
    Verb::FileRead | Verb::FileList | Verb::FileWrite | Verb::FileCreate | Verb::FileDelete | Verb::FileLoad;

// "file:read", "net:connect", "ipc:unix", ...; for one verb.
[[nodiscard]] std::string_view verb_name(Verb verb);
// What a record's permission names: "file:read", "file:read|write". Empty for anything else.
[[nodiscard]] VerbSet verbs_named(std::string_view permission);

enum class Transport : std::uint8_t { Tcp, Udp };

// An IP end point in one form: an IPv4 address is held as IPv4-mapped IPv6 (::ffff:a.b.c.d, network byte
// order), so that a rule cannot be passed by spelling the same host in the other family. 0.0.0.0 and :: are
// kept as they are.
struct Endpoint {
  Transport transport = Transport::Tcp;
  std::array<std::uint8_t, 16> address{};
  std::uint16_t port = 0;  // host byte order

  [[nodiscard]] bool is_v4() const;
  bool operator==(const Endpoint&) const = default;
};

// One question. Which members count depends on the verbs:
//  file, exec:   both paths, absolute, bytes as the kernel gave them. `resolved` names the object that is
//                really acted on.
//  net:          endpoint.
//  ipc:unix:     a path socket as a file; an abstract one with `as_written` == `resolved` == "@name", NULs
//                kept.
//  env, signal:  `as_written` == `resolved` == the variable's name, or the target's pid in decimal.
struct AccessView {
  VerbSet verbs;  // every one of them must be granted
  std::string_view as_written;
  std::string_view resolved;
  std::optional<Endpoint> endpoint;
};

}  // namespace secbox::checker
