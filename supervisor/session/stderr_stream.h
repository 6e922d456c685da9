// The operator's stderr, as the supervisor may use it: never blocking, and without keeping a pipe or terminal
// open that the plugin has closed (its reader waits for the end of the file).
#pragma once

#include <string_view>

#include "supervisor/base/unique_fd.h"
#include "supervisor/sys/target.h"

namespace secbox::session {

class StderrStream {
 public:
  // Looks at descriptor 2 of this process. A pipe or terminal is held by O_PATH, which is no end of it, and
  // opened for each line; a file or socket is kept.
  explicit StderrStream(const sys::Procfs& proc);
  // An end of the pipe or terminal, to be held while something is about to be printed: a program that closes
  // its own at exit would leave nobody to read. Invalid where there is nobody, and where none is needed.
  [[nodiscard]] UniqueFd open_end() const;
  // Through `end`, or through one opened now. What cannot be written at once is dropped: the record has it.
  void print(std::string_view text, UniqueFd end = UniqueFd()) const;
  // Where an end comes from that this user may not open.
  void set_plugin(int pidfd) { plugin_pidfd_ = pidfd; }
  [[nodiscard]] bool is_terminal() const { return terminal_; }

 private:
  const sys::Procfs& proc_;
  UniqueFd handle_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
  int plugin_pidfd_ = -1;
  bool reopen_ = false;
  bool terminal_ = false;
};

}  // namespace secbox::session
