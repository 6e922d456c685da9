// One event of the log, as values: a projection of request, access, decision and outcome.
// A record borrows its strings: it is encoded and written before the call it describes is answered.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace secbox::audit {

enum class Verdict : std::uint8_t { None, Allow, Deny, WouldDeny };

// How strongly the decision held (field "enforcement"): seccomp = acted on the pinned object itself; the
// others say that the kernel performed the call, and what bounded it.
enum class Enforcement : std::uint8_t {
  None,
  SameObject,    // "seccomp": performed by the supervisor on the object that was checked, or refused
  RegisterOnly,  // "seccomp-register": the kernel performed it; the decision used register values alone
  FloorBounded,  // "landlock-floor": the kernel performed it; a lost race stays within the Landlock floor
  Verified,      // "ptrace-verified": exec, checked before the first instruction of the new image
  HandleOnly,    // "handle-only": an O_PATH handle, which gives no more than stat(2)
  NoDecision,    // "none": recorded, never judged
};

struct RuleRef {
  std::string_view id;
  std::string_view layer;
  std::string_view file;
  int line = 0;
  std::string_view text;
};

// What was acted on. Members that do not apply stay empty; each becomes a key of "target".
struct TargetRef {
  std::string_view path;   // as asked, made absolute
  std::string_view path2;  // second path (rename, link), as "to"
  std::string_view host;   // the granted name that the address stands for, where one does
  std::string_view ip;
  int port = -1;
  std::string_view transport;      // "tcp" or "udp"
  std::string_view abstract_name;  // without the leading NUL
  std::string_view name;           // env variable, syscall name
  pid_t pid = 0;                   // signal target
};

// Which module made the call: a claim of the shim's, or where the instruction pointer was.
struct CallerRef {
  std::string_view module{};    // the file; empty: no file's code is at the address
  std::uint64_t offset = 0;     // in the module, as nm(1) numbers it; without a module the address itself
  std::string_view function{};  // of the module
  std::string_view build_id{};
  std::string_view call{};  // the function of libc that it called, where the shim said so
  std::string_view host{}, command{}, library{};  // what that is about, where the shim said so
  bool from_shim = false;
  bool checked = false;
  bool invalid_claim = false;  // the shim's word could not be one
};

struct Record {
  std::string_view event;       // "file_open", "exec", "connect", "session_start", ...
  std::string_view op;          // "open", "unlink", "connect", ...
  std::string_view syscall;     // "openat"
  std::string_view permission;  // "file:read"; more than one verb: "file:read|write"
  Verdict verdict = Verdict::None;
  std::string_view result;  // "ok" or an errno name
  int err = 0;              // errno given to the plugin; 0 = none
  std::string_view reason;
  std::optional<RuleRef> rule;
  Enforcement enforcement = Enforcement::None;
  TargetRef target;
  std::string_view resolved_target;
  std::string_view resolved_target2;
  std::uint64_t dev = 0, ino = 0;    // identity of the object; 0/0 where there is none
  std::int64_t flags = -1;           // of the call; -1 where it has none
  pid_t pid = 0, tid = 0, ppid = 0;  // 0 = not known
  std::string_view exe, comm, cwd;
  std::optional<CallerRef> caller;
  std::span<const std::string> argv;       // for exec
  std::span<const std::string> env_names;  // for exec; names only, never values
  std::int64_t duration_ns = -1;
  // Extra members for session records, already valid JSON values: key, value.
  std::span<const std::pair<std::string, std::string>> extra;
};

}  // namespace secbox::audit
