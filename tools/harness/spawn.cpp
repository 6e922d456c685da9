#include "tools/harness/spawn.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

namespace secbox::harness {

namespace {

[[noreturn]] void be_program(const SpawnPlan& plan, int report) {
  const auto fail = [&] {
    const int error = errno;
    (void)!::write(report, &error, sizeof error);
    ::_exit(127);
  };
  sigset_t none;
  sigemptyset(&none);
  (void)::sigprocmask(SIG_SETMASK, &none, nullptr);
  for (int signal = 1; signal < NSIG; ++signal) (void)::signal(signal, SIG_DFL);
  (void)::setsid();
  (void)::umask(022);
  const int streams[] = {plan.in, plan.out, plan.err};
  int given[3];
  // Above all three first: one of them may have the number of another.
  for (int i = 0; i < 3; ++i) {
    given[i] =
        streams[i] >= 0 ? ::fcntl(streams[i], F_DUPFD_CLOEXEC, 3) : ::open("/dev/null", O_RDWR | O_CLOEXEC);
    if (given[i] >= 0 && given[i] < 3) given[i] = ::fcntl(given[i], F_DUPFD_CLOEXEC, 3);
    if (given[i] < 0) fail();
  }
  for (int i = 0; i < 3; ++i) {
    if (::dup2(given[i], i) != i) fail();
  }
  if (::close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) != 0) fail();
  if (!become(plan.user)) fail();
  if (::chdir(plan.directory.c_str()) != 0) fail();
  std::vector<char*> argv;
  for (const std::string& word : plan.argv) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  std::vector<char*> environment;
  for (const std::string& entry : plan.environment) environment.push_back(const_cast<char*>(entry.c_str()));
  environment.push_back(nullptr);
  // execvpe(3) would look where this process's PATH says.
  environ = environment.data();
  (void)::execvp(argv[0], argv.data());
  fail();
  ::_exit(127);
}

}  // namespace

Result<pid_t> spawn(const SpawnPlan& plan) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return errno_failure("cannot make a pipe");
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  const pid_t child = ::fork();
  if (child < 0) return errno_failure("cannot fork");
  if (child == 0) be_program(plan, writer.get());
  writer.reset();
  int error = 0;
  ssize_t got = 0;
  do {
    got = ::read(reader.get(), &error, sizeof error);
  } while (got < 0 && errno == EINTR);
  if (got == sizeof error) {
    (void)::waitpid(child, nullptr, 0);
    return failure("cannot start " + plan.argv.front(), error);
  }
  return child;
}

}  // namespace secbox::harness
