/* The stream of a GPU's collectives, which runs beside the stream of its computation: events that order the two, and a watchdog.
 *
 * All groups use one stream and one order: NCCL's communicators may deadlock if several run at a time, and the sharding engine
 * queues the gather that it needs next before the reduction anyway.
 * An event is the number of a collective, in the order in which they were queued, or of a mark in the computation. Their CUDA
 * events are in rings. The host waits only if it is a whole ring ahead of the GPU.
 *
 * The watchdog is a thread. It finds a rank of this host that has died, a collective that has run longer than the time-out
 * (counted from when the stream, or the host's call, began it), and errors of the library and of the device. Then it stores the
 * message and aborts the library, so that a thread that waits for the stream continues. Every later call fails with this
 * message. */
#ifndef TALLY_COMM_STREAM_H
#define TALLY_COMM_STREAM_H

#include <cuda_runtime_api.h>

#include "parallel/comm.h"

typedef struct comm_stream comm_stream;

/* of the library; the watchdog's thread calls them */
typedef struct {
    const char *(*trouble)(void *library); /* its asynchronous error, or NULL */
    void (*abort)(void *library);          /* once */
} comm_watch;

/* a collective, for error messages and for the ranks that may be missing */
typedef struct {
    const char *what;
    const comm *group;
    const int *members; /* [group->ranks]: their ranks in the job; valid while the collective runs */
    uint64_t number;
} comm_call;

/* root: for device memory, with root->host open; its totals and its `broken` are updated here */
status comm_stream_open(comm_stream **s, comm *root, device *dev, const comm_watch *watch, void *library);
void comm_stream_close(comm_stream *s); /* after all collectives are complete or aborted; NULL is allowed */
cudaStream_t comm_stream_of(const comm_stream *s);

/* Between begin and end the caller queues its collective on the stream. If that fails, it calls comm_stream_break
 * instead of end. */
status comm_stream_begin(comm_stream *s, comm_call call, const comm_event *after);
status comm_stream_end(comm_stream *s, comm_event *done);
status comm_stream_break(comm_stream *s, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Between meet and met the host's thread waits for the other ranks of the call's group and queues nothing; the watchdog checks
 * whether one is missing. */
void comm_stream_meet(comm_stream *s, comm_call call);
void comm_stream_met(comm_stream *s);

status comm_stream_mark(comm_stream *s, comm_event *e);
status comm_stream_wait(comm_stream *s, const comm_event *e);   /* the computation waits */
status comm_stream_finish(comm_stream *s, const comm_event *e); /* the host waits */
status comm_stream_check(comm_stream *s);
bool comm_stream_broken(const comm_stream *s);

#endif
