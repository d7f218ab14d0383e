/* The one stream of a GPU's collectives, beside that of its computation: what orders the two, and a watchdog over both.
 *
 * One stream and one order, for all groups: NCCL's communicators may deadlock where several are under way at a time, and the
 * sharding engine queues the gather that it needs next before the reduction anyway.
 * An event is a number: that of a collective, in the order in which they were queued, or of a mark in the computation. The
 * CUDA events behind them lie in rings. The host does not wait, unless it is a whole ring ahead of the GPU.
 *
 * The watchdog is a thread. It sees a peer on this host die, a collective wait longer than the time-out (from when the
 * stream, or the host's call, has come to it), and the library's or the device's own error. Then it keeps the message,
 * ends what is under way by the library's abort, so that whoever waits for the stream comes back, and every later call
 * fails. */
#ifndef TALLY_COMM_STREAM_H
#define TALLY_COMM_STREAM_H

#include <cuda_runtime_api.h>

#include "parallel/comm.h"

typedef struct comm_stream comm_stream;

/* of the library, called on the watchdog's thread */
typedef struct {
    const char *(*trouble)(void *library); /* its asynchronous error, or NULL */
    void (*abort)(void *library);          /* once */
} comm_watch;

/* a collective, for messages and to know who may be missing */
typedef struct {
    const char *what;
    const comm *group;
    const int *members; /* [group->ranks]: as ranks of the job; as long as the collective is under way */
    uint64_t number;
} comm_call;

/* root: of device memory, its root->host open; it gets the times and is marked broken */
status comm_stream_open(comm_stream **s, comm *root, device *dev, const comm_watch *watch, void *library);
void comm_stream_close(comm_stream *s); /* what is queued is complete, or has been aborted; NULL is fine */
cudaStream_t comm_stream_of(const comm_stream *s);

/* Between begin and end is the caller's collective, queued on the stream; where it fails, comm_stream_break is the end. */
status comm_stream_begin(comm_stream *s, comm_call call, const comm_event *after);
status comm_stream_end(comm_stream *s, comm_event *done);
status comm_stream_break(comm_stream *s, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Between meet and met the host's thread waits for the others of the call's group, and queues nothing: the watchdog looks
 * whether they are missing. */
void comm_stream_meet(comm_stream *s, comm_call call);
void comm_stream_met(comm_stream *s);

status comm_stream_mark(comm_stream *s, comm_event *e);
status comm_stream_wait(comm_stream *s, const comm_event *e);   /* the computation does */
status comm_stream_finish(comm_stream *s, const comm_event *e); /* the host does */
status comm_stream_check(comm_stream *s);
bool comm_stream_broken(const comm_stream *s);

#endif
