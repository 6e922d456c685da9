#include "tools/harness/worker_pool.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <vector>

#include "tools/harness/processes.h"

namespace secbox::harness {

namespace {
constexpr int kEnding[] = {SIGINT, SIGTERM, SIGHUP};
}

WorkerPool::WorkerPool() {
  // What a worker leaves when it is killed comes to us.
  adopt_orphans();
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  for (const int signal : kEnding) sigaddset(&set, signal);
  (void)::sigprocmask(SIG_BLOCK, &set, nullptr);
  signals_.reset(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

WorkerPool::~WorkerPool() { stop(); }

bool WorkerPool::start(std::size_t job, const std::function<std::string()>& work) {
  UniqueFd writer;
  auto capture = Capture::open(writer);
  if (!capture) return false;
  const pid_t harness = ::getpid();
  const pid_t worker = ::fork();
  if (worker < 0) return false;
  if (worker == 0) {
    (void)::prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
    if (::getppid() != harness) ::_exit(1);
    const std::string text = work();
    std::string_view rest = text;
    while (!rest.empty()) {
      const ssize_t put = ::write(writer.get(), rest.data(), rest.size());
      if (put <= 0) ::_exit(1);
      rest.remove_prefix(static_cast<std::size_t>(put));
    }
    ::_exit(0);
  }
  workers_.emplace(worker, Worker{job, std::move(*capture)});
  return true;
}

std::optional<WorkerPool::Finished> WorkerPool::finish_one() {
  while (!workers_.empty()) {
    std::vector<pollfd> fds = {{signals_.get(), POLLIN, 0}};
    for (const auto& [pid, worker] : workers_) {
      if (worker.capture.fd() >= 0) fds.push_back({worker.capture.fd(), POLLIN, 0});
    }
    (void)::poll(fds.data(), fds.size(), -1);
    for (auto& [pid, worker] : workers_) worker.capture.drain();
    signalfd_siginfo info{};
    while (::read(signals_.get(), &info, sizeof info) == sizeof info) {
      if (info.ssi_signo == SIGCHLD) continue;
      signal_ = static_cast<int>(info.ssi_signo);
      return std::nullopt;
    }
    int status = 0;
    while (true) {
      const pid_t pid = ::waitpid(-1, &status, WNOHANG);
      if (pid <= 0) break;
      const auto found = workers_.find(pid);
      if (found == workers_.end()) continue;
      found->second.capture.drain();
      Finished finished{found->second.job, status == 0 ? found->second.capture.text() : std::string()};
      workers_.erase(found);
      std::set<pid_t> others;
      for (const auto& [other, worker] : workers_) others.insert(other);
      if (status != 0) end_children(others);
      return finished;
    }
  }
  return std::nullopt;
}

void WorkerPool::stop() {
  if (workers_.empty()) return;
  for (const auto& [pid, worker] : workers_) (void)::kill(pid, SIGTERM);
  // Each ends what it started, which nobody does where it has to be killed: its own come to us then.
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (!workers_.empty() && std::chrono::steady_clock::now() < end) {
    std::erase_if(workers_,
                  [](const auto& worker) { return ::waitpid(worker.first, nullptr, WNOHANG) != 0; });
    ::usleep(5000);
  }
  workers_.clear();
  end_children({});
}

}  // namespace secbox::harness
