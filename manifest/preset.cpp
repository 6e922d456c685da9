#include "manifest/preset.h"

namespace secbox::manifest {

namespace {

constexpr PresetGrant kBase[] = {
    {"file:read|load:{/lib,/lib32,/lib64,/libx32}/**", "the dynamic loader and the system's libraries"},
    {"file:read|load:/usr/{lib,lib32,lib64,libx32}/**",
     "the system's libraries, and what they keep beside them"},
    {"file:read|load:/usr/local/lib/**", "libraries that the administrator installed"},
    {"file:read:/etc/{ld.so.cache,ld.so.preload,ld.so.conf,ld.so.conf.d/**}", "where libraries are found"},
    {"file:read:/usr/share/{locale,locale-langpack,i18n}/**", "languages"},
    {"file:read:/etc/{locale.alias,default/locale}", "languages"},
    {"file:read:/usr/share/{zoneinfo,zoneinfo-icu}/**", "time zones"},
    {"file:read:/etc/{localtime,timezone}", "time zone"},
    {"file:read:/etc/"
     "{nsswitch.conf,passwd,group,hosts,host.conf,gai.conf,resolv.conf,services,protocols,networks}",
     "names of users, hosts and services"},
    {"file:read:/run/systemd/resolve/*.conf", "name servers"},
    {"file:read:/etc/ssl/{certs/**,openssl.cnf}", "certificates of authorities"},
    {"file:read:/{etc,usr/share,usr/local/share}/ca-certificates/**", "certificates of authorities"},
    {"file:read:/etc/ca-certificates.conf", "certificates of authorities"},
    {"file:read:{/etc/terminfo,/lib/terminfo,/usr/share/terminfo}/**", "terminals"},
    {"file:read|write:/dev/{null,zero,full}", "the empty devices"},
    {"file:read:/dev/{random,urandom}", "random numbers"},
    {"file:read|write:/dev/tty", "the plugin's own terminal"},
    {"file:read:/proc/self/**", "the process itself"},
    {"file:read:/proc/thread-self/**", "the thread itself"},
    {"file:write:/proc/self/{comm,task/*/comm}", "names of its threads"},
    {"file:write:/proc/thread-self/comm", "names of its threads"},
    {"file:read:/proc/{cpuinfo,meminfo,stat,version,uptime,loadavg,filesystems,mounts,cmdline}",
     "facts about the machine"},
    {"file:read:/proc/sys/kernel/{osrelease,ostype,version,pid_max,cap_last_cap,ngroups_max,random/"
     "*,threads-max}",
     "facts about the kernel"},
    {"file:read:/proc/sys/{vm/overcommit_memory,vm/max_map_count,fs/nr_open,fs/file-max,net/core/somaxconn}",
     "limits of the kernel"},
    {"file:read:/sys/devices/system/{cpu,node}/**", "processors"},
    {"file:read:/sys/kernel/mm/transparent_hugepage/**", "memory pages"},
    {"file:read:/sys/fs/cgroup/**", "limits of the container"},
    {"file:read|write|create|delete:${TMP}/**", "its private temporary directory"},
    {"env:read:PATH", ""},
    {"env:read:HOME", ""},
    {"env:read:LANG", ""},
    {"env:read:LANGUAGE", ""},
    {"env:read:LC_*", ""},
    {"env:read:TERM", ""},
    {"env:read:COLORTERM", ""},
    {"env:read:TZ", ""},
    {"env:read:USER", ""},
    {"env:read:LOGNAME", ""},
    {"env:read:SHELL", ""},
    {"env:read:PWD", ""},
    {"env:read:TMPDIR", ""},
};

}  // namespace

std::span<const PresetGrant> preset(std::string_view name) {
  if (name == "base") return kBase;
  return {};
}

}  // namespace secbox::manifest
