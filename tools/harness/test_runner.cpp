#include "tools/harness/test_runner.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "tools/harness/capture.h"
#include "tools/harness/codes.h"
#include "tools/harness/exit_rule.h"
#include "tools/harness/files.h"
#include "tools/harness/golden.h"
#include "tools/harness/judge.h"
#include "tools/harness/processes.h"
#include "tools/harness/run.h"
#include "tools/harness/spawn.h"
#include "tools/harness/variables.h"

namespace secbox::harness {

namespace {

constexpr std::size_t kMostShown = 4000;
constexpr std::size_t kMostDenials = 100;
constexpr std::size_t kMostGolden = 64U << 20;
// What has to win a race may need a few turns to be seen natively.
constexpr int kNativeTurns = 3;

// As root an attack may mount things, which nobody would take away again.
void keep_mounts_to_this_process() {
  if (::geteuid() == 0 && ::unshare(CLONE_NEWNS) == 0)
    (void)::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
}

std::string shown(const Observation& seen) {
  std::string out = seen.setup_problem.empty() ? ending_text(seen.wait_status) : std::string();
  if (seen.timed_out) out = "timed out";
  out += "\n";
  const auto part = [&](const char* name, const std::string& text) {
    if (!text.empty()) out += std::string(name) + ":\n" + text.substr(0, kMostShown) + "\n";
  };
  part("stdout", seen.out);
  part("stderr", seen.err);
  part("outside", seen.outside);
  return out;
}

class TestRun {
 public:
  TestRun(const Suite& suite, const Test& test, const TestPlace& place, const User& user)
      : suite_(suite), test_(test), place_(place), user_(user) {}

  Observation go(Way way) {
    const std::string directory =
        place_.directory + (way == Way::Boxed ? "/boxed" : "/native-" + std::to_string(++turns_));
    if (auto made = make_directory(directory, 0755); !made) {
      Observation seen;
      seen.setup_problem = made.error().text();
      return seen;
    }
    Observation seen = observe({.fixture = &suite_.fixture_of(test_),
                                .one = &suite_.case_of(test_),
                                .route = &suite_.route_of(test_),
                                .user = user_,
                                .way = way,
                                .secbox = place_.secbox,
                                .directory = directory,
                                .build = place_.build});
    if (!place_.keep) (void)remove_tree(directory);
    return seen;
  }

 private:
  const Suite& suite_;
  const Test& test_;
  const TestPlace& place_;
  const User user_;
  int turns_ = 0;
};

// The whole log of the first route as the first user is compared, or written.
std::vector<Failure> judge_golden(const Suite& suite, const Test& test, const TestPlace& place,
                                  const Observation& boxed) {
  const Case& c = suite.case_of(test);
  if (c.golden.empty() || test.route != 0 || test.user != c.users.front() || !boxed.log) return {};
  const std::string path = suite.fixture_of(test).folder + "/" + c.golden;
  const std::string log = normalise_log(boxed.log_text, place.directory + "/boxed", boxed.variables);
  if (place.golden == GoldenUse::Update) {
    const std::string fresh = path + ".new";
    (void)::unlink(fresh.c_str());
    if (auto done = write_file(fresh, log, 0644); !done) return {{kGoldenDiffers, done.error().text()}};
    if (::rename(fresh.c_str(), path.c_str()) != 0)
      return {{kGoldenDiffers, errno_failure("cannot write " + path).error().text()}};
    return {};
  }
  const auto golden = read_file(path, kMostGolden);
  if (!golden)
    return {{kGoldenDiffers, "there is no " + c.golden + " yet: secbox test --update-golden writes it"}};
  const std::string how = golden_difference(*golden, log);
  if (how.empty()) return {};
  return {{kGoldenDiffers, "the log differs from " + c.golden + " in " + how}};
}

void fail(TestResult& result, std::vector<Failure> failures) {
  if (failures.empty()) return;
  const bool broken =
      std::ranges::any_of(failures, [](const Failure& failure) { return failure.code == kNoSetup; });
  result.status = broken ? TestResult::Status::Broken : TestResult::Status::Failed;
  result.failures = std::move(failures);
}

}  // namespace

TestResult run_test(const Suite& suite, const Test& test, const TestPlace& place) {
  TestResult result;
  const auto user = user_of(test.user);
  const auto is_of_root = [](const FileSpec& file) { return file.owner == FileSpec::Owner::Root; };
  const WorldSpec& world = suite.case_of(test).world;
  if (!user || (::geteuid() != 0 && (std::ranges::any_of(world.files, is_of_root) ||
                                     std::ranges::any_of(world.work, is_of_root)))) {
    result.status = TestResult::Status::Skipped;
    result.skip_reason = "needs root";
    return result;
  }
  adopt_orphans();
  keep_mounts_to_this_process();
  if (auto made = make_directory(place.directory, 0755); !made) {
    fail(result, {{kNoSetup, made.error().text()}});
    return result;
  }
  const auto start = std::chrono::steady_clock::now();
  const Case& c = suite.case_of(test);
  TestRun run(suite, test, place, *user);
  for (int turn = 1; turn <= kNativeTurns; ++turn) {
    const Observation native = run.go(Way::Native);
    result.failures = judge_native(c, native);
    if (result.failures.empty()) break;
    result.native_output = shown(native);
    if (native.timed_out || !native.setup_problem.empty()) break;
  }
  fail(result, std::move(result.failures));
  if (result.failures.empty()) {
    result.native_output.clear();
    const Observation boxed = run.go(Way::Boxed);
    fail(result, judge_boxed(c, boxed));
    if (result.failures.empty()) fail(result, judge_golden(suite, test, place, boxed));
    if (!result.failures.empty()) result.boxed_output = shown(boxed);
    if (boxed.log) {
      for (const LogRecord& record : boxed.log->records) {
        if (record.decision == "deny" && result.denials.size() < kMostDenials)
          result.denials.push_back(record.text());
      }
    }
  }
  if (!place.keep) (void)remove_tree(place.directory);
  result.duration =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - start);
  return result;
}

TestResult build_fixture(const Fixture& fixture, const std::string& build) {
  TestResult result;
  adopt_orphans();
  Variables variables;
  variables.set("BUILD", build);
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) environment.emplace_back(*entry);
  // A compiler is nobody's enemy: it just goes with us when we are stopped.
  sigset_t none;
  sigemptyset(&none);
  (void)::sigprocmask(SIG_SETMASK, &none, nullptr);
  for (const std::vector<std::string>& command : fixture.build) {
    UniqueFd out;
    auto capture = Capture::open(out);
    const SpawnPlan plan{.argv = variables.expand(command),
                         .directory = fixture.folder,
                         .environment = environment,
                         .user = {.uid = ::geteuid(), .gid = ::getegid()},
                         .out = out.get(),
                         .err = out.get()};
    const auto child = capture ? spawn(plan) : Result<pid_t>(std::unexpected(capture.error()));
    out.reset();
    if (!child) {
      fail(result, {{kNoSetup, "build: " + child.error().text()}});
      return result;
    }
    while (capture->fd() >= 0) {
      pollfd wait{capture->fd(), POLLIN, 0};
      (void)::poll(&wait, 1, -1);
      capture->drain();
    }
    int status = 0;
    (void)::waitpid(*child, &status, 0);
    if (status == 0) continue;
    std::string words;
    for (const std::string& word : plan.argv) words += (words.empty() ? "" : " ") + word;
    fail(result, {{kNoSetup, "build: " + words + ": " + ending_text(status)}});
    result.native_output = capture->text().substr(0, kMostShown);
    return result;
  }
  return result;
}

}  // namespace secbox::harness
