// secbox help: the help of a verb, or what a code means.
#include <algorithm>
#include <cstdio>
#include <iterator>
#include <string_view>

#include "tools/harness/codes.h"
#include "tools/secbox/diagnostics.h"
#include "tools/secbox/verbs.h"

namespace secbox::cli {

namespace {

struct Code {
  std::string_view name, text;
};
constexpr Code kCodes[] = {
    {"SBX-D101",
     "No grant matches. Both the path as written and the object behind it must be granted.\n"
     "The fix: line names what is missing; put it into permissions.required, or try it with --allow."},
    {"SBX-D102",
     "A rule denies it, and a deny wins over every grant, whatever layer it comes from.\n"
     "The why: line names the rule; it has to change (\"except\" takes something out of it)."},
    {"SBX-D103",
     "Protected state: secbox's own programs, configuration, state, the manifest and the log.\n"
     "No grant reaches it. Let the plugin keep its files elsewhere, below ${PLUGIN_DATA} for one."},
    {"SBX-D104",
     "Only a permission under \"optional\" covers it, and nobody was asked.\n"
     "Move it to permissions.required, or grant it with --allow for this run."},
    {"SBX-D105",
     "The system call is refused to every plugin: it would lead around what is decided.\n"
     "docs/syscall-coverage.md lists them, and the errno that the plugin gets."},
    {"SBX-V100", "The manifest cannot be read, is a directory, or is larger than 16 MiB."},
    {"SBX-V101", "A syntax error of JSON, YAML or TOML, or a key that stands twice."},
    {"SBX-V102", "The file is empty."},
    {"SBX-V103", "The file is not UTF-8."},
    {"SBX-V104", "A manifest is one object; or there are too many problems to list."},
    {"SBX-V105", "A value of the wrong type."},
    {"SBX-V106", "An unknown key. Keys that begin with x- are ignored."},
    {"SBX-V107", "Something is missing or empty: the plugin's name, the program, the \"use\" of an entry."},
    {"SBX-V108", "There is no such preset: secbox preset list."},
    {"SBX-V109", "Another schema than urn:secbox:schema:manifest:1."},
    {"SBX-V110", "Control characters, or such as hide or reorder text, or text that is too long."},
    {"SBX-V111", "A permission is class:verb:scope; there is no such class."},
    {"SBX-V112", "The class has no such verb."},
    {"SBX-V113", "The scope of a permission is missing."},
    {"SBX-V114", "Patterns of a program's arguments are not in this version."},
    {"SBX-V115", "A scope that can never match: the name of a variable, or the number of a process."},
    {"SBX-V116", "A limit or time-out that cannot be read."},
    {"SBX-V117", "An exception that takes nothing out of its permission."},
    {"SBX-V118", "A scope of more than 4096 bytes: no path is as long."},
    {"SBX-V119", "There is no such protocol."},
    {"SBX-V120", "\"${\" without \"}\"."},
    {"SBX-V121", "There is no such variable."},
    {"SBX-V122", "A ${HOST:...} that the host gives no value: config.toml does, under [host]."},
    {"SBX-V123",
     "A variable without a value. ${HOME} and ${PLUGIN_DATA} need a HOME that is an absolute directory of\n"
     "somebody's own: with \"/\" for it a grant would be one for everything."},
    {"SBX-V124", "Braces that do not pair."},
    {"SBX-V125", "More than 256 alternatives in one permission."},
    {"SBX-V126", "A path that is not absolute."},
    {"SBX-V127", "\"..\" in a pattern: it would be a lie where a link is on the way."},
    {"SBX-V128", "\"**\" is a component of its own."},
    {"SBX-V129", "A '[' that is not closed. A literal one is written [[]."},
    {"SBX-V130", "An IPv6 address stands in brackets: [::1]:443."},
    {"SBX-V131", "No address."},
    {"SBX-V132", "No length of a prefix."},
    {"SBX-V133", "A network with bits behind its prefix."},
    {"SBX-V134", "No port, or no range of ports."},
    {"SBX-V135", "No such group of addresses: @loopback, @private, @metadata."},
    {"SBX-V136", "No host name; or a whole top-level domain (*.com)."},
    {"SBX-V140",
     "The \"match\" of a rule by module that can match nothing. It is compared with the whole path of the\n"
     "module's file (*/libfoo.so*, /usr/lib/**), or, without a '/', with the file's name (libfoo.so*)."},
    {"SBX-V141",
     "A rule by module that goes by the name of a host. Write addresses (10.0.0.0/8), a group (@private) or "
     "*;\n"
     "names are for the permissions of the plugin."},
    {"SBX-V142",
     "A variable in a rule by module: the environment is one for all modules. Deny it in env.deny."},
    {"SBX-V150",
     "A word that the vocabulary of this kind of manifest does not have (docs/manifest.md, Other hosts' "
     "manifests)."},
    {"SBX-V151", "An entry point that is no class, or no file in the plugin's own directory."},
    {"SBX-V152", "Several MCP servers in one file, or none of that name: secbox import --server NAME."},
    {"SBX-V190", "A warning: this is read, and grants nothing in this version."},
    {"SBX-V191", "A warning: names below a domain cannot be known in this version."},
    {"SBX-V192", "A warning: wildcards over variables never cover names of secrets; name them in full."},
    {"SBX-V193",
     "A warning: timeouts.hook and timeouts.heartbeat are read, and not enforced in this version."},
    {"SBX-V194", "A warning: something in another host's manifest that there is nothing for here."},
    {"SBX-V201",
     "What may be both written and executed (or loaded) is code of the plugin's own choosing.\n"
     "Take one of the two away, or use \"except\"."},
    {"SBX-V202", "A warning: grants so wide that what is written can be executed. For observing."},
    {"SBX-V203", "A warning: a link that the plugin may exchange is not followed. Name the place itself."},
    {"SBX-V204",
     "A warning: a link that came with the plugin leads out of its directory and is not followed.\n"
     "If that is meant, grant the place itself."},
    {"SBX-V206", "A warning: a rule by module that denies nothing."},
    {"SBX-V207", "A warning: a rule by module denies what the whole plugin is denied already."},
    {"SBX-L101", "A warning: the plugin's memory has come near its limit (limits.memory_warn)."},
    {"SBX-L102",
     "The plugin's processes held more memory than limits.memory together, and were ended (exit code 123).\n"
     "Raise it in the manifest or with --memory, or say \"on_memory\": \"warn\"."},
    {"SBX-L103",
     "The plugin used more of a processor than limits.cpu, over some seconds. It is only said, unless\n"
     "\"on_cpu\" is \"throttle\" or \"terminate\"."},
    {"SBX-L104",
     "The plugin's processes used more processor time than limits.cpu_time; they were ended (123)."},
    {"SBX-L105",
     "A file has come to limits.file_size, beyond which the kernel writes no more (EFBIG, SIGXFSZ)."},
    {"SBX-L106",
     "More processes and threads than limits.pids. A control group refuses them (fork: EAGAIN); where none "
     "can\n"
     "be made the plugin is ended (123)."},
    {"SBX-L201", "The first program did not start within timeouts.init; the plugin was ended (124)."},
    {"SBX-L202",
     "The run took longer than timeouts.run, and was ended (124). Raise it in the manifest or with "
     "--timeout."},
    {"SBX-V205", "So many patterns meet that overlaps cannot be looked for. Grant directories as a whole."},
};

}  // namespace

std::optional<int> help_on_code(std::string_view name) {
  if (const auto* test = std::ranges::find(harness::kCodes, name, &harness::Code::name);
      test != std::end(harness::kCodes)) {
    std::printf("%.*s\n%.*s\n%.*s\n", static_cast<int>(name.size()), name.data(),
                static_cast<int>(test->title.size()), test->title.data(), static_cast<int>(test->text.size()),
                test->text.data());
    return 0;
  }
  const auto* code = std::ranges::find(kCodes, name, &Code::name);
  if (code == std::end(kCodes)) {
    if (!name.starts_with("SBX-")) return std::nullopt;
    std::fprintf(stderr,
                 "secbox help: there is no code '%s'\nhint: SBX-D... are denials, SBX-L... limits, SBX-V... "
                 "manifests, "
                 "SBX-T... tests\n",
                 printable_text(name).c_str());
    return kExitInvalid;
  }
  std::printf("%.*s\n%.*s\n", static_cast<int>(name.size()), name.data(), static_cast<int>(code->text.size()),
              code->text.data());
  return 0;
}

}  // namespace secbox::cli
