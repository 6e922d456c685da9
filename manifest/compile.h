// Manifest, presets and flags -> the flat list of rules of one run.
#pragma once

#include <string>
#include <vector>

#include "manifest/diagnostic.h"
#include "manifest/grammar.h"
#include "manifest/links.h"
#include "manifest/manifest.h"
#include "supervisor/checker/module_rules.h"
#include "supervisor/checker/ruleset.h"

namespace secbox::manifest {

struct CompileOptions {
  Variables variables;
  std::vector<std::string> allow, deny;  // grants of the command line
  LinkReader* links = nullptr;           // null: the real file system
};

// Every rule, in the order presets, manifest, flags, implied. Problems (unknown variables, bad scopes, a file
// that may be both written and executed) go to `diagnostics`; with errors there the rules must not be used.
//
// Implied rules: what may be executed may not be written, created or deleted; for grants as wide as "/**"
// that is left out. A pattern whose way goes through symbolic links also stands for the object behind them,
// unless the link lies where the manifest lets the plugin create or change files (a plugin could widen its
// own next run with a link), or leads out of the plugin's own directories, which its author filled.
[[nodiscard]] std::vector<checker::Rule> compile(const Manifest& manifest, const CompileOptions& options,
                                                 Diagnostics& diagnostics);

// The rules by module. `rules` is what compile() gave: what is denied to the whole plugin already needs no
// second denial (SBX-V207), and what the plugin may change is known from it.
[[nodiscard]] std::vector<checker::ModuleRule> compile_modules(const Manifest& manifest,
                                                               const CompileOptions& options,
                                                               const std::vector<checker::Rule>& rules,
                                                               Diagnostics& diagnostics);

}  // namespace secbox::manifest
