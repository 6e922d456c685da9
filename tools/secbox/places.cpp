#include "tools/secbox/places.h"

#include <limits.h>
#include <pwd.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>

#include "supervisor/sys/path_resolver.h"

namespace secbox::cli {

namespace {

// `dir` where it is a place of somebody's own, else "".
std::string own_place(const std::string& dir) {
  if (!dir.starts_with('/')) return {};
  const std::string path = absolute_path(dir);
  return path == "/" || canonical_path(path) == "/" ? std::string() : path;
}

std::string passwd_home() {
  passwd entry{};
  passwd* found = nullptr;
  std::array<char, 16384> buffer{};
  if (::getpwuid_r(::getuid(), &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr)
    return {};
  return own_place(entry.pw_dir);
}

// The XDG base directory specification: a relative path there is to be ignored.
std::string xdg_directory(const char* name, const std::string& home, const char* below_home) {
  const std::string dir = environment_or(name, "");
  if (dir.starts_with('/')) return absolute_path(dir + "/secbox");
  return home.empty() ? std::string() : home + below_home + "/secbox";
}

std::string home_for_state() {
  std::string home = home_directory();
  return home.empty() ? passwd_home() : home;
}

}  // namespace

std::string environment_or(const char* name, const std::string& otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : otherwise;
}

std::string absolute_path(const std::string& path) {
  std::string result = "/";
  if (!path.starts_with('/')) {
    std::error_code error;
    result = std::filesystem::current_path(error).string();
    if (error) result = "/";
  }
  sys::append_folded(result, path);
  return result;
}

std::string canonical_path(const std::string& path) {
  std::array<char, PATH_MAX> buffer{};
  return ::realpath(path.c_str(), buffer.data()) != nullptr ? std::string(buffer.data()) : std::string();
}

std::string home_directory() {
  const std::string home = environment_or("HOME", "");
  return home.empty() ? passwd_home() : own_place(home);
}

std::string state_directory() {
  if (const std::string dir = environment_or("SECBOX_STATE_DIR", ""); !dir.empty()) return absolute_path(dir);
  return xdg_directory("XDG_STATE_HOME", home_for_state(), "/.local/state");
}

std::string config_directory() { return xdg_directory("XDG_CONFIG_HOME", home_for_state(), "/.config"); }

std::string find_shim() {
  const std::filesystem::path self = canonical_path("/proc/self/exe");
  if (self.empty()) return {};
  const std::filesystem::path prefix = self.parent_path().parent_path();
  for (const char* dir : {"lib", SECBOX_LIBDIR}) {
    std::string path = (prefix / dir / "libsecbox-preload.so").string();
    if (::access(path.c_str(), R_OK) == 0) return path;
  }
  return {};
}

manifest::Variables variables_of(const manifest::Manifest& manifest) {
  manifest::Variables variables;
  variables.home = home_directory();
  variables.cwd = absolute_path(".");
  variables.plugin_dir = absolute_path(std::filesystem::path(manifest.file).parent_path().string());
  // One component of its own: "." would be the data of every plugin.
  const std::string& name = manifest.id.empty() ? manifest.name : manifest.id;
  const std::string data = xdg_directory("XDG_DATA_HOME", variables.home, "/.local/share");
  if (!data.empty() && name != "." && name != ".." && name.find('/') == std::string::npos)
    variables.plugin_data = data + "/" + name;
  return variables;
}

}  // namespace secbox::cli
