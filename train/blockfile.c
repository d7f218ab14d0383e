#include "train/blockfile.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <libgen.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

struct blockfile {
    int fd;
    char path[PATH_MAX];
    char name[sizeof((blockfile_sums *)0)->name];
    i64 bytes; /* taken so far, the buffer's included */
    uint32_t *crc;
    int blocks, capacity; /* of crc */
    bool failed;
    size_t buffered;
    unsigned char buffer[BLOCKFILE_BLOCK];
};

/* ---- every durable operation, with the tests' crash in front ---- */

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

static status_code (*guard)(void);

void blockfile_guard(status_code (*check)(void)) { guard = check; }

static status check_guard(void) { return guard ? guard() : STATUS_OK; }

static status write_all(int fd, const char *path, const void *data, size_t bytes) {
    for (const char *from = data; bytes;) {
        crash_point();
        ssize_t done = write(fd, from, bytes);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) FAIL(IO, "%s: write: %s", path, strerror(errno));
        if (done == 0) FAIL(IO, "%s: write: nothing was taken of %zu bytes", path, bytes);
        from += done;
        bytes -= (size_t)done;
    }
    return STATUS_OK;
}

status fsync_file(int fd, const char *path) {
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

/* EINTR leaves the file closed on Linux, and what counts was synced before. */
static status close_file(int fd, const char *path) {
    if (close(fd) && errno != EINTR) FAIL(IO, "%s: close: %s", path, strerror(errno));
    return STATUS_OK;
}

/* ---- files in blocks ---- */

static status join(char path[PATH_MAX], const char *folder, const char *name) {
    if (!*name || strlen(name) >= sizeof((blockfile_sums *)0)->name || strchr(name, '/') || !strcmp(name, ".") ||
        !strcmp(name, ".."))
        FAIL(DATA, "%s: \"%.80s\" is no name of a file within the folder", folder, name);
    if (snprintf(path, PATH_MAX, "%s/%s", folder, name) >= PATH_MAX) FAIL(ARG, "%s: path is too long", folder);
    return STATUS_OK;
}

status blockfile_create(blockfile **out, const char *folder, const char *name) {
    *out = NULL;
    blockfile *f = malloc(sizeof *f);
    if (!f) FAIL(MEM, "%s/%s: no memory for a buffer", folder, name);
    f->fd = -1, f->bytes = 0, f->crc = NULL, f->blocks = f->capacity = 0, f->failed = false, f->buffered = 0;
    status_code st = STATUS_OK;
    TRY_DONE(check_guard());
    TRY_DONE(join(f->path, folder, name));
    strcpy(f->name, name);
    TRY_DONE(file_create(&f->fd, f->path));
    *out = f;
    return STATUS_OK;
done:
    free(f);
    return st;
}

/* One block, or the file's shorter last one. */
static status write_block(blockfile *f, const void *data, size_t bytes) {
    if (f->blocks == f->capacity) {
        int capacity = f->capacity ? 2 * f->capacity : 64;
        uint32_t *crc = realloc(f->crc, (size_t)capacity * sizeof *crc);
        if (!crc) FAIL(MEM, "%s: no memory for %d checksums", f->path, capacity);
        f->crc = crc;
        f->capacity = capacity;
    }
    f->crc[f->blocks++] = (uint32_t)crc32(0, data, (uInt)bytes);
    return write_all(f->fd, f->path, data, bytes);
}

static status write_blocks(blockfile *f, const char *data, size_t bytes) {
    f->bytes += (i64)bytes;
    while (bytes) {
        size_t n = BLOCKFILE_BLOCK - f->buffered;
        if (n > bytes) n = bytes;
        if (n == BLOCKFILE_BLOCK) {
            TRY(write_block(f, data, n)); /* a whole block needs no copy */
        } else {
            memcpy(f->buffer + f->buffered, data, n);
            f->buffered += n;
        }
        if (f->buffered == BLOCKFILE_BLOCK) {
            TRY(write_block(f, f->buffer, BLOCKFILE_BLOCK));
            f->buffered = 0;
        }
        data += n;
        bytes -= n;
    }
    return STATUS_OK;
}

status blockfile_write(blockfile *f, const void *data, size_t bytes) {
    if (f->failed) FAIL(IO, "%s: an earlier write failed", f->path);
    status_code st = write_blocks(f, data, bytes);
    f->failed = st != STATUS_OK;
    return st;
}

status blockfile_close(blockfile *f, blockfile_sums *sums) {
    *sums = (blockfile_sums){0};
    status_code st = STATUS_OK;
    if (f->failed) FAIL_DONE(IO, "%s: an earlier write failed", f->path);
    if (f->buffered) TRY_DONE(write_block(f, f->buffer, f->buffered));
    TRY_DONE(fsync_file(f->fd, f->path));
    int fd = f->fd;
    f->fd = -1;
    TRY_DONE(close_file(fd, f->path));
    strcpy(sums->name, f->name);
    sums->bytes = f->bytes;
    sums->crc = f->crc;
    sums->blocks = f->blocks;
    free(f);
    return STATUS_OK;
done:
    blockfile_abandon(f);
    return st;
}

void blockfile_abandon(blockfile *f) {
    if (!f) return;
    if (f->fd >= 0) close(f->fd);
    unlink(f->path); /* gives the space back when the disk is full */
    free(f->crc);
    free(f);
}

/* ---- checking ---- */

static status read_block(int fd, const char *path, i64 from, unsigned char *block, size_t bytes) {
    for (size_t used = 0; used < bytes;) {
        ssize_t got = pread(fd, block + used, bytes - used, from + (i64)used);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) FAIL(IO, "%s: read: %s", path, strerror(errno));
        if (got == 0) FAIL(DATA, "%s: became shorter while it was read", path);
        used += (size_t)got;
    }
    return STATUS_OK;
}

static status check_blocks(int fd, const char *path, const blockfile_sums *sums, int first, int stride) {
    struct stat info;
    if (fstat(fd, &info)) FAIL(IO, "%s: %s", path, strerror(errno));
    if (!S_ISREG(info.st_mode)) FAIL(DATA, "%s: is no plain file", path);
    if (info.st_size != sums->bytes)
        FAIL(DATA, "%s: is %lld bytes long, expected %lld", path, (long long)info.st_size, (long long)sums->bytes);
    if (sums->blocks != (sums->bytes + BLOCKFILE_BLOCK - 1) / BLOCKFILE_BLOCK)
        FAIL(DATA, "%s: has %d checksums for %lld bytes, expected one for every %d", path, sums->blocks,
             (long long)sums->bytes, BLOCKFILE_BLOCK);
    unsigned char *block = malloc(BLOCKFILE_BLOCK);
    if (!block) FAIL(MEM, "%s: no memory for a buffer", path);
    status_code st = STATUS_OK;
    for (int i = first; i < sums->blocks; i += stride) {
        i64 from = (i64)i * BLOCKFILE_BLOCK, left = sums->bytes - from;
        size_t bytes = left < BLOCKFILE_BLOCK ? (size_t)left : BLOCKFILE_BLOCK;
        TRY_DONE(read_block(fd, path, from, block, bytes));
        uint32_t crc = (uint32_t)crc32(0, block, (uInt)bytes);
        if (crc != sums->crc[i])
            FAIL_DONE(DATA, "%s: block %d (bytes %lld to %lld) has crc32 %08x, expected %08x", path, i, (long long)from,
                      (long long)from + (long long)bytes - 1, crc, sums->crc[i]);
    }
done:
    free(block);
    return st;
}

status blockfile_check(const char *folder, const blockfile_sums *sums) {
    return blockfile_check_some(folder, sums, 0, 1);
}

status blockfile_check_some(const char *folder, const blockfile_sums *sums, int first, int stride) {
    char path[PATH_MAX];
    TRY(join(path, folder, sums->name)); /* it comes from a manifest, which may be anyone's */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT) FAIL(DATA, "%s: %s", path, strerror(errno));
    if (fd < 0) FAIL(IO, "%s: %s", path, strerror(errno));
    status_code st = check_blocks(fd, path, sums, first, stride);
    close(fd);
    return st;
}

/* ---- whole files and folders ---- */

static status sync_parent(const char *path) {
    char copy[PATH_MAX];
    if (snprintf(copy, sizeof copy, "%s", path) >= PATH_MAX) FAIL(ARG, "%s: path is too long", path);
    return fsync_folder(dirname(copy));
}

status write_file_atomic(const char *path, const void *data, size_t bytes) {
    char temporary[PATH_MAX];
    if (snprintf(temporary, sizeof temporary, "%s.tmp", path) >= PATH_MAX) FAIL(ARG, "%s: path is too long", path);
    int fd;
    TRY(check_guard());
    TRY(file_create(&fd, temporary));
    status_code st = write_all(fd, temporary, data, bytes);
    if (st == STATUS_OK) st = fsync_file(fd, temporary);
    if (st == STATUS_OK) st = close_file(fd, temporary);
    else close(fd);
    if (st == STATUS_OK) st = rename_path(temporary, path);
    if (st != STATUS_OK) {
        unlink(temporary);
        return st;
    }
    return sync_parent(path);
}

status rename_folder(const char *from, const char *to) {
    TRY(rename_path(from, to));
    return sync_parent(to);
}

status fsync_folder(const char *path) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) FAIL(IO, "%s: %s", path, strerror(errno));
    status_code st = fsync_file(fd, path);
    if (st == STATUS_OK) st = close_file(fd, path);
    else close(fd);
    return st;
}

static status make_folder(const char *path) {
    struct stat info;
    TRY(check_guard());
    if (mkdir(path, 0777) == 0) return sync_parent(path);
    if (errno != EEXIST) FAIL(IO, "%s: mkdir: %s", path, strerror(errno));
    if (stat(path, &info)) FAIL(IO, "%s: %s", path, strerror(errno));
    if (!S_ISDIR(info.st_mode)) FAIL(IO, "%s: is no folder", path);
    return STATUS_OK;
}

status make_folders(const char *path) {
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

status remove_folder(const char *path) {
    struct stat info;
    TRY(check_guard());
    if (lstat(path, &info)) {
        if (errno == ENOENT) return STATUS_OK;
        FAIL(IO, "%s: %s", path, strerror(errno));
    }
    if (!S_ISDIR(info.st_mode)) FAIL(IO, "%s: is no folder, expected one to remove", path);
    /* depth first; links are removed, not followed; other file systems are left alone */
    int result = nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
    if (result < 0) FAIL(IO, "%s: remove: %s", path, strerror(errno));
    return (status_code)result;
}
