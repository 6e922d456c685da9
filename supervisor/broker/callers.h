// Which module of a process made a call: by the word of the shim (a claim), else by the instruction pointer
// that the kernel gives with the call. For the record, and for rules that narrow; nothing is ever allowed
// because of it.
#pragma once

#include <sys/types.h>
#include <time.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "supervisor/audit/record.h"
#include "supervisor/base/unique_fd.h"
#include "supervisor/broker/board.h"
#include "supervisor/sys/module_image.h"
#include "supervisor/sys/module_mapping.h"
#include "supervisor/sys/path_resolver.h"

namespace secbox::broker {

class Call;
class Services;

// A file whose code runs in a process of the plugin.
struct Module {
  std::string path;
  timespec changed{};  // the file, when it was read; 0 = it could not be
  sys::ModuleImage image;
};

struct Caller {
  enum class Source : std::uint8_t { Shim, Instruction };
  Source source = Source::Instruction;
  std::shared_ptr<const Module> module;  // null: no file's code is at the address
  std::uint64_t offset = 0;              // in the module, as nm(1) numbers it; without a module the address
  std::string_view function;             // of the module; where its symbols name none, `call`
  std::string_view call;                 // the hooked function that was called, "" without the shim
  std::string host, command, library;    // what the call is about, where the shim said so
  bool invalid_claim = false;            // the shim's board held something that is no context

  // The module really is at that address: its code would have had to return there.
  [[nodiscard]] bool checked() const { return module != nullptr; }
  // Lives as long as this.
  [[nodiscard]] audit::CallerRef ref() const;
};

class Callers {
 public:
  explicit Callers(Services& services) : services_(services) {}

  // The process runs another program now: nothing that was known of it holds.
  void note_image(pid_t tgid, std::string exe);
  // It is about to map code at this address, or, where that is 0, anywhere.
  void note_mapping(pid_t tgid, std::uint64_t address = 0, std::uint64_t size = 0);
  // The shim is there: its board, to be given to it.
  [[nodiscard]] Result<UniqueFd> make_board(pid_t tgid);

  // Who made the call that is held. Nothing before the plugin's program runs.
  [[nodiscard]] std::optional<Caller> of(Call& call);
  // Leaves `text` for the shim to print, where it asked for that.
  void explain(Call& call, const std::function<std::string()>& text);
  // Records the environment variables that the shims saw, of all processes. At the end of the session.
  void record_variables();

  // What the modules' symbols take of memory at the moment.
  [[nodiscard]] std::size_t image_bytes() const { return *image_bytes_; }

  // An event of this program was attributed.
  std::function<void(pid_t tgid, std::string_view exe, bool with_context, bool checked)> on_event;

 private:
  // Memory is unmapped, moved and written without our being asked: what was seen holds for a while only.
  struct Range {
    std::uint64_t start, end, file_offset;
    std::shared_ptr<const Module> module;
    std::chrono::steady_clock::time_point until;
  };
  struct Process {
    [[nodiscard]] std::shared_ptr<Board> shared_board() {
      const std::lock_guard lock(mutex);
      return board;
    }
    std::mutex mutex;
    std::shared_ptr<Board> board;
    std::string exe;
    std::uint64_t started = 0;  // sys::Procfs::start_time(): another process may get the same number
    std::vector<Range> ranges;
    std::size_t next_range = 0;
    std::uint32_t variables_seen = 0;
    bool owns_variables = false;  // else they are those of the process that made the board
    bool said_invalid = false;
  };
  struct Claim {
    Context context;
    std::string text;
  };

  std::shared_ptr<Process> find(pid_t tgid) const;
  std::shared_ptr<Process> process_of(Call& call);
  std::shared_ptr<Process> put(pid_t tgid, std::shared_ptr<Process> process);
  void forget_ended();
  Board::Slot claim_of(Call& call, Process& process, const Board& board, Claim& out);
  bool fits(Call& call, Process& process, const Context& context);
  // The module at an address of the caller's. Null where there is none.
  std::shared_ptr<const Module> module_at(Call& call, Process& process, std::uint64_t address,
                                          std::uint64_t& offset);
  std::shared_ptr<const Module> load_module(Call& call, const sys::ModuleMapping& mapping);
  std::shared_ptr<const Module> read_module(const sys::ModuleMapping& mapping, const sys::PinnedPath* file);
  bool take_image_bytes(std::size_t bytes);
  void record_variables(pid_t tgid, Process& process);
  void record_invalid(Call& call, Process& process);

  Services& services_;
  mutable std::shared_mutex processes_mutex_;
  std::unordered_map<pid_t, std::shared_ptr<Process>> processes_;
  std::size_t forget_at_ = 128;
  std::mutex modules_mutex_;
  struct Known {
    std::shared_ptr<const Module> module;
    std::chrono::steady_clock::time_point until;  // its file is looked at again after that
  };
  std::map<std::pair<dev_t, ino_t>, Known> modules_;
  // What all images that anything still holds take.
  std::shared_ptr<std::atomic<std::size_t>> image_bytes_ = std::make_shared<std::atomic<std::size_t>>(0);
  std::mutex variables_mutex_;
  std::set<std::pair<std::string, std::string>> variables_;  // program and name: each is recorded once
  std::size_t variables_text_ = 0;
};

}  // namespace secbox::broker
