#include "supervisor/session/shim_coverage.h"

#include <array>

#include "supervisor/audit/json_text.h"

namespace secbox::session {

namespace {

std::uint64_t next_id() {
  static std::atomic<std::uint64_t> last{0};
  return ++last;
}

std::string key_of(std::string_view exe, std::string_view why) {
  std::string key(exe);
  key += '\0';
  key += why;
  return key;
}

void add(std::atomic<std::uint64_t>& counter) { counter.fetch_add(1, std::memory_order_relaxed); }

}  // namespace

ShimCoverage::ShimCoverage() : id_(next_id()) {}

ShimCoverage::Image& ShimCoverage::image_of(std::string_view exe, bool injected, std::string_view why) {
  if (const auto found = by_name_.find(key_of(exe, why)); found != by_name_.end()) return *found->second;
  if (by_name_.size() >= kMostImages || text_ + exe.size() > kMostText) {
    exe = kOthers;
    if (const auto found = by_name_.find(key_of(exe, why)); found != by_name_.end()) return *found->second;
  }
  Image& image = images_.emplace_back();
  image.exe = exe;
  image.why = why;
  image.injected = injected;
  text_ += exe.size();
  by_name_.emplace(key_of(exe, why), &image);
  return image;
}

void ShimCoverage::forget_oldest() {
  while (processes_.size() > kMostProcesses) {
    processes_.erase(order_.front());
    order_.pop_front();
  }
}

std::uint64_t ShimCoverage::note_image(pid_t process, std::string_view exe, bool injected,
                                       std::string_view why) {
  const std::lock_guard lock(mutex_);
  Image& image = image_of(exe, injected, why);
  ++image.starts;
  const auto [entry, is_new] = processes_.try_emplace(process);
  entry->second.image = &image;
  entry->second.loaded = false;
  if (is_new) order_.push_back(process);
  forget_oldest();
  generation_.fetch_add(1, std::memory_order_release);
  return ++starts_;
}

void ShimCoverage::note_hello(pid_t process) {
  const std::lock_guard lock(mutex_);
  const auto found = processes_.find(process);
  if (found == processes_.end() || !found->second.image->injected) return;
  Process& entry = found->second;
  if (!entry.loaded) ++entry.image->loaded;
  if (!entry.counted) ++with_shim_;
  entry.loaded = entry.counted = true;
}

ShimCoverage::Image* ShimCoverage::find(pid_t process, std::string_view exe) {
  if (const auto found = processes_.find(process); found != processes_.end()) return found->second.image;
  const std::string key = key_of(exe, {});
  const auto found = by_name_.lower_bound(key);
  return found != by_name_.end() && found->first.starts_with(key) ? found->second : nullptr;
}

void ShimCoverage::note_event(pid_t process, std::string_view exe, bool with_context, bool checked) {
  struct Remembered {
    std::uint64_t id = 0, generation = 0;
    pid_t process = 0;
    Image* image = nullptr;
  };
  thread_local std::array<Remembered, 16> remembered;
  Remembered& slot = remembered[static_cast<std::uint32_t>(process) % remembered.size()];
  const std::uint64_t generation = generation_.load(std::memory_order_acquire);
  if (slot.id != id_ || slot.generation != generation || slot.process != process) {
    const std::lock_guard lock(mutex_);
    slot = {.id = id_, .generation = generation, .process = process, .image = find(process, exe)};
  }
  if (slot.image == nullptr) return;
  add(slot.image->events);
  if (with_context) add(slot.image->with_context);
  if (checked) add(slot.image->checked);
}

std::uint64_t ShimCoverage::images() const {
  const std::lock_guard lock(mutex_);
  return starts_;
}

std::uint64_t ShimCoverage::processes_with_shim() const {
  const std::lock_guard lock(mutex_);
  return with_shim_;
}

std::string ShimCoverage::json() const {
  const std::lock_guard lock(mutex_);
  std::string out = "[";
  for (const Image& image : images_) {
    if (out.size() > 1) out += ',';
    const std::string_view shim = image.loaded == 0              ? "absent"
                                  : image.loaded >= image.starts ? "loaded"
                                                                 : "partly";
    std::string_view why = image.why;
    if (why.empty() && image.loaded < image.starts) why = kNoHello;
    out += "{\"exe\":" + audit::json_string(image.exe) + ",\"starts\":" + std::to_string(image.starts) +
           ",\"shim\":\"" + std::string(shim) + "\",\"loaded\":" + std::to_string(image.loaded);
    if (!why.empty()) out += ",\"why\":\"" + std::string(why) + "\"";
    if (const std::uint64_t events = image.events; events != 0) {
      out += ",\"events\":" + std::to_string(events) +
             ",\"with_context\":" + std::to_string(image.with_context) +
             ",\"checked\":" + std::to_string(image.checked);
    }
    out += '}';
  }
  return out + "]";
}

}  // namespace secbox::session
