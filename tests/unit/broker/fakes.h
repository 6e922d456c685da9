// A plugin as values: its memory, its calls and the answers to them. For what a real kernel does not bring
// about when a test wants it. Its files, its identity and its /proc are those of the test's own thread.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "supervisor/broker/blocking.h"
#include "supervisor/broker/exec_verifier.h"
#include "supervisor/broker/pipeline.h"
#include "supervisor/broker/services.h"
#include "supervisor/broker/syscall_table.h"

namespace secbox::broker {

class FakeMemory final : public sys::TargetMemory {
 public:
  // A copy of `bytes` with nothing mapped behind it. Its address.
  std::uint64_t put(std::span<const std::byte> bytes) {
    const std::uint64_t address = next_;
    next_ += (bytes.size() / kGap + 2) * kGap;
    regions_[address].assign(bytes.begin(), bytes.end());
    return address;
  }
  std::uint64_t put_text(std::string_view text) {
    const std::string terminated(text);
    return put(std::as_bytes(std::span(terminated.c_str(), terminated.size() + 1)));
  }
  template <typename T>
  std::uint64_t put_object(const T& object) {
    return put(std::as_bytes(std::span(&object, 1)));
  }

  std::int64_t read(ThreadId, TargetAddress address, std::span<std::byte> out) override {
    if (unreadable != 0) return -unreadable;
    const std::span<std::byte> mapped = at(address.value);
    if (mapped.empty()) return out.empty() ? 0 : -EFAULT;
    const std::size_t count = std::min(mapped.size(), out.size());
    std::copy_n(mapped.begin(), count, out.begin());
    return static_cast<std::int64_t>(count);
  }
  int write(ThreadId, TargetAddress address, std::span<const std::byte> data) override {
    const std::span<std::byte> mapped = at(address.value);
    if (read_only || mapped.size() < data.size()) return -EFAULT;
    std::ranges::copy(data, mapped.begin());
    return 0;
  }

  int unreadable = 0;  // the errno of every read
  bool read_only = false;

 private:
  static constexpr std::uint64_t kGap = 4096;

  std::span<std::byte> at(std::uint64_t address) {
    auto found = regions_.upper_bound(address);
    if (found == regions_.begin()) return {};
    --found;
    const std::uint64_t offset = address - found->first;
    return offset < found->second.size() ? std::span(found->second).subspan(offset) : std::span<std::byte>{};
  }

  std::map<std::uint64_t, std::vector<std::byte>> regions_;
  std::uint64_t next_ = 0x10000;
};

struct Answer {
  enum class Kind { Errno, Value, Continue, Installed };
  Kind kind = Kind::Errno;
  std::int64_t value = 0;  // the errno, the value, or the descriptor's number in the plugin
  UniqueFd fd;             // Installed: a duplicate of what was put into the plugin
  bool close_on_exec = false;

  [[nodiscard]] bool is_errno(int err) const { return kind == Kind::Errno && value == err; }
};

class FakeChannel final : public sys::NotifyChannel {
 public:
  void hold(const sys::Notification& call) {
    const std::lock_guard lock(mutex_);
    calls_.push_back(call);
  }
  // The answer to call `id`; null where none came in time.
  const Answer* wait_for(std::uint64_t id) {
    std::unique_lock lock(mutex_);
    answered_.wait_for(lock, std::chrono::seconds(10), [&] { return answers_.contains(id); });
    return find(id);
  }
  const Answer* answer(std::uint64_t id) {
    const std::lock_guard lock(mutex_);
    return find(id);
  }

  // The plugin's table of descriptors takes no more: the errno that it gives.
  int full_table = 0;
  // The caller is killed once it was asked after this often.
  std::optional<int> looks_before_death;

  sys::ReceiveStatus receive(sys::Notification& out) override {
    const std::lock_guard lock(mutex_);
    if (calls_.empty()) return sys::ReceiveStatus::Ended;
    out = calls_.front();
    calls_.pop_front();
    return out.number < 0 ? sys::ReceiveStatus::Retry : sys::ReceiveStatus::Received;
  }
  sys::ReplyStatus reply_errno(std::uint64_t id, int err) override {
    return reply(id, {.kind = Answer::Kind::Errno, .value = err, .fd = {}});
  }
  sys::ReplyStatus reply_value(std::uint64_t id, std::int64_t value) override {
    const std::lock_guard lock(mutex_);
    const auto added = added_.find(id);
    const bool descriptor = added != added_.end() && added->second.value == value;
    return store(id, descriptor ? std::move(added->second)
                                : Answer{.kind = Answer::Kind::Value, .value = value, .fd = {}});
  }
  sys::ReplyStatus reply_continue(std::uint64_t id) override {
    return reply(id, {.kind = Answer::Kind::Continue, .fd = {}});
  }
  sys::InstallResult install_fd(std::uint64_t id, int fd, bool close_on_exec) override {
    const std::lock_guard lock(mutex_);
    const sys::InstallResult refused = refusal();
    if (refused.status != sys::ReplyStatus::Sent) return refused;
    return {.status = store(id, installed(fd, close_on_exec)), .error = 0, .number = kNumber};
  }
  sys::InstallResult add_fd(std::uint64_t id, int fd, bool close_on_exec) override {
    const std::lock_guard lock(mutex_);
    const sys::InstallResult refused = refusal();
    if (refused.status == sys::ReplyStatus::Sent) added_.emplace(id, installed(fd, close_on_exec));
    return refused;
  }
  bool alive(std::uint64_t) override {
    const std::lock_guard lock(mutex_);
    return !looks_before_death || (*looks_before_death)-- > 0;
  }

 private:
  static constexpr int kNumber = 7;

  [[nodiscard]] bool dead() const { return looks_before_death && *looks_before_death <= 0; }
  [[nodiscard]] sys::InstallResult refusal() const {
    if (dead()) return {.status = sys::ReplyStatus::Gone, .error = 0, .number = -1};
    if (full_table != 0) return {.status = sys::ReplyStatus::Failed, .error = full_table, .number = -1};
    return {.status = sys::ReplyStatus::Sent, .error = 0, .number = kNumber};
  }
  static Answer installed(int fd, bool close_on_exec) {
    return {.kind = Answer::Kind::Installed,
            .value = kNumber,
            .fd = UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 0)),
            .close_on_exec = close_on_exec};
  }
  sys::ReplyStatus reply(std::uint64_t id, Answer answer) {
    const std::lock_guard lock(mutex_);
    return store(id, std::move(answer));
  }
  sys::ReplyStatus store(std::uint64_t id, Answer answer) {
    if (dead()) return sys::ReplyStatus::Gone;
    EXPECT_TRUE(answers_.emplace(id, std::move(answer)).second) << "a call is answered once";
    answered_.notify_all();
    return sys::ReplyStatus::Sent;
  }
  const Answer* find(std::uint64_t id) {
    const auto found = answers_.find(id);
    return found == answers_.end() ? nullptr : &found->second;
  }

  std::mutex mutex_;
  std::condition_variable answered_;
  std::deque<sys::Notification> calls_;
  std::map<std::uint64_t, Answer> answers_;
  std::map<std::uint64_t, Answer> added_;
};

// A log that can be full.
class FakeSink final : public audit::AuditSink {
 public:
  struct Line {
    std::string event, path, rule, reason, result;
    std::string name;  // of the target
    pid_t pid = 0;
    // Who called: nothing where the record does not say.
    bool has_caller = false, from_shim = false, checked = false, invalid_claim = false;
    std::string module, function, called, host, command;
    audit::Verdict verdict = audit::Verdict::None;
    audit::Enforcement enforcement = audit::Enforcement::None;
  };

  Result<std::uint64_t> write(const audit::Record& record) override {
    const std::lock_guard lock(mutex_);
    if (full) return failure("write", ENOSPC);
    const audit::CallerRef caller = record.caller.value_or(audit::CallerRef{});
    lines_.push_back({.event = std::string(record.event),
                      .path = std::string(record.target.path),
                      .rule = std::string(record.rule ? record.rule->id : std::string_view{}),
                      .reason = std::string(record.reason),
                      .result = std::string(record.result),
                      .name = std::string(record.target.name),
                      .pid = record.pid,
                      .has_caller = record.caller.has_value(),
                      .from_shim = caller.from_shim,
                      .checked = caller.checked,
                      .invalid_claim = caller.invalid_claim,
                      .module = std::string(caller.module),
                      .function = std::string(caller.function),
                      .called = std::string(caller.call),
                      .host = std::string(caller.host),
                      .command = std::string(caller.command),
                      .verdict = record.verdict,
                      .enforcement = record.enforcement});
    return lines_.size();
  }
  std::vector<Line> lines() {
    const std::lock_guard lock(mutex_);
    return lines_;
  }

  std::atomic<bool> full = false;

 private:
  std::mutex mutex_;
  std::vector<Line> lines_;
};

class BrokerTest : public testing::Test {
 protected:
  BrokerTest() {
    services.blocking = &blocking;
    services.execs = &execs;
    services.on_audit_failure = [this] { ++audit_failures; };
    services.on_denial = [this](const audit::Record&, std::uint64_t) { ++denials; };
    grant({});
    std::string name = (std::filesystem::temp_directory_path() / "secbox-broker-XXXXXX").string();
    dir = std::filesystem::canonical(::mkdtemp(name.data()));
  }
  ~BrokerTest() override { std::filesystem::remove_all(dir); }

  // Sets the rules: each path may be used for every file verb.
  void grant(const std::vector<std::string>& paths, checker::VerbSet verbs = checker::kFileVerbs) {
    checker::Rule rule;
    rule.id = "m0";
    rule.effect = checker::Effect::Allow;
    rule.verbs = verbs;
    rule.paths = paths;
    set_rules(paths.empty() ? std::vector<checker::Rule>{} : std::vector{rule});
  }
  void set_rules(std::vector<checker::Rule> list) {
    auto made = checker::Ruleset::make(std::move(list));
    ASSERT_TRUE(made) << made.error().text();
    rules.push_back(std::make_unique<checker::Ruleset>(std::move(*made)));
    services.set_rules(rules.back().get());
  }

  static int number_of(std::string_view name) {
    for (const SyscallRow& row : syscall_table()) {
      if (row.name == name) return native_number(row);
    }
    ADD_FAILURE() << name << " is in no row";
    return -1;
  }

  // The plugin makes a call; what it was answered, or null where it was not.
  const Answer* call(std::string_view name, std::array<std::uint64_t, 6> arguments) {
    return call(number_of(name), arguments);
  }
  const Answer* call(int number, std::array<std::uint64_t, 6> arguments) {
    const std::uint64_t id = begin(number, arguments);
    return channel.looks_before_death ? channel.answer(id) : channel.wait_for(id);
  }
  // The same, not waiting for a worker's answer.
  std::uint64_t begin(int number, std::array<std::uint64_t, 6> arguments) {
    sys::Notification notification;
    notification.id = ++last_id;
    notification.tid = caller;
    notification.number = number;
    notification.args = arguments;
    notification.instruction_pointer = instruction_pointer;
    channel.hold(notification);
    // A thread of its own, as in a session: it leaves the working directory and umask to the others.
    std::thread([&] { pipeline.receive_loop(); }).join();
    return last_id;
  }
  const Answer* open(const std::string& path, int flags, mode_t mode = 0644) {
    return call("openat", {at_cwd, memory.put_text(path), static_cast<std::uint64_t>(flags), mode});
  }
  std::string make_file(const std::string& name, std::string_view content = "content") {
    const std::string path = (dir / name).string();
    const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    EXPECT_EQ(::write(file.get(), content.data(), content.size()), static_cast<ssize_t>(content.size()));
    return path;
  }
  static std::uint64_t as_argument(int value) { return static_cast<std::uint32_t>(value); }

  static constexpr std::uint64_t at_cwd = static_cast<std::uint32_t>(AT_FDCWD);
  ThreadId caller{::gettid()};
  sys::Procfs proc = sys::Procfs::open().value();
  FakeMemory memory;
  FakeChannel channel;
  FakeSink sink;
  std::vector<std::unique_ptr<checker::Ruleset>> rules;
  Services services{channel, memory, proc, sink};
  BlockingCalls blocking{channel, proc};
  ExecVerifier execs{services};
  Pipeline pipeline{services};
  std::filesystem::path dir;
  std::uint64_t last_id = 0;
  std::uint64_t instruction_pointer = 0;  // of the next calls
  std::atomic<int> audit_failures = 0;
  std::atomic<int> denials = 0;
};

}  // namespace secbox::broker
