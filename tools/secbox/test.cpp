// secbox test: fixtures that do what a plugin may not, natively to prove it and under secbox to see it
// stopped.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "supervisor/base/unique_fd.h"
#include "tools/harness/harness.h"
#include "tools/harness/junit.h"
#include "tools/harness/sarif.h"
#include "tools/harness/tap.h"
#include "tools/secbox/diagnostics.h"
#include "tools/secbox/places.h"
#include "tools/secbox/verbs.h"

namespace secbox::cli {

namespace {

constexpr const char* kHelp =
    "usage: secbox test [options] DIR\n"
    "\n"
    "Runs the fixtures in DIR, folders with an expect.json: each first natively, where what it tries has to\n"
    "succeed, then under secbox, where it must not. This runs the attacks for real: use a machine or "
    "container\n"
    "that may be thrown away.\n"
    "\n"
    "      --junit FILE      write a JUnit report there\n"
    "      --sarif FILE      write what failed there, as SARIF 2.1.0\n"
    "      --update-golden   write the logs that cases name as \"golden\" instead of comparing\n"
    "      --filter GLOB     only tests whose name, fixture, or fixture and case match ('*' is any text)\n"
    "      --users WHO       root, ordinary or both (default); without root's rights only ordinary can be "
    "had\n"
    "  -j, --jobs N          so many tests at once (default 1)\n"
    "      --keep            leave the directories of the runs behind\n"
    "\n"
    "Prints TAP 14. Exit codes: 0 all passed, 1 one failed, 122 a bad fixture or command line, 125 no test "
    "could "
    "run.\n";

constexpr int kExitTestFailed = 1;

struct Options {
  std::string directory, junit, sarif, filter;
  std::vector<harness::UserKind> users{harness::UserKind::Root, harness::UserKind::Ordinary};
  harness::HarnessOptions harness;
  bool help = false;
};

int usage_error(const std::string& text) {
  std::fprintf(stderr, "secbox test: %s\nhint: secbox test --help\n", printable_text(text).c_str());
  return kExitInvalid;
}

// 0, or the exit code to end with.
int parse(const Args& args, Options& out) {
  for (std::size_t i = 0; i < args.size(); ++i) {
    const std::string& arg = args[i];
    std::string value;
    bool has_value = true;
    const auto takes = [&](std::string_view name, std::string_view short_name = {}) {
      if (arg.starts_with(name) && arg.size() > name.size() && arg[name.size()] == '=') {
        value = arg.substr(name.size() + 1);
        return true;
      }
      if (!short_name.empty() && arg.starts_with(short_name) && arg.size() > short_name.size() &&
          !arg.starts_with("--")) {
        value = arg.substr(short_name.size());
        return true;
      }
      if (arg != name && (short_name.empty() || arg != short_name)) return false;
      has_value = i + 1 < args.size();
      if (has_value) value = args[++i];
      return true;
    };
    if (arg == "-h" || arg == "--help") {
      out.help = true;
      return 0;
    }
    if (arg == "--update-golden") {
      out.harness.golden = harness::GoldenUse::Update;
    } else if (arg == "--keep") {
      out.harness.keep = true;
    } else if (takes("--junit")) {
      out.junit = value;
    } else if (takes("--sarif")) {
      out.sarif = value;
    } else if (takes("--filter")) {
      out.filter = value;
    } else if (takes("--users")) {
      if (value == "root") {
        out.users = {harness::UserKind::Root};
      } else if (value == "ordinary") {
        out.users = {harness::UserKind::Ordinary};
      } else if (value != "both" && has_value) {
        return usage_error("--users is root, ordinary or both, not '" + value + "'");
      }
    } else if (takes("--jobs", "-j")) {
      const auto done = std::from_chars(value.data(), value.data() + value.size(), out.harness.jobs);
      if (has_value && (done.ec != std::errc() || done.ptr != value.data() + value.size() ||
                        out.harness.jobs < 1 || out.harness.jobs > 256))
        return usage_error("--jobs is a number from 1 to 256, not '" + value + "'");
    } else if (arg.starts_with('-')) {
      return usage_error("unknown option '" + arg + "'");
    } else if (out.directory.empty()) {
      out.directory = arg;
    } else {
      return usage_error("one directory at a time");
    }
    if (!has_value) return usage_error(arg + " needs a value");
  }
  if (out.directory.empty())
    return usage_error("name the directory of a fixture, or one that holds fixtures");
  return 0;
}

bool write_report(const std::string& file, const std::string& text) {
  const UniqueFd fd(::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0644));
  std::string_view rest = text;
  while (fd.valid() && !rest.empty()) {
    const ssize_t put = ::write(fd.get(), rest.data(), rest.size());
    if (put < 0) break;
    rest.remove_prefix(static_cast<std::size_t>(put));
  }
  if (rest.empty()) return true;
  std::fprintf(stderr, "secbox test: cannot write %s: %s\n", printable_text(file).c_str(),
               std::strerror(errno));
  return false;
}

void print(const std::string& text) {
  (void)std::fputs(text.c_str(), stdout);
  (void)std::fflush(stdout);
}

}  // namespace

int verb_test(const Args& args) {
  Options options;
  if (const int code = parse(args, options); code != 0) return code;
  if (options.help) {
    std::fputs(kHelp, stdout);
    return 0;
  }
  if (environment_or("UPDATE_GOLDEN", "") == "1") options.harness.golden = harness::GoldenUse::Update;
  const std::string directory = canonical_path(options.directory);
  struct stat st{};
  if (directory.empty() || ::stat(directory.c_str(), &st) != 0 || !S_ISDIR(st.st_mode))
    return usage_error("there is no directory '" + options.directory + "'");
  options.harness.secbox = canonical_path("/proc/self/exe");
  options.harness.shim = find_shim();

  manifest::Diagnostics diagnostics;
  harness::Suite suite = harness::read_suite(directory, diagnostics);
  print_diagnostics(diagnostics);
  if (diagnostics.has_errors()) return kExitInvalid;
  if (suite.fixtures.empty()) return usage_error("no expect.json in or below '" + options.directory + "'");
  harness::plan_tests(suite, options.users, options.filter);
  if (suite.tests.empty()) return usage_error("no test is left by --filter and --users");

  print(harness::tap_head(suite));
  const auto report = harness::run_suite(suite, options.harness, [&](std::size_t number, const auto& result) {
    print(harness::tap_line(suite, number, result));
  });
  if (!report) {
    print("Bail out!\n");
    std::fprintf(stderr, "secbox test: %s\n", printable_text(report.error().text()).c_str());
    return kExitFailed;
  }
  if (report->signal != 0) {
    print("Bail out! interrupted\n");
    return 128 + report->signal;
  }
  print(harness::tap_tail(*report));
  const bool written =
      (options.junit.empty() || write_report(options.junit, harness::junit_report(*report))) &&
      (options.sarif.empty() ||
       write_report(options.sarif, harness::sarif_report(*report, canonical_path("."))));
  if (!written) return kExitFailed;
  for (const harness::TestResult& result : report->results) {
    if (result.status == harness::TestResult::Status::Failed ||
        result.status == harness::TestResult::Status::Broken)
      return kExitTestFailed;
  }
  return 0;
}

}  // namespace secbox::cli
