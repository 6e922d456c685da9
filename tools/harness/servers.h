// Listeners of the harness outside of the box. What reaches them is counted; nothing is answered.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "supervisor/base/result.h"
#include "supervisor/base/unique_fd.h"
#include "tools/harness/user.h"
#include "tools/harness/variables.h"
#include "tools/harness/world_spec.h"

namespace secbox::harness {

class Servers {
 public:
  // Opens them all; sockets with a path are made in `directory`. Sets ${PORT:x} and ${SOCKET:x}.
  [[nodiscard]] static Result<Servers> open(const std::vector<ServerSpec>& specs,
                                            const std::string& directory, const User& user,
                                            Variables& variables);
  // Readable when serve() has something to do; -1 where there is no server.
  [[nodiscard]] int poll_fd() const { return poll_.get(); }
  // Takes in all that has arrived.
  void serve();
  // What came before does not count.
  void forget() { contacts_.clear(); }
  [[nodiscard]] int contacts(const std::string& name) const;

 private:
  struct Listener {
    std::string name;
    UniqueFd socket;
    bool is_stream = false;
  };
  void watch(int fd) const;

  UniqueFd poll_;
  std::vector<Listener> listeners_;
  std::map<int, UniqueFd> connections_;
  std::map<std::string, int> contacts_;
};

}  // namespace secbox::harness
