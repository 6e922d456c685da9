#include "tools/harness/capture.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace secbox::harness {

Result<Capture> Capture::open(UniqueFd& writer) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return errno_failure("cannot make a pipe");
  Capture capture;
  capture.reader_.reset(ends[0]);
  writer.reset(ends[1]);
  // Ours alone: the program's end stays as it was.
  if (::fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0) return errno_failure("fcntl");
  return capture;
}

void Capture::drain() {
  std::array<char, 65536> buffer{};
  // Bounded: who writes without an end is stopped by the time limit, not by us.
  for (int i = 0; i < 64 && reader_.valid(); ++i) {
    const ssize_t got = ::read(reader_.get(), buffer.data(), buffer.size());
    if (got > 0) {
      text_.append(buffer.data(), std::min(static_cast<std::size_t>(got), kMost - text_.size()));
    } else if (got == 0) {
      reader_.reset();
    } else if (errno != EINTR) {
      return;
    }
  }
}

}  // namespace secbox::harness
