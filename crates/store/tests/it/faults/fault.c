// Faults of the disk, for the tests in this folder: a library that is loaded before the C library (LD_PRELOAD) and stands
// between a process and the files below one folder. It counts the calls that change these files, and lets them fail.
//
//   FAULT_FOLDER  the folder, without a slash at its end
//   FAULT_AT      the call with this number is the first that fails; 0 or nothing: none
//   FAULT_KIND    error  that one call fails with EIO
//                 full   from that one on, calls that need space fail with ENOSPC, until the file FAULT_FREED is there
//                 kill   the process dies at that call; a write is done by half first
//   FAULT_LOG     a file, outside of the folder: a line for each call
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_long calls;

static int below(const char *path) {
    const char *folder = getenv("FAULT_FOLDER");
    return folder && path && strncmp(path, folder, strlen(folder)) == 0;
}

static int path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return below(path);
}

static void note(long number, const char *call, const char *path) {
    const char *log = getenv("FAULT_LOG");
    if (!log) return;
    char line[PATH_MAX + 64];
    int length = snprintf(line, sizeof line, "%ld %s %s\n", number, call, path);
    int fd = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) abort();
    if (syscall(SYS_write, fd, line, length) != length) abort();
    syscall(SYS_close, fd);
}

enum { GO = 0, FAIL = 1, DIE = 2 };

// What becomes of a call. `space`: it may need more of the disk.
static int verdict(const char *call, const char *path, int space) {
    long number = atomic_fetch_add(&calls, 1) + 1;
    note(number, call, path);
    const char *at_text = getenv("FAULT_AT"), *kind = getenv("FAULT_KIND");
    long at = at_text ? atol(at_text) : 0;
    if (at == 0 || !kind) return GO;
    if (strcmp(kind, "error") == 0 && number == at) {
        errno = EIO;
        return FAIL;
    }
    if (strcmp(kind, "full") == 0 && number >= at && space) {
        const char *freed = getenv("FAULT_FREED");
        if (freed && syscall(SYS_faccessat, AT_FDCWD, freed, F_OK) == 0) return GO;
        errno = ENOSPC;
        return FAIL;
    }
    if (strcmp(kind, "kill") == 0 && number == at) return DIE;
    return GO;
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

static int open_at(int folder, const char *path, int flags, mode_t mode) {
    // A file that is there already needs no space to be opened.
    int makes = (flags & O_CREAT) && below(path) && syscall(SYS_faccessat, AT_FDCWD, path, F_OK) != 0;
    if (makes) {
        int found = verdict("create", path, 1);
        if (found == FAIL) return -1;
        if (found == DIE) die();
    }
    return syscall(SYS_openat, folder, path, flags, mode);
}

#define MODE(last)                                \
    mode_t mode = 0;                              \
    if (flags & (O_CREAT | O_TMPFILE)) {          \
        va_list list;                             \
        va_start(list, last);                     \
        mode = va_arg(list, mode_t);              \
        va_end(list);                             \
    }

int open(const char *path, int flags, ...) { MODE(flags) return open_at(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return open_at(AT_FDCWD, path, flags, mode); }
int openat(int folder, const char *path, int flags, ...) { MODE(flags) return open_at(folder, path, flags, mode); }
int openat64(int folder, const char *path, int flags, ...) { MODE(flags) return open_at(folder, path, flags, mode); }

static ssize_t write_at(int fd, const void *bytes, size_t length, off_t offset, int seeks) {
    char path[PATH_MAX];
    if (path_of(fd, path)) {
        int found = verdict("write", path, 1);
        if (found == FAIL) return -1;
        if (found == DIE) length /= 2;
        if (found == DIE && seeks) syscall(SYS_pwrite64, fd, bytes, length, offset);
        if (found == DIE && !seeks) syscall(SYS_write, fd, bytes, length);
        if (found == DIE) die();
    }
    if (seeks) return syscall(SYS_pwrite64, fd, bytes, length, offset);
    return syscall(SYS_write, fd, bytes, length);
}

ssize_t write(int fd, const void *bytes, size_t length) { return write_at(fd, bytes, length, 0, 0); }
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) { return write_at(fd, bytes, length, offset, 1); }
ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t offset) { return write_at(fd, bytes, length, offset, 1); }

static int simple(int number, const char *call, int fd, int space, long argument) {
    char path[PATH_MAX];
    if (path_of(fd, path)) {
        int found = verdict(call, path, space);
        if (found == FAIL) return -1;
        if (found == DIE) die();
    }
    return syscall(number, fd, argument);
}

int fsync(int fd) { return simple(SYS_fsync, "fsync", fd, 0, 0); }
int fdatasync(int fd) { return simple(SYS_fdatasync, "fsync", fd, 0, 0); }
int ftruncate(int fd, off_t length) { return simple(SYS_ftruncate, "truncate", fd, length > 0, length); }
int ftruncate64(int fd, off_t length) { return simple(SYS_ftruncate, "truncate", fd, length > 0, length); }

int rename(const char *from, const char *to) {
    if (below(to)) {
        int found = verdict("rename", to, 1);
        if (found == FAIL) return -1;
        if (found == DIE) die();
    }
    return syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags) {
    if (below(to)) {
        int found = verdict("link", to, 1);
        if (found == FAIL) return -1;
        if (found == DIE) die();
    }
    return syscall(SYS_linkat, from_folder, from, to_folder, to, flags);
}

int mkdir(const char *path, mode_t mode) {
    if (below(path)) {
        int found = verdict("mkdir", path, 1);
        if (found == FAIL) return -1;
        if (found == DIE) die();
    }
    return syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}
