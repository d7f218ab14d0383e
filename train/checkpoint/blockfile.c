#include "train/checkpoint/blockfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "runtime/durable.h"
#include "runtime/path.h"

struct blockfile {
    int fd;
    path_text path;
    char name[sizeof((blockfile_sums *)0)->name];
    i64 bytes; /* written so far, including the buffer */
    uint32_t *crc;
    int blocks, capacity; /* of crc */
    bool failed;
    size_t buffered;
    unsigned char buffer[BLOCKFILE_BLOCK];
};

/* ---- files in blocks ---- */

static status join(path_text *path, const char *folder, const char *name) {
    if (!*name || strlen(name) >= sizeof((blockfile_sums *)0)->name || strchr(name, '/') || !strcmp(name, ".") ||
        !strcmp(name, ".."))
        FAIL(DATA, "%s: \"%.80s\" is not the name of a file in the folder", folder, name);
    *path = path_join(folder, name);
    if (!path->text[0]) FAIL(ARG, "%s: path is too long", folder);
    return STATUS_OK;
}

status blockfile_create(blockfile **out, const char *folder, const char *name) {
    *out = NULL;
    blockfile *f = malloc(sizeof *f);
    if (!f) FAIL(MEM, "%s/%s: no memory for a buffer", folder, name);
    f->fd = -1, f->bytes = 0, f->crc = NULL, f->blocks = f->capacity = 0, f->failed = false, f->buffered = 0;
    status_code st = STATUS_OK;
    TRY_DONE(join(&f->path, folder, name));
    strcpy(f->name, name);
    TRY_DONE(durable_create(&f->fd, f->path.text));
    *out = f;
    return STATUS_OK;
done:
    free(f);
    return st;
}

/* One block; the last one of a file may be shorter. */
static status write_block(blockfile *f, const void *data, size_t bytes) {
    if (f->blocks == f->capacity) {
        int capacity = f->capacity ? 2 * f->capacity : 64;
        uint32_t *crc = realloc(f->crc, (size_t)capacity * sizeof *crc);
        if (!crc) FAIL(MEM, "%s: no memory for %d checksums", f->path.text, capacity);
        f->crc = crc;
        f->capacity = capacity;
    }
    f->crc[f->blocks++] = (uint32_t)crc32(0, data, (uInt)bytes);
    return durable_write(f->fd, f->path.text, data, bytes);
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
    if (f->failed) FAIL(IO, "%s: an earlier write failed", f->path.text);
    status_code st = write_blocks(f, data, bytes);
    f->failed = st != STATUS_OK;
    return st;
}

status blockfile_close(blockfile *f, blockfile_sums *sums) {
    *sums = (blockfile_sums){0};
    status_code st = STATUS_OK;
    if (f->failed) FAIL_DONE(IO, "%s: an earlier write failed", f->path.text);
    if (f->buffered) TRY_DONE(write_block(f, f->buffer, f->buffered));
    TRY_DONE(durable_sync(f->fd, f->path.text));
    int fd = f->fd;
    f->fd = -1;
    TRY_DONE(durable_close(fd, f->path.text));
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
    unlink(f->path.text); /* frees space on a full disk */
    free(f->crc);
    free(f);
}

/* ---- checking ---- */

static status read_block(int fd, const char *path, i64 from, unsigned char *block, size_t bytes) {
    for (size_t used = 0; used < bytes;) {
        ssize_t got = pread(fd, block + used, bytes - used, from + (i64)used);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) FAIL(IO, "%s: read: %s", path, strerror(errno));
        if (got == 0) FAIL(DATA, "%s: became shorter while it was being read", path);
        used += (size_t)got;
    }
    return STATUS_OK;
}

static status check_blocks(int fd, const char *path, const blockfile_sums *sums, int first, int stride) {
    struct stat info;
    if (fstat(fd, &info)) FAIL(IO, "%s: %s", path, strerror(errno));
    if (!S_ISREG(info.st_mode)) FAIL(DATA, "%s: expected a regular file", path);
    if (info.st_size != sums->bytes) FAIL(DATA, "%s: is %ld bytes long, expected %ld", path, info.st_size, sums->bytes);
    if (sums->blocks != (sums->bytes + BLOCKFILE_BLOCK - 1) / BLOCKFILE_BLOCK)
        FAIL(DATA, "%s: has %d checksums for %ld bytes, expected one per %d bytes", path, sums->blocks, sums->bytes,
             BLOCKFILE_BLOCK);
    unsigned char *block = malloc(BLOCKFILE_BLOCK);
    if (!block) FAIL(MEM, "%s: no memory for a buffer", path);
    status_code st = STATUS_OK;
    for (int i = first; i < sums->blocks; i += stride) {
        i64 from = (i64)i * BLOCKFILE_BLOCK, left = sums->bytes - from;
        size_t bytes = left < BLOCKFILE_BLOCK ? (size_t)left : BLOCKFILE_BLOCK;
        TRY_DONE(read_block(fd, path, from, block, bytes));
        uint32_t crc = (uint32_t)crc32(0, block, (uInt)bytes);
        if (crc != sums->crc[i])
            FAIL_DONE(DATA, "%s: block %d (bytes %ld to %ld) has crc32 %08x, expected %08x", path, i, from,
                      from + bytes - 1, crc, sums->crc[i]);
    }
done:
    free(block);
    return st;
}

status blockfile_check(const char *folder, const blockfile_sums *sums) {
    return blockfile_check_some(folder, sums, 0, 1);
}

status blockfile_check_some(const char *folder, const blockfile_sums *sums, int first, int stride) {
    path_text path;
    TRY(join(&path, folder, sums->name)); /* the name comes from a manifest, which may be damaged */
    int fd = open(path.text, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT) FAIL(DATA, "%s: %s", path.text, strerror(errno));
    if (fd < 0) FAIL(IO, "%s: %s", path.text, strerror(errno));
    status_code st = check_blocks(fd, path.text, sums, first, stride);
    close(fd);
    return st;
}
