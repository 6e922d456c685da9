#include "tools/harness/harness.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <optional>

#include "tools/harness/codes.h"
#include "tools/harness/files.h"
#include "tools/harness/result_text.h"
#include "tools/harness/worker_pool.h"

namespace secbox::harness {

namespace {

// Whether `user` gets at a program, as only a process of that user can tell.
bool is_executable_for(const User& user, const std::string& path) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(become(user) && ::access(path.c_str(), X_OK) == 0 ? 0 : 1);
  int status = 1;
  (void)::waitpid(child, &status, 0);
  return child > 0 && status == 0;
}

// A fresh directory below $TMPDIR, or /tmp, that every user may enter; removed in the end.
class Root {
 public:
  static Result<Root> make() {
    const char* given = std::getenv("TMPDIR");
    std::string name =
        std::string(given != nullptr && *given == '/' ? given : "/tmp") + "/secbox-test-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) return errno_failure("cannot make a directory " + name);
    Root root;
    // A link on the way would be one more name for everything that tests look for in the log.
    root.path_ = std::filesystem::canonical(name).string();
    if (::chmod(name.c_str(), 0755) != 0) return errno_failure("cannot open up " + name);
    return root;
  }
  Root(Root&& other) noexcept : path_(std::exchange(other.path_, {})), kept_(other.kept_) {}
  Root(const Root&) = delete;
  Root& operator=(const Root&) = delete;
  Root& operator=(Root&&) = delete;
  ~Root() {
    if (!path_.empty() && !kept_) (void)remove_tree(path_);
  }
  [[nodiscard]] const std::string& path() const { return path_; }
  void keep() { kept_ = true; }

 private:
  Root() = default;
  std::string path_;
  bool kept_ = false;
};

// A checkout in root's home is out of the ordinary user's reach.
Result<std::string> reachable_secbox(const HarnessOptions& options, const std::string& root) {
  const auto user = user_of(UserKind::Ordinary);
  if (!user || is_executable_for(*user, options.secbox)) return options.secbox;
  const std::string program = root + "/bin/secbox";
  for (const std::string& directory : {root + "/bin", root + "/lib"}) {
    if (auto made = make_directory(directory, 0755); !made) return std::unexpected(made.error());
  }
  if (auto done = copy_file(options.secbox, program, 0755); !done) return std::unexpected(done.error());
  if (!options.shim.empty()) {
    if (auto done = copy_file(options.shim, root + "/lib/libsecbox-preload.so", 0755); !done)
      return std::unexpected(done.error());
  }
  if (!is_executable_for(*user, program))
    return failure("an ordinary user cannot reach " + root + ": name another place with TMPDIR");
  return program;
}

TestResult broken(const std::string& why) {
  TestResult result;
  result.status = TestResult::Status::Broken;
  result.failures = {{kNoSetup, why}};
  return result;
}

// Tests in the order in which they may be made: a fixture's build comes before its tests.
class Schedule {
 public:
  Schedule(const Suite& suite, const HarnessOptions& options, const std::string& root,
           const std::string& secbox)
      : suite_(suite),
        options_(options),
        root_(root),
        secbox_(secbox),
        builds_(suite.fixtures.size()),
        results_(suite.tests.size()),
        started_(suite.tests.size()) {}

  // 0, or the signal that came.
  int run(const std::function<void(std::size_t, const TestResult&)>& each) {
    WorkerPool pool;
    std::size_t told = 0;
    while (told < suite_.tests.size()) {
      while (pool.running() < options_.jobs && start_one(pool)) {
      }
      for (; told < suite_.tests.size() && results_[told]; ++told) each(told, *results_[told]);
      if (told == suite_.tests.size()) break;
      const auto finished = pool.finish_one();
      if (!finished) {
        pool.stop();
        return pool.interrupted_by();
      }
      take(*finished);
    }
    return 0;
  }

  std::vector<TestResult> results() {
    std::vector<TestResult> all;
    for (auto& result : results_) {
      if (!result) break;
      all.push_back(std::move(*result));
    }
    return all;
  }

 private:
  struct Build {
    bool started = false;
    std::optional<TestResult> result;
  };
  // Jobs: first the builds, then the tests.
  [[nodiscard]] std::string build_directory(std::size_t fixture) const {
    return root_ + "/build-" + std::to_string(fixture);
  }

  bool start_one(WorkerPool& pool) {
    for (std::size_t t = 0; t < suite_.tests.size(); ++t) {
      if (started_[t]) continue;
      const std::size_t f = suite_.tests[t].fixture;
      Build& build = builds_[f];
      if (!build.started) {
        build.started = true;
        if (auto made = make_directory(build_directory(f), 0755); !made) {
          build.result = broken(made.error().text());
        } else if (suite_.fixtures[f].build.empty()) {
          build.result = TestResult{};
        } else if (pool.start(f, [&] {
                     return result_to_text(build_fixture(suite_.fixtures[f], build_directory(f)));
                   })) {
          return true;
        } else {
          build.result = broken("cannot start a process");
        }
      }
      if (!build.result) continue;
      started_[t] = true;
      if (build.result->status == TestResult::Status::Broken) {
        results_[t] = build.result;
        continue;
      }
      const TestPlace place{.directory = root_ + "/" + std::to_string(t + 1),
                            .build = build_directory(f),
                            .secbox = secbox_,
                            .golden = options_.golden,
                            .keep = options_.keep};
      if (pool.start(suite_.fixtures.size() + t,
                     [&] { return result_to_text(run_test(suite_, suite_.tests[t], place)); }))
        return true;
      results_[t] = broken("cannot start a process");
    }
    return false;
  }

  void take(const WorkerPool::Finished& finished) {
    auto result = result_from_text(finished.text);
    if (!result) result = broken("the process that made this test was killed");
    if (finished.job < suite_.fixtures.size()) {
      builds_[finished.job].result = std::move(*result);
    } else {
      results_[finished.job - suite_.fixtures.size()] = std::move(*result);
    }
  }

  const Suite& suite_;
  const HarnessOptions& options_;
  const std::string root_, secbox_;
  std::vector<Build> builds_;
  std::vector<std::optional<TestResult>> results_;
  std::vector<bool> started_;
};

}  // namespace

Result<Report> run_suite(const Suite& suite, const HarnessOptions& options,
                         const std::function<void(std::size_t, const TestResult&)>& each) {
  auto root = Root::make();
  if (!root) return std::unexpected(root.error());
  const auto secbox = reachable_secbox(options, root->path());
  if (!secbox) return std::unexpected(secbox.error());
  Schedule schedule(suite, options, root->path(), *secbox);
  Report report{.suite = &suite};
  report.signal = schedule.run(each);
  report.results = schedule.results();
  if (options.keep) {
    root->keep();
    report.kept = root->path();
  }
  return report;
}

}  // namespace secbox::harness
