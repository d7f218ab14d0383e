#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "train/trainer_parts.h"

/* A file that rank 0 puts into --out, of a name that none has looked for before, all must find. */
static status check_same_folder(const trainer *t) {
    const char *out = t->o->out;
    uint64_t token = clock_ns();
    path_text path;
    status_code st = STATUS_OK;
    int fd = -1;
    if (t->world->ranks == 1) return st;
    TRY(comm_tell(t->world, &token, sizeof token));
    snprintf(path.text, sizeof path.text, "%.4000s/.seen-by-all-%016lx", out, token);
    if (trainer_speaks(t)) st = file_create(&fd, path.text);
    if (fd >= 0) close(fd);
    TRY(comm_agree(t->world, st));
    if (access(path.text, F_OK) != 0)
        st = ERROR(ARG, "--out %s: not the folder of rank 0; expected a file system that all ranks see", out);
    st = comm_agree(t->world, st);
    if (trainer_speaks(t)) remove(path.text);
    return st;
}

status trainer_lock(trainer *t) {
    status_code st = STATUS_OK;
    if (trainer_speaks(t)) st = run_lock_take(&t->lock, t->o->out, true);
    TRY(comm_agree(t->world, st));
    return check_same_folder(t);
}

status trainer_check_files(const trainer *t) {
    const char *path = t->metrics_path.text;
    struct stat named, open;
    TRY(run_lock_check(t->lock));
    if (fstat(fileno(t->metrics), &open)) FAIL(IO, "%s: %s", path, strerror(errno));
    if (lstat(path, &named)) {
        if (errno != ENOENT) FAIL(IO, "%s: %s", path, strerror(errno));
        FAIL(ARG, "%s: the file was deleted or moved while the run was writing to it", path);
    }
    if (named.st_dev != open.st_dev || named.st_ino != open.st_ino)
        FAIL(ARG, "%s: the file was replaced by another while the run was writing to it", path);
    return STATUS_OK;
}
