// What opens files.
#include <dirent.h>
#include <fcntl.h>
#include <fts.h>
#include <ftw.h>
#include <glob.h>
#include <iconv.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cstdarg>

#include "preload/hook.h"

// As in libc: there is an argument for the mode only with some flags.
#define HOOK_OPEN(name)                                                                      \
  SECBOX_AS_DECLARED(int, name, (const char*, int, ...));                                    \
  SECBOX_EXPORT(int, name, (const char* path, int flags, ...)) {                             \
    va_list arguments;                                                                       \
    va_start(arguments, flags);                                                              \
    const mode_t mode = __OPEN_NEEDS_MODE(flags) ? va_arg(arguments, mode_t) : 0;            \
    va_end(arguments);                                                                       \
    secbox::preload::Context context{SECBOX_FUNCTION_##name, SECBOX_SITE, path};             \
    return context.done(SECBOX_REAL(int, name, (const char*, int, ...))(path, flags, mode)); \
  }

#define HOOK_OPENAT(name)                                                                                    \
  SECBOX_AS_DECLARED(int, name, (int, const char*, int, ...));                                               \
  SECBOX_EXPORT(int, name, (int directory, const char* path, int flags, ...)) {                              \
    va_list arguments;                                                                                       \
    va_start(arguments, flags);                                                                              \
    const mode_t mode = __OPEN_NEEDS_MODE(flags) ? va_arg(arguments, mode_t) : 0;                            \
    va_end(arguments);                                                                                       \
    secbox::preload::Context context{SECBOX_FUNCTION_##name, SECBOX_SITE, path};                             \
    return context.done(SECBOX_REAL(int, name, (int, const char*, int, ...))(directory, path, flags, mode)); \
  }

HOOK_OPEN(open)
HOOK_OPEN(open64)
HOOK_OPENAT(openat)
HOOK_OPENAT(openat64)
HOOK(int, creat, (const char* path, mode_t mode), (path, mode), path)
HOOK(int, creat64, (const char* path, mode_t mode), (path, mode), path)

// What open() is where _FORTIFY_SOURCE is and the flags are no constant.
HOOK_UNDECLARED(int, __open_2, (const char* path, int flags), (path, flags), path)
HOOK_UNDECLARED(int, __open64_2, (const char* path, int flags), (path, flags), path)
HOOK_UNDECLARED(int, __openat_2, (int directory, const char* path, int flags), (directory, path, flags), path)
HOOK_UNDECLARED(int, __openat64_2, (int directory, const char* path, int flags), (directory, path, flags),
                path)

HOOK(FILE*, fopen, (const char* path, const char* mode), (path, mode), path)
HOOK(FILE*, fopen64, (const char* path, const char* mode), (path, mode), path)
HOOK(FILE*, freopen, (const char* path, const char* mode, FILE* stream), (path, mode, stream), path)
HOOK(FILE*, freopen64, (const char* path, const char* mode, FILE* stream), (path, mode, stream), path)
HOOK(DIR*, opendir, (const char* path), (path), path)

HOOK(int, mkstemp, (char* name), (name), name)
HOOK(int, mkstemp64, (char* name), (name), name)
HOOK(int, mkostemp, (char* name, int flags), (name, flags), name)
HOOK(int, mkostemp64, (char* name, int flags), (name, flags), name)
HOOK(int, mkstemps, (char* name, int suffix), (name, suffix), name)
HOOK(int, mkstemps64, (char* name, int suffix), (name, suffix), name)
HOOK(int, mkostemps, (char* name, int suffix, int flags), (name, suffix, flags), name)
HOOK(int, mkostemps64, (char* name, int suffix, int flags), (name, suffix, flags), name)
HOOK(FILE*, tmpfile, (), (), nullptr)
HOOK(FILE*, tmpfile64, (), (), nullptr)

HOOK(int, scandir,
     (const char* path, dirent*** list, int (*filter)(const dirent*),
      int (*compare)(const dirent**, const dirent**)),
     (path, list, filter, compare), path)
HOOK(int, scandir64,
     (const char* path, dirent64*** list, int (*filter)(const dirent64*),
      int (*compare)(const dirent64**, const dirent64**)),
     (path, list, filter, compare), path)
HOOK_STATUS(int, glob, (const char* pattern, int flags, int (*on_error)(const char*, int), glob_t* found),
            (pattern, flags, on_error, found), nullptr)
HOOK_STATUS(int, glob64, (const char* pattern, int flags, int (*on_error)(const char*, int), glob64_t* found),
            (pattern, flags, on_error, found), nullptr)
HOOK(int, ftw, (const char* path, __ftw_func_t visit, int descriptors), (path, visit, descriptors), nullptr)
HOOK(int, ftw64, (const char* path, __ftw64_func_t visit, int descriptors), (path, visit, descriptors),
     nullptr)
HOOK(int, nftw, (const char* path, __nftw_func_t visit, int descriptors, int flags),
     (path, visit, descriptors, flags), nullptr)
HOOK(int, nftw64, (const char* path, __nftw64_func_t visit, int descriptors, int flags),
     (path, visit, descriptors, flags), nullptr)
HOOK(FTS*, fts_open, (char* const* paths, int options, int (*compare)(const FTSENT**, const FTSENT**)),
     (paths, options, compare), nullptr)

HOOK(char*, setlocale, (int category, const char* name), (category, name), nullptr)
HOOK(locale_t, newlocale, (int mask, const char* name, locale_t base), (mask, name, base), nullptr)
HOOK(iconv_t, iconv_open, (const char* to, const char* from), (to, from), nullptr)
HOOK(tm*, localtime, (const time_t* time), (time), nullptr)
HOOK(tm*, localtime_r, (const time_t* time, tm* result), (time, result), nullptr)
HOOK(time_t, mktime, (tm * time), (time), nullptr)

SECBOX_AS_DECLARED(void, tzset, ());
SECBOX_EXPORT(void, tzset, ()) {
  secbox::preload::Context context{SECBOX_FUNCTION_tzset, SECBOX_SITE, nullptr};
  SECBOX_REAL(void, tzset, ())();
}
