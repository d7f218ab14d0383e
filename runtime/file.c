#include "runtime/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SMALLEST_BUFFER = 4096, LARGEST_FILE = 1 << 30 };

status file_open(int *fd, const char *path, size_t *size) {
    struct stat info;
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == EACCES || errno == ENXIO))
        FAIL(DATA, "%s: %s", path, strerror(errno));
    if (*fd < 0) FAIL(IO, "%s: %s", path, strerror(errno));
    status_code st = STATUS_OK;
    if (fstat(*fd, &info)) FAIL_DONE(IO, "%s: %s", path, strerror(errno));
    if (!S_ISREG(info.st_mode))
        FAIL_DONE(DATA, "%s: is %s, expected a regular file", path,
                  S_ISDIR(info.st_mode)    ? "a folder"
                  : S_ISFIFO(info.st_mode) ? "a pipe"
                  : S_ISSOCK(info.st_mode) ? "a socket"
                                           : "a device");
    *size = (size_t)info.st_size;
    return STATUS_OK;
done:
    close(*fd);
    *fd = -1;
    return st;
}

static status_code too_large(const char *path, size_t most) {
    if (most >= 1 << 20) FAIL(DATA, "%s: is larger than %zu MiB, expected a smaller file", path, most >> 20);
    FAIL(DATA, "%s: is larger than %zu bytes, expected a smaller file", path, most);
}

/* Reads to the end, not st_size bytes: that is 0 for files of /proc, and a file may grow. */
static status read_all(int fd, const char *path, size_t capacity, size_t most, char **data, size_t *bytes) {
    status_code st = STATUS_OK;
    size_t used = 0;
    char *buffer = malloc(capacity);
    if (!buffer) FAIL_DONE(MEM, "%s: no memory for %zu bytes", path, capacity);
    for (;;) {
        ssize_t got = read(fd, buffer + used, capacity - used);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) FAIL_DONE(IO, "%s: %s", path, strerror(errno));
        if (got == 0) break;
        used += (size_t)got;
        if (used > most) {
            st = too_large(path, most);
            goto done;
        }
        if (used < capacity) continue;
        char *larger = realloc(buffer, capacity *= 2);
        if (!larger) FAIL_DONE(MEM, "%s: no memory for %zu bytes", path, capacity);
        buffer = larger;
    }
    buffer[used] = 0;
    *data = buffer;
    *bytes = used;
    return STATUS_OK;
done:
    free(buffer);
    return st;
}

status file_read_up_to(size_t most, const char *path, char **data, size_t *bytes) {
    int fd;
    size_t size;
    *data = NULL;
    *bytes = 0;
    TRY(file_open(&fd, path, &size));
    status_code st =
        size > most ? too_large(path, most) : read_all(fd, path, size + SMALLEST_BUFFER, most, data, bytes);
    close(fd);
    return st;
}

status file_read(const char *path, char **data, size_t *bytes) {
    return file_read_up_to(LARGEST_FILE, path, data, bytes);
}

status file_create(int *fd, const char *path) {
    *fd = -1;
    if (unlink(path) && errno != ENOENT) FAIL(IO, "%s: cannot be replaced: %s", path, strerror(errno));
    *fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (*fd < 0) FAIL(IO, "%s: %s", path, strerror(errno));
    return STATUS_OK;
}
