#include "supervisor/session/supervisor.h"

#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <utility>

#include "supervisor/launch/capabilities.h"
#include "supervisor/launch/supervisor_filter.h"
#include "supervisor/session/confinement.h"
#include "supervisor/session/nearest_grant.h"
#include "supervisor/sys/force_exit.h"
#include "supervisor/sys/landlock.h"
#include "supervisor/sys/remove_tree.h"

namespace secbox::session {

namespace asio = boost::asio;

namespace {

constexpr int kReceivers = 2;  // one suffers the double wake-up of ADDFD, more than two cost every call
constexpr auto kHostRefresh = std::chrono::seconds(60);
constexpr auto kPrintDelay = std::chrono::milliseconds(20);
constexpr std::size_t kMaxPendingText = 64U << 10;
constexpr int kExitLimit = 123;
constexpr int kExitTimeout = 124;
// A plugin that was told to end: until its call of exit_group(2) is here, which a filter or a thread of its
// own may keep from being made; and until that is through, longer than it takes to end all others.
constexpr auto kExitPatience = std::chrono::seconds(1);
constexpr auto kEndPatience = std::chrono::seconds(15);
constexpr auto kLastCalls = std::chrono::seconds(2);  // between being begun and being recorded

std::int64_t now_ns() {
  timespec ts{};
  ::clock_gettime(CLOCK_MONOTONIC, &ts);
  return std::int64_t{ts.tv_sec} * 1'000'000'000 + ts.tv_nsec;
}

void block_signals() {
  sigset_t all;
  sigfillset(&all);
  for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP}) sigdelset(&all, fault);
  (void)::pthread_sigmask(SIG_BLOCK, &all, nullptr);
}

// The plugin's limit is its own; held calls must not fail because this process has too few for them.
Result<void> raise_descriptor_limit() {
  constexpr rlim_t kEnough = 65536;
  constexpr rlim_t kLeast = 32;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return errno_failure("getrlimit(RLIMIT_NOFILE)");
  const rlimit more{.rlim_cur = std::max(limit.rlim_max, kEnough),
                    .rlim_max = std::max(limit.rlim_max, kEnough)};
  if (::setrlimit(RLIMIT_NOFILE, &more) == 0) return {};  // with CAP_SYS_RESOURCE
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return errno_failure("setrlimit(RLIMIT_NOFILE)");
  if (limit.rlim_max < kLeast) {
    return failure("the limit of open files (ulimit -Hn " + std::to_string(limit.rlim_max) +
                   ") is too low for the supervisor, which needs " + std::to_string(kLeast));
  }
  return {};
}

// A JSON string of text that is known to be plain (ids, digests, kernel names): no escapes are needed.
std::string json_plain(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) out += (c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20) ? '?' : c;
  return out + "\"";
}

template <typename Value>
std::string json_number(const std::optional<Value>& value) {
  return value ? std::to_string(*value) : "null";
}

std::string limits_json(const Limits& limits, const Timeouts& timeouts) {
  return "{\"memory_bytes\":" + json_number(limits.memory_bytes) +
         ",\"cpu_percent\":" + json_number(limits.cpu_percent) +
         ",\"cpu_time_ms\":" + json_number(limits.cpu_time_ms) +
         ",\"file_size_bytes\":" + json_number(limits.file_size_bytes) +
         ",\"pids\":" + json_number(limits.pids) + ",\"open_files\":" + json_number(limits.open_files) +
         ",\"init_ms\":" + json_number(timeouts.init_ms) + ",\"run_ms\":" + json_number(timeouts.run_ms) +
         "}";
}

std::string modules_json(const checker::ModuleRules& modules) {
  std::string text = "[";
  for (const checker::ModuleRule& rule : modules.rules()) {
    std::string denials;
    std::string_view before;  // of one entry that became several rules, told once
    for (const checker::Rule& deny : rule.deny) {
      if (deny.source.pointer == before) continue;
      before = deny.source.pointer;
      denials += (denials.empty() ? "" : ",") + audit::json_string(deny.source.text);
    }
    text += (text.size() > 1 ? ",{\"match\":" : "{\"match\":") + audit::json_string(rule.text) +
            ",\"deny\":[" + denials + "]}";
  }
  return text + "]";
}

std::string usage_json(const limits::Usage& usage) {
  return "{\"cpu_ms\":" + std::to_string(usage.cpu_ns / 1'000'000) +
         ",\"peak_memory_bytes\":" + std::to_string(usage.peak_memory_bytes) +
         ",\"peak_tasks\":" + std::to_string(usage.peak_tasks) +
         ",\"read_bytes\":" + std::to_string(usage.read_bytes) +
         ",\"written_bytes\":" + std::to_string(usage.written_bytes) + "}";
}

std::string limit_text(const SessionPlan& plan, const limits::Event& event, bool ends) {
  std::string text = "secbox: LIMIT " + audit::printable(plan.plugin) + " " + audit::printable(plan.version) +
                     ": " + event.reason + (ends ? ": ended" : "") + "   rule " + std::string(event.code) +
                     "\n";
  const std::string_view name = event.key.substr(event.key.find('.') + 1);
  text += "        fix: raise " + std::string(event.key) +
          (plan.manifest_path.empty() ? "" : " in " + audit::printable(plan.manifest_path)) +
          ", or run again with --" + (event.key.starts_with("timeouts.") ? "timeout " : "limit ") +
          std::string(name) + "=VALUE\n";
  return text;
}

bool is_stopped(const sys::Procfs& proc, pid_t pid) {
  std::string stat;
  if (proc.read_file(pid, "stat", stat) != 0) return false;
  const std::size_t after = stat.rfind(')');
  return after != std::string::npos && after + 2 < stat.size() && stat[after + 2] == 'T';
}

}  // namespace

Supervisor::Supervisor(const SessionPlan& plan, sys::Procfs proc)
    : plan_(plan), proc_(std::move(proc)), stderr_(proc_) {}

Result<std::unique_ptr<Supervisor>> Supervisor::prepare(const SessionPlan& plan, const limits::Cgroup& group,
                                                        const sys::SessionMark& mark,
                                                        const launch::Environment& environment) {
  block_signals();
  auto proc = sys::Procfs::open();
  if (!proc) return std::unexpected(proc.error());
  std::unique_ptr<Supervisor> self(new Supervisor(plan, std::move(*proc)));
  if (auto raised = raise_descriptor_limit(); !raised) return std::unexpected(raised.error());
  auto processes = Processes::open(self->proc_, mark);
  if (!processes) return std::unexpected(processes.error());
  self->processes_.emplace(std::move(*processes));
  self->mark_ = mark;
  self->rules_ = plan.rules;
  self->monitor_.emplace(plan.limits, group);
  if (auto opened = self->monitor_->prepare(self->proc_, mark); !opened)
    return std::unexpected(opened.error());
  self->started_ns_ = now_ns();

  const audit::SinkIdentity identity{.session = plan.id,
                                     .plugin = plan.plugin,
                                     .version = plan.version,
                                     .mode = plan.mode == broker::Mode::Audit ? "audit" : "enforce",
                                     .user_id = ::getuid()};
  auto sink = audit::open_sink(plan.audit_path, identity);
  if (!sink) return std::unexpected(sink.error());
  self->sink_ = std::move(*sink);
  self->reporter_ = std::make_unique<audit::DenialReporter>(
      audit::ReporterOptions{.plugin = plan.plugin,
                             .version = plan.version,
                             .session = plan.id,
                             .manifest_path = plan.manifest_path,
                             .colour = self->stderr_.is_terminal(),
                             .nearest_grant = nearest_grant(self->rules_)});
  if (!plan.status_file.empty()) {
    self->status_file_.reset(
        ::open(plan.status_file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!self->status_file_.valid()) return errno_failure("open " + plan.status_file);
  }
  if (plan.status_fd >= 0) {
    self->status_fd_.reset(::fcntl(plan.status_fd, F_DUPFD_CLOEXEC, 3));
    if (!self->status_fd_.valid()) return errno_failure("--status-fd");
  }

  self->has_terminal_ = UniqueFd(::open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC)).valid();
  if (!plan.tmp_dir.empty()) {
    const std::size_t slash = plan.tmp_dir.rfind('/');
    self->tmp_leaf_ = plan.tmp_dir.substr(slash + 1);
    self->tmp_parent_.reset(
        ::open(plan.tmp_dir.substr(0, slash + 1).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    self->tmp_dir_.reset(::openat(self->tmp_parent_.get(), self->tmp_leaf_.c_str(),
                                  O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!self->tmp_dir_.valid()) return errno_failure("open the private TMPDIR");
  }

  if (auto given_up = give_up_rights(); !given_up) return std::unexpected(given_up.error());
  self->write_session_start(environment);
  if (self->audit_failed_) return failure("the audit log cannot be written");
  // Last: where this fails the caller may still have to report it by what it was started with (--status-fd).
  if (auto closed = close_inherited(self->proc_); !closed) return std::unexpected(closed.error());
  forget_start(self->proc_, "secbox: supervisor of session " + plan.id);
  return self;
}

Supervisor::~Supervisor() = default;

void Supervisor::write_session_start(const launch::Environment& environment) {
  utsname host{};
  (void)::uname(&host);
  std::string rules = "[";
  for (const checker::Rule& rule : rules_->rules()) {
    if (rule.layer == checker::Layer::Preset)
      continue;  // named by its preset; `secbox preset show` prints it
    if (rules.size() > 1) rules += ',';
    rules += "{\"id\":" + json_plain(rule.id) + ",\"layer\":" + json_plain(layer_name(rule.layer)) +
             ",\"effect\":" +
             (rule.effect == checker::Effect::Allow  ? "\"allow\""
              : rule.effect == checker::Effect::Deny ? "\"deny\""
                                                     : "\"optional\"") +
             ",\"text\":" + audit::json_string(rule.source.text) + "}";
  }
  rules += "]";
  std::string held_back = "[";
  for (const std::string& name : environment.held_back)
    held_back += (held_back.size() > 1 ? "," : "") + audit::json_string(name);
  held_back += "]";
  std::vector<std::pair<std::string, std::string>> extra{
      {"manifest", audit::json_string(plan_.manifest_path)},
      {"manifest_digest", json_plain(plan_.manifest_digest)},
      {"rules_digest", json_plain(plan_.rules_digest)},
      {"rules", rules},
      {"via", "\"flag\""},
      {"environment_held_back", held_back},
      {"host", "{\"kernel\":" + json_plain(host.release) + ",\"machine\":" + json_plain(host.machine) +
                   ",\"landlock_abi\":" + std::to_string(sys::landlock_abi()) + "}"},
      {"supervisor_pid", std::to_string(::getpid())},
      {"shape", plan_.shape == Shape::Beside ? "\"beside\"" : "\"parent\""},
      {"program", audit::json_string(plan_.program)},
      {"limits", limits_json(plan_.limits, plan_.timeouts)},
      {"limits_kept_by", *monitor_->group().what() != '\0' ? json_plain(monitor_->group().what())
                                                           : std::string("\"watchdog\"")}};
  if (plan_.modules != nullptr) extra.emplace_back("modules", modules_json(*plan_.modules));
  audit::Record record;
  record.event = "session_start";
  record.op = "session";
  record.result = "ok";
  record.argv = plan_.argv;
  record.extra = extra;
  if (!sink_->write(record)) audit_failed_ = true;
}

// The loop of the main thread: the plugin's end, signals to forward, name refresh, denial lines.
class Supervisor::Control {
 public:
  Control(Supervisor& owner, pid_t plugin)
      : owner_(owner),
        plugin_(plugin),
        gone_(io_),
        signals_(io_),
        refresh_(io_),
        print_(io_),
        init_(io_),
        time_(io_) {}

  asio::io_context& io() { return io_; }

  void run() {
    gone_.assign(::fcntl(owner_.plugin_pidfd_.get(), F_DUPFD_CLOEXEC, 3));
    gone_.async_wait(asio::posix::stream_descriptor::wait_read,
                     [this](const boost::system::error_code&) { io_.stop(); });
    if (owner_.plan_.shape == Shape::Parent) watch_signals();
    if (!owner_.hosts_->empty()) refresh_hosts();
    const Timeouts& timeouts = owner_.plan_.timeouts;
    if (timeouts.init_ms) allow_time(init_, "init", *timeouts.init_ms);
    if (timeouts.run_ms) allow_time(time_, "run", *timeouts.run_ms);
    io_.run();
  }

  // The first program runs.
  void note_started() { init_.cancel(); }

  // It has been told to end: if it does not, it is killed. The loop ends with it.
  void kill_after(std::chrono::milliseconds patience) {
    time_.expires_after(patience);
    time_.async_wait([this, patience](const boost::system::error_code& error) {
      if (error) return;
      if (patience < kEndPatience && owner_.finishing_) {
        kill_after(kEndPatience);
      } else {
        (void)sys::signal_process(owner_.plugin_pidfd_.get(), SIGKILL);
      }
    });
  }

  // The program is about to say something itself, often in several pieces: ours come behind, not in between.
  void print_soon() {
    print_.expires_after(kPrintDelay);
    print_.async_wait([this](const boost::system::error_code& error) {
      if (!error) owner_.print_denials();
    });
  }

  // The plugin's first process was stopped (Ctrl-Z): stop with it, and go on with it.
  void mirror_stop() {
    siginfo_t info{};
    // Only where there is somebody to make it go on: else a plugin could stop who holds it to its limits.
    if (!owner_.has_terminal_ || !is_stopped(owner_.proc_, plugin_)) return;
    if (::waitid(P_PID, static_cast<id_t>(plugin_), &info, WSTOPPED | WNOHANG | WNOWAIT) != 0 ||
        info.si_pid == 0)
      return;
    (void)::waitid(P_PID, static_cast<id_t>(plugin_), &info, WSTOPPED | WNOHANG);
    (void)::kill(::getpid(), SIGSTOP);
    // Woken because its time is over: the timer, which comes next, ends it.
    if (owner_.plan_.timeouts.run_ms && time_.expiry() <= asio::steady_timer::clock_type::now()) return;
    (void)::kill(plugin_, SIGCONT);
  }

 private:
  void allow_time(asio::steady_timer& timer, std::string_view function, std::uint64_t ms) {
    timer.expires_after(std::chrono::milliseconds(ms));
    timer.async_wait([this, function, ms](const boost::system::error_code& error) {
      if (!error) owner_.on_limit(limits::timeout_event(function, ms), Plugin::Runs);
    });
  }

  void watch_signals() {
    sigset_t set;
    sigemptyset(&set);
    for (int number = 1; number < 65; ++number) {
      const bool fault = number == SIGSEGV || number == SIGBUS || number == SIGFPE || number == SIGILL ||
                         number == SIGABRT || number == SIGTRAP;
      if (fault || number == SIGCHLD || number == SIGKILL || number == SIGSTOP || number == 32 ||
          number == 33 || number == broker::BlockingCalls::kWakeSignal) {
        continue;
      }
      sigaddset(&set, number);
    }
    signals_.assign(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    wait_signal();
  }

  void wait_signal() {
    signals_.async_wait(
        asio::posix::stream_descriptor::wait_read, [this](const boost::system::error_code& error) {
          if (error) return;
          signalfd_siginfo info{};
          while (::read(signals_.native_handle(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
            // From the terminal the whole foreground group had it already, the plugin with it.
            if (info.ssi_code == SI_KERNEL && info.ssi_signo != SIGCONT) continue;
            (void)::kill(plugin_, static_cast<int>(info.ssi_signo));
          }
          wait_signal();
        });
  }

  void refresh_hosts() {
    // Look-ups block: never on this thread.
    (void)owner_.blocking_->start([this] { owner_.hosts_->refresh(); });
    refresh_.expires_after(kHostRefresh);
    refresh_.async_wait([this](const boost::system::error_code& error) {
      if (!error) refresh_hosts();
    });
  }

  Supervisor& owner_;
  const pid_t plugin_;
  asio::io_context io_;
  asio::posix::stream_descriptor gone_;
  asio::posix::stream_descriptor signals_;
  asio::steady_timer refresh_;
  asio::steady_timer print_;
  asio::steady_timer init_;
  asio::steady_timer time_;
};

const char* Supervisor::confine_calls() {
  if (!guardian_.start(proc_, mark_, monitor_->group(), plan_.timeouts.run_ms.value_or(0)))
    return "the guardian's process cannot be made";
  const auto lookups =
      rules_->host_names().empty() ? launch::NameLookups::None : launch::NameLookups::Resolver;
  if (launch::install(launch::supervisor_program(lookups)) != 0)
    return "the filter of the supervisor's own calls cannot be installed";
  return nullptr;
}

const char* Supervisor::start_receivers() {
  try {
    for (int i = 0; i < kReceivers; ++i) {
      receivers_.emplace_back([this] {
        serving_.wait(false);
        pipeline_->receive_loop();
      });
    }
  } catch (const std::system_error&) {
    return "threads cannot be made (ulimit -u, pids.max)";
  }
  return nullptr;
}

int Supervisor::refuse_start(launch::Handoff& handoff, const char* why) {
  handoff.fail(launch::Stage::SupervisorFailed, why);
  broker::serve_only_the_end(*channel_, [this] { finish(std::nullopt, Plugin::Exits); });
  return give_up();
}

int Supervisor::give_up() {
  finish(std::nullopt, Plugin::IsDead);
  guardian_.dismiss();
  return reap();
}

int Supervisor::reap() {
  int status = 0;
  if (plan_.shape != Shape::Parent || ::waitpid(plugin_, &status, 0) == plugin_ || !execs_) return status;
  // Killed while its new image was looked at: the verifier's thread was told, and waited for it as its
  // tracer.
  execs_->stop();
  return execs_->first_process_end().value_or(SIGKILL);
}

int Supervisor::serve(pid_t plugin, launch::Handoff& handoff) {
  // One heap: what threads allocate is small and kept by each (tcache); a heap of its own costs each a
  // mapping.
  (void)::mallopt(M_ARENA_MAX, 1);
  plugin_ = plugin;
  auto pidfd = sys::open_process(ProcessId{plugin});
  if (!pidfd) {
    handoff.fail(launch::Stage::SupervisorFailed, "pidfd_open of the plugin");
    return 125 << 8;
  }
  plugin_pidfd_ = std::move(*pidfd);
  stderr_.set_plugin(plugin_pidfd_.get());
  // Tried before the plugin cannot end without being served: it holds its standard streams open.
  if (!UniqueFd(static_cast<int>(::syscall(SYS_pidfd_getfd, plugin_pidfd_.get(), 0, 0))).valid()) {
    handoff.fail(launch::Stage::SupervisorFailed, "pidfd_getfd of the plugin's descriptors is not permitted");
    finish(std::nullopt, Plugin::IsDead);
    return reap();
  }
  handoff.advance(launch::Stage::SupervisorReady);
  // Made while the plugin confines itself.
  control_ = std::make_unique<Control>(*this, plugin);
  const char* failed = confine_calls();
  if (failed == nullptr) failed = start_receivers();
  if (handoff.wait_past(launch::Stage::SupervisorReady, plugin_pidfd_.get()) !=
      launch::Stage::ListenerReady) {
    return give_up();  // it said why itself
  }
  UniqueFd listener(
      static_cast<int>(::syscall(SYS_pidfd_getfd, plugin_pidfd_.get(), handoff.listener_fd.load(), 0)));
  if (!listener.valid()) {
    handoff.fail(launch::Stage::SupervisorFailed, "pidfd_getfd of the listener");
    return give_up();
  }
  auto channel = sys::LinuxNotifyChannel::make(std::move(listener));
  if (!channel) {
    handoff.fail(launch::Stage::SupervisorFailed, "the seccomp listener");
    return give_up();
  }
  channel_.emplace(std::move(*channel));
  if (failed != nullptr) return refuse_start(handoff, failed);

  services_ = std::make_unique<broker::Services>(*channel_, memory_, proc_, *sink_);
  services_->module_rules = plan_.modules.get();
  broker::Services& services = *services_;
  services.mode = plan_.mode;
  services.mark = mark_;
  services.supervisor_pid = ::getpid();
  services.first_process = plugin;
  services.can_change_identity = launch::has_capability(CAP_SETUID);
  if (plan_.mode == broker::Mode::Enforce && sys::landlock_abi() >= 6) {
    services.floor_scopes_signals = true;
    for (const checker::Rule& rule : rules_->rules()) {
      if (rule.effect == checker::Effect::Allow && rule.verbs.contains(checker::Verb::SignalSend))
        services.floor_scopes_signals = false;
    }
  }
  hosts_ = std::make_unique<HostNames>(services, rules_);
  services.refresh_hosts = [this] { return hosts_->refresh(); };
  services.host_of = [this](const std::array<std::uint8_t, 16>& address) { return hosts_->name_of(address); };
  blocking_ = std::make_unique<broker::BlockingCalls>(*channel_, proc_);
  if (!blocking_->watch_callers()) return refuse_start(handoff, "the thread that watches blocked calls");
  services.blocking = blocking_.get();
  execs_ = std::make_unique<broker::ExecVerifier>(services);
  services.execs = execs_.get();
  pipeline_ = std::make_unique<broker::Pipeline>(services);

  services.on_denial = [this](const audit::Record& record, std::uint64_t seq) { note_denial(record, seq); };
  services.on_first_process_exit = [this] { finish(std::nullopt, Plugin::Exits); };
  if (plan_.limits.file_size_bytes) {
    // One that was longer before cannot have been made so.
    services.on_written = [this](std::string_view path, dev_t dev, ino_t ino, std::uint64_t size) {
      if (size < *plan_.limits.file_size_bytes) written_files_.note(path, dev, ino);
    };
  }
  monitor_->on_event = [this](const limits::Event& event) {
    asio::post(control_->io(), [this, event] { on_limit(event, Plugin::Runs); });
  };
  callers_ = std::make_unique<broker::Callers>(services);
  callers_->on_event = [this](pid_t process, std::string_view exe, bool with_context, bool checked) {
    coverage_.note_event(process, exe, with_context, checked);
  };
  services.callers = callers_.get();
  if (broker::can_be_preloaded(plan_.shim)) services.shim = plan_.shim;
  services.on_hello = [this](pid_t tgid) { coverage_.note_hello(tgid); };
  services.on_audit_failure = [this] {
    if (audit_failed_.exchange(true)) return;
    stderr_.print("secbox: the audit log cannot be written: the plugin is stopped\n");
    (void)sys::signal_process(plugin_pidfd_.get(), SIGKILL);
  };
  execs_->on_image = [this](const broker::ExecVerifier::Image& image) {
    callers_->note_image(image.tgid, image.exe);
    const std::uint64_t images =
        coverage_.note_image(image.tgid, image.exe, image.shim.injected, image.shim.why);
    if (images == 1) asio::post(control_->io(), [this] { control_->note_started(); });
  };
  if (plan_.shape == Shape::Parent) {
    execs_->on_child_event = [this] { asio::post(control_->io(), [this] { control_->mirror_stop(); }); };
  }
  wake_printer_ = [this] { asio::post(control_->io(), [this] { control_->print_soon(); }); };
  if (!execs_->prepare()) {
    return refuse_start(handoff, "the exec verifier");
  }
  if (!monitor_->start()) return refuse_start(handoff, "the thread that watches the limits");
  services.guardian_pid = guardian_.pid();
  if (!execs_->start()) return refuse_start(handoff, "the exec verifier's thread");
  serving_ = true;
  serving_.notify_all();
  handoff.advance(launch::Stage::Serving);
  monitor_->begin();

  control_->run();

  const int status = reap();
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGXFSZ && plan_.limits.file_size_bytes) {
    const std::lock_guard lock(ended_mutex_);
    if (!ended_) ended_ = End{.exit_code = kExitLimit, .cause = "limit", .code = "SBX-L105"};
  }
  finish(plan_.shape == Shape::Parent ? std::optional<int>(status) : std::nullopt, Plugin::IsDead);
  // What its other threads may have started while it was ending. No task uses the filter any more: that is
  // proof (Linux 6.11 lets go of it when a task exits; before that zombies hold it).
  processes_->end(0, [this] { return channel_->hung_up(); });
  remove_tmp_dir();  // and written there
  remove_group(monitor_->group());
  guardian_.dismiss();
  pipeline_->stop();
  return status;
}

bool Supervisor::is_alone() const {
  // (The number could come round again: the look without short cuts, after the first process is gone, is what
  // counts.)
  const pid_t newest = processes_->newest();
  return newest != 0 && execs_ && newest == execs_->thread();
}

void Supervisor::finish(std::optional<int> wait_status, Plugin plugin) {
  finishing_ = true;
  const std::lock_guard lock(finish_mutex_);
  if (finished_) return;
  finished_ = true;
  // What ended it may have been a limit that the kernel keeps.
  for (const limits::Event& event : monitor_->close(plugin_)) on_limit(event, plugin);
  if (plugin_ != 0 && channel_ && !is_alone()) {
    const std::lock_guard looking(looking_mutex_);
    processes_->end(plugin_);
  }
  // Other threads of the first process live on until its exit is answered.
  if (services_) {
    if (blocking_) blocking_->interrupt_all();
    services_->under_way.close(kLastCalls);
  }
  look_at_written_files();
  if (callers_) callers_->record_variables();
  closed_ = true;
  sink_->close();
  const audit::Counts counts = sink_->counts();
  write_coverage();
  std::vector<std::pair<std::string, std::string>> extra{
      {"counts", "{\"allow\":" + std::to_string(counts.allow) + ",\"deny\":" + std::to_string(counts.deny) +
                     ",\"would_deny\":" + std::to_string(counts.would_deny) + "}"},
      {"coverage", "{\"images\":" + std::to_string(coverage_.images()) +
                       ",\"processes_with_shim\":" + std::to_string(coverage_.processes_with_shim()) + "}"}};
  if (wait_status) {
    extra.emplace_back("exit", WIFSIGNALED(*wait_status)
                                   ? "{\"signal\":" + std::to_string(WTERMSIG(*wait_status)) + "}"
                                   : "{\"code\":" + std::to_string(WEXITSTATUS(*wait_status)) + "}");
  }
  extra.emplace_back("usage", usage_json(monitor_->usage()));
  {
    const std::lock_guard ended(ended_mutex_);
    if (ended_) {
      extra.emplace_back("ended_by", "{\"cause\":" + json_plain(ended_->cause) +
                                         ",\"code\":" + json_plain(ended_->code) + "}");
      if (!wait_status) extra.emplace_back("exit", "{\"code\":" + std::to_string(ended_->exit_code) + "}");
    }
  }
  audit::Record record;
  record.event = "session_end";
  record.op = "session";
  record.result = "ok";
  record.duration_ns = now_ns() - started_ns_;
  record.extra = extra;
  if (!sink_->write(record)) audit_failed_ = true;
  std::string footer;
  if (!plan_.quiet) {
    const std::lock_guard denials(
        denials_mutex_);  // other threads of the plugin may still be refused something
    footer = reporter_->footer();
  }
  print_denials(footer);
  remove_tmp_dir();
}

void Supervisor::write_coverage() {
  if (coverage_.images() == 0) return;  // nothing was started
  const std::vector<std::pair<std::string, std::string>> extra{{"images", coverage_.json()}};
  audit::Record record;
  record.event = "coverage";
  record.op = "coverage";
  record.result = "ok";
  record.extra = extra;
  if (!sink_->write(record)) audit_failed_ = true;
}

void Supervisor::on_limit(const limits::Event& event, Plugin plugin) {
  if (closed_) return;  // its last record is written
  had_limits_ = true;
  const bool ends = event.terminates && plan_.mode == broker::Mode::Enforce && plugin != Plugin::Exits;
  std::vector<std::pair<std::string, std::string>> extra{
      {"code", json_plain(event.code)},
      {"error", event.error.empty() ? std::string("null") : json_plain(event.error)},
      {"action", ends ? "\"terminate\"" : "\"warn\""}};
  extra.insert(extra.end(), event.fields.begin(), event.fields.end());
  audit::Record record;
  record.event = event.name;
  record.op = "limit";
  record.result = "ok";
  record.reason = event.reason;
  record.pid = plugin_;
  record.extra = extra;
  if (!sink_->write(record)) services_->on_audit_failure();
  if (!plan_.quiet) {
    const std::lock_guard lock(denials_mutex_);
    const bool wake = pending_text_.empty();
    pending_text_ += limit_text(plan_, event, ends);
    if (wake) pending_end_ = stderr_.open_end();
    if (wake && wake_printer_) wake_printer_();
  }
  if (ends) end_plugin(event, plugin);
}

void Supervisor::end_plugin(const limits::Event& event, Plugin plugin) {
  {
    const std::lock_guard lock(ended_mutex_);
    if (ended_) return;
    ended_ = End{.exit_code = event.timeout ? kExitTimeout : kExitLimit,
                 .cause = event.timeout ? "timeout" : "limit",
                 .code = std::string(event.code)};
  }
  if (plugin == Plugin::IsDead) return;
  constexpr int kPatience_ms = 500;
  if (plan_.shape == Shape::Beside) {
    // Its parent is the host, which is to see our exit code and not a death by SIGKILL.
    const auto release = [this] {
      blocking_->interrupt_all();
      // Where finish() holds it, it kills them itself.
      const std::unique_lock looking(looking_mutex_, std::try_to_lock);
      if (looking.owns_lock()) processes_->kill(plugin_);
    };
    if (sys::force_exit(proc_, ProcessId{plugin_}, ended_->exit_code, kPatience_ms, release)) {
      control_->kill_after(kExitPatience);
      return;
    }
  }
  (void)sys::signal_process(plugin_pidfd_.get(), SIGKILL);
}

void Supervisor::look_at_written_files() {
  if (!plan_.limits.file_size_bytes || plan_.mode != broker::Mode::Enforce) return;
  const std::uint64_t limit = *plan_.limits.file_size_bytes;
  written_files_.each_of_size(limit, [&](const std::string& path) {
    on_limit(limits::file_size_event(limit, audit::json_string(path)), Plugin::Exits);
  });
}

void Supervisor::remove_tmp_dir() {
  if (tmp_parent_.valid()) sys::remove_tree(tmp_parent_.get(), tmp_leaf_.c_str());
}

void Supervisor::note_denial(const audit::Record& record, std::uint64_t seq) {
  const std::lock_guard lock(denials_mutex_);
  const std::string text = reporter_->report(record, seq);
  if (text.empty() || plan_.quiet || pending_text_.size() + text.size() > kMaxPendingText) return;
  const bool wake = pending_text_.empty();
  pending_text_ += text;
  if (wake) pending_end_ = stderr_.open_end();
  if (wake && wake_printer_) wake_printer_();
}

void Supervisor::print_denials(std::string_view footer) {
  std::string text;
  UniqueFd end;
  {
    const std::lock_guard lock(denials_mutex_);
    text.swap(pending_text_);
    end = std::move(pending_end_);
  }
  text += footer;
  stderr_.print(text, std::move(end));
}

void Supervisor::write_status(int exit_code, std::string_view cause) {
  const std::string text = "{\"exit\":" + std::to_string(exit_code) + ",\"cause\":\"" + std::string(cause) +
                           "\",\"denials\":" + std::to_string(sink_->counts().deny) +
                           ",\"session\":" + json_plain(plan_.id) + "}\n";
  for (const int fd : {status_file_.get(), status_fd_.get()}) {
    if (fd >= 0) (void)!::write(fd, text.data(), text.size());
  }
}

}  // namespace secbox::session
