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
  // What cannot be written at once is dropped: the record has it.
  void print(std::string_view text) const;
  [[nodiscard]] bool is_terminal() const { return terminal_; }

 private:
  const sys::Procfs& proc_;
  UniqueFd handle_;
  bool reopen_ = false;
  bool terminal_ = false;
};

}  // namespace secbox::session
