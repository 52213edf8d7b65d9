/* Makes calls of the C library fail: the N-th one that concerns a path below a prefix.
 *
 * Preloaded (LD_PRELOAD) into a command and all its children, which share one counter: a file that
 * each of them maps. Its layout is `struct state`, and faults.py writes and reads it. Without a
 * state, or with `at` 0, calls are counted at most.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

struct state {
  int64_t count;    /* calls so far */
  int64_t at;       /* the call that fails, from 1 */
  int64_t last;     /* the last call that fails: `at` for one fault, more for a disk that stays full */
  int64_t fired;    /* calls that have failed */
  int64_t error;    /* errno, or SHORT */
  char prefix[1024];
  char what[1024];  /* the first call that failed */
};

enum { SHORT = -1 };  /* a write takes half of its bytes */

static struct state *state;

#define REAL(name) \
  static __typeof__(&name) real; \
  if (!real) real = (__typeof__(real))dlsym(RTLD_NEXT, #name)

void shim_arm(const char *path) {
  int file = open(path, O_RDWR | O_CLOEXEC);
  if (file < 0) return;
  void *found = mmap(NULL, sizeof(struct state), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (found != MAP_FAILED) state = found;
}

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("ATTACK_SHIM");
  if (path && *path) shim_arm(path);
}

/* Whether this call, of a path that concerns us, is the one that fails; a short write is 2. */
static int fires(const char *call, const char *path) {
  if (strncmp(path, state->prefix, strlen(state->prefix))) return 0;
  int64_t number = __atomic_add_fetch(&state->count, 1, __ATOMIC_SEQ_CST);
  if (!state->at || number < state->at || number > state->last) return 0;
  int is_write = strstr(call, "write") != NULL;
  /* A disk that stays full lets go of what is on it. */
  if (state->last > state->at && (strstr(call, "unlink") || strstr(call, "rmdir") ||
                                  strstr(call, "close") || strstr(call, "rename")))
    return 0;
  if (state->error == SHORT && !is_write) return 0;
  if (!__atomic_fetch_add(&state->fired, 1, __ATOMIC_SEQ_CST))
    snprintf(state->what, sizeof state->what, "%s %s", call, path);
  if (state->error == SHORT) return 2;
  errno = (int)state->error;
  return 1;
}

static int of_path(const char *call, int folder, const char *path) {
  if (!state || !path) return 0;
  if (path[0] == '/') return fires(call, path);
  char whole[2 * PATH_MAX], link[64];
  ssize_t length;
  if (folder == AT_FDCWD) {
    if (!getcwd(whole, PATH_MAX)) return 0;
    length = (ssize_t)strlen(whole);
  } else {
    snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    length = readlink(link, whole, PATH_MAX);
    if (length < 0) return 0;
  }
  snprintf(whole + length, sizeof whole - (size_t)length, "/%s", path);
  return fires(call, whole);
}

static int of_file(const char *call, int file) {
  if (!state) return 0;
  char path[PATH_MAX + 1], link[64];
  int before = errno;
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = readlink(link, path, PATH_MAX);
  errno = before;
  if (length < 0) return 0;
  path[length] = 0;
  return fires(call, path);
}

static size_t half(size_t size) { return size > 1 ? size / 2 : size; }

#define WRITES(name, extra, pass) \
  ssize_t name(int file, const void *data, size_t size extra) { \
    REAL(name); \
    int fault = of_file(#name, file); \
    if (fault == 1) return -1; \
    return real(file, data, fault == 2 ? half(size) : size pass); \
  }
#define COMMA ,
WRITES(write, , )
WRITES(pwrite, COMMA off_t at, COMMA at)
WRITES(pwrite64, COMMA off64_t at, COMMA at)

ssize_t writev(int file, const struct iovec *parts, int count) {
  REAL(writev);
  int fault = of_file("writev", file);
  if (fault == 1) return -1;
  return real(file, parts, fault == 2 && count > 1 ? count / 2 : count);
}

#define OF_FILE(name, parameters, arguments) \
  int name parameters { \
    REAL(name); \
    return of_file(#name, file) == 1 ? -1 : real arguments; \
  }
OF_FILE(fsync, (int file), (file))
OF_FILE(fdatasync, (int file), (file))
OF_FILE(ftruncate, (int file, off_t size), (file, size))
OF_FILE(ftruncate64, (int file, off64_t size), (file, size))
OF_FILE(fallocate, (int file, int mode, off_t at, off_t size), (file, mode, at, size))

/* These return the error's number. */
#define ALLOCATES(name, type) \
  int name(int file, type at, type size) { \
    REAL(name); \
    return of_file(#name, file) == 1 ? errno : real(file, at, size); \
  }
ALLOCATES(posix_fallocate, off_t)
ALLOCATES(posix_fallocate64, off64_t)

/* A file whose closing fails is closed nevertheless. */
int close(int file) {
  REAL(close);
  int fault = of_file("close", file), error = errno;
  int result = real(file);
  if (fault != 1) return result;
  errno = error;
  return -1;
}

#define MODE \
  mode_t mode = 0; \
  if (flags & (O_CREAT | O_TMPFILE)) { \
    va_list more; \
    va_start(more, flags); \
    mode = va_arg(more, mode_t); \
    va_end(more); \
  }
#define OPENS(name) \
  int name(const char *path, int flags, ...) { \
    MODE REAL(name); \
    return of_path(#name, AT_FDCWD, path) == 1 ? -1 : real(path, flags, mode); \
  }
OPENS(open)
OPENS(open64)
#define OPENS_AT(name) \
  int name(int folder, const char *path, int flags, ...) { \
    MODE REAL(name); \
    return of_path(#name, folder, path) == 1 ? -1 : real(folder, path, flags, mode); \
  }
OPENS_AT(openat)
OPENS_AT(openat64)

#define OF_PATH(name, parameters, folder, path, arguments) \
  int name parameters { \
    REAL(name); \
    return of_path(#name, folder, path) == 1 ? -1 : real arguments; \
  }
OF_PATH(rename, (const char *from, const char *to), AT_FDCWD, to, (from, to))
OF_PATH(renameat, (int a, const char *from, int b, const char *to), b, to, (a, from, b, to))
OF_PATH(renameat2, (int a, const char *from, int b, const char *to, unsigned flags), b, to,
        (a, from, b, to, flags))
OF_PATH(link, (const char *from, const char *to), AT_FDCWD, to, (from, to))
OF_PATH(linkat, (int a, const char *from, int b, const char *to, int flags), b, to,
        (a, from, b, to, flags))
OF_PATH(mkdir, (const char *path, mode_t mode), AT_FDCWD, path, (path, mode))
OF_PATH(mkdirat, (int folder, const char *path, mode_t mode), folder, path, (folder, path, mode))
OF_PATH(rmdir, (const char *path), AT_FDCWD, path, (path))
OF_PATH(unlink, (const char *path), AT_FDCWD, path, (path))
OF_PATH(unlinkat, (int folder, const char *path, int flags), folder, path, (folder, path, flags))
OF_PATH(truncate, (const char *path, off_t size), AT_FDCWD, path, (path, size))
OF_PATH(truncate64, (const char *path, off64_t size), AT_FDCWD, path, (path, size))
