#include "supervisor/broker/callers.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "supervisor/broker/call.h"
#include "supervisor/broker/services.h"

namespace secbox::broker {

namespace {

constexpr std::size_t kMostRanges = 64;             // of one process; the oldest makes room
constexpr std::size_t kMostModules = 1024;          // of the session; then they are read again
constexpr std::size_t kMostImageBytes = 32U << 20;  // of all modules; then they go without symbols
constexpr std::size_t kMostVariables = 65536;
constexpr std::size_t kMostVariableText = 8U << 20;
constexpr std::chrono::seconds kHolds{1};

bool opens(Handler handler) { return handler >= Handler::Open && handler <= Handler::Creat; }
bool executes(Handler handler) { return handler == Handler::Exec || handler == Handler::Execveat; }

bool can_stand_behind(Family family, Handler handler) {
  switch (family) {
    case Family::open:
      return opens(handler);
    case Family::path:
      return handler >= Handler::Unlink && handler <= Handler::InotifyAddWatch;
    case Family::exec:
      return executes(handler);
    case Family::net:
      return handler >= Handler::Connect && handler <= Handler::Sendmmsg;
    case Family::lookup:
      return opens(handler) || (handler >= Handler::Connect && handler <= Handler::Sendmmsg);
    case Family::load:
      return opens(handler) || handler == Handler::MapExec;
    case Family::signal:
      return handler == Handler::ProcessTarget || handler == Handler::ProcessGroup;
    case Family::any:
      return true;
  }
  return false;
}

std::string_view leaf_of(std::string_view path) { return path.substr(path.rfind('/') + 1); }

// glibc's and musl's, under whatever name they are installed.
bool is_loader(std::string_view path) { return leaf_of(path).starts_with("ld-"); }

// Where system calls are made for others: libc, what was part of it before glibc 2.34, and the shim itself.
bool is_libc(std::string_view path) {
  const std::string_view leaf = leaf_of(path);
  return leaf.starts_with("libc.so") || leaf.starts_with("libc-") || leaf.starts_with("libpthread") ||
         leaf.starts_with("libsecbox-preload");
}

}  // namespace

audit::CallerRef Caller::ref() const {
  return {.module = module ? std::string_view(module->path) : std::string_view{},
          .offset = offset,
          .function = function,
          .build_id = module ? std::string_view(module->image.build_id()) : std::string_view{},
          .call = call,
          .host = host,
          .command = command,
          .library = library,
          .from_shim = source == Source::Shim,
          .checked = checked(),
          .invalid_claim = invalid_claim};
}

// ---- processes ----

std::shared_ptr<Callers::Process> Callers::find(pid_t tgid) const {
  const std::shared_lock lock(processes_mutex_);
  const auto found = processes_.find(tgid);
  return found == processes_.end() ? nullptr : found->second;
}

std::shared_ptr<Callers::Process> Callers::put(pid_t tgid, std::shared_ptr<Process> process) {
  std::shared_ptr<Process> before;
  {
    const std::unique_lock lock(processes_mutex_);
    before = std::exchange(processes_[tgid], process);
  }
  if (before) record_variables(tgid, *before);
  forget_ended();
  return process;
}

// Ends are not told to us: whoever is gone is looked for when many have come.
void Callers::forget_ended() {
  std::vector<std::pair<pid_t, std::shared_ptr<Process>>> ended;
  {
    const std::unique_lock lock(processes_mutex_);
    if (processes_.size() < forget_at_) return;
    std::erase_if(processes_, [&](const auto& entry) {
      if (::kill(entry.first, 0) == 0 || errno != ESRCH) return false;
      ended.emplace_back(entry.first, entry.second);
      return true;
    });
    forget_at_ = std::max<std::size_t>(128, 2 * processes_.size());
  }
  for (const auto& [tgid, process] : ended) record_variables(tgid, *process);
}

void Callers::note_image(pid_t tgid, std::string exe) {
  auto process = std::make_shared<Process>();
  process->exe = std::move(exe);
  process->started = services_.proc.start_time(tgid);
  put(tgid, std::move(process));
}

void Callers::note_mapping(pid_t tgid, std::uint64_t address, std::uint64_t size) {
  const auto process = find(tgid);
  if (!process) return;
  const std::lock_guard lock(process->mutex);
  // The loader says where, in the middle of what it has reserved: everything else stays as it is.
  std::erase_if(process->ranges, [&](const Range& range) {
    return address == 0 || size > UINT64_MAX - address ||
           (range.start < address + size && address < range.end);
  });
}

Result<UniqueFd> Callers::make_board(pid_t tgid) {
  const auto process = find(tgid);
  if (!process) return failure("no program of this process is known", ESRCH);
  UniqueFd for_plugin;
  auto board = Board::make(for_plugin);
  if (!board) return std::unexpected(board.error());
  record_variables(tgid, *process);
  const std::lock_guard lock(process->mutex);
  process->board = std::move(*board);
  process->owns_variables = true;
  process->variables_seen = 0;
  return for_plugin;
}

// A child of fork(2) has its parent's program, and its board.
std::shared_ptr<Callers::Process> Callers::process_of(Call& call) {
  const ProcessFacts& facts = call.process();
  if (facts.tgid == 0) return nullptr;
  if (auto process = find(facts.tgid); process && (facts.started == 0 || process->started == facts.started))
    return process;
  const auto parent = find(facts.ppid);
  if (!parent) {
    const std::shared_lock lock(processes_mutex_);
    if (processes_.empty()) return nullptr;
  }
  auto process = std::make_shared<Process>();
  process->exe = facts.exe;
  process->started = facts.started;
  if (parent && parent->exe == facts.exe) process->board = parent->shared_board();
  return put(facts.tgid, std::move(process));
}

// ---- modules ----

std::shared_ptr<const Module> Callers::load_module(Call& call, const sys::ModuleMapping& mapping) {
  const std::pair key(mapping.dev, mapping.ino);
  const auto now = std::chrono::steady_clock::now();
  {
    const std::lock_guard lock(modules_mutex_);
    const auto found = modules_.find(key);
    if (found != modules_.end() && found->second.module->path == mapping.path && now < found->second.until)
      return found->second.module;
  }
  // The file of that name may be another by now: then nothing is read of it. Only under the kernel's own name
  // for it, never by a link: file systems number their files alike.
  sys::PinnedPath path;
  const bool is_there = (!services_.views_differ || services_.proc.shares_view(call.tid())) &&
                        services_.resolver.resolve({.tid = call.tid(), .path = mapping.path}, path) == 0 &&
                        path.exists() && S_ISREG(path.st.st_mode) && path.st.st_ino == mapping.ino &&
                        path.resolved == mapping.path;
  {
    const std::lock_guard lock(modules_mutex_);
    const auto found = modules_.find(key);
    if (is_there && found != modules_.end()) {
      const auto& [module, until] = found->second;
      if (module->path == mapping.path && module->changed.tv_sec == path.st.st_ctim.tv_sec &&
          module->changed.tv_nsec == path.st.st_ctim.tv_nsec) {
        found->second.until = now + kHolds;
        return module;
      }
    }
  }
  auto module = read_module(mapping, is_there ? &path : nullptr);
  const std::lock_guard lock(modules_mutex_);
  if (modules_.size() >= kMostModules) modules_.clear();
  modules_.insert_or_assign(key, Known{module, now + kHolds});
  return module;
}

bool Callers::take_image_bytes(std::size_t bytes) {
  if (image_bytes_->fetch_add(bytes) + bytes <= kMostImageBytes) return true;
  image_bytes_->fetch_sub(bytes);
  return false;
}

std::shared_ptr<const Module> Callers::read_module(const sys::ModuleMapping& mapping,
                                                   const sys::PinnedPath* file) {
  auto module = std::make_unique<Module>();
  module->path = mapping.path;
  if (file != nullptr) {
    module->changed = file->st.st_ctim;
    const UniqueFd opened(services_.proc.reopen(file->object.get(), O_RDONLY | O_NONBLOCK | O_NOCTTY));
    // Calls are made in libc and in the loader; which of their functions makes them tells nobody anything,
    // and every program would wait for their symbols.
    const bool named = !is_libc(mapping.path) && !is_loader(mapping.path);
    using Symbols = sys::ModuleImage::Symbols;
    if (opened.valid())
      module->image = sys::ModuleImage::read(opened.get(), named ? Symbols::Functions : Symbols::None);
  }
  // A plugin may come with any number of files that are nothing but symbols.
  std::size_t bytes = module->image.bytes();
  if (!take_image_bytes(bytes)) {
    {
      const std::lock_guard lock(modules_mutex_);
      modules_.clear();
    }
    if (!take_image_bytes(bytes)) {
      bytes = 0;
      module->image.drop_symbols();
    }
  }
  return {module.release(), [bytes, all = image_bytes_](const Module* ended) {
            delete ended;
            all->fetch_sub(bytes);
          }};
}

std::shared_ptr<const Module> Callers::module_at(Call& call, Process& process, std::uint64_t address,
                                                 std::uint64_t& offset) {
  const auto within = [&](const Range& range) { return address >= range.start && address < range.end; };
  const auto now = std::chrono::steady_clock::now();
  {
    const std::lock_guard lock(process.mutex);
    std::erase_if(process.ranges, [&](const Range& range) { return now >= range.until; });
    if (const auto found = std::ranges::find_if(process.ranges, within); found != process.ranges.end()) {
      offset = found->module->image.address_of(address - found->start + found->file_offset);
      return found->module;
    }
  }
  sys::ModuleMapping mapping;
  if (sys::find_module(services_.proc, call.process().tgid, address, mapping) != 0 ||
      !services_.channel.alive(call.notification().id))
    return nullptr;
  auto module = load_module(call, mapping);
  offset = module->image.address_of(address - mapping.start + mapping.file_offset);
  const std::lock_guard lock(process.mutex);
  Range range{mapping.start, mapping.end, mapping.file_offset, module, now + kHolds};
  if (process.ranges.size() < kMostRanges) {
    process.ranges.push_back(std::move(range));
  } else {
    process.ranges[process.next_range++ % kMostRanges] = std::move(range);
  }
  return module;
}

// ---- who called ----

bool Callers::fits(Call& call, Process& process, const Context& context) {
  if (!can_stand_behind(context.family, call.row().handler)) return false;
  const auto& args = call.notification().args;
  if (context.argument != 0 && std::ranges::find(args, context.argument) == args.end()) return false;
  // What was left behind by a call that never returned (longjmp(3), a cancellation) says nothing of a system
  // call that a module makes itself.
  std::uint64_t ignored = 0;
  const auto caller = module_at(call, process, call.notification().instruction_pointer, ignored);
  if (!caller) return false;
  // dlopen(3) leaves its context behind when it returns: it is the loader's own calls that it speaks of.
  if (context.function == SECBOX_FUNCTION_dlopen || context.function == SECBOX_FUNCTION_dlmopen)
    return is_loader(caller->path);
  return is_libc(caller->path) || is_loader(caller->path);
}

Board::Slot Callers::claim_of(Call& call, Process& process, const Board& board, Claim& out) {
  const ThreadId tid = call.tid();
  const Board::Slot slot = board.read(tid, out.context);
  if (slot == Board::Slot::Invalid) return slot;
  if (slot == Board::Slot::Valid) {
    if (!fits(call, process, out.context)) return Board::Slot::None;
    out.text = board.text(tid);
    return slot;
  }
  // A child of vfork(2) runs in its parent's memory, and with the number that the parent's libc remembers.
  const ProcessFacts& facts = call.process();
  if (facts.tgid != tid.value) return Board::Slot::None;
  const ThreadId parent{facts.ppid};
  if (board.read(parent, out.context) != Board::Slot::Valid || !fits(call, process, out.context) ||
      (out.context.argument == 0 && out.context.family != Family::exec))
    return Board::Slot::None;
  out.text = board.text(parent);
  return Board::Slot::Valid;
}

std::optional<Caller> Callers::of(Call& call) {
  if (call.tid().value == 0) return std::nullopt;
  const auto process = process_of(call);
  if (!process) return std::nullopt;
  const std::shared_ptr<Board> board = process->shared_board();
  Caller caller;
  Claim claim;
  const Board::Slot slot = board ? claim_of(call, *process, *board, claim) : Board::Slot::None;
  std::uint64_t address = call.notification().instruction_pointer;
  if (slot == Board::Slot::Valid) {
    address = claim.context.caller;
    caller.source = Caller::Source::Shim;
    caller.call = claim.context.name;
    if (claim.context.family == Family::lookup) caller.host = std::move(claim.text);
    if (claim.context.family == Family::exec) caller.command = std::move(claim.text);
    if (claim.context.family == Family::load) caller.library = std::move(claim.text);
  }
  if (slot == Board::Slot::Invalid) {
    caller.invalid_claim = true;
    record_invalid(call, *process);
  }
  // The byte before: behind a call that is a function's last instruction comes the next function.
  caller.offset = address;
  if (address != 0) caller.module = module_at(call, *process, address - 1, caller.offset);
  if (caller.module) {
    caller.function = caller.module->image.function_at(caller.offset);
    if (caller.function.empty()) caller.function = caller.call;
    ++caller.offset;
  }
  if (caller.host.empty() && board && call.endpoint()) caller.host = board->name_of(call.endpoint()->address);
  if (board && process->owns_variables) record_variables(call.process().tgid, *process);
  if (on_event)
    on_event(call.process().tgid, process->exe, caller.source == Caller::Source::Shim, caller.checked());
  return caller;
}

void Callers::explain(Call& call, const std::function<std::string()>& text) {
  const auto process = call.tid().value == 0 ? nullptr : find(call.process().tgid);
  if (!process) return;
  const std::shared_ptr<Board> board = process->shared_board();
  if (board && board->wants_explanation(call.tid())) board->explain(call.tid(), text());
}

// ---- records of what the shims say ----

void Callers::record_variables(pid_t tgid, Process& process) {
  std::vector<std::string> names;
  {
    const std::lock_guard lock(process.mutex);
    if (!process.owns_variables) return;
    names = process.board->variables(process.variables_seen);
  }
  for (std::string& name : names) {
    {
      const std::lock_guard lock(variables_mutex_);
      const std::size_t size = process.exe.size() + name.size();
      if (variables_.size() >= kMostVariables || variables_text_ + size > kMostVariableText ||
          !variables_.emplace(process.exe, name).second)
        continue;
      variables_text_ += size;
    }
    const bool granted =
        checker::decide(
            services_.rules(),
            {.verbs = checker::Verb::EnvRead, .as_written = name, .resolved = name, .endpoint = {}})
            .allowed();
    audit::Record record;
    record.event = "env_read";
    record.op = "env-read";
    record.result = "ok";
    if (granted) record.permission = "env:read";
    record.reason = granted ? "a rule grants it" : "no rule grants it";
    record.target.name = name;
    record.enforcement = audit::Enforcement::NoDecision;
    record.pid = tgid;
    record.exe = process.exe;
    if (!services_.sink.write(record) && services_.on_audit_failure) services_.on_audit_failure();
  }
}

void Callers::record_variables() {
  std::vector<std::pair<pid_t, std::shared_ptr<Process>>> all;
  {
    const std::shared_lock lock(processes_mutex_);
    all.assign(processes_.begin(), processes_.end());
  }
  for (const auto& [tgid, process] : all) record_variables(tgid, *process);
}

// Once a program: it may write there as often as it likes.
void Callers::record_invalid(Call& call, Process& process) {
  {
    const std::lock_guard lock(process.mutex);
    if (std::exchange(process.said_invalid, true)) return;
  }
  audit::Record record;
  record.event = "forged_context";
  record.op = "shim-context";
  record.result = "ok";
  record.reason = "what the shim's board holds for this thread is no context: something else wrote there";
  record.pid = call.process().tgid;
  record.tid = call.tid().value;
  record.exe = process.exe;
  record.enforcement = audit::Enforcement::NoDecision;
  if (!services_.sink.write(record) && services_.on_audit_failure) services_.on_audit_failure();
}

}  // namespace secbox::broker
