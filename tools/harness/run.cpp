#include "tools/harness/run.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <set>

#include "tools/harness/capture.h"
#include "tools/harness/exit_rule.h"
#include "tools/harness/files.h"
#include "tools/harness/processes.h"
#include "tools/harness/snapshot.h"
#include "tools/harness/spawn.h"

namespace secbox::harness {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// How long what is left may take to go before it counts as left: the supervisor writes the end of its log.
constexpr milliseconds kBoxedGrace{10'000};
constexpr milliseconds kNativeGrace{500};
constexpr milliseconds kOutsideGrace{5000};
// A tracer is seen only while it traces.
constexpr milliseconds kLookAtVictim{2};
constexpr std::size_t kMostLog = 256U << 20;

class Run {
 public:
  Run(const RunPlan& plan, World world, Observation& seen)
      : plan_(plan), world_(std::move(world)), seen_(seen), start_(Clock::now()) {}

  void go() {
    remember();
    if (const auto started = start(); !started) {
      seen_.setup_problem = started.error().text();
      return;
    }
    while (!command_status_ && Clock::now() < start_ + plan_.one->timeout) step(start_ + plan_.one->timeout);
    if (!command_status_) {
      seen_.timed_out = true;
      end_children(known_);
    }
    seen_.wait_status = command_status_.value_or(0);
    find_left();
    drain();
    seen_.out = out_.text();
    seen_.err = err_.text();
    world_.outside.dismiss();
    const auto end = Clock::now() + kOutsideGrace;
    while (!world_.outside.ended() && Clock::now() < end) step(end);
    drain();
    world_.victim.settle();
    if (world_.outside.pid() != 0) seen_.outside = world_.outside.text();
    seen_.duration = std::chrono::duration_cast<milliseconds>(Clock::now() - start_);
    for (const Effect& effect : plan_.one->forbidden) seen_.forbidden.push_back(judge(effect));
    for (const Effect& effect : plan_.one->required) seen_.required.push_back(judge(effect));
    if (plan_.way == Way::Boxed) read_log();
    seen_.variables = world_.variables();
  }

 private:
  // A relative name is one of the command's working directory.
  [[nodiscard]] std::string path_of(const Effect& effect) const {
    const std::string path = world_.variables().expand(effect.what);
    return path.starts_with('/') ? path : world_.work() + "/" + path;
  }

  void remember() {
    for (const auto* effects : {&plan_.one->forbidden, &plan_.one->required}) {
      for (const Effect& effect : *effects) {
        if (effect.kind == Effect::Kind::Changed) before_[path_of(effect)] = snapshot_of(path_of(effect));
      }
    }
    world_.servers.serve();
    world_.servers.forget();
    known_ = living_children();
  }

  Result<void> start() {
    const Variables& variables = world_.variables();
    SpawnPlan spawn_plan{.directory = world_.work(), .environment = world_.environment(), .user = plan_.user};
    if (plan_.way == Way::Boxed) {
      spawn_plan.argv = {plan_.secbox, "run", "-m", world_.manifest(), "--audit", world_.audit(), "--quiet"};
      for (const std::string& option : variables.expand(plan_.one->options))
        spawn_plan.argv.push_back(option);
      spawn_plan.argv.emplace_back("--");
    }
    for (const auto* words : {&plan_.route->argv, &plan_.one->args}) {
      for (const std::string& word : *words) spawn_plan.argv.push_back(variables.expand(word));
    }
    UniqueFd out;
    UniqueFd err;
    auto out_capture = Capture::open(out);
    if (!out_capture) return std::unexpected(out_capture.error());
    auto err_capture = Capture::open(err);
    if (!err_capture) return std::unexpected(err_capture.error());
    out_ = std::move(*out_capture);
    err_ = std::move(*err_capture);
    spawn_plan.out = out.get();
    spawn_plan.err = err.get();
    UniqueFd in;
    if (!plan_.one->input.empty()) {
      int ends[2];
      if (::pipe2(ends, O_CLOEXEC) != 0) return errno_failure("cannot make a pipe");
      in.reset(ends[0]);
      in_.reset(ends[1]);
      if (::fcntl(in_.get(), F_SETFL, O_NONBLOCK) != 0) return errno_failure("fcntl");
      input_ = variables.expand(plan_.one->input);
    }
    spawn_plan.in = in.get();
    const auto pid = spawn(spawn_plan);
    if (!pid) return std::unexpected(pid.error());
    command_ = *pid;
    start_ = Clock::now();
    return {};
  }

  // Waits for the next event, and takes it in.
  void step(Clock::time_point until) {
    std::vector<pollfd> fds = {{child_signals(), POLLIN, 0}};
    const auto add = [&](int fd, short events = POLLIN) {
      if (fd >= 0) fds.push_back({fd, events, 0});
    };
    add(out_.fd());
    add(err_.fd());
    for (const int fd : world_.outside.fds()) add(fd);
    add(world_.servers.poll_fd());
    if (in_.valid()) add(in_.get(), POLLOUT);
    auto wait = std::chrono::ceil<milliseconds>(until - Clock::now());
    if (world_.victim.pid() != 0) wait = std::min(wait, kLookAtVictim);
    (void)::poll(fds.data(), fds.size(), static_cast<int>(std::max<std::int64_t>(wait.count(), 0)));
    take_in();
  }

  void take_in() {
    signalfd_siginfo info{};
    while (::read(child_signals(), &info, sizeof info) == sizeof info) {
      if (info.ssi_signo == SIGCHLD) continue;
      end_children({});
      ::_exit(1);
    }
    int status = 0;
    while (true) {
      const pid_t pid = ::waitpid(-1, &status, WNOHANG | WUNTRACED);
      if (pid <= 0) break;
      if (pid == world_.victim.pid()) {
        world_.victim.waited(status);
      } else if (!WIFSTOPPED(status) && pid == command_) {
        command_status_ = status;
      } else if (!WIFSTOPPED(status) && pid == world_.outside.pid()) {
        world_.outside.waited(status);
      }
    }
    drain();
    write_input();
    world_.victim.look();
  }

  void drain() {
    out_.drain();
    err_.drain();
    world_.outside.drain();
    if (world_.servers.poll_fd() >= 0) world_.servers.serve();
  }

  void write_input() {
    if (!in_.valid()) return;
    const ssize_t put = ::write(in_.get(), input_.data(), input_.size());
    if (put > 0) input_.erase(0, static_cast<std::size_t>(put));
    if (input_.empty() || (put < 0 && errno != EAGAIN && errno != EINTR)) in_.reset();
  }

  // What is left once the command has ended is a survivor, unless it goes by itself at once.
  void find_left() {
    const auto left = [&] {
      std::set<pid_t> children = living_children();
      for (const pid_t pid : known_) children.erase(pid);
      return children;
    };
    const auto end = Clock::now() + (plan_.way == Way::Boxed ? kBoxedGrace : kNativeGrace);
    std::set<pid_t> now = left();
    while (!now.empty() && Clock::now() < end) {
      step(std::min(end, Clock::now() + milliseconds(20)));
      now = left();
    }
    for (const pid_t pid : now) left_ += (left_.empty() ? "" : ", ") + process_text(pid);
    end_children(known_);
  }

  [[nodiscard]] Seen judge(const Effect& effect) const {
    using Kind = Effect::Kind;
    const std::string what = world_.variables().expand(effect.what);
    const bool names_a_file =
        effect.kind == Kind::Exists || effect.kind == Kind::Missing || effect.kind == Kind::Changed;
    const std::string now = names_a_file ? snapshot_of(path_of(effect)) : std::string();
    const auto seen = [](bool happened, const std::string& yes, const std::string& no) {
      return Seen{happened, happened ? yes : no};
    };
    switch (effect.kind) {
      case Kind::Output:
        return seen(seen_.out.find(what) != std::string::npos, "the output holds \"" + what + "\"",
                    "the output does not hold \"" + what + "\"");
      case Kind::Exists:
        return seen(now != "missing", what + " exists", what + " does not exist");
      case Kind::Missing:
        return seen(now == "missing", what + " is gone", what + " is still there");
      case Kind::Changed: {
        const std::string how = difference(before_.at(path_of(effect)), now);
        return seen(!how.empty(), what + " was changed (" + how + ")", what + " was not changed");
      }
      case Kind::Contacted: {
        const int contacts = world_.servers.contacts(effect.what);
        return seen(contacts > 0,
                    "the server \"" + effect.what + "\" was contacted " + std::to_string(contacts) + " times",
                    "the server \"" + effect.what + "\" was not contacted");
      }
      case Kind::Signalled: {
        std::string notes;
        for (const std::string& note : world_.victim.notes()) notes += (notes.empty() ? "" : ", ") + note;
        return seen(!notes.empty(), "the victim was harmed: " + notes, "the victim noticed nothing");
      }
      case Kind::VictimChanged: {
        const std::string how = world_.victim.change_of_state();
        return seen(!how.empty(), "the victim was changed: " + how, "the victim was not changed");
      }
      case Kind::Outside:
        return seen(world_.outside.harmed(), "the outside process was harmed: " + world_.outside.text(),
                    "the outside process was not harmed");
      case Kind::Survivor:
        return seen(!left_.empty(), "left alive: " + left_, "no process was left");
      case Kind::Exit: {
        const bool is = WIFEXITED(seen_.wait_status) && WEXITSTATUS(seen_.wait_status) == effect.status;
        return seen(is && !seen_.timed_out, ending_text(seen_.wait_status),
                    ending_text(seen_.wait_status) + " instead of " + std::to_string(effect.status));
      }
    }
    return {};
  }

  void read_log() {
    const auto text = read_file(world_.audit(), kMostLog);
    if (!text) {
      seen_.log_problem = "there is no audit log";
      return;
    }
    seen_.log_text = *text;
    auto log = parse_audit_log(*text);
    if (!log) {
      seen_.log_problem = log.error().text();
      return;
    }
    seen_.log = std::move(*log);
  }

  static int child_signals();

  const RunPlan& plan_;
  World world_;
  Observation& seen_;
  Clock::time_point start_;
  std::map<std::string, std::string> before_;  // snapshots by path
  std::set<pid_t> known_;                      // children that are not of the command
  pid_t command_ = 0;
  std::optional<int> command_status_;
  Capture out_, err_;
  UniqueFd in_;
  std::string input_, left_;
};

// One a process: the signals are blocked, and taken from here, for good.
int Run::child_signals() {
  static const UniqueFd fd = [] {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : {SIGCHLD, SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, signal);
    (void)::sigprocmask(SIG_BLOCK, &set, nullptr);
    (void)::signal(SIGPIPE, SIG_IGN);
    return UniqueFd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  }();
  return fd.get();
}

}  // namespace

Observation observe(const RunPlan& plan) {
  Observation seen;
  auto world = World::make(*plan.fixture, *plan.one, plan.user, plan.way, plan.directory, plan.build);
  if (world) {
    Run(plan, std::move(*world), seen).go();
  } else {
    seen.setup_problem = world.error().text();
  }
  end_children({});
  return seen;
}

}  // namespace secbox::harness
