#include "tools/harness/outside.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sstream>

#include "tools/harness/exit_rule.h"

namespace secbox::harness {

Result<Outside> Outside::start(SpawnPlan plan, Variables& variables, std::chrono::milliseconds timeout) {
  Outside outside;
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return errno_failure("cannot make a pipe");
  const UniqueFd in(ends[0]);
  outside.in_.reset(ends[1]);
  UniqueFd out;
  UniqueFd err;
  auto out_capture = Capture::open(out);
  auto err_capture = Capture::open(err);
  if (!out_capture || !err_capture) return std::unexpected((out_capture ? err_capture : out_capture).error());
  outside.out_ = std::move(*out_capture);
  outside.err_ = std::move(*err_capture);
  plan.in = in.get();
  plan.out = out.get();
  plan.err = err.get();
  const auto pid = spawn(plan);
  if (!pid) return std::unexpected(pid.error());
  outside.pid_ = *pid;
  out.reset();
  err.reset();

  const auto end = std::chrono::steady_clock::now() + timeout;
  while (outside.out_.text().find('\n') == std::string::npos && outside.out_.fd() >= 0 &&
         std::chrono::steady_clock::now() < end) {
    pollfd wait{outside.out_.fd(), POLLIN, 0};
    (void)::poll(&wait, 1, 100);
    outside.drain();
  }
  std::string line = outside.out_.text();
  const bool whole = line.find('\n') != std::string::npos;
  line.resize(std::min(line.find('\n'), line.size()));
  std::istringstream words(line);
  std::string word;
  if (!whole || !(words >> word) || word != "ready") {
    outside.drain();
    return failure("the outside process does not begin with a line \"ready\": " + outside.text());
  }
  while (words >> word) {
    const std::size_t equals = word.find('=');
    if (equals != std::string::npos) variables.set("OUT:" + word.substr(0, equals), word.substr(equals + 1));
  }
  return outside;
}

void Outside::drain() {
  out_.drain();
  err_.drain();
}

std::string Outside::text() const {
  return (status_ ? ending_text(*status_) : std::string("it did not end")) + "\n" + out_.text() + err_.text();
}

}  // namespace secbox::harness
