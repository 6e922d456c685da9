// The measured program: nanoseconds a call, best and median of several rounds, as one JSON object on stdout.
// Both, because a call that wakes another CPU has two speeds: with the CPU awake, and with it asleep. An
// ordinary program that knows nothing of secbox: run natively, under the null supervisor and under secbox.
//
// calls DIRECTORY [ROUNDS]: an empty directory that it may write to.
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

double ns_since(Clock::time_point start) {
  return std::chrono::duration<double, std::nano>(Clock::now() - start).count();
}

[[noreturn]] void fail(const char* what) {
  std::perror(what);
  std::exit(1);
}

// Mean of `count` calls.
template <typename F>
double each(int count, F&& call) {
  const auto start = Clock::now();
  for (int i = 0; i < count; ++i) call(i);
  return ns_since(start) / count;
}

class Calls {
 public:
  explicit Calls(const std::string& directory)
      : file_(directory + "/file"), absent_(directory + "/absent"), victim_(directory + "/victim-") {
    const int fd = ::open(file_.c_str(), O_WRONLY | O_CREAT, 0644);
    if (fd < 0 || ::write(fd, "content", 7) != 7) fail(file_.c_str());
    ::close(fd);
    null_ = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
    file_fd_ = ::open(file_.c_str(), O_RDONLY | O_CLOEXEC);
    if (null_ < 0 || file_fd_ < 0) fail("open");
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t size = sizeof address_;
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::bind(listener_, generic(), size) != 0 || ::listen(listener_, 8) != 0 ||
        ::getsockname(listener_, generic(), &size) != 0) {
      fail("listener");
    }
  }

  double open_close() {
    return each(3000, [this](int) { close_opened(::open(file_.c_str(), O_RDONLY | O_CLOEXEC)); });
  }
  double open_absent() {
    return each(3000, [this](int) {
      if (::open(absent_.c_str(), O_RDONLY | O_CLOEXEC) >= 0 || errno != ENOENT)
        fail("open of an absent file");
    });
  }
  // Threads at once: one listener serves all.
  template <int kThreads>
  double open_close_threads() {
    const auto work = [this] { open_close(); };
    const auto start = Clock::now();
    std::vector<std::thread> others;
    for (int i = 1; i < kThreads; ++i) others.emplace_back(work);
    work();
    for (std::thread& other : others) other.join();
    return ns_since(start) / (3000 * kThreads);
  }
  double unlink() {
    constexpr int kCount = 500;
    for (int i = 0; i < kCount; ++i) {
      close_opened(::open((victim_ + std::to_string(i)).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    }
    return each(kCount, [this](int i) {
      if (::unlink((victim_ + std::to_string(i)).c_str()) != 0) fail("unlink");
    });
  }
  // The connect(2) alone: sockets are made and closed beside the clock.
  double connect() {
    constexpr int kCount = 300;
    double total = 0;
    for (int i = 0; i < kCount; ++i) {
      const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      const linger reset{.l_onoff = 1, .l_linger = 0};
      (void)::setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
      const auto start = Clock::now();
      if (::connect(fd, generic(), sizeof address_) != 0) fail("connect");
      total += ns_since(start);
      const int peer = ::accept(listener_, nullptr, nullptr);
      ::close(fd);
      ::close(peer);
    }
    return total / kCount;
  }
  double spawn_wait() {
    return each(40, [](int) {
      std::array<char, 10> name{"/bin/true"};
      std::array<char*, 2> arguments{name.data(), nullptr};
      pid_t child = 0;
      int status = 0;
      if (::posix_spawn(&child, name.data(), nullptr, nullptr, arguments.data(), environ) != 0)
        fail("posix_spawn");
      if (::waitpid(child, &status, 0) != child || status != 0) fail("/bin/true");
    });
  }

  // What must cost nothing.
  double stat() {
    return each(20000, [this](int) {
      struct stat st{};
      if (::stat(file_.c_str(), &st) != 0) fail("stat");
    });
  }
  double read() {
    return each(20000, [this](int) {
      char byte = 0;
      if (::pread(file_fd_, &byte, 1, 0) != 1) fail("pread");
    });
  }
  double write() {
    return each(20000, [this](int) {
      if (::write(null_, "x", 1) != 1) fail("write");
    });
  }
  double futex() {
    return each(20000, [this](int) {
      if (::syscall(SYS_futex, &futex_word_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0) != 0) fail("futex");
    });
  }
  double mmap() {
    return each(20000, [](int) {
      void* page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (page == MAP_FAILED || ::munmap(page, 4096) != 0) fail("mmap");
    });
  }

 private:
  static void close_opened(int fd) {
    if (fd < 0) fail("open");
    ::close(fd);
  }
  sockaddr* generic() { return reinterpret_cast<sockaddr*>(&address_); }

  const std::string file_, absent_, victim_;
  int null_ = -1;
  int file_fd_ = -1;
  int listener_ = -1;
  sockaddr_in address_{};
  int futex_word_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fputs("usage: calls DIRECTORY [ROUNDS]\n", stderr);
    return 2;
  }
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 5;
  struct Row {
    const char* name;
    double (Calls::*run)();
    std::vector<double> ns;
  };
  std::vector<Row> rows{{"open_close", &Calls::open_close, {}},
                        {"open_absent", &Calls::open_absent, {}},
                        {"open_close_2_threads", &Calls::open_close_threads<2>, {}},
                        {"open_close_8_threads", &Calls::open_close_threads<8>, {}},
                        {"unlink", &Calls::unlink, {}},
                        {"connect", &Calls::connect, {}},
                        {"spawn_wait", &Calls::spawn_wait, {}},
                        {"stat", &Calls::stat, {}},
                        {"read", &Calls::read, {}},
                        {"write", &Calls::write, {}},
                        {"futex", &Calls::futex, {}},
                        {"mmap", &Calls::mmap, {}}};
  Calls calls(argv[1]);
  for (int round = 0; round < rounds; ++round) {
    for (Row& row : rows) row.ns.push_back((calls.*row.run)());
  }
  std::printf("{");
  for (Row& row : rows) {
    std::sort(row.ns.begin(), row.ns.end());
    std::printf("%s\"%s\": [%.1f, %.1f]", &row == rows.data() ? "" : ", ", row.name, row.ns.front(),
                row.ns[row.ns.size() / 2]);
  }
  std::printf("}\n");
  return 0;
}
