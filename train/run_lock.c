#include "train/run_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "runtime/durable.h"
#include "runtime/log.h"
#include "runtime/path.h"
#include "train/lock_owner.h"

static const char NAME[] = ".lock";
static const double LEASE_S = 60, RENEWALS_A_LEASE = 12;
enum { TEXT_BYTES = 2048, ATTEMPTS = 100, SETTLE_MS = 500 };

struct run_lock {
    path_text run;
    size_t existed; /* length of the part of `run` that was a folder before run_lock_take */
    int folder, file;
    bool lease_only;
    bool by_lease;  /* flock does not exclude every process that may write */
    bool contended; /* there was a lock, which others may have found stale too */
    double lease_s;
    lock_owner owner;
    char *text; /* of RUN/.lock */
    size_t renewed_at;
    uint64_t renewals;
    pthread_t thread;
    bool has_thread, closing; /* closing: under the mutex */
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    _Atomic uint64_t seen_ns; /* when this process last saw that RUN/.lock is its own */
    atomic_bool lost;
};

static run_lock *held; /* by this process, or NULL */

typedef struct {
    bool there, known;
    char text[TEXT_BYTES + 1];
    size_t bytes;
    lock_owner owner;
} found_lock;

/* This clock also runs while the machine is suspended. */
static uint64_t boot_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void wait_ms(long ms) {
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

/* ---- looking ---- */

/* flock excludes all other writers, except on hosts that mount this file system from this host */
static bool is_local(int fd) {
    static const long local[] = {EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC,  BTRFS_SUPER_MAGIC,     TMPFS_MAGIC,
                                 RAMFS_MAGIC,      F2FS_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC, 0x2fc12fc1 /* ZFS */};
    struct statfs info;
    if (fstatfs(fd, &info)) return false;
    for (size_t i = 0; i < sizeof local / sizeof *local; i++)
        if ((long)info.f_type == local[i]) return true;
    return false;
}

static status read_lock_at(const run_lock *l, const char *name, found_lock *f) {
    *f = (found_lock){0};
    int fd = openat(l->folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) return STATUS_OK;
    struct stat info = {0};
    if (fd < 0 || fstat(fd, &info) || !S_ISREG(info.st_mode)) {
        int code = errno;
        if (fd >= 0) close(fd);
        if (fd < 0 && code != ELOOP) FAIL(IO, "%s/%s: %s", l->run.text, name, strerror(code));
        FAIL(ARG, "%s/%s: is a link, a folder or a device, expected a regular file", l->run.text, name);
    }
    f->there = true;
    for (ssize_t got; f->bytes < TEXT_BYTES; f->bytes += (size_t)got) {
        got = read(fd, f->text + f->bytes, TEXT_BYTES - f->bytes);
        if (got < 0 && errno == EINTR) got = 0;
        else if (got <= 0) break;
    }
    close(fd);
    f->known = lock_owner_parse(&f->owner, f->text, f->bytes);
    return STATUS_OK;
}

static bool is_mine(const run_lock *l, const found_lock *f) {
    return f->known && strcmp(f->owner.nonce, l->owner.nonce) == 0;
}

static status refuse(const run_lock *l, const found_lock *f) {
    FAIL(ARG, "%s: is in use by %s; only one process at a time can write into a run", l->run.text,
         f->known ? lock_owner_describe(&f->owner).text : "another process");
}

/* ---- steps of taking ---- */

static status lock_folder(run_lock *l) {
    found_lock f = {0};
    l->by_lease = l->lease_only || !is_local(l->folder);
    for (int i = 0; i < ATTEMPTS && !l->lease_only; i++) {
        if (flock(l->folder, LOCK_EX | LOCK_NB) == 0) return STATUS_OK;
        if (errno == EINTR) continue;
        if (errno != EWOULDBLOCK) { /* this file system has no flock */
            l->by_lease = true;
            return STATUS_OK;
        }
        TRY(read_lock_at(l, NAME, &f));
        if (f.known) break;
        wait_ms(10); /* the owner is writing its name, or is ending */
    }
    return l->lease_only ? STATUS_OK : refuse(l, &f);
}

/* errno is 0 if `path` exists and is something else */
static bool names_locked_folder(const run_lock *l, const char *path) {
    struct stat named, locked;
    errno = 0;
    return stat(path, &named) == 0 && fstat(l->folder, &locked) == 0 && named.st_dev == locked.st_dev &&
           named.st_ino == locked.st_ino;
}

/* Whether the owner cannot be running. With flock, a running owner on this host, or on this host before it rebooted, would hold
 * it. */
static bool is_stale(const run_lock *l, const found_lock *f) {
    const process *then = &f->owner.process, *now = &l->owner.process;
    if (f->known && process_gone(then, now)) return true;
    if (l->by_lease) return false;
    return !f->known || strcmp(then->boot, now->boot) == 0 || strcmp(then->host, now->host) == 0;
}

/* Waits until the lock is stale (*stale) or removed (f->there false). ARG if it is renewed: its owner is alive. */
static status watch(const run_lock *l, found_lock *f, bool *stale) {
    found_lock now;
    log_line("%s: locked by %s; waiting %.0f s to see whether it renews the lock", l->run.text,
             f->known ? lock_owner_describe(&f->owner).text : "an unknown process", l->lease_s);
    for (uint64_t since = boot_ns(); (double)(boot_ns() - since) < l->lease_s * 1e9;) {
        wait_ms(100);
        TRY(read_lock_at(l, NAME, &now));
        bool changed = now.bytes != f->bytes || memcmp(now.text, f->text, now.bytes) != 0;
        if (now.there && changed && now.known) return refuse(l, &now);
        if (changed) since = boot_ns(); /* it is being written */
        *f = now;
        if (!f->there) return STATUS_OK;
    }
    *stale = true;
    return STATUS_OK;
}

/* Two processes may find the same lock stale. So it is moved away, read again, and put back if it is not the one that was found. */
static status displace(const run_lock *l, const found_lock *f) {
    char away[64];
    found_lock moved;
    snprintf(away, sizeof away, "%s.%s", NAME, l->owner.nonce);
    if (renameat(l->folder, NAME, l->folder, away)) {
        if (errno == ENOENT) return STATUS_OK;
        FAIL(IO, "%s/%s: rename: %s", l->run.text, NAME, strerror(errno));
    }
    TRY(read_lock_at(l, away, &moved));
    bool same = moved.bytes == f->bytes && memcmp(moved.text, f->text, f->bytes) == 0;
    if (!same) (void)!linkat(l->folder, away, l->folder, NAME, 0);
    unlinkat(l->folder, away, 0);
    if (!same) return refuse(l, &moved);
    log_line("%s: the lock of %s is stale and was taken over", l->run.text,
             f->known ? lock_owner_describe(&f->owner).text : "an unknown process");
    return STATUS_OK;
}

static status clear_stale(run_lock *l) {
    found_lock f;
    TRY(read_lock_at(l, NAME, &f));
    bool stale = f.there && is_stale(l, &f);
    l->contended |= f.there && l->by_lease;
    if (f.there && !stale) TRY(watch(l, &f, &stale));
    return stale ? displace(l, &f) : STATUS_OK;
}

/* While another process had our lock away (see displace), a third one may have taken the name. */
static status confirm(const run_lock *l) {
    found_lock f;
    wait_ms(SETTLE_MS);
    TRY(read_lock_at(l, NAME, &f));
    return is_mine(l, &f) ? STATUS_OK : refuse(l, &f);
}

static status write_text(const run_lock *l, size_t from, size_t bytes) {
    if (pwrite(l->file, l->text + from, bytes, (off_t)from) != (ssize_t)bytes || (l->by_lease && fsync(l->file)))
        FAIL(IO, "%s/%s: %s", l->run.text, NAME, strerror(errno));
    return STATUS_OK;
}

/* *taken stays false if another process was faster or the folder is gone; the caller tries again. */
static status attempt(run_lock *l, bool create, bool *taken) {
    if (create) TRY(durable_make_folders(l->run.text));
    if (l->folder >= 0) close(l->folder);
    l->folder = open(l->run.text, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (l->folder < 0 && create && errno == ENOENT) return STATUS_OK;
    if (l->folder < 0) FAIL(DATA, "%s: %s", l->run.text, strerror(errno));
    TRY(lock_folder(l));
    if (!names_locked_folder(l, l->run.text)) return STATUS_OK;
    TRY(clear_stale(l));
    l->file = openat(l->folder, NAME, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (l->file < 0 && (errno == EEXIST || errno == ENOENT)) return STATUS_OK;
    if (l->file < 0) FAIL(IO, "%s/%s: %s", l->run.text, NAME, strerror(errno));
    l->seen_ns = boot_ns();
    *taken = true;
    TRY(write_text(l, 0, strlen(l->text)));
    return l->contended ? confirm(l) : STATUS_OK;
}

/* ---- keeping ---- */

/* With flock, RUN/.lock may be missing because somebody deleted it. With a lease, it may be missing for a moment: see displace. */
static status look(run_lock *l) {
    found_lock f;
    uint64_t now = boot_ns();
    TRY(read_lock_at(l, NAME, &f));
    for (int i = 0; i < 20 && !f.there && l->by_lease; i++) {
        wait_ms(10);
        TRY(read_lock_at(l, NAME, &f));
    }
    if (!is_mine(l, &f) && (f.there || l->by_lease)) {
        l->lost = true;
        FAIL(ARG, "%s: %s took over the run because this process had not renewed its lock; this process stops writing",
             l->run.text, f.known ? lock_owner_describe(&f.owner).text : "another process");
    }
    l->seen_ns = now;
    return STATUS_OK;
}

static void renew(run_lock *l) {
    char digits[32];
    if (look(l)) return; /* run_lock_check finds and reports it too */
    snprintf(digits, sizeof digits, "%010lu", ++l->renewals % 10000000000u);
    memcpy(l->text + l->renewed_at, digits, 10);
    (void)!write_text(l, l->renewed_at, 10);
}

static void *keep_renewing(void *lock) {
    run_lock *l = lock;
    double period_s = l->lease_s / RENEWALS_A_LEASE;
    pthread_mutex_lock(&l->mutex);
    while (!l->closing) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        uint64_t ns = (uint64_t)until.tv_nsec + (uint64_t)(period_s * 1e9);
        until.tv_sec += (time_t)(ns / 1000000000u);
        until.tv_nsec = (long)(ns % 1000000000u);
        pthread_cond_timedwait(&l->wake, &l->mutex, &until);
        if (l->closing) break;
        pthread_mutex_unlock(&l->mutex);
        renew(l);
        pthread_mutex_lock(&l->mutex);
    }
    pthread_mutex_unlock(&l->mutex);
    return NULL;
}

/* The thread blocks all signals, which belong to other threads. */
static status start_renewing(run_lock *l) {
    pthread_condattr_t clock;
    sigset_t all, before;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&l->wake, &clock);
    pthread_condattr_destroy(&clock);
    pthread_mutex_init(&l->mutex, NULL);
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int code = pthread_create(&l->thread, NULL, keep_renewing, l);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code) FAIL(MEM, "cannot start the thread that renews the lock: %s", strerror(code));
    l->has_thread = true;
    return STATUS_OK;
}

/* The path of the locked folder now. false: it was deleted, or cannot be reached by a path from here. */
static bool find_folder(const run_lock *l, path_text *now) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", l->folder);
    ssize_t length = readlink(link, now->text, sizeof now->text - 1);
    now->text[length > 0 ? length : 0] = 0;
    return length > 0 && names_locked_folder(l, now->text);
}

static status folder_gone(const run_lock *l) {
    path_text now;
    struct stat info;
    const char *other = stat(l->run.text, &info) == 0 ? " and replaced by another" : "";
    if (find_folder(l, &now))
        FAIL(ARG, "%s: the folder of the run was moved to %s%s while the run was writing to it", l->run.text, now.text,
             other);
    FAIL(ARG, "%s: the folder of the run was deleted%s while the run was writing to it", l->run.text, other);
}

status run_lock_follow(run_lock *l, path_text *to) {
    if (!find_folder(l, to)) return folder_gone(l);
    l->run = *to;
    l->existed = strlen(l->run.text); /* run_lock_release removes no folder */
    return run_lock_check(l);
}

static double unseen_s(const run_lock *l) { return (double)(boot_ns() - l->seen_ns) * 1e-9; }

status run_lock_check(run_lock *l) {
    if (!names_locked_folder(l, l->run.text)) {
        if (errno && errno != ENOENT && errno != ENOTDIR && errno != ESTALE)
            FAIL(IO, "%s: %s", l->run.text, strerror(errno));
        return folder_gone(l);
    }
    if (l->lost || unseen_s(l) > 2 * l->lease_s / RENEWALS_A_LEASE) return look(l);
    return STATUS_OK;
}

bool run_lock_fresh(void) {
    if (!held || !held->by_lease) return true;
    return !held->lost && unseen_s(held) < held->lease_s / 2;
}

static status_code check_held(void) { return held ? run_lock_check(held) : STATUS_OK; }

/* ---- taking and releasing ---- */

/* Removes the last name of a path; returns the new length. */
static size_t cut_last(path_text *p, size_t length) {
    while (length && p->text[length - 1] == '/') length--;
    while (length && p->text[length - 1] != '/') length--;
    p->text[length] = 0;
    return length;
}

/* Length of the part of `run` that is a folder now. The rest will be made. */
static size_t existing_part(const char *run) {
    path_text part;
    struct stat info;
    size_t length = (size_t)snprintf(part.text, sizeof part.text, "%s", run);
    while (length && stat(part.text, &info)) length = cut_last(&part, length);
    return length;
}

static void remove_made(const run_lock *l) {
    path_text part = l->run;
    size_t length = strlen(part.text);
    while (length > l->existed && rmdir(part.text) == 0) length = cut_last(&part, length);
}

static status init(run_lock *l, const char *run) {
    const char *lease = getenv("TALLY_LOCK_LEASE");
    if (snprintf(l->run.text, sizeof l->run.text, "%s", run) >= (int)sizeof l->run.text)
        FAIL(ARG, "%s: path is too long", run);
    l->lease_s = lease ? atof(lease) : LEASE_S;
    l->lease_only = lease != NULL;
    if (!(l->lease_s > 0)) FAIL(ARG, "TALLY_LOCK_LEASE=%s: expected a number of seconds", lease);
    l->existed = existing_part(run);
    l->owner = lock_owner_self();
    return lock_owner_text(&l->text, &l->renewed_at, &l->owner);
}

status run_lock_take(run_lock **out, const char *run, bool create) {
    *out = NULL;
    run_lock *l = calloc(1, sizeof *l);
    if (!l) FAIL(MEM, "%s: no memory for its lock", run);
    l->folder = l->file = -1;
    bool taken = false;
    status_code st = STATUS_OK;
    TRY_DONE(init(l, run));
    for (int i = 0; i < ATTEMPTS && !taken; i++) TRY_DONE(attempt(l, create, &taken));
    if (!taken)
        FAIL_DONE(ARG, "%s: could not be locked, because other processes keep taking and releasing its lock", run);
    TRY_DONE(start_renewing(l));
    held = *out = l;
    durable_set_guard((durable_guard){.check = check_held, .allowed = run_lock_fresh});
    return STATUS_OK;
done:
    run_lock_release(l);
    return st;
}

void run_lock_release(run_lock *l) {
    if (!l) return;
    if (held == l) {
        held = NULL;
        durable_set_guard((durable_guard){0});
    }
    if (l->has_thread) {
        pthread_mutex_lock(&l->mutex);
        l->closing = true;
        pthread_cond_signal(&l->wake);
        pthread_mutex_unlock(&l->mutex);
        pthread_join(l->thread, NULL);
        pthread_cond_destroy(&l->wake);
        pthread_mutex_destroy(&l->mutex);
    }
    struct stat named, mine;
    if (l->file >= 0 && fstat(l->file, &mine) == 0 && fstatat(l->folder, NAME, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
        named.st_ino == mine.st_ino)
        unlinkat(l->folder, NAME, 0);
    if (l->file >= 0) close(l->file);
    if (l->folder >= 0) {
        if (names_locked_folder(l, l->run.text)) remove_made(l);
        close(l->folder); /* ends the flock */
    }
    free(l->text);
    free(l);
}
