// The seccomp programs of the supervisor's own process and of its guardian, taken before the plugin runs:
// what they need to serve a session, and nothing that would let whoever takes them over start a program, open
// a namespace, load code or look into other processes in new ways. Constants: nothing is assembled at start.
#pragma once

#include <linux/filter.h>

#include <cstdint>
#include <span>

namespace secbox::launch {

enum class NameLookups : std::uint8_t {
  None,
  Resolver,  // getaddrinfo(3) opens sockets, and loads the host's modules for it
};

[[nodiscard]] std::span<const sock_filter> supervisor_program(NameLookups lookups);
// Looks for the session's processes and kills them.
[[nodiscard]] std::span<const sock_filter> guardian_program();

// For the calling thread and those it makes. Needs no_new_privs. 0 or an errno; async-signal-safe.
[[nodiscard]] int install(std::span<const sock_filter> program);

}  // namespace secbox::launch
