// Where records go. A record that cannot be written is an error, and the caller refuses the call it
// describes: what is not logged does not happen.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/audit/encoder.h"
#include "supervisor/audit/json_text.h"
#include "supervisor/audit/record.h"
#include "supervisor/base/result.h"
#include "supervisor/base/unique_fd.h"

namespace secbox::audit {

class AuditSink {
 public:
  virtual ~AuditSink() = default;
  // The record's sequence number, the first being 1; 0 where the log was closed before, and the record is not
  // in it: what it describes must not be answered. From any thread. An Error means that the record is not
  // in the log; its number stays unused, so the gap shows.
  [[nodiscard]] virtual Result<std::uint64_t> write(const Record& record) = 0;
};

// Decisions in records that were written.
struct Counts {
  std::uint64_t allow = 0;
  std::uint64_t deny = 0;
  std::uint64_t would_deny = 0;
};

class CountingSink : public AuditSink {
 public:
  [[nodiscard]] Counts counts() const;
  // From now on only what is told of the whole session is written, coverage and session_end: its counts are
  // those of the whole log.
  void close();
  // By "op", in the order of first use.
  [[nodiscard]] std::vector<std::pair<std::string, Counts>> counts_by_op() const;
  // Waits until what was written is on the disk, where the log is a file. For the end of a session.
  [[nodiscard]] virtual Result<void> sync() { return {}; }

 protected:
  void count(const Record& record);  // with mutex_ held
  mutable std::mutex mutex_;  // covers the sequence number and the write: the order of lines is that of seq
  [[nodiscard]] bool is_over(const Record& record) const {
    return closed_ && record.event != "session_end" && record.event != "coverage";
  }
  std::uint64_t seq_ = 0;
  bool closed_ = false;

 private:
  Counts counts_;
  std::vector<std::pair<std::string, Counts>> by_op_;
};

// Counts and numbers, and keeps nothing.
class NullSink final : public CountingSink {
 public:
  [[nodiscard]] Result<std::uint64_t> write(const Record& record) override;
};

// Lines to a file, pipe, socket or terminal, each in one write(2).
class FileWriter final : public CountingSink {
 public:
  // Opens for appending; makes the file with mode 0600. Follows symbolic links: the operator names the path.
  // Refuses directories and disks. A named pipe must have a reader.
  [[nodiscard]] static Result<std::unique_ptr<FileWriter>> open(const std::string& path,
                                                                const SinkIdentity& identity);
  // Takes a copy of an open descriptor of this process.
  [[nodiscard]] static Result<std::unique_ptr<FileWriter>> from_fd(int fd, const SinkIdentity& identity);
  ~FileWriter() override;

  [[nodiscard]] Result<std::uint64_t> write(const Record& record) override;
  [[nodiscard]] Result<void> sync() override;

 private:
  enum class Kind : std::uint8_t { File, Pipe, Socket, Terminal };

  FileWriter(UniqueFd fd, Kind kind, const SinkIdentity& identity)
      : fd_(std::move(fd)), kind_(kind), encoder_(identity) {}
  [[nodiscard]] static Result<std::unique_ptr<FileWriter>> adopt(UniqueFd fd, const std::string& name,
                                                                 const SinkIdentity& identity);
  // 0 or an errno. `written` says how far it came.
  int put(std::string_view bytes, std::size_t& written);
  [[nodiscard]] long put_some(std::string_view bytes);

  UniqueFd fd_;
  const Kind kind_;
  Encoder encoder_;
  bool torn_ = false;  // the log ends inside a line
};

// "" or "none": nothing is kept. "fd:N": a descriptor. Anything else: a path.
[[nodiscard]] Result<std::unique_ptr<CountingSink>> open_sink(const std::string& where,
                                                              const SinkIdentity& identity);

// STATE/audit/<YYYY-MM-DD>/<session>/events.ndjson, the date in UTC. Makes the directories, 0700 each; where
// that fails opening the path will say so. `state_directory` is "$XDG_STATE_HOME/secbox" or what stands for
// it.
[[nodiscard]] std::string default_log_path(const std::string& state_directory, std::string_view session);
// $SECBOX_STATE_DIR, $XDG_STATE_HOME/secbox or ~/.local/state/secbox.
[[nodiscard]] std::string default_state_directory();

}  // namespace secbox::audit
