/* The ranks of a run as one job: which of them share a host, what part of its CPUs is a rank's, and how all of them end when
 * one fails: with one line, of the rank that knows, and no rank left waiting. */
#ifndef TALLY_JOB_H
#define TALLY_JOB_H

#include <stdatomic.h>

#include "parallel/comm.h"

typedef struct {
    comm *world; /* alone: comm_open_self's */
    int hosts;
    int host; /* which of them, in the order of their first ranks */
    int threads; /* CPUs that this process may use (affinity and quota), divided by the ranks that share them; alone 0: all */
    double timeout_s;
    atomic_int *spoken; /* of this host's ranks: one has said why the job ends. NULL: none could be had */
} job;

/* Opens the communicator; from then on the log is rank 0's. timeout_s: see comm_open; same: see job_same, which fails before
 * anything else is exchanged. All ranks together. */
status job_open(job *j, double timeout_s, const char *same);
void job_close(job *j);

/* Says this thread's last error, unless another rank does, and ends the job with its exit code. Returns only where alone,
 * having done nothing. Who speaks: of bad input, which all ranks see, rank 0; of a failure of its own the rank; of a peer's
 * silence the first to notice, a moment later, for the peer may yet speak itself. Between hosts it goes by delays. */
void job_fail(job *j, status_code st);

#endif
