// What the harness makes outside of the box before each run, as the fixture asks for it.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace secbox::harness {

struct FileSpec {
  enum class Kind : std::uint8_t { Text, Symlink, Directory, Fifo, Copy };
  enum class Owner : std::uint8_t { User, Root };
  std::string path{};  // below ${OUTSIDE} or ${WORK}
  Kind kind = Kind::Text;
  std::string value{};  // content, target, or what to copy
  int mode = -1;        // -1: 0644 for files, 0755 for directories; a copy keeps its own
  Owner owner = Owner::User;
};

struct ServerSpec {
  enum class Kind : std::uint8_t { Tcp, Udp, Tcp6, Udp6, Unix, UnixDgram, Abstract };
  std::string name{};
  Kind kind = Kind::Tcp;
};

struct WorldSpec {
  std::vector<FileSpec> files{};  // below ${OUTSIDE}
  std::vector<FileSpec> work{};   // below ${WORK}
  std::vector<ServerSpec> servers{};
  bool victim = false;
  std::vector<std::string> outside{};
};

}  // namespace secbox::harness
