// A bystander: a process of the tested user outside of the box, that notes what is done to it.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "supervisor/base/result.h"
#include "supervisor/base/unique_fd.h"
#include "tools/harness/user.h"

namespace secbox::harness {

class Victim {
 public:
  // No victim yet.
  Victim() = default;
  [[nodiscard]] static Result<Victim> start(const User& user);

  [[nodiscard]] pid_t pid() const { return pid_; }
  // The state that change_of_state() compares with is that of now.
  void remember_state() { before_ = state(); }
  // waitpid(2) said this of it.
  void waited(int status);
  // Looks whether somebody traces it; to be called often, since a tracer leaves nothing behind.
  void look();
  // Waits until it has told of every signal sent so far.
  void settle();
  // What was done to it: "SIGTERM", "traced", "killed by SIGKILL", ...
  [[nodiscard]] const std::vector<std::string>& notes() const { return notes_; }
  // "nice 0 -> 5; ...", or "".
  [[nodiscard]] std::string change_of_state() const;

 private:
  using State = std::vector<std::pair<std::string, std::string>>;
  [[nodiscard]] State state() const;
  void note(const std::string& text);

  pid_t pid_ = 0;
  UniqueFd reports_;
  State before_;
  std::vector<std::string> notes_;
  bool gone_ = false;
};

}  // namespace secbox::harness
