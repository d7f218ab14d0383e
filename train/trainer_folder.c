#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/file.h"
#include "runtime/path.h"
#include "train/trainer_parts.h"

/* Rank 0 creates a file with a new name in --out, and every rank must find it. A name that was looked up before could be cached
 * as absent by a network file system. */
static status check_same_folder(const trainer *t) {
    const char *out = t->o->out;
    uint64_t token = meter_clock_ns();
    char name[64];
    status_code st = STATUS_OK;
    int fd = -1;
    if (t->world->ranks == 1) return st;
    TRY(comm_broadcast_host(t->world, &token, sizeof token));
    snprintf(name, sizeof name, ".seen-by-all-%016lx", token);
    path_text path = path_join(out, name);
    if (trainer_is_root(t)) st = file_create(&fd, path.text);
    if (fd >= 0) close(fd);
    TRY(comm_agree(t->world, st));
    if (access(path.text, F_OK) != 0)
        st = ERROR(
            ARG, "--out %s: this is not the folder that rank 0 sees; expected a file system that all ranks share", out);
    st = comm_agree(t->world, st);
    if (trainer_is_root(t)) remove(path.text);
    return st;
}

status trainer_lock(trainer *t) {
    status_code st = STATUS_OK;
    if (trainer_is_root(t)) st = run_lock_take(&t->lock, t->o->out, true);
    TRY(comm_agree(t->world, st));
    return check_same_folder(t);
}

/* --- changes of the folder while the run uses it --- */

static status check_metrics(const trainer *t) {
    const char *path = t->metrics_path.text;
    struct stat named, open;
    if (fstat(fileno(t->metrics), &open)) FAIL(IO, "%s: %s", path, strerror(errno));
    if (lstat(path, &named)) FAIL(ARG, "%s: the file was deleted or moved while the run was writing to it", path);
    if (named.st_dev != open.st_dev || named.st_ino != open.st_ino)
        FAIL(ARG, "%s: the file was replaced by another while the run was writing to it", path);
    return STATUS_OK;
}

void trainer_look_at_folder(trainer *t) {
    if (!trainer_is_root(t) || t->mine.folder != FOLDER_FINE) return;
    status_code folder = run_lock_check(t->lock), metrics = folder ? STATUS_OK : check_metrics(t);
    if (!folder && !metrics) return;
    if (folder == STATUS_IO) return; /* the state is not known now; the next save reports the error */
    snprintf(t->folder_trouble, sizeof t->folder_trouble, "%s", status_message());
    if (metrics) t->mine.folder = FOLDER_WITHOUT_METRICS;
    else t->mine.folder = run_lock_follow(t->lock, &t->moved_to) ? FOLDER_LOST : FOLDER_MOVED;
}

static void save_there_from_now_on(trainer *t) {
    t->moved = *t->o;
    t->moved.out = t->moved_to.text;
    t->o = &t->moved;
}

status trainer_end_without_folder(trainer *t, status_code (*save)(trainer *t)) {
    bool moved = t->all->folder == FOLDER_MOVED;
    TRY(comm_broadcast_host(t->world, t->folder_trouble, sizeof t->folder_trouble));
    TRY(comm_broadcast_host(t->world, &t->moved_to, sizeof t->moved_to));
    if (t->all->folder == FOLDER_LOST) FAIL(ARG, "%s; nothing more was saved", t->folder_trouble);
    if (moved) save_there_from_now_on(t);
    TRY(save(t));
    FAIL(ARG, "%s; step %lu was saved%s; continue from it with --resume%s", t->folder_trouble, t->p.step,
         moved ? " there" : "", moved ? " and that folder as --out" : "");
}
