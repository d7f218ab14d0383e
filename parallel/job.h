/* The ranks of a run as one job: what part of a host's CPUs a rank gets, and how all ranks end when one fails. */
#ifndef TALLY_JOB_H
#define TALLY_JOB_H

#include "parallel/comm.h"

typedef struct {
    comm *world; /* one rank: of comm_open_self */
    /* CPUs that this process may use (affinity and quota), divided by the ranks that share them; one rank: 0, which means all */
    int threads;
} job;

/* Opens the communicator; from then on only rank 0 logs. timeout_s: see comm_open; same: see job_same, which fails before
 * anything else is exchanged. All ranks together. */
status job_open(job *j, double timeout_s, const char *same);
void job_close(job *j);

/* Logs this thread's last error with the rank's number, and ends the job with its exit code. An error that every rank has (bad
 * input, a loss that is not finite, a result of comm_agree) is logged by rank 0 only. A rank that stops answering may be
 * reported by several of the others. With one rank it logs nothing and returns. */
void job_fail(job *j, status_code st);

/* The same for an error that this rank has found before job_open. Its collective is the first one of job_open, so the other
 * ranks get the error there. Does nothing after job_open. */
void job_refuse(status_code st);

#endif
