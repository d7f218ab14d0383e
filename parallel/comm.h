/* A communicator: what one rank says to the others of its group. A resource with one table of functions a backend:
 * `self` (alone, needs no MPI) and MPI for host memory; NCCL, and `staged` (through host memory), for that of GPUs.
 *
 * Collectives are asynchronous. They run in the order in which they were queued, one behind the other, beside the
 * computation: on the CPU a thread that alone calls MPI moves them on. All ranks of a group must queue the same
 * collectives of that group in the same order, and ranks that share several groups those of all of them in one order, for
 * the groups of a job share one queue. Two kinds of event order them with the computation, on a CPU and on
 * streams alike:
 *   after  (may be NULL) the collective starts only when the computation has passed comm_mark(after)
 *   done   (may be NULL) comm_wait(done): the computation goes on only when the collective is complete
 * An event is zero-initialised and then has happened; it may be used again and again, and copied: it is a number.
 *
 * Sums are of f32 in the order of ranks, whatever travels: the same bits on every rank and in every run. `wire` is the
 * dtype in which elements travel: F32, or BF16, to which each is rounded (to nearest) before, a rank's own too. Over NCCL
 * sums that travel as F32 are as NCCL adds them: those of an all-reduce the same bits on every rank, as it documents them,
 * but not those of another backend, and from run to run not promised by it across its algorithms; not measured.
 * Bytes sent by a rank of n, of x bytes: all-gather and reduce-scatter (n-1)/n of the whole, all-reduce twice that. Over
 * NCCL they are counted by these formulas, and a broadcast as sent by its root to each.
 *
 * A peer that dies (seen at once on the same host) or that lets a collective wait longer than the time-out ends in a
 * COMM error that names the rank, the collective and the step, on every rank that misses it. After an error the
 * communicator is broken, its parts too, and every call fails with that message: all that is left to do is comm_abort.
 *
 * One thread of the program uses a communicator and its parts. */
#ifndef TALLY_COMM_H
#define TALLY_COMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "parallel/placement.h"
#include "runtime/device.h"
#include "runtime/status.h"
#include "runtime/tensor.h"

typedef struct comm comm;

typedef struct {
    uint64_t ticket; /* 0: has happened */
} comm_event;

typedef struct {
    status (*all_gather)(comm *c, void *to, const void *from, i64 count, dtype t, dtype wire, const comm_event *after,
                         comm_event *done);
    status (*reduce_scatter)(comm *c, float *to, float *from, i64 count, dtype wire, bool accumulate,
                             const comm_event *after, comm_event *done);
    status (*all_reduce)(comm *c, float *x, i64 count, dtype wire, const comm_event *after, comm_event *done);
    status (*broadcast)(comm *c, void *x, size_t bytes, int root, const comm_event *after, comm_event *done);
    status (*mark)(comm *c, comm_event *e);
    status (*wait)(comm *c, const comm_event *e);
    status (*check)(comm *c); /* NULL: to wait for an event that has happened does it */
    status (*allgather_host)(comm *c, void *all, const void *mine, size_t bytes);
    status (*split)(comm *c, comm **part, int color);
    void (*abort)(comm *c, int exit_code);
    void (*close)(comm *c);
} comm_ops;

/* What this rank did, over the communicator it was split from and all its parts. Over NCCL the times of collectives are the
 * GPU's own, known once it has come there: after comm_check they hold all that was complete. waited_ns of
 * a communicator of GPUs, staged too, is without exchange: a GPU goes on meanwhile. */
typedef struct {
    uint64_t bytes_sent; /* payload to other ranks, that of exchange, barrier and split too */
    uint64_t busy_ns;    /* collectives were under way, those of exchange too */
    uint64_t waited_ns;  /* the computation waited for them: exposed */
} comm_totals;

struct comm {
    const comm_ops *ops;
    comm *root;           /* what this is a part of: the job's communicator, or comm_open_device's; or itself */
    comm *host;           /* of device memory: the same ranks' communicator of host memory; else NULL */
    const char *name;     /* "self", "mpi", "nccl 2.28.9", "staged": for messages */
    int rank, ranks;      /* in this group */
    placement *placement; /* of the ranks of the whole job; the root's */
    /* of the root only */
    meter *clock;        /* the run's bookings or NULL: waiting is booked as exposed communication */
    uint64_t step;       /* for messages: comm_set_step */
    comm_totals totals;  /* the backend's thread adds to them: read them with comm_read_totals */
    size_t memory_bytes; /* of staging buffers in its kind of memory, fixed when opened */
    double timeout_s;    /* see comm_open */
    unsigned lent;       /* comm_open_device has given it away so many times more */
    bool broken;         /* a call has failed for good */
};

/* The job's communicator: MPI's where the process was started as one of several (mpirun, srun), else self. Several and
 * no MPI in this build: an error, never as many runs alone. timeout_s: a collective that this rank has begun fails
 * when no data has arrived for this long. */
status comm_open(comm **c, double timeout_s);
status comm_open_self(comm **c);
/* The communicator of dev's memory, of the ranks of `host`, which is a whole job's; all of them together. On a CPU it is
 * `host` itself: what was opened is closed all the same, and before `host` and `dev`. kind, as --comm gives it:
 *   nccl    NCCL, by which GPUs exchange directly; each rank has a GPU of its own, and libnccl.so.2 can be loaded there
 *   staged  through host memory and `host`, each collective at once: for tests, ranks that share a GPU, no NCCL
 *   auto    nccl where that can be, else staged, which rank 0 says, and why; alone staged, which then is nothing
 * Ranks on different kinds of device are an ARG error, on all of them. */
#define COMM_KIND_LIST(X) X(COMM_AUTO, "auto") X(COMM_NCCL, "nccl") X(COMM_STAGED, "staged")
typedef enum { COMM_KIND_LIST(CHOICES_VALUE) } comm_kind;
status comm_open_device(comm **c, comm *host, device *dev, comm_kind kind);
void comm_close(comm *c); /* NULL is fine; waits for what is queued, and at the root for all ranks; parts come first */

/* The ranks that call with the same color, in the order of their ranks. It shares the queue of c. A rank can be in three
 * parts at a time. */
status comm_split(comm *c, comm **part, int color);

/* From the launcher's environment, without opening anything: 0 and 1 where there is none. */
int comm_launch_rank(void);
int comm_launch_ranks(void);

/* to [ranks*count] = from [count] of every rank, in the order of ranks. from may be its own place in `to` where wire is t.
 * t F32 or BF16; wire t, or BF16 with t F32: then what is received is widened, and the own piece rounded in `to`. */
status comm_all_gather(comm *c, void *to, const void *from, i64 count, dtype t, dtype wire, const comm_event *after,
                       comm_event *done);
/* to [count] = or += (accumulate) the sum over ranks of from [ranks*count] at rank*count. to may be its place in `from`
 * where it does not accumulate; the rest of `from` stays as it is. Where it does, the own piece of `from` is lost: NCCL adds
 * `to` to it, and so needs no buffer for the sum. */
status comm_reduce_scatter(comm *c, float *to, float *from, i64 count, dtype wire, bool accumulate,
                           const comm_event *after, comm_event *done);
/* x [count] = sum over ranks. wire BF16: the sum is rounded once more to travel back. Any count: where it is no multiple of
 * the ranks, what a rank sends differs by an element or so; over all ranks it is 2(n-1) times the whole. */
status comm_all_reduce(comm *c, float *x, i64 count, dtype wire, const comm_event *after, comm_event *done);
status comm_broadcast(comm *c, void *x, size_t bytes, int root, const comm_event *after, comm_event *done);

status comm_mark(comm *c, comm_event *e);
status comm_wait(comm *c, const comm_event *e);
/* The error by which c has broken, if it has: where the computation is a GPU's, what was read of its results before this
 * call says OK is of collectives that came to their end. */
status comm_check(comm *c);

/* Synchronous, of host memory, for what is small: all [ranks][bytes] = mine [bytes] of every rank. Behind all queued; of a
 * communicator of device memory it goes over that of host memory, past what is queued between GPUs. */
status comm_allgather_host(comm *c, void *all, const void *mine, size_t bytes);
status comm_broadcast_host(comm *c, void *x, size_t bytes); /* x of rank 0, on all; the same */
/* The text of every rank, of any length, on every rank: that of rank r begins at *all + r * *row. *all is malloc'ed. */
status comm_gather_texts(comm *c, char **all, size_t *row, const char *text);
status comm_barrier(comm *c);
/* x[i] = sum over ranks of x[i], added in the order of ranks: the same bits everywhere */
status comm_sum_f64(comm *c, double *x, int count);
/* Fails on every rank with the message of the first rank whose st is not OK; OK where all are. */
status comm_agree(comm *c, status_code st);

void comm_set_step(comm *c, uint64_t step); /* what messages call the present step */
/* Of a communicator of device memory with what that of host memory did, but for its waiting: see comm_totals. */
comm_totals comm_read_totals(const comm *c);
/* From here on; NULL: no more. Of a communicator of device memory that of host memory books too: an exchange while the GPU
 * computes is no exposed communication, and whoever does one books nothing around it. */
void comm_set_meter(comm *c, meter *clock);

/* Ends all ranks of the job with this exit code; returns only where c is alone. */
void comm_abort(comm *c, int exit_code);

#endif
