// secbox validate: everything that is wrong with a manifest, at once.
#include <cstdio>
#include <string>

#include "manifest/compile.h"
#include "manifest/load.h"
#include "tools/secbox/diagnostics.h"
#include "tools/secbox/places.h"
#include "tools/secbox/verbs.h"

namespace secbox::cli {

namespace {
constexpr const char* kHelp =
    "usage: secbox validate [--json] [--strict] FILE\n"
    "\n"
    "Checks a manifest: syntax, keys, permissions, and what does not go together. Exit code 0: valid, 122: "
    "not.\n"
    "\n"
    "  --json    {\"valid\",\"errors\",\"warnings\"} on stdout\n"
    "  --strict  warnings are errors\n";
}  // namespace

int verb_validate(const Args& args) {
  bool json = false;
  bool strict = false;
  std::string file;
  for (const std::string& arg : args) {
    if (arg == "--json") {
      json = true;
    } else if (arg == "--strict") {
      strict = true;
    } else if (arg == "-h" || arg == "--help") {
      std::fputs(kHelp, stdout);
      return 0;
    } else if (arg.starts_with('-') && arg != "-") {
      std::fprintf(stderr, "secbox validate: unknown option '%s'\nhint: secbox validate --help\n",
                   printable_text(arg).c_str());
      return kExitInvalid;
    } else if (file.empty()) {
      file = arg;
    } else {
      std::fputs("secbox validate: one file at a time\n", stderr);
      return kExitInvalid;
    }
  }
  if (file.empty()) {
    std::fputs(kHelp, stderr);
    return kExitInvalid;
  }
  manifest::Loaded loaded = manifest::load_manifest_file(file);
  if (loaded.manifest) {
    // What only shows when the permissions are worked out, for whoever asks and from here. What only a run
    // has stands for places that exist there.
    manifest::CompileOptions options;
    options.variables = variables_of(*loaded.manifest);
    options.variables.tmp = "/tmp/secbox-private";
    options.variables.unknown_host = manifest::UnknownHostValue::StandIn;
    auto rules = manifest::compile(*loaded.manifest, options, loaded.diagnostics);
    auto modules = manifest::compile_modules(*loaded.manifest, options, rules, loaded.diagnostics);
    const auto refused = [&](const Error& error) {
      loaded.diagnostics.all.push_back(
          {manifest::Severity::Error, "SBX-V129", error.text(), file, 0, 0, "", ""});
    };
    if (!loaded.diagnostics.has_errors()) {
      if (const auto made = checker::Ruleset::make(std::move(rules)); !made) refused(made.error());
      if (const auto made = checker::ModuleRules::make(std::move(modules)); !made) refused(made.error());
    }
  }
  const bool valid = !loaded.diagnostics.has_errors() && !(strict && loaded.diagnostics.has_warnings());
  if (json) {
    std::puts(diagnostics_json(loaded.diagnostics, valid).c_str());
  } else {
    print_diagnostics(loaded.diagnostics);
    if (valid) std::printf("%s: valid\n", printable_text(file).c_str());
  }
  return valid ? 0 : kExitInvalid;
}

}  // namespace secbox::cli
