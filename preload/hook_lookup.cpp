// What asks the resolver and the name services: files, sockets and libraries behind one call.
#include <grp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pwd.h>
#include <sys/socket.h>

#include "preload/hook.h"
#include "preload/names.h"

using secbox::preload::TextContext;

namespace {

void tell_names(const char* name, const hostent* host) {
  if (host == nullptr) return;
  for (char* const* address = host->h_addr_list; *address != nullptr; ++address) {
    secbox::preload::tell_name(name, host->h_addrtype, *address);
  }
}

void tell_names(const char* name, const addrinfo* answers) {
  for (const addrinfo* answer = answers; answer != nullptr; answer = answer->ai_next) {
    // One for each type of socket otherwise.
    if (answer != answers && answer->ai_addrlen == answers->ai_addrlen &&
        __builtin_memcmp(answer->ai_addr, answers->ai_addr, answer->ai_addrlen) == 0) {
      continue;
    }
    if (answer->ai_family == AF_INET) {
      secbox::preload::tell_name(name, AF_INET,
                                 &reinterpret_cast<const sockaddr_in*>(answer->ai_addr)->sin_addr);
    } else if (answer->ai_family == AF_INET6) {
      secbox::preload::tell_name(name, AF_INET6,
                                 &reinterpret_cast<const sockaddr_in6*>(answer->ai_addr)->sin6_addr);
    }
  }
}

}  // namespace

SECBOX_AS_DECLARED(int, getaddrinfo, (const char*, const char*, const addrinfo*, addrinfo**));
SECBOX_EXPORT(int, getaddrinfo,
              (const char* name, const char* service, const addrinfo* hints, addrinfo** answers)) {
  TextContext context{SECBOX_FUNCTION_getaddrinfo, SECBOX_SITE, name};
  const int status = SECBOX_REAL(int, getaddrinfo, (const char*, const char*, const addrinfo*, addrinfo**))(
      name, service, hints, answers);
  if (status == 0) tell_names(name, *answers);
  return context.done(status, status != 0);
}

SECBOX_AS_DECLARED(hostent*, gethostbyname, (const char*));
SECBOX_EXPORT(hostent*, gethostbyname, (const char* name)) {
  TextContext context{SECBOX_FUNCTION_gethostbyname, SECBOX_SITE, name};
  hostent* host = SECBOX_REAL(hostent*, gethostbyname, (const char*))(name);
  tell_names(name, host);
  return context.done(host);
}

SECBOX_AS_DECLARED(hostent*, gethostbyname2, (const char*, int));
SECBOX_EXPORT(hostent*, gethostbyname2, (const char* name, int family)) {
  TextContext context{SECBOX_FUNCTION_gethostbyname2, SECBOX_SITE, name};
  hostent* host = SECBOX_REAL(hostent*, gethostbyname2, (const char*, int))(name, family);
  tell_names(name, host);
  return context.done(host);
}

SECBOX_AS_DECLARED(int, gethostbyname_r, (const char*, hostent*, char*, size_t, hostent**, int*));
SECBOX_EXPORT(int, gethostbyname_r,
              (const char* name, hostent* result, char* buffer, size_t size, hostent** host, int* error)) {
  TextContext context{SECBOX_FUNCTION_gethostbyname_r, SECBOX_SITE, name};
  const int status =
      SECBOX_REAL(int, gethostbyname_r, (const char*, hostent*, char*, size_t, hostent**, int*))(
          name, result, buffer, size, host, error);
  if (status == 0) tell_names(name, *host);
  return context.done(status, status != 0 || *host == nullptr);
}

SECBOX_AS_DECLARED(int, gethostbyname2_r, (const char*, int, hostent*, char*, size_t, hostent**, int*));
SECBOX_EXPORT(int, gethostbyname2_r,
              (const char* name, int family, hostent* result, char* buffer, size_t size, hostent** host,
               int* error)) {
  TextContext context{SECBOX_FUNCTION_gethostbyname2_r, SECBOX_SITE, name};
  const int status =
      SECBOX_REAL(int, gethostbyname2_r, (const char*, int, hostent*, char*, size_t, hostent**, int*))(
          name, family, result, buffer, size, host, error);
  if (status == 0) tell_names(name, *host);
  return context.done(status, status != 0 || *host == nullptr);
}

HOOK(hostent*, gethostbyaddr, (const void* address, socklen_t length, int family), (address, length, family),
     nullptr)
HOOK_STATUS(int, getnameinfo,
            (const sockaddr* address, socklen_t length, char* host, socklen_t host_size, char* service,
             socklen_t service_size, int flags),
            (address, length, host, host_size, service, service_size, flags), nullptr)

HOOK(passwd*, getpwnam, (const char* name), (name), nullptr)
HOOK(passwd*, getpwuid, (uid_t user), (user), nullptr)
HOOK_STATUS(int, getpwnam_r, (const char* name, passwd* entry, char* buffer, size_t size, passwd** found),
            (name, entry, buffer, size, found), nullptr)
HOOK_STATUS(int, getpwuid_r, (uid_t user, passwd* entry, char* buffer, size_t size, passwd** found),
            (user, entry, buffer, size, found), nullptr)
HOOK(group*, getgrnam, (const char* name), (name), nullptr)
HOOK(group*, getgrgid, (gid_t number), (number), nullptr)
HOOK_STATUS(int, getgrnam_r, (const char* name, group* entry, char* buffer, size_t size, group** found),
            (name, entry, buffer, size, found), nullptr)
HOOK_STATUS(int, getgrgid_r, (gid_t number, group* entry, char* buffer, size_t size, group** found),
            (number, entry, buffer, size, found), nullptr)
HOOK(servent*, getservbyname, (const char* name, const char* protocol), (name, protocol), nullptr)
HOOK_STATUS(int, getservbyname_r,
            (const char* name, const char* protocol, servent* entry, char* buffer, size_t size,
             servent** found),
            (name, protocol, entry, buffer, size, found), nullptr)
