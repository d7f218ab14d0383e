/* The lock of the folder RUN: one process at a time writes into it. Training takes the lock, and so does every other writer.
 * Readers need none.
 *
 * RUN itself is locked with flock, which ends with the process. RUN/.lock names the owner (lock_owner.h). It is removed when the
 * lock is released; one that a killed process left is taken over.
 * On a shared file system flock may be missing, or may hold on one host only. There RUN/.lock is a lease: its owner renews it
 * every 5 s, and another process that finds it watches it for 60 s. If it is renewed, the owner is alive; if not, it is stale and
 * is taken over. Clocks of two hosts are never compared. An owner that was suspended for longer than a lease notices it before its
 * next write (run_lock_check), and ends. An owner on the same host that is gone is recognised at once by its pid and start time.
 *
 * TALLY_LOCK_LEASE=SECONDS in the environment: use a lease of that length on any file system. For tests, and for a shared file
 * system that looks like a local one. */
#ifndef TALLY_RUN_LOCK_H
#define TALLY_RUN_LOCK_H

#include <stdbool.h>

#include "runtime/path.h"
#include "runtime/status.h"

typedef struct run_lock run_lock;

/* ARG if another process holds the lock; the message names it. create: makes the folder (mkdir -p); otherwise it must exist. A
 * process holds at most one lock; every change through runtime/durable.h checks it. */
status run_lock_take(run_lock **l, const char *run, bool create);

/* Call it before a write. ARG if the folder was moved, deleted or replaced, or if another process took over the lock; the message
 * says which. IO if this cannot be determined. Costs two calls of stat. */
status run_lock_check(run_lock *l);

/* For small writes of other threads. false: this process has not been able to renew its lock for half a lease, so another process
 * may take it over. true if it holds no lock. */
bool run_lock_fresh(void);

/* Call it after run_lock_check has failed. If the folder was only moved, the lock now applies to its new path, *to. Otherwise
 * ARG. */
status run_lock_follow(run_lock *l, path_text *to);

/* Removes RUN/.lock, and those empty folders of the path RUN that run_lock_take made. NULL is allowed. Keeps status_message(). */
void run_lock_release(run_lock *l);

#endif
