#include "tools/harness/world.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include "manifest/document.h"
#include "tools/harness/files.h"

namespace secbox::harness {

namespace {

std::vector<std::string> environment_of(const Case& c, const Variables& variables, const std::string& home) {
  std::vector<std::string> out;
  // Not the harness's own: what is first in it may lie where the tested user cannot go.
  out.emplace_back("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
  out.push_back("HOME=" + home);
  out.emplace_back("LANG=C");
  // A secbox that was built with a sanitizer needs them.
  for (const char* name : {"ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"}) {
    if (const char* value = std::getenv(name)) out.push_back(std::string(name) + "=" + value);
  }
  for (const auto& [name, value] : c.environment) {
    std::erase_if(out, [&](const std::string& entry) { return entry.starts_with(name + "="); });
    out.push_back(name + "=" + variables.expand(value));
  }
  return out;
}

}  // namespace

Result<World> World::make(const Fixture& fixture, const Case& c, const User& user, Way way,
                          const std::string& directory, const std::string& build) {
  World world;
  world.directory_ = directory;
  world.manifest_name_ = std::filesystem::path(c.manifest).filename().string();
  Variables& variables = world.variables_;
  variables.set("WORK", world.work());
  variables.set("OUTSIDE", world.outside_directory());
  variables.set("BUILD", build);
  variables.set("UID", std::to_string(user.uid));
  variables.set("GID", std::to_string(user.gid));
  variables.set("BOX_AUDIT", world.audit());
  variables.set("BOX_MANIFEST", world.manifest());
  if (auto done = world.make_directories(user); !done) return std::unexpected(done.error());

  auto servers = Servers::open(c.world.servers, directory + "/sockets", user, variables);
  if (!servers) return std::unexpected(servers.error());
  world.servers = std::move(*servers);
  if (c.world.victim) {
    auto victim = Victim::start(user);
    if (!victim) return std::unexpected(victim.error());
    world.victim = std::move(*victim);
    variables.set("PID:victim", std::to_string(world.victim.pid()));
  }
  if (auto done = copy_tree(fixture.folder, world.work(), user); !done) return std::unexpected(done.error());
  if (auto done = world.make_files(c.world.files, world.outside_directory(), user); !done)
    return std::unexpected(done.error());
  if (auto done = world.make_files(c.world.work, world.work(), user); !done)
    return std::unexpected(done.error());
  world.environment_ = environment_of(c, variables, directory + "/home");
  if (!c.world.outside.empty()) {
    SpawnPlan plan{.argv = variables.expand(c.world.outside),
                   .directory = world.work(),
                   .environment = world.environment_,
                   .user = user};
    auto outside = Outside::start(std::move(plan), variables, c.timeout);
    if (!outside) return std::unexpected(outside.error());
    world.outside = std::move(*outside);
  }
  if (auto done = world.write_manifest(fixture.folder + "/" + c.manifest, user); !done)
    return std::unexpected(done.error());
  // Natively nobody writes a log: an attack on it needs one all the same.
  if (way == Way::Native) {
    if (auto done = write_file(world.audit(), "", 0600); !done) return std::unexpected(done.error());
    if (auto done = set_owner_and_mode(world.audit(), user.uid, user.gid, 0600); !done)
      return std::unexpected(done.error());
  }
  world.victim.remember_state();
  return world;
}

Result<void> World::make_directories(const User& user) {
  // Manifest and log each in a directory of its own: ${PLUGIN_DIR} in a manifest is meant to be the plugin's.
  for (const char* name : {"/folder", "/outside", "/sockets", "/home", "/box", "/box/manifest", "/box/log"}) {
    const std::string path = directory_ + name;
    if (auto done = make_directory(path, 0755); !done) return done;
    if (auto done = set_owner_and_mode(path, user.uid, user.gid, 0755); !done) return done;
  }
  return {};
}

Result<void> World::make_files(const std::vector<FileSpec>& files, const std::string& below,
                               const User& user) const {
  for (const FileSpec& file : files) {
    const std::string path = below + "/" + file.path;
    std::string parent = below;
    const std::filesystem::path relative = std::filesystem::path(file.path).parent_path();
    for (const std::filesystem::path& part : relative) {
      parent += "/" + part.string();
      if (::mkdir(parent.c_str(), 0755) != 0) {
        if (errno == EEXIST) continue;
        return errno_failure("cannot make " + parent);
      }
      if (auto done = set_owner_and_mode(parent, user.uid, user.gid, 0755); !done) return done;
    }
    // One of the world's stands in for one of the fixture's own.
    if (file.kind != FileSpec::Kind::Directory) (void)::unlink(path.c_str());
    if (auto done = make_file(file, path, user); !done) return done;
  }
  return {};
}

Result<void> World::make_file(const FileSpec& file, const std::string& path, const User& user) const {
  using Kind = FileSpec::Kind;
  const std::string value = variables_.expand(file.value);
  const bool of_root = file.owner == FileSpec::Owner::Root;
  if (of_root && ::geteuid() != 0) return failure("only root can make a file of root: " + path);
  const uid_t uid = of_root ? 0 : user.uid;
  const gid_t gid = of_root ? 0 : user.gid;
  mode_t mode = file.mode >= 0 ? static_cast<mode_t>(file.mode) : file.kind == Kind::Directory ? 0755 : 0644;
  Result<void> made;
  switch (file.kind) {
    case Kind::Symlink:
      if (::symlink(value.c_str(), path.c_str()) != 0) return errno_failure("cannot make " + path);
      if (::geteuid() == 0 && ::lchown(path.c_str(), uid, gid) != 0)
        return errno_failure("cannot set the owner of " + path);
      return {};
    case Kind::Text:
      made = write_file(path, value, 0600);
      break;
    case Kind::Directory:
      if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return errno_failure("cannot make " + path);
      break;
    case Kind::Fifo:
      if (::mkfifo(path.c_str(), 0600) != 0) return errno_failure("cannot make " + path);
      break;
    case Kind::Copy: {
      struct stat st{};
      if (::stat(value.c_str(), &st) != 0) return errno_failure("cannot look at " + value);
      if (file.mode < 0) mode = st.st_mode & 0777;
      made = copy_file(value, path, 0600);
      break;
    }
  }
  if (!made) return made;
  return set_owner_and_mode(path, uid, gid, mode);
}

Result<void> World::write_manifest(const std::string& from, const User& user) {
  const auto text = read_file(from, manifest::kMaxFileSize);
  if (!text) return failure("cannot read " + from);
  // The manifest that is used lies outside of the plugin's directory, which it means by this name.
  Variables variables = variables_;
  variables.set("PLUGIN_DIR", work());
  if (auto done = write_file(manifest(), variables.expand(*text), 0644); !done) return done;
  return set_owner_and_mode(manifest(), user.uid, user.gid, 0644);
}

}  // namespace secbox::harness
