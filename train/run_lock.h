/* One writer for a run at a time: the lock of the folder RUN, which training and whatever else writes into RUN take.
 * Readers need none.
 *
 * RUN itself is locked by flock, which ends with the process, however it ends. RUN/.lock names the owner (lock_owner.h);
 * it is removed when the lock is released, and one that a killed process left is taken over.
 * On a file system of several hosts flock may be absent, or hold on one host only. There RUN/.lock is a lease: its owner
 * renews it every 5 s, and whoever finds it watches it for 60 s: renewed, its owner lives; else it is stale, and is
 * taken over. No host's clock is compared with another's. An owner that runs again after it was stopped for longer than
 * a lease finds out before its next write (run_lock_check), and ends.
 * The owner on the same host that is gone is known at once, by its process number and start.
 *
 * TALLY_LOCK_LEASE=SECONDS in the environment: by lease on any file system, and of so many seconds; for tests, and for
 * a file system of several hosts that tells it is a local one. */
#ifndef TALLY_RUN_LOCK_H
#define TALLY_RUN_LOCK_H

#include <stdbool.h>

#include "runtime/path.h"
#include "runtime/status.h"

typedef struct run_lock run_lock;

/* Held by another: ARG, and the message names the owner. create: makes the folder (mkdir -p), which must exist
 * otherwise. A process holds one such lock at a time: every durable write of blockfile.h checks it. */
status run_lock_take(run_lock **l, const char *run, bool create);

/* Before a write: whether `run` still names the locked folder, and the lock is still this process's. ARG, with what has
 * happened, where the folder was moved, deleted or replaced, or another process took the lock over; IO where it cannot be told.
 * Two calls of stat. */
status run_lock_check(run_lock *l);

/* For another thread's small writes: false where this process holds a lock that it has not been able to renew for half a
 * lease, so that another may have taken it over. true where it holds none. */
bool run_lock_fresh(void);

/* After run_lock_check has failed: where the folder was only moved, the lock is from here on that of its new place, *to. Else
 * fails (ARG). */
status run_lock_follow(run_lock *l, path_text *to);

/* Removes RUN/.lock, and RUN and the folders above it as far as taking the lock made them and they are empty. NULL: nothing
 * to do. Does not touch the thread's last error. */
void run_lock_release(run_lock *l);

#endif
