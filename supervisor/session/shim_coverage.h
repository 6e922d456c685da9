// What the log can tell of a session's programs: which had the shim, which not and why, and how many of the
// events named who called. One entry a program and reason; bounded, whatever the plugin starts.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

namespace secbox::session {

class ShimCoverage {
 public:
  static constexpr std::size_t kMostImages = 512;
  static constexpr std::size_t kMostText = 128U << 10;      // of their names
  static constexpr std::size_t kMostProcesses = 32U << 10;  // the newest are remembered
  static constexpr std::string_view kOthers = "others";     // all images past the bounds
  static constexpr std::string_view kNoHello = "no-hello";  // it was given the shim and never told of it

  ShimCoverage();

  // `process` runs a new image. `why` must live on: see broker::ShimGiven. How many there were by now.
  std::uint64_t note_image(pid_t process, std::string_view exe, bool injected, std::string_view why);
  // The shim in `process` told that it is loaded. A program that was not given it only says so.
  void note_hello(pid_t process);
  // A record was written of what `process`, running `exe`, did: with what the shim says of it, or without;
  // `checked`: the module that it names was found where it says. A process that was forked has no image of
  // its own and counts to the program of that name. From any thread; seldom takes a lock.
  void note_event(pid_t process, std::string_view exe, bool with_context, bool checked);

  [[nodiscard]] std::uint64_t images() const;
  // That executed something, and told of the shim.
  [[nodiscard]] std::uint64_t processes_with_shim() const;
  // The member "images" of the coverage record: a JSON array.
  [[nodiscard]] std::string json() const;

 private:
  struct Image {
    std::string exe;
    std::string_view why;
    bool injected = false;
    std::uint64_t starts = 0;
    std::uint64_t loaded = 0;
    std::atomic<std::uint64_t> events{0};
    std::atomic<std::uint64_t> with_context{0};
    std::atomic<std::uint64_t> checked{0};
  };
  struct Process {
    Image* image = nullptr;
    bool loaded = false;  // since its exec
    bool counted = false;
  };
  // With mutex_ held.
  Image& image_of(std::string_view exe, bool injected, std::string_view why);
  Image* find(pid_t process, std::string_view exe);
  void forget_oldest();

  const std::uint64_t id_;                    // of this object: what a thread remembers is of one
  std::atomic<std::uint64_t> generation_{0};  // moves with every exec
  mutable std::mutex mutex_;
  std::deque<Image> images_;                            // in the order of their first start; never moved
  std::map<std::string, Image*, std::less<>> by_name_;  // the exe, NUL, and why
  std::size_t text_ = 0;
  std::unordered_map<pid_t, Process> processes_;
  std::deque<pid_t> order_;  // of their first exec
  std::uint64_t starts_ = 0;
  std::uint64_t with_shim_ = 0;
};

}  // namespace secbox::session
