/* Calls every function that the shim hooks, with arguments that it has to hand on as they are, and prints
 * what came back: the same with the shim and without. In a folder of its own, which is its working directory.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <ftw.h>
#include <glob.h>
#include <grp.h>
#include <iconv.h>
#include <locale.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pwd.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>
#include <utime.h>

int __open_2(const char* path, int flags);
int __open64_2(const char* path, int flags);
int __openat_2(int directory, const char* path, int flags);
int __openat64_2(int directory, const char* path, int flags);

/* The value of an expression, and errno after it. */
#define SHOW(call)                                                      \
  do {                                                                  \
    errno = 0;                                                          \
    const long value = (long)(call);                                    \
    printf("%d %s: %ld %s\n", __LINE__, #call, value, strerror(errno)); \
  } while (0)
#define SHOW_THERE(call) SHOW((call) != NULL)
/* What a descriptor is of: its number is closed again. */
#define SHOW_FD(call) SHOW(describe(call))

static long describe(int fd) {
  struct stat status;
  if (fd < 0) return fd;
  if (fstat(fd, &status) != 0) return -2;
  const long flags = fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND | O_TMPFILE);
  const long on_exec = fcntl(fd, F_GETFD);
  close(fd);
  return (long)(status.st_mode & 07777) * 1000 + (long)status.st_size + flags * 10000000 + on_exec * 7;
}

static long describe_path(const char* path) {
  struct stat status;
  if (lstat(path, &status) != 0) return -1;
  return (long)status.st_mode * 100000 + (long)status.st_size * 100 + (long)status.st_nlink +
         (long)status.st_mtime;
}

static char* filled(char* buffer, const char* text) { return strcpy(buffer, text); }

static int no_names(const struct dirent* entry) { return entry->d_name[0] == 'n'; }
static int no_names64(const struct dirent64* entry) { return entry->d_name[0] == 'n'; }
static int count_visit(const char* path, const struct stat* status, int type) {
  return (int)(strlen(path) + (size_t)type * 0 + (size_t)S_ISDIR(status->st_mode) * 0) > 90 ? 1 : 0;
}
static int count_visit64(const char* path, const struct stat64* status, int type) {
  return count_visit(path, (const struct stat*)status, type);
}
static int stop_at(const char* path, const struct stat* status, int type, struct FTW* where) {
  return where->level * 10 + type + (path[0] == '.') + S_ISDIR(status->st_mode);
}
static int stop_at64(const char* path, const struct stat64* status, int type, struct FTW* where) {
  return stop_at(path, (const struct stat*)status, type, where);
}

static void files(void) {
  char name[64];
  umask(022);
  SHOW_FD(open("new", O_CREAT | O_RDWR | O_APPEND, 0604));
  SHOW_FD(open64("new64", O_CREAT | O_WRONLY | O_CLOEXEC, 0750));
  SHOW_FD(openat(AT_FDCWD, "newat", O_CREAT | O_RDWR, 0611));
  SHOW_FD(openat64(AT_FDCWD, "newat64", O_CREAT | O_EXCL, 0622));
  SHOW_FD(openat64(AT_FDCWD, "newat64", O_CREAT | O_EXCL, 0622));
  SHOW_FD(open(".", O_TMPFILE | O_RDWR, 0640));
  SHOW_FD(open("new", O_WRONLY));
  SHOW_FD(creat("made", 0700));
  SHOW_FD(creat64("made64", 0441));
  SHOW_FD(__open_2("new", O_RDONLY));
  SHOW_FD(__open64_2("new", O_RDWR));
  SHOW_FD(__openat_2(AT_FDCWD, "new", O_RDONLY | O_CLOEXEC));
  SHOW_FD(__openat64_2(AT_FDCWD, "none", O_RDONLY));
  SHOW_FD(fileno(fopen("new", "r+e")));
  SHOW_FD(fileno(fopen64("new", "a")));
  SHOW_THERE(fopen("none", "r"));
  FILE* file = fopen("new", "w");
  SHOW(fputs("four", file));
  SHOW(freopen("made", "r", file) == file);
  SHOW(freopen64("new", "r", file) == file && fgetc(file) == 'f');
  SHOW(fclose(file));
  SHOW_THERE(opendir("none"));
  SHOW_FD(mkstemp(filled(name, "aXXXXXX")));
  SHOW_FD(mkstemp64(filled(name, "bXXXXXX")));
  SHOW_FD(mkostemp(filled(name, "cXXXXXX"), O_CLOEXEC));
  SHOW_FD(mkostemp64(filled(name, "dXXXXXX"), O_APPEND));
  SHOW_FD(mkstemps(filled(name, "eXXXXXX.c"), 2));
  SHOW_FD(mkstemps64(filled(name, "fXXXXXX.cc"), 3));
  SHOW_FD(mkostemps(filled(name, "gXXXXXX.c"), 2, O_CLOEXEC));
  SHOW_FD(mkostemps64(filled(name, "hXXXXXX.c"), 2, O_APPEND));
  SHOW(mkdtemp(filled(name, "iXXXXXX")) == name && rmdir(name) == 0);
  SHOW_FD(fileno(tmpfile()));
  SHOW_FD(fileno(tmpfile64()));
  struct dirent** list = NULL;
  struct dirent64** list64 = NULL;
  SHOW(scandir(".", &list, no_names, alphasort) == 4 && strcmp(list[3]->d_name, "newat64") == 0);
  SHOW(scandir64(".", &list64, no_names64, alphasort64) == 4 && strcmp(list64[0]->d_name, "new") == 0);
  glob_t found;
  glob64_t found64;
  SHOW(glob("new*", GLOB_MARK, NULL, &found) == 0 && found.gl_pathc == 4);
  SHOW(glob64("none*", 0, NULL, &found64));
  SHOW(ftw(".", count_visit, 3));
  SHOW(ftw64("none", count_visit64, 3));
  SHOW(nftw(".", stop_at, 3, FTW_PHYS));
  SHOW(nftw64(".", stop_at64, 3, FTW_DEPTH | FTW_PHYS));
  char* const paths[] = {".", NULL};
  FTS* tree = fts_open(paths, FTS_PHYSICAL, NULL);
  SHOW(fts_read(tree)->fts_info);
  SHOW(fts_close(tree));
}

static void places(void) {
  const time_t noon = 1000000000;
  struct tm time = {0};
  SHOW_THERE(setlocale(LC_ALL, "C"));
  SHOW_THERE(setlocale(LC_ALL, "no_SUCH"));
  SHOW_THERE(newlocale(LC_ALL_MASK, "no_SUCH", NULL));
  SHOW_THERE(newlocale(LC_ALL_MASK, "C.UTF-8", NULL));
  SHOW((long)iconv_open("NO", "SUCH"));
  SHOW((long)iconv_open("UTF-8", "ISO-8859-15") != -1);
  tzset();
  SHOW(localtime(&noon)->tm_year);
  SHOW(localtime_r(&noon, &time) == &time);
  SHOW(mktime(&time));
}

static void paths(void) {
  const struct timeval times[2] = {{1, 2}, {3, 4}};
  const struct timespec exact[2] = {{5, 6}, {7, 8}};
  const struct utimbuf plain = {9, 10};
  SHOW(link("new", "linked"));
  SHOW(linkat(AT_FDCWD, "new", AT_FDCWD, "linked2", 0));
  SHOW(symlink("target", "symbolic"));
  SHOW(symlinkat("target2", AT_FDCWD, "symbolic2"));
  SHOW(describe_path("symbolic") != -1 && describe_path("symbolic2") != -1);
  SHOW(rename("linked", "renamed"));
  SHOW(renameat(AT_FDCWD, "renamed", AT_FDCWD, "renamed2"));
  SHOW(renameat2(AT_FDCWD, "renamed2", AT_FDCWD, "new64", RENAME_NOREPLACE));
  SHOW(mkdir("folder", 0711));
  SHOW(mkdirat(AT_FDCWD, "folder/in", 0751));
  SHOW(mkfifo("fifo", 0640));
  SHOW(mkfifoat(AT_FDCWD, "fifo2", 0604));
  SHOW(mknod("node", S_IFREG | 0600, 0));
  SHOW(mknodat(AT_FDCWD, "node2", S_IFREG | 0640, 0));
  SHOW(chmod("node", 0765));
  SHOW(fchmodat(AT_FDCWD, "node2", 0654, 0));
  SHOW(fchmodat(AT_FDCWD, "symbolic", 0654, AT_SYMLINK_NOFOLLOW));
  SHOW(fchmod(-1, 0600));
  SHOW(chown("node", getuid(), (gid_t)-1));
  SHOW(lchown("symbolic", (uid_t)-1, getgid()));
  SHOW(fchownat(AT_FDCWD, "none", 1, 2, AT_SYMLINK_NOFOLLOW));
  SHOW(fchown(-1, 1, 2));
  SHOW(truncate("node", 77));
  SHOW(truncate64("node2", 99));
  SHOW(utime("node", &plain));
  SHOW(describe_path("node"));
  SHOW(utimes("node", times));
  SHOW(describe_path("node"));
  SHOW(lutimes("symbolic", times));
  SHOW(futimesat(AT_FDCWD, "node2", times));
  SHOW(describe_path("node2"));
  SHOW(utimensat(AT_FDCWD, "node2", exact, 0));
  SHOW(describe_path("node2"));
  SHOW(futimens(-1, exact));
  SHOW(setxattr("none", "user.a", "b", 1, 0));
  SHOW(lsetxattr("none", "user.a", "b", 1, XATTR_CREATE));
  SHOW(fsetxattr(-1, "user.a", "b", 1, 0));
  SHOW(removexattr("none", "user.a"));
  SHOW(lremovexattr("none", "user.a"));
  SHOW(fremovexattr(-1, "user.a"));
  SHOW(inotify_add_watch(-1, ".", IN_CREATE));
  SHOW(unlink("fifo"));
  SHOW(unlinkat(AT_FDCWD, "folder/in", AT_REMOVEDIR));
  SHOW(rmdir("folder"));
  SHOW(remove("fifo2"));
  SHOW(remove("none"));
}

static void programs(void) {
  char* const arguments[] = {"sh", "-c", "exit $ONE", NULL};
  char* const environment[] = {"ONE=41", NULL};
  pid_t child = 0;
  int status = 0;
#define SHOW_CHILD(start)                            \
  do {                                               \
    fflush(stdout);                                  \
    child = vfork();                                 \
    if (child == 0) {                                \
      start;                                         \
      _exit(errno);                                  \
    }                                                \
    waitpid(child, &status, 0);                      \
    printf("%d %s: %d\n", __LINE__, #start, status); \
  } while (0)
  setenv("ONE", "40", 1);
  SHOW_CHILD(execve("/bin/sh", arguments, environment));
  SHOW_CHILD(execv("/bin/sh", arguments));
  SHOW_CHILD(execvp("sh", arguments));
  SHOW_CHILD(execvpe("sh", arguments, environment));
  SHOW_CHILD(execl("/bin/sh", "sh", "-c", "exit $ONE", NULL));
  SHOW_CHILD(execlp("sh", "sh", "-c", "exit $1", "name", "39", NULL));
  SHOW_CHILD(execle("/bin/sh", "sh", "-c", "exit $ONE", NULL, environment));
  SHOW_CHILD(fexecve(open("/bin/sh", O_RDONLY), arguments, environment));
  SHOW_CHILD(execveat(AT_FDCWD, "/bin/sh", arguments, environment, 0));
  SHOW_CHILD(execveat(-1, "none", arguments, environment, 0));
  SHOW(posix_spawn(&child, "/none", NULL, NULL, arguments, environment));
  SHOW(posix_spawn(&child, "/bin/sh", NULL, NULL, arguments, environment));
  SHOW(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 41);
  SHOW(posix_spawnp(&child, "sh", NULL, NULL, arguments, environment));
  SHOW(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 41);
  SHOW(system("exit 3"));
  SHOW(system(NULL));
  SHOW(pclose(popen("exit 4", "r")));
  SHOW_THERE(popen("true", "bad"));
}

static void network(void) {
  const struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_port = 0};
  const struct sockaddr* address = (const struct sockaddr*)&to;
  struct iovec part = {"data", 4};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  struct mmsghdr messages[2] = {{.msg_hdr = message}, {.msg_hdr = message}};
  int pair[2];
  char buffer[64];
  SHOW(connect(-1, address, sizeof(to)));
  SHOW(bind(-1, address, sizeof(to)));
  SHOW(listen(-1, 5));
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  SHOW(bind(fd, address, sizeof(to)));
  SHOW(bind(fd, address, 3));
  SHOW(listen(fd, 1));
  SHOW(connect(fd, address, 3));
  SHOW(close(fd));
  SHOW(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair));
  SHOW(send(pair[0], "sent", 4, MSG_DONTWAIT));
  SHOW(sendto(pair[0], "sent to", 7, MSG_DONTWAIT, NULL, 0));
  SHOW(sendmsg(pair[0], &message, MSG_DONTWAIT));
  SHOW(sendmmsg(pair[0], messages, 2, MSG_DONTWAIT));
  for (int number = 0; number < 5; ++number) SHOW(recv(pair[1], buffer, sizeof(buffer), MSG_DONTWAIT));
  SHOW(kill(getpid(), 0));
  SHOW(kill(getpid(), 9999));
}

static void names(void) {
  char buffer[4096];
  struct hostent host;
  struct hostent* host_found = NULL;
  struct passwd user;
  struct passwd* user_found = NULL;
  struct group group;
  struct group* group_found = NULL;
  struct servent service;
  struct servent* service_found = NULL;
  struct addrinfo* answers = NULL;
  int error = 0;
  const struct in_addr loopback = {htonl(INADDR_LOOPBACK)};
  const struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = loopback, .sin_port = htons(80)};
  char port[32];
  SHOW(getaddrinfo("127.0.0.1", "80", NULL, &answers) == 0 && answers->ai_next != NULL);
  SHOW(getaddrinfo("127.0.0.1", "no-such-service", NULL, &answers));
  SHOW(gethostbyname("127.0.0.3")->h_length);
  SHOW(gethostbyname2("::1", AF_INET6)->h_length);
  SHOW(gethostbyname_r("127.0.0.4", &host, buffer, sizeof(buffer), &host_found, &error));
  SHOW(host_found == &host && host.h_addrtype == AF_INET);
  SHOW(gethostbyname_r("127.0.0.4", &host, buffer, 1, &host_found, &error));
  SHOW(gethostbyname2_r("::1", AF_INET6, &host, buffer, sizeof(buffer), &host_found, &error));
  SHOW(host_found == &host && host.h_addrtype == AF_INET6);
  SHOW_THERE(gethostbyaddr(&loopback, sizeof(loopback), AF_INET));
  SHOW_THERE(gethostbyaddr(&loopback, 2, AF_INET));
  SHOW(getnameinfo((const struct sockaddr*)&to, sizeof(to), buffer, sizeof(buffer), port, sizeof(port),
                   NI_NUMERICHOST | NI_NUMERICSERV));
  printf("%s %s\n", buffer, port);
  SHOW(getpwnam("root")->pw_uid);
  SHOW_THERE(getpwnam("no-such-user"));
  SHOW(getpwuid(0)->pw_gid);
  SHOW(getpwnam_r("root", &user, buffer, sizeof(buffer), &user_found) == 0 && user_found == &user);
  SHOW(getpwuid_r(0, &user, buffer, 1, &user_found));
  SHOW(getgrnam("root")->gr_gid);
  SHOW(getgrgid(0)->gr_gid);
  SHOW(getgrnam_r("root", &group, buffer, sizeof(buffer), &group_found) == 0 && group_found == &group);
  SHOW(getgrgid_r(0, &group, buffer, 1, &group_found));
  SHOW_THERE(getservbyname("no-such-service", "tcp"));
  SHOW(getservbyname_r("no-such-service", "tcp", &service, buffer, sizeof(buffer), &service_found));
}

static void code(void) {
  SHOW_THERE(dlopen(NULL, RTLD_NOW));
  SHOW_THERE(dlopen("libm.so.6", RTLD_NOW));
  SHOW_THERE(dlopen("libm.so.6", 0));
  SHOW_THERE(dlerror());
  SHOW_THERE(dlmopen(LM_ID_BASE, "libm.so.6", RTLD_LAZY));
  const int fd = open("/bin/sh", O_RDONLY);
  unsigned char* mapped = mmap(NULL, 100, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
  SHOW(mapped[1]);
  mapped = mmap64(NULL, 100, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 4096);
  SHOW(mapped == MAP_FAILED);
  SHOW(mmap(NULL, 100, PROT_READ, MAP_PRIVATE, fd, 1) == MAP_FAILED);
  SHOW(mmap64(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
  SHOW(syscall(SYS_openat, AT_FDCWD, "none", 0, 0));
  SHOW(syscall(SYS_close, fd));
  SHOW(syscall(99999));
  SHOW_THERE(getenv("HOME"));
  SHOW_THERE(getenv("NO_SUCH"));
  SHOW_THERE(secure_getenv("HOME"));
}

int main(void) {
  files();
  places();
  paths();
  programs();
  network();
  names();
  code();
  return 0;
}
