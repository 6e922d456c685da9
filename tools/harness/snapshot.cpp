#include "tools/harness/snapshot.h"

#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <sstream>
#include <vector>

#include "supervisor/base/digest.h"
#include "tools/harness/files.h"

namespace secbox::harness {

namespace {

std::string attributes_of(const std::string& path) {
  std::array<char, 65536> names{};
  const ssize_t size = ::llistxattr(path.c_str(), names.data(), names.size());
  std::string all;
  for (ssize_t at = 0; at < size;) {
    const std::string name = names.data() + at;
    at += static_cast<ssize_t>(name.size()) + 1;
    std::array<char, 65536> value{};
    const ssize_t got = ::lgetxattr(path.c_str(), name.c_str(), value.data(), value.size());
    all += name + '=' + std::string(value.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0))) + '\n';
  }
  return all;
}

std::string kind_of(mode_t mode) {
  if (S_ISREG(mode)) return "file";
  if (S_ISDIR(mode)) return "directory";
  if (S_ISLNK(mode)) return "link";
  if (S_ISFIFO(mode)) return "fifo";
  if (S_ISSOCK(mode)) return "socket";
  return "device";
}

}  // namespace

std::string snapshot_of(const std::string& path) {
  struct stat st{};
  if (::lstat(path.c_str(), &st) != 0) return errno == ENOENT ? "missing" : std::strerror(errno);
  std::ostringstream out;
  out << "kind " << kind_of(st.st_mode) << "\nmode " << std::oct << (st.st_mode & 07777) << std::dec
      << "\nowner " << st.st_uid << ':' << st.st_gid << "\nlinks " << st.st_nlink << "\nmtime "
      << st.st_mtim.tv_sec << '.' << st.st_mtim.tv_nsec << "\nsize " << st.st_size;
  constexpr std::size_t kMostContent = 64U << 20;
  if (S_ISREG(st.st_mode)) {
    const auto content = read_file(path, kMostContent);
    out << "\ncontent " << (content ? sha256_hex(*content) : "unreadable");
  } else if (S_ISLNK(st.st_mode)) {
    std::array<char, 4096> target{};
    const ssize_t size = ::readlink(path.c_str(), target.data(), target.size());
    out << "\ncontent " << sha256_hex({target.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0))});
  } else {
    out << "\ndevice " << st.st_rdev;
  }
  out << "\nxattrs " << sha256_hex(attributes_of(path));
  return out.str();
}

std::string difference(const std::string& before, const std::string& after) {
  std::istringstream left(before);
  std::istringstream right(after);
  std::string a;
  std::string b;
  std::string out;
  while (true) {
    const bool has_a = static_cast<bool>(std::getline(left, a));
    const bool has_b = static_cast<bool>(std::getline(right, b));
    if (!has_a && !has_b) return out;
    if (!has_a) a.clear();
    if (!has_b) b.clear();
    if (a == b) continue;
    const std::string word = (has_a ? a : b).substr(0, (has_a ? a : b).find(' '));
    out += (out.empty() ? "" : ", ") + (word == "missing" ? std::string("it was not there") : word);
  }
}

}  // namespace secbox::harness
