// What goes out, or lets in; and kill(2).
#include <signal.h>
#include <sys/socket.h>

#include "preload/hook.h"

HOOK(int, connect, (int fd, const sockaddr* address, socklen_t length), (fd, address, length), address)
HOOK(int, bind, (int fd, const sockaddr* address, socklen_t length), (fd, address, length), address)
HOOK(int, listen, (int fd, int backlog), (fd, backlog), nullptr)
HOOK(ssize_t, send, (int fd, const void* data, size_t length, int flags), (fd, data, length, flags), data)
HOOK(ssize_t, sendto,
     (int fd, const void* data, size_t length, int flags, const sockaddr* address, socklen_t address_length),
     (fd, data, length, flags, address, address_length), data)
HOOK(ssize_t, sendmsg, (int fd, const msghdr* message, int flags), (fd, message, flags), message)
HOOK(int, sendmmsg, (int fd, mmsghdr* messages, unsigned count, int flags), (fd, messages, count, flags),
     messages)

HOOK(int, kill, (pid_t pid, int signal), (pid, signal), nullptr)
