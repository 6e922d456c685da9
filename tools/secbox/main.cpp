// secbox: the command line. Picks the verb; each verb lives in a file of its own.
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <string_view>

#include "tools/secbox/diagnostics.h"
#include "tools/secbox/verbs.h"

namespace {

using secbox::cli::Args;

struct Verb {
  std::string_view name;
  int (*run)(const Args&);
  std::string_view summary;
};

constexpr Verb kVerbs[] = {
    {"run", secbox::cli::verb_run, "run a program under a manifest"},
    {"validate", secbox::cli::verb_validate, "check a manifest, and print what is wrong with it"},
    {"import", secbox::cli::verb_import, "print another host's manifest as one of ours"},
    {"schema", secbox::cli::verb_schema, "print a published JSON Schema"},
    {"preset", secbox::cli::verb_preset, "list the built-in presets, or show what one grants"},
    {"doctor", secbox::cli::verb_doctor, "say what this host gives, and what each missing piece costs"},
    {"test", secbox::cli::verb_test, "run hostile fixtures natively and under secbox, and compare"},
};

void print_usage(std::FILE* stream) {
  std::fputs("usage: secbox <verb> [options]\n\n", stream);
  for (const Verb& verb : kVerbs) {
    std::fprintf(stream, "  %-10.*s %.*s\n", static_cast<int>(verb.name.size()), verb.name.data(),
                 static_cast<int>(verb.summary.size()), verb.summary.data());
  }
  std::fputs(
      "\nsecbox <verb> --help says more, secbox help SBX-D101 what a code means; secbox --version prints the "
      "version.\n",
      stream);
}

// A standard stream that the host closed must be closed in the plugin too, and nothing of ours may take its
// number: a placeholder that exec closes.
void hold_closed_streams() {
  for (int stream = 0; stream <= 2; ++stream) {
    if (::fcntl(stream, F_GETFD) >= 0) continue;
    const int fd = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd >= 0 && fd != stream) {
      (void)::dup3(fd, stream, O_CLOEXEC);
      (void)::close(fd);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  hold_closed_streams();
  const Args all(argv + 1, argv + argc);
  if (all.empty()) {
    print_usage(stderr);
    return secbox::cli::kExitInvalid;
  }
  const std::string& first = all.front();
  if (first == "--version" || first == "-V") {
    std::puts("secbox " SECBOX_VERSION);
    return 0;
  }
  const bool help = first == "--help" || first == "-h" || first == "help";
  if (help && all.size() == 1) {
    print_usage(stdout);
    return 0;
  }
  const std::string& name = help ? all[1] : first;
  for (const Verb& verb : kVerbs) {
    if (verb.name == name) return verb.run(help ? Args{"--help"} : Args(all.begin() + 1, all.end()));
  }
  if (help) {
    if (const auto code = secbox::cli::help_on_code(name)) return *code;
  }
  std::fprintf(stderr, "secbox: there is no verb '%s'\n\n", secbox::cli::printable_text(name).c_str());
  print_usage(stderr);
  return secbox::cli::kExitInvalid;
}
