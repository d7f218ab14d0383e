#include "runtime/durable.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <libgen.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/file.h"

static pthread_once_t crash_once = PTHREAD_ONCE_INIT;
static long crash_at; /* 0: never */
static atomic_long crash_count;

static void crash_read(void) {
    const char *text = getenv("TALLY_CRASH_AT_WRITE");
    crash_at = text ? atol(text) : 0;
}

static void crash_point(void) {
    pthread_once(&crash_once, crash_read);
    if (crash_at && atomic_fetch_add(&crash_count, 1) + 1 == crash_at) kill(getpid(), SIGKILL);
}

static durable_guard guard;

void durable_set_guard(durable_guard g) { guard = g; }

bool durable_allowed(void) { return !guard.allowed || guard.allowed(); }

static status check_guard(void) { return guard.check ? guard.check() : STATUS_OK; }

status durable_create(int *fd, const char *path) {
    TRY(check_guard());
    TRY(file_create(fd, path));
    return STATUS_OK;
}

status durable_write(int fd, const char *path, const void *data, size_t bytes) {
    for (const char *from = data; bytes;) {
        crash_point();
        ssize_t done = write(fd, from, bytes);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) FAIL(IO, "%s: write: %s", path, strerror(errno));
        if (done == 0) FAIL(IO, "%s: write: 0 of %zu bytes were written", path, bytes);
        from += done;
        bytes -= (size_t)done;
    }
    return STATUS_OK;
}

status durable_sync(int fd, const char *path) {
    int failed;
    do {
        crash_point();
        failed = fsync(fd);
    } while (failed && errno == EINTR);
    if (failed) FAIL(IO, "%s: fsync: %s", path, strerror(errno));
    return STATUS_OK;
}

static status rename_path(const char *from, const char *to) {
    TRY(check_guard());
    crash_point();
    if (rename(from, to)) FAIL(IO, "%s: rename to %s: %s", from, to, strerror(errno));
    return STATUS_OK;
}

/* EINTR leaves the file closed on Linux. */
status durable_close(int fd, const char *path) {
    if (close(fd) && errno != EINTR) FAIL(IO, "%s: close: %s", path, strerror(errno));
    return STATUS_OK;
}

static status sync_parent(const char *path) {
    char copy[PATH_MAX];
    if (snprintf(copy, sizeof copy, "%s", path) >= PATH_MAX) FAIL(ARG, "%s: path is too long", path);
    return durable_sync_folder(dirname(copy));
}

static status replace_file(const char *path, const void *data, size_t bytes, bool sync) {
    char temporary[PATH_MAX];
    if (snprintf(temporary, sizeof temporary, "%s.tmp", path) >= PATH_MAX) FAIL(ARG, "%s: path is too long", path);
    int fd;
    TRY(durable_create(&fd, temporary));
    status_code st = durable_write(fd, temporary, data, bytes);
    if (st == STATUS_OK && sync) st = durable_sync(fd, temporary);
    if (st == STATUS_OK) st = durable_close(fd, temporary);
    else close(fd);
    if (st == STATUS_OK) st = rename_path(temporary, path);
    if (st != STATUS_OK) {
        unlink(temporary);
        return st;
    }
    return sync ? sync_parent(path) : STATUS_OK;
}

status durable_write_file(const char *path, const void *data, size_t bytes) {
    return replace_file(path, data, bytes, true);
}

status durable_replace_file(const char *path, const void *data, size_t bytes) {
    return replace_file(path, data, bytes, false);
}

status durable_rename(const char *from, const char *to) {
    TRY(rename_path(from, to));
    return sync_parent(to);
}

status durable_sync_folder(const char *path) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) FAIL(IO, "%s: %s", path, strerror(errno));
    status_code st = durable_sync(fd, path);
    if (st == STATUS_OK) st = durable_close(fd, path);
    else close(fd);
    return st;
}

static status make_folder(const char *path) {
    struct stat info;
    TRY(check_guard());
    if (mkdir(path, 0777) == 0) return sync_parent(path);
    if (errno != EEXIST) FAIL(IO, "%s: mkdir: %s", path, strerror(errno));
    if (stat(path, &info)) FAIL(IO, "%s: %s", path, strerror(errno));
    if (!S_ISDIR(info.st_mode)) FAIL(IO, "%s: is not a folder", path);
    return STATUS_OK;
}

status durable_make_folders(const char *path) {
    char part[PATH_MAX];
    if (snprintf(part, sizeof part, "%s", path) >= PATH_MAX) FAIL(ARG, "%s: path is too long", path);
    for (char *slash = part + 1; *part && (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        TRY(make_folder(part));
        *slash = '/';
    }
    return make_folder(part);
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *place) {
    (void)info, (void)type, (void)place;
    if (remove(path)) return status_fail(STATUS_IO, __FILE__, __LINE__, "%s: remove: %s", path, strerror(errno));
    return 0;
}

status durable_remove_folder(const char *path) {
    struct stat info;
    TRY(check_guard());
    if (lstat(path, &info)) {
        if (errno == ENOENT) return STATUS_OK;
        FAIL(IO, "%s: %s", path, strerror(errno));
    }
    if (!S_ISDIR(info.st_mode)) FAIL(IO, "%s: is not a folder, expected a folder to remove", path);
    /* depth first; links are removed, not followed; other file systems are not entered */
    int result = nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
    if (result < 0) FAIL(IO, "%s: remove: %s", path, strerror(errno));
    return (status_code)result;
}
