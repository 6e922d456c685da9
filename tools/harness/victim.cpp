#include "tools/harness/victim.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "tools/harness/exit_rule.h"
#include "tools/harness/files.h"

namespace secbox::harness {

namespace {

constexpr int kReady = 0x100, kSettled = 0x101, kInterrupted = 0x102;

[[noreturn]] void be_victim(const User& user, pid_t harness, int reports) {
  sigset_t all;
  sigfillset(&all);
  (void)::sigprocmask(SIG_SETMASK, &all, nullptr);
  (void)::setsid();
  if (!become(user)) ::_exit(1);
  // setuid(2) takes the dumpable flag away, and with it what an attacker of the same user could do.
  (void)::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
  (void)::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  (void)::prctl(PR_SET_NAME, "secbox-victim", 0, 0, 0);
  if (::dup2(reports, 3) != 3) ::_exit(1);
  (void)::close_range(4, ~0U, 0);
  for (int stream = 0; stream <= 2; ++stream) {
    const int null = ::open("/dev/null", O_RDWR);
    if (null >= 0 && null != stream) {
      (void)::dup2(null, stream);
      ::close(null);
    }
  }
  const auto tell = [](int what) { return ::write(3, &what, sizeof what) == sizeof what; };
  if (!tell(kReady)) ::_exit(1);
  while (true) {
    siginfo_t info{};
    const int signal = ::sigwaitinfo(&all, &info);
    // Nothing but a stop and what resumes it, or a tracer, interrupts a wait for every signal.
    if (signal < 0) {
      if (!tell(kInterrupted)) ::_exit(0);
    } else if (signal == SIGRTMAX && info.si_pid == harness) {
      // The numbers are delivered in order: all others have been told of.
      if (!tell(kSettled)) ::_exit(0);
    } else if (!tell(signal)) {
      ::_exit(0);
    }
  }
}

}  // namespace

Result<Victim> Victim::start(const User& user) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return errno_failure("cannot make a pipe");
  Victim victim;
  victim.reports_.reset(ends[0]);
  const UniqueFd writer(ends[1]);
  const pid_t harness = ::getpid();
  victim.pid_ = ::fork();
  if (victim.pid_ < 0) return errno_failure("cannot start the victim");
  if (victim.pid_ == 0) be_victim(user, harness, writer.get());
  pollfd wait{victim.reports_.get(), POLLIN, 0};
  int what = -1;
  if (::poll(&wait, 1, 10'000) != 1 || ::read(victim.reports_.get(), &what, sizeof what) != sizeof what ||
      what != kReady)
    return failure("the victim did not start");
  if (::fcntl(victim.reports_.get(), F_SETFL, O_NONBLOCK) != 0) return errno_failure("fcntl");
  return victim;
}

void Victim::note(const std::string& text) {
  if (std::ranges::find(notes_, text) == notes_.end()) notes_.push_back(text);
}

void Victim::waited(int status) {
  if (WIFSTOPPED(status)) {
    note("stopped");
    return;
  }
  note(ending_text(status));
  gone_ = true;
}

void Victim::look() {
  if (pid_ == 0 || gone_) return;
  const std::string status = read_file("/proc/" + std::to_string(pid_) + "/status", 4096).value_or("");
  const std::size_t at = status.find("\nTracerPid:\t");
  if (at != std::string::npos && status[at + 12] != '0') note("traced");
}

void Victim::settle() {
  if (pid_ == 0) return;
  look();
  if (!gone_) {
    sigval value{};
    (void)::sigqueue(pid_, SIGRTMAX, value);
  }
  bool settled = gone_;
  for (int waits = 0;;) {
    int what = 0;
    if (::read(reports_.get(), &what, sizeof what) == sizeof what) {
      if (what == kSettled) {
        settled = true;
      } else if (what == kInterrupted) {
        note("stopped or traced");
      } else {
        const char* name = ::sigabbrev_np(what);
        note(name != nullptr ? "SIG" + std::string(name) : "signal " + std::to_string(what));
      }
      continue;
    }
    if (settled || waits == 20) break;
    int status = 0;
    const pid_t changed = ::waitpid(pid_, &status, WNOHANG | WUNTRACED);
    if (changed == pid_) {
      waited(status);
      settled = true;
      continue;
    }
    ++waits;
    pollfd wait{reports_.get(), POLLIN, 0};
    (void)::poll(&wait, 1, 50);
    look();
  }
  if (!settled) note("does not answer");
}

Victim::State Victim::state() const {
  State now;
  const auto add = [&](const char* name, const std::string& value) { now.emplace_back(name, value); };
  const auto number = [](auto value) { return std::to_string(value); };
  errno = 0;
  add("nice", number(::getpriority(PRIO_PROCESS, static_cast<id_t>(pid_))));
  // prlimit(2) of another user's process needs CAP_SYS_RESOURCE, which root in a container may lack.
  add("limits", read_file("/proc/" + number(pid_) + "/limits", 4096).value_or(""));
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  (void)::sched_getaffinity(pid_, sizeof cpus, &cpus);
  std::string affinity;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(static_cast<unsigned>(cpu), &cpus)) affinity += (affinity.empty() ? "" : ",") + number(cpu);
  }
  add("affinity", affinity);
  sched_param parameter{};
  (void)::sched_getparam(pid_, &parameter);
  add("scheduler", number(::sched_getscheduler(pid_)) + ":" + number(parameter.sched_priority));
  // struct sched_attr as it is: the names of its members differ between headers.
  std::array<std::uint32_t, 14> attributes{};
  (void)::syscall(SYS_sched_getattr, pid_, attributes.data(), sizeof attributes, 0);
  std::string words;
  for (const std::uint32_t word : attributes) words += (words.empty() ? "" : ",") + number(word);
  add("scheduling", words);
  constexpr int kWhoProcess = 1;  // IOPRIO_WHO_PROCESS of linux/ioprio.h, which old headers lack
  add("ioprio", number(::syscall(SYS_ioprio_get, kWhoProcess, pid_)));
  for (const char* name : {"oom_score_adj", "coredump_filter", "timerslack_ns"})
    add(name, read_file("/proc/" + number(pid_) + "/" + name, 64).value_or(""));
  return now;
}

std::string Victim::change_of_state() const {
  if (pid_ == 0 || gone_) return {};
  const State now = state();
  std::string out;
  for (std::size_t i = 0; i < now.size() && i < before_.size(); ++i) {
    if (now[i].second == before_[i].second) continue;
    out += (out.empty() ? "" : "; ") + now[i].first + " " + before_[i].second + " -> " + now[i].second;
  }
  std::erase(out, '\n');
  return out;
}

}  // namespace secbox::harness
