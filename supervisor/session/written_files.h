// The files that the plugin opened for writing: the kernel refuses what would make one longer than the limit,
// and tells nobody but the writer.
#pragma once

#include <sys/types.h>

#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

namespace secbox::session {

class WrittenFiles {
 public:
  // From any broker thread. Keeps the first few hundred.
  void note(std::string_view path, dev_t dev, ino_t ino);
  // Calls back with the name of each that is still the same file and has `bytes` or more.
  void each_of_size(std::uint64_t bytes, const std::function<void(const std::string& path)>& found);

 private:
  struct Entry {
    std::string path;
    dev_t dev = 0;
  };
  std::mutex mutex_;
  std::unordered_map<ino_t, Entry> files_;
};

}  // namespace secbox::session
