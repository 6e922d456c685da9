// Work in processes of its own, so many at once: what an attack does to one of them is not done to the
// others.
#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <optional>
#include <string>

#include "tools/harness/capture.h"

namespace secbox::harness {

class WorkerPool {
 public:
  // Takes the signals that end a program from here on: finish_one() tells of them.
  WorkerPool();
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  struct Finished {
    std::size_t job = 0;
    std::string text{};  // what the work returned; "" where its process died
  };

  // `work` runs in a child, and its text comes back. False where there can be no process.
  [[nodiscard]] bool start(std::size_t job, const std::function<std::string()>& work);
  [[nodiscard]] std::size_t running() const { return workers_.size(); }
  // Waits for the end of one of those that run. nullopt: a signal came, interrupted_by() says which.
  [[nodiscard]] std::optional<Finished> finish_one();
  [[nodiscard]] int interrupted_by() const { return signal_; }
  // Ends all that runs.
  void stop();

 private:
  struct Worker {
    std::size_t job = 0;
    Capture capture;
  };
  std::map<pid_t, Worker> workers_;
  UniqueFd signals_;
  int signal_ = 0;
};

}  // namespace secbox::harness
