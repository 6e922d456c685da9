#include "manifest/limit_words.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <limits>
#include <utility>

namespace secbox::manifest {

namespace {

using Units = std::vector<std::pair<std::string_view, std::uint64_t>>;

const Units& sizes() {
  static const Units units{{"", 1},           {"B", 1},           {"kB", 1000},    {"KB", 1000},
                           {"MB", 1000000},   {"GB", 1000000000}, {"KiB", 1024},   {"MiB", 1U << 20},
                           {"GiB", 1U << 30}, {"K", 1024},        {"M", 1U << 20}, {"G", 1U << 30}};
  return units;
}
const Units& percents() {
  static const Units units{{"%", 1}, {"", 1}};
  return units;
}
const Units& counts() {
  static const Units units{{"", 1}};
  return units;
}
const Units& durations() {
  static const Units units{{"s", 1000}, {"ms", 1}, {"m", 60000}, {"min", 60000}, {"h", 3600000}, {"", 1000}};
  return units;
}

// "500MB", "80%", "10s", "64": a number and one of `units` (name -> factor).
template <typename Value>
bool read_quantity(std::string_view text, const Units& units, std::optional<Value>& out) {
  // Clocks count nanoseconds: so many milliseconds are a hundred years.
  constexpr std::uint64_t kMostMs = 3'155'760'000'000;
  const std::uint64_t most = &units == &durations()
                                 ? kMostMs
                                 : std::min<std::uint64_t>(INT64_MAX, std::numeric_limits<Value>::max());
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{}) return false;
  const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  for (const auto& [name, factor] : units) {
    if (unit != name || value > most / factor) continue;
    out = static_cast<Value>(value * factor);
    return true;
  }
  return false;
}

template <typename Value>
bool take(std::optional<std::string_view> text, const Units& units, std::string_view example,
          std::optional<Value>& out, std::string& hint) {
  if (!text) {
    out.reset();
    return true;
  }
  hint = "for example " + std::string(example);
  return read_quantity(*text, units, out);
}

bool take_action(std::optional<std::string_view> text, std::initializer_list<OnLimit> known, OnLimit& out,
                 std::string& hint) {
  constexpr std::pair<std::string_view, OnLimit> kWords[] = {
      {"warn", OnLimit::Warn}, {"throttle", OnLimit::Throttle}, {"terminate", OnLimit::Terminate}};
  hint.clear();
  for (const auto& [word, action] : kWords) {
    if (std::ranges::find(known, action) == known.end()) continue;
    if (text && *text == word) {
      out = action;
      return true;
    }
    hint += (hint.empty() ? "" : " or ") + std::string(word);
  }
  return false;
}

}  // namespace

const std::vector<std::string_view>& limit_names(std::string_view group) {
  static const std::vector<std::string_view> limits{
      "memory", "memory_warn", "on_memory", "cpu", "on_cpu", "cpu_time", "file_size", "pids", "open_files"};
  static const std::vector<std::string_view> timeouts{"init", "hook", "run", "heartbeat"};
  return group == "limits" ? limits : timeouts;
}

bool set_limit(std::string_view group, std::string_view name, std::optional<std::string_view> value,
               Limits& limits, Timeouts& timeouts, std::string& hint) {
  if (group == "limits") {
    if (name == "memory") return take(value, sizes(), "\"500MB\"", limits.memory_bytes, hint);
    if (name == "memory_warn") return take(value, percents(), "\"80%\"", limits.memory_warn_percent, hint);
    if (name == "on_memory")
      return take_action(value, {OnLimit::Warn, OnLimit::Terminate}, limits.on_memory, hint);
    if (name == "cpu") return take(value, percents(), "\"80%\"", limits.cpu_percent, hint);
    if (name == "on_cpu")
      return take_action(value, {OnLimit::Warn, OnLimit::Throttle, OnLimit::Terminate}, limits.on_cpu, hint);
    if (name == "cpu_time") return take(value, durations(), "\"10s\"", limits.cpu_time_ms, hint);
    if (name == "file_size") return take(value, sizes(), "\"100MB\"", limits.file_size_bytes, hint);
    if (name == "pids") return take(value, counts(), "64", limits.pids, hint);
    if (name == "open_files") return take(value, counts(), "256", limits.open_files, hint);
  } else {
    if (name == "init") return take(value, durations(), "\"30s\"", timeouts.init_ms, hint);
    if (name == "hook") return take(value, durations(), "\"5s\"", timeouts.hook_ms, hint);
    if (name == "run") return take(value, durations(), "\"300s\"", timeouts.run_ms, hint);
    if (name == "heartbeat") return take(value, durations(), "\"10s\"", timeouts.heartbeat_ms, hint);
  }
  hint = "known names: ";
  for (const std::string_view known : limit_names(group))
    hint += (hint.ends_with(' ') ? "" : ", ") + std::string(known);
  return false;
}

std::vector<std::string> lower_to(const Limits& most, const Timeouts& most_time, Limits& limits,
                                  Timeouts& timeouts) {
  std::vector<std::string> lowered;
  const auto lower = [&](const auto& ceiling, auto& value, const char* name) {
    if (!ceiling || (value && *value <= *ceiling)) return;
    value = ceiling;
    lowered.emplace_back(name);
  };
  lower(most.memory_bytes, limits.memory_bytes, "limits.memory");
  lower(most.cpu_percent, limits.cpu_percent, "limits.cpu");
  lower(most.cpu_time_ms, limits.cpu_time_ms, "limits.cpu_time");
  lower(most.file_size_bytes, limits.file_size_bytes, "limits.file_size");
  lower(most.pids, limits.pids, "limits.pids");
  lower(most.open_files, limits.open_files, "limits.open_files");
  lower(most_time.init_ms, timeouts.init_ms, "timeouts.init");
  lower(most_time.hook_ms, timeouts.hook_ms, "timeouts.hook");
  lower(most_time.run_ms, timeouts.run_ms, "timeouts.run");
  lower(most_time.heartbeat_ms, timeouts.heartbeat_ms, "timeouts.heartbeat");
  return lowered;
}

}  // namespace secbox::manifest
