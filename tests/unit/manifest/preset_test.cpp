// What the base preset gives to every program, and what it must never give.
#include "manifest/preset.h"

#include "tests/unit/manifest/support.h"

namespace secbox::manifest {
namespace {

using checker::Verb;
using checker::VerbSet;

const Compiled& base() {
  static const Compiled compiled = compile_text(R"({"id":"x"})", merged_usr());
  return compiled;
}

struct Given {
  VerbSet verbs;
  const char* path;
};
void PrintTo(const Given& given, std::ostream* out) { *out << given.path; }
class BaseGrants : public testing::TestWithParam<Given> {};
TEST_P(BaseGrants, It) { EXPECT_TRUE(base().allowed(GetParam().verbs, GetParam().path)) << GetParam().path; }
INSTANTIATE_TEST_SUITE_P(
    Table, BaseGrants,
    testing::Values(
        Given{Verb::FileRead | Verb::FileLoad, "/lib64/ld-linux-x86-64.so.2"},
        Given{Verb::FileRead | Verb::FileLoad, "/usr/lib/x86_64-linux-gnu/libc.so.6"},
        Given{Verb::FileRead | Verb::FileLoad, "/lib/x86_64-linux-gnu/libc.so.6"},
        Given{Verb::FileRead | Verb::FileLoad, "/usr/local/lib/libx.so"},
        Given{Verb::FileRead, "/etc/ld.so.cache"}, Given{Verb::FileRead, "/etc/ld.so.conf.d/x.conf"},
        Given{Verb::FileRead, "/usr/lib/locale/C.utf8/LC_CTYPE"},
        Given{Verb::FileRead, "/usr/share/locale/de/LC_MESSAGES/x.mo"},
        Given{Verb::FileRead, "/usr/share/zoneinfo/UTC"}, Given{Verb::FileRead, "/etc/localtime"},
        Given{Verb::FileRead, "/etc/nsswitch.conf"}, Given{Verb::FileRead, "/etc/passwd"},
        Given{Verb::FileRead, "/etc/group"}, Given{Verb::FileRead, "/etc/hosts"},
        Given{Verb::FileRead, "/etc/resolv.conf"},
        Given{Verb::FileRead, "/run/systemd/resolve/stub-resolv.conf"},
        Given{Verb::FileRead, "/etc/services"}, Given{Verb::FileRead, "/etc/ssl/certs/ca-certificates.crt"},
        Given{Verb::FileRead, "/etc/ssl/openssl.cnf"},
        Given{Verb::FileRead, "/usr/share/ca-certificates/mozilla/x.crt"},
        Given{Verb::FileRead, "/usr/share/terminfo/x/xterm"},
        Given{Verb::FileRead | Verb::FileWrite, "/dev/null"},
        Given{Verb::FileRead | Verb::FileWrite, "/dev/zero"},
        Given{Verb::FileRead | Verb::FileWrite, "/dev/full"}, Given{Verb::FileRead, "/dev/urandom"},
        Given{Verb::FileRead | Verb::FileWrite, "/dev/tty"}, Given{Verb::FileRead, "/proc/self/maps"},
        Given{Verb::FileList, "/proc/self/fd"}, Given{Verb::FileRead, "/proc/thread-self/stat"},
        Given{Verb::FileWrite, "/proc/self/comm"}, Given{Verb::FileRead, "/proc/cpuinfo"},
        Given{Verb::FileRead, "/proc/meminfo"}, Given{Verb::FileRead, "/proc/sys/kernel/random/boot_id"},
        Given{Verb::FileRead, "/proc/sys/vm/overcommit_memory"},
        Given{Verb::FileRead, "/sys/devices/system/cpu/online"},
        Given{Verb::FileRead, "/sys/fs/cgroup/memory.max"},
        Given{Verb::FileRead, "/sys/kernel/mm/transparent_hugepage/enabled"},
        Given{Verb::FileRead | Verb::FileWrite | Verb::FileCreate | Verb::FileDelete, "/tmp/run/x/y"},
        Given{Verb::EnvRead, "PATH"}, Given{Verb::EnvRead, "HOME"}, Given{Verb::EnvRead, "LC_ALL"},
        Given{Verb::EnvRead, "TMPDIR"}));

class BaseKeeps : public testing::TestWithParam<Given> {};
TEST_P(BaseKeeps, ItBack) {
  EXPECT_FALSE(base().allowed(GetParam().verbs, GetParam().path)) << GetParam().path;
}
INSTANTIATE_TEST_SUITE_P(
    Table, BaseKeeps,
    testing::Values(
        Given{Verb::FileRead, "/etc/shadow"}, Given{Verb::FileRead, "/etc/gshadow"},
        Given{Verb::FileRead, "/etc/sudoers"}, Given{Verb::FileRead, "/etc/ssl/private/key.pem"},
        Given{Verb::FileRead, "/etc/ssh/ssh_host_ed25519_key"}, Given{Verb::FileRead, "/home/ana/x"},
        Given{Verb::FileList, "/home/ana"}, Given{Verb::FileRead, "/root/.ssh/id_ed25519"},
        Given{Verb::FileRead, "/tmp"}, Given{Verb::FileCreate, "/tmp/x"},
        Given{Verb::FileRead, "/tmp/runner/x"}, Given{Verb::FileRead, "/opt/plugin/main.py"},
        Given{Verb::FileRead, "/project/x"}, Given{Verb::FileRead, "/dev/ptmx"},
        Given{Verb::FileRead, "/dev/pts/0"}, Given{Verb::FileRead, "/dev/sda"},
        Given{Verb::FileRead, "/dev/mem"}, Given{Verb::FileWrite, "/dev/random"},
        Given{Verb::FileCreate, "/dev/null"}, Given{Verb::FileDelete, "/dev/null"},
        Given{Verb::FileRead, "/proc/1/environ"}, Given{Verb::FileRead, "/proc/kcore"},
        Given{Verb::FileList, "/proc"}, Given{Verb::FileWrite, "/proc/self/oom_score_adj"},
        Given{Verb::FileWrite, "/proc/self/attr/current"}, Given{Verb::FileWrite, "/proc/self/mem"},
        Given{Verb::FileWrite, "/proc/sys/kernel/random/boot_id"},
        Given{Verb::FileWrite, "/sys/fs/cgroup/memory.max"}, Given{Verb::FileWrite, "/usr/lib/libc.so.6"},
        Given{Verb::FileCreate, "/usr/lib/x"}, Given{Verb::FileLoad, "/tmp/run/x.so"},
        Given{Verb::FileLoad, "/usr/share/x.so"}, Given{Verb::ExecRun, "/usr/bin/sh"},
        Given{Verb::ExecRun, "/usr/lib/git-core/git"}, Given{Verb::ExecRun, "/tmp/run/x"},
        Given{Verb::UnixSocket, "/run/nscd/socket"}, Given{Verb::UnixSocket, "@any"},
        Given{Verb::SignalSend, "1"}, Given{Verb::EnvRead, "SSH_AUTH_SOCK"},
        Given{Verb::EnvRead, "AWS_SECRET_ACCESS_KEY"}, Given{Verb::EnvRead, "LD_PRELOAD"},
        Given{Verb::EnvRead, "ANYTHING"}, Given{Verb::EnvRead, "SECBOX_STATE_DIR"}));

TEST(BasePreset, OpensNoNetwork) {
  EXPECT_FALSE(base().connects(endpoint("127.0.0.1", 80)));
  EXPECT_FALSE(base().connects(endpoint("8.8.8.8", 53, checker::Transport::Udp)));
  EXPECT_FALSE(base().binds(endpoint("127.0.0.1", 8080)));
}
TEST(BasePreset, CompilesWithoutAWord) {
  EXPECT_EQ(base().codes(), "");
  EXPECT_EQ(base().rules.front().id, "base1");
  EXPECT_EQ(base().rules.front().layer, checker::Layer::Preset);
  EXPECT_EQ(base().rules.front().source.file, "preset:base");
}
TEST(BasePreset, ReasonsAreGivenForFiles) {
  for (const PresetGrant& grant : preset("base"))
    EXPECT_TRUE(!grant.why.empty() || grant.use.starts_with("env:")) << grant.use;
  EXPECT_TRUE(preset("none").empty());
}

}  // namespace
}  // namespace secbox::manifest
