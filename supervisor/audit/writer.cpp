#include "supervisor/audit/writer.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>

namespace secbox::audit {
namespace {

constexpr std::size_t kMostOps = 256;             // more would be a fault elsewhere; the totals stay right
constexpr std::size_t kKeptCapacity = 64U << 10;  // of a thread's line buffer, between records

void add(Counts& counts, Verdict verdict) {
  switch (verdict) {
    case Verdict::None:
      break;
    case Verdict::Allow:
      ++counts.allow;
      break;
    case Verdict::Deny:
      ++counts.deny;
      break;
    case Verdict::WouldDeny:
      ++counts.would_deny;
      break;
  }
}

// A reader that has gone is an error to return, not a signal that ends the supervisor and leaves its plugin
// alone.
class NoSigpipe {
 public:
  explicit NoSigpipe(bool wanted) : active_(wanted) {
    if (!active_) return;
    sigset_t pending;
    sigemptyset(&set_);
    sigaddset(&set_, SIGPIPE);
    sigemptyset(&pending);
    (void)::sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    (void)::pthread_sigmask(SIG_BLOCK, &set_, &before_);
  }
  ~NoSigpipe() {
    if (!active_) return;
    const int saved = errno;
    const timespec now{};
    if (!was_pending_) {
      while (::sigtimedwait(&set_, nullptr, &now) < 0 && errno == EINTR) {
      }
    }
    (void)::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    errno = saved;
  }
  NoSigpipe(const NoSigpipe&) = delete;
  NoSigpipe& operator=(const NoSigpipe&) = delete;

 private:
  const bool active_;
  bool was_pending_ = false;
  sigset_t set_{};
  sigset_t before_{};
};

std::string date_utc() {
  const time_t now = ::time(nullptr);
  tm utc{};
  ::gmtime_r(&now, &utc);
  char text[16];
  const std::size_t length = ::strftime(text, sizeof text, "%Y-%m-%d", &utc);
  return {text, length};
}

// True where the file ends inside a line, which a crash or a full disk left.
bool ends_inside_a_line(int fd, off_t size) {
  if (size == 0) return false;
  const UniqueFd reader(::open(("/proc/self/fd/" + std::to_string(fd)).c_str(), O_RDONLY | O_CLOEXEC));
  char last = '\0';
  return !reader.valid() || ::pread(reader.get(), &last, 1, size - 1) != 1 || last != '\n';
}

}  // namespace

Counts CountingSink::counts() const {
  const std::lock_guard lock(mutex_);
  return counts_;
}

std::vector<std::pair<std::string, Counts>> CountingSink::counts_by_op() const {
  const std::lock_guard lock(mutex_);
  return by_op_;
}

void CountingSink::count(const Record& record) {
  if (record.verdict == Verdict::None) return;
  add(counts_, record.verdict);
  auto found = std::ranges::find_if(by_op_, [&](const auto& entry) { return entry.first == record.op; });
  if (found == by_op_.end()) {
    if (by_op_.size() >= kMostOps) return;
    found = by_op_.emplace(by_op_.end(), record.op, Counts{});
  }
  add(found->second, record.verdict);
}

void CountingSink::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
}

Result<std::uint64_t> NullSink::write(const Record& record) {
  const std::lock_guard lock(mutex_);
  if (is_over(record)) return 0;
  count(record);
  return ++seq_;
}

Result<std::unique_ptr<FileWriter>> FileWriter::open(const std::string& path, const SinkIdentity& identity) {
  // O_NONBLOCK: opening a pipe that nobody reads fails here and does not hang. Writing blocks all the same,
  // see adopt().
  UniqueFd fd(::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600));
  if (!fd.valid()) return errno_failure("open the audit log " + path);
  const int flags = ::fcntl(fd.get(), F_GETFL);
  if (flags < 0 || ::fcntl(fd.get(), F_SETFL, flags & ~O_NONBLOCK) != 0)
    return errno_failure("the audit log " + path);
  return adopt(std::move(fd), path, identity);
}

Result<std::unique_ptr<FileWriter>> FileWriter::from_fd(int fd, const SinkIdentity& identity) {
  const std::string name = "fd:" + std::to_string(fd);
  UniqueFd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
  if (!copy.valid()) return errno_failure("the audit log " + name);
  const int flags = ::fcntl(copy.get(), F_GETFL);
  if (flags < 0) return errno_failure("the audit log " + name);
  if ((flags & O_ACCMODE) == O_RDONLY) return failure("the audit log " + name + " is not open for writing");
  return adopt(std::move(copy), name, identity);
}

Result<std::unique_ptr<FileWriter>> FileWriter::adopt(UniqueFd fd, const std::string& name,
                                                      const SinkIdentity& identity) {
  struct stat st{};
  if (::fstat(fd.get(), &st) != 0) return errno_failure("examine the audit log " + name);
  Kind kind;
  if (S_ISREG(st.st_mode)) {
    kind = Kind::File;
  } else if (S_ISFIFO(st.st_mode)) {
    kind = Kind::Pipe;
  } else if (S_ISSOCK(st.st_mode)) {
    kind = Kind::Socket;
  } else if (S_ISCHR(st.st_mode)) {
    kind = Kind::Terminal;
  } else {
    return failure("the audit log " + name + " is neither a file nor a pipe, socket or terminal");
  }
  const bool torn = kind == Kind::File && ends_inside_a_line(fd.get(), st.st_size);
  std::unique_ptr<FileWriter> writer(new FileWriter(std::move(fd), kind, identity));
  writer->torn_ = torn;
  return writer;
}

FileWriter::~FileWriter() {
  if (!torn_) return;
  std::size_t written = 0;
  (void)put("\n", written);  // the next session may append to the same file
}

long FileWriter::put_some(std::string_view bytes) {
  if (kind_ == Kind::Socket) return ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  return ::write(fd_.get(), bytes.data(), bytes.size());
}

int FileWriter::put(std::string_view bytes, std::size_t& written) {
  const NoSigpipe guard(kind_ == Kind::Pipe);
  // More than one round only after a short write: an interrupted pipe, or a disk with room for a part.
  while (written < bytes.size()) {
    const long count = put_some(bytes.substr(written));
    if (count < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) {
        // A descriptor that the operator left non-blocking. A slow reader slows the plugin down; it loses
        // nothing.
        pollfd ready{.fd = fd_.get(), .events = POLLOUT, .revents = 0};
        (void)::poll(&ready, 1, -1);
        continue;
      }
      return errno;
    }
    if (count == 0) return EIO;
    written += static_cast<std::size_t>(count);
  }
  return 0;
}

Result<std::uint64_t> FileWriter::write(const Record& record) {
  thread_local Line line;
  encoder_.encode(record, line);

  const std::lock_guard lock(mutex_);
  if (is_over(record)) return 0;
  Stamp stamp;
  stamp.seq = ++seq_;
  timespec monotonic{};
  ::clock_gettime(CLOCK_REALTIME, &stamp.realtime);
  ::clock_gettime(CLOCK_MONOTONIC, &monotonic);
  stamp.mono_ns = std::int64_t{monotonic.tv_sec} * 1'000'000'000 + monotonic.tv_nsec;
  const std::string_view bytes =
      encoder_.stamp(line, stamp, torn_ ? Encoder::Before::Newline : Encoder::Before::Nothing);
  std::size_t written = 0;
  const int error = put(bytes, written);
  if (error == 0) {
    torn_ = false;
    count(record);
  } else if (written != 0) {
    torn_ = !torn_ || written != 1;
  }
  line.trim(kKeptCapacity);
  if (error != 0) return failure("write the audit log", error);
  return stamp.seq;
}

Result<void> FileWriter::sync() {
  if (kind_ != Kind::File) return {};
  if (::fdatasync(fd_.get()) != 0) return errno_failure("write the audit log to the disk");
  return {};
}

Result<std::unique_ptr<CountingSink>> open_sink(const std::string& where, const SinkIdentity& identity) {
  if (where.empty() || where == "none") return std::make_unique<NullSink>();
  if (where == "journald") return failure("the audit log cannot go to journald; name a file, fd:N or none");
  Result<std::unique_ptr<FileWriter>> writer;
  if (where.starts_with("fd:")) {
    int fd = -1;
    const char* const end = where.data() + where.size();
    const auto parsed = std::from_chars(where.data() + 3, end, fd);
    if (parsed.ec != std::errc() || parsed.ptr != end || fd < 0)
      return failure("\"" + where + "\" is no descriptor");
    writer = FileWriter::from_fd(fd, identity);
  } else {
    writer = FileWriter::open(where, identity);
  }
  if (!writer) return std::unexpected(writer.error());
  return std::move(*writer);
}

std::string default_log_path(const std::string& state_directory, std::string_view session) {
  std::string path = state_directory + "/audit/" + date_utc() + "/";
  path += session;
  for (std::size_t slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1)) {
    (void)::mkdir(path.substr(0, slash).c_str(), 0700);
  }
  (void)::mkdir(path.c_str(), 0700);
  return path + "/events.ndjson";
}

std::string default_state_directory() {
  const auto variable = [](const char* name) -> std::string {
    const char* value = std::getenv(name);
    return value == nullptr ? "" : value;
  };
  if (const std::string own = variable("SECBOX_STATE_DIR"); !own.empty()) return own;
  // The XDG base directory specification: a relative path there is to be ignored.
  if (const std::string state = variable("XDG_STATE_HOME"); state.starts_with('/')) return state + "/secbox";
  return variable("HOME") + "/.local/state/secbox";
}

}  // namespace secbox::audit
