/* A communicator: collectives among the ranks of a group. It is a resource with one table of functions for each backend:
 * `self` (one rank, without MPI) and MPI for host memory; NCCL, and `staged` (through host memory), for GPU memory.
 *
 * Collectives are asynchronous. They run beside the computation, one after the other, in the order in which they were queued. On
 * a CPU a thread of its own runs them; no other thread calls MPI. All ranks of a group must queue the same collectives of that
 * group in the same order. Ranks that share several groups must queue the collectives of all of them in one order, since the
 * groups of a job share one queue. Two events order a collective with the computation, on a CPU and on streams alike:
 *   after  (may be NULL) the collective starts only when the computation has passed comm_mark(after)
 *   done   (may be NULL) after comm_wait(done) the computation continues only when the collective is complete
 * A zero-initialised event is complete. An event is a number: it may be copied, and used any number of times.
 *
 * Sums are in f32 and in the order of ranks, so that the bits are the same on every rank and in every run. `wire` is the dtype
 * in which elements travel: F32, or BF16, to which every rank's elements are rounded (to nearest) first, this rank's own too.
 * NCCL adds what travels as F32 in an order of its own: an all-reduce gives the same bits on every rank, as NCCL documents, but
 * not those of another backend, and NCCL does not promise the same bits in every run (not measured).
 * Bytes that a rank of n sends, of x bytes: all-gather and reduce-scatter (n-1)/n of the whole, all-reduce twice that. For NCCL
 * these formulas are what is counted, and a broadcast counts as sent by its root to each of the others.
 *
 * If a rank dies (found at once on the same host), or if a collective waits for it longer than the time-out, every rank that
 * waits for it gets a COMM error with the rank, the collective and the step. After an error the communicator and its parts are
 * broken, and every call fails with that message: the caller can only call comm_abort.
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
    uint64_t ticket; /* 0: complete */
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
    status (*check)(comm *c); /* NULL: waits for a complete event, which finds an error too */
    status (*allgather_host)(comm *c, void *all, const void *mine, size_t bytes);
    status (*split)(comm *c, comm **part, int color);
    void (*abort)(comm *c, int exit_code);
    void (*close)(comm *c);
} comm_ops;

/* Totals of this rank, over the root communicator and all its parts. For NCCL the GPU measures the times: after comm_check they
 * contain every collective that was complete. For GPUs (NCCL and staged) waited_ns leaves out comm_allgather_host, since the GPU
 * computes meanwhile. */
typedef struct {
    uint64_t bytes_sent; /* payload to other ranks, with that of host values, barriers and splits */
    uint64_t busy_ns;    /* collectives were running, with those of host values */
    uint64_t waited_ns;  /* the computation waited for them: exposed */
} comm_totals;

struct comm {
    const comm_ops *ops;
    comm *root;           /* this is a part of it: the communicator of comm_open or comm_open_device; or itself */
    comm *host;           /* for device memory: the communicator of the same ranks for host memory; else NULL */
    const char *name;     /* "self", "mpi", "nccl 2.28.9", "staged": for messages */
    int rank, ranks;      /* in this group */
    placement *placement; /* of the ranks of the whole job; the root's */
    /* in the root only */
    meter *clock;        /* NULL, or where waiting is booked as exposed communication */
    uint64_t step;       /* for error messages: comm_set_step */
    comm_totals totals;  /* a thread of the backend adds to them: read them with comm_read_totals */
    size_t memory_bytes; /* staging buffers in this communicator's kind of memory; constant after opening */
    double timeout_s;    /* see comm_open */
    unsigned lent;       /* how many times comm_open_device has returned it */
    bool broken;         /* a call has failed, so all further ones do */
};

/* The communicator of the job: MPI if a launcher (mpirun, srun) started this process as one of several, else self. Several
 * processes and a build without MPI are an error. timeout_s: a collective fails after so many seconds in which nothing arrives,
 * counted from when this rank begins it. */
status comm_open(comm **c, double timeout_s);
status comm_open_self(comm **c);
/* The communicator for the memory of dev. All ranks of `host`, a job's communicator, call it together; it adds their devices to
 * the placement. On a CPU it is `host` itself. The caller closes it in any case, before `host` and `dev`. kind, from --comm:
 *   nccl    GPUs exchange directly by NCCL. Every rank needs a GPU of its own and a libnccl.so.2 that can be loaded
 *   staged  through host memory and `host`, one collective at a time: for tests, for ranks that share a GPU, without NCCL
 *   auto    nccl if it can be used, else staged, and rank 0 logs why. One rank: staged, which then does nothing
 * Ranks on different kinds of device get an ARG error, every one of them. */
#define COMM_KIND_LIST(X) X(COMM_AUTO, "auto") X(COMM_NCCL, "nccl") X(COMM_STAGED, "staged")
typedef enum { COMM_KIND_LIST(CHOICES_VALUE) } comm_kind;
status comm_open_device(comm **c, comm *host, device *dev, comm_kind kind);
void comm_close(
    comm *c); /* NULL is allowed; waits for queued collectives; the root waits for all ranks. Close parts first */

/* part: the ranks that call with the same color, in the order of their ranks. It shares the queue of c. A rank can be in three
 * parts at a time. */
status comm_split(comm *c, comm **part, int color);

/* From the launcher's environment, without opening anything; 0 and 1 without a launcher. */
int comm_launch_rank(void);
int comm_launch_ranks(void);

/* to [ranks*count] = from [count] of every rank, in the order of ranks. If wire is t, from may be this rank's place in
 * `to`. t F32 or BF16; wire t, or BF16 with t F32: then received elements are widened, and the own piece is rounded in `to`. */
status comm_all_gather(comm *c, void *to, const void *from, i64 count, dtype t, dtype wire, const comm_event *after,
                       comm_event *done);
/* to [count] = or += (accumulate) the sum over ranks of from [ranks*count] at rank*count. Without accumulate, to
 * may be this rank's place in `from`, and the rest of `from` keeps its values. With accumulate, the own piece of `from` is
 * overwritten: NCCL adds `to` to it, which saves a buffer for the sum. */
status comm_reduce_scatter(comm *c, float *to, float *from, i64 count, dtype wire, bool accumulate,
                           const comm_event *after, comm_event *done);
/* x [count] = sum over ranks. wire BF16: the sum is rounded once more to travel back. Any count: if it is not a
 * multiple of the ranks, ranks send up to an element more or less; all ranks together send 2(n-1) times the whole. */
status comm_all_reduce(comm *c, float *x, i64 count, dtype wire, const comm_event *after, comm_event *done);
status comm_broadcast(comm *c, void *x, size_t bytes, int root, const comm_event *after, comm_event *done);

status comm_mark(comm *c, comm_event *e);
status comm_wait(comm *c, const comm_event *e);
/* The error that has broken c, or OK. On a GPU, results that were read before this call returns OK come from complete
 * collectives. */
status comm_check(comm *c);

/* For small values in host memory; synchronous: all [ranks][bytes] = mine [bytes] of every rank. It runs after all queued
 * collectives. With a communicator for device memory it uses the one for host memory and does not wait for the GPUs. */
status comm_allgather_host(comm *c, void *all, const void *mine, size_t bytes);
status comm_broadcast_host(comm *c, void *x, size_t bytes); /* x of rank 0 on all ranks; likewise */
/* Every rank gets the text of every rank, of any length: that of rank r begins at *all + r * *row. The caller frees *all. */
status comm_gather_texts(comm *c, char **all, size_t *row, const char *text);
status comm_barrier(comm *c);
/* x[i] = sum over ranks of x[i], added in the order of ranks: the same bits on every rank */
status comm_sum_f64(comm *c, double *x, int count);
/* If st is not OK on any rank, every rank fails with the first such rank's code and its message behind "rank N: ". */
status comm_agree(comm *c, status_code st);

void comm_set_step(comm *c, uint64_t step); /* the step that error messages name */
/* For device memory these contain the totals of the communicator for host memory, without its waiting: see comm_totals. */
comm_totals comm_read_totals(const comm *c);
/* From now on waiting is booked on clock; NULL ends that. The communicator for host memory books there too, so a caller of
 * comm_allgather_host books nothing itself. */
void comm_set_meter(comm *c, meter *clock);

/* Ends all ranks of the job with this exit code. Returns only if c has one rank. */
void comm_abort(comm *c, int exit_code);

#endif
