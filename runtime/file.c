#include "runtime/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SMALLEST_BUFFER = 4096, LARGEST_FILE = 1 << 30 };

/* Reads to the end rather than st_size bytes: pipes and /proc say 0. */
static status read_all(int fd, const char *path, size_t capacity, char **data, size_t *bytes) {
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
        if (used > LARGEST_FILE) FAIL_DONE(DATA, "%s: more than 1 GiB", path);
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

status read_file(const char *path, char **data, size_t *bytes) {
    *data = NULL;
    *bytes = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == EACCES)) FAIL(DATA, "%s: %s", path, strerror(errno));
    if (fd < 0) FAIL(IO, "%s: %s", path, strerror(errno));
    status_code st = STATUS_OK;
    struct stat info;
    if (fstat(fd, &info)) FAIL_DONE(IO, "%s: %s", path, strerror(errno));
    if (S_ISDIR(info.st_mode)) FAIL_DONE(DATA, "%s: is a folder, expected a file", path);
    if (info.st_size > LARGEST_FILE) FAIL_DONE(DATA, "%s: more than 1 GiB", path);
    TRY_DONE(read_all(fd, path, (size_t)info.st_size + SMALLEST_BUFFER, data, bytes));
done:
    close(fd);
    return st;
}

status file_create(int *fd, const char *path) {
    *fd = -1;
    if (unlink(path) && errno != ENOENT) FAIL(IO, "%s: cannot be replaced: %s", path, strerror(errno));
    *fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (*fd < 0) FAIL(IO, "%s: %s", path, strerror(errno));
    return STATUS_OK;
}

path_text path_join(const char *folder, const char *name) {
    path_text p;
    if (snprintf(p.text, sizeof p.text, "%s/%s", folder, name) >= (int)sizeof p.text) p.text[0] = 0;
    return p;
}

bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}
