/* Operations that a thread of its own runs in the order in which they were put, and tickets to wait for them. One thread
 * puts and waits, another runs; every call of the work's functions is on that other one. */
#ifndef TALLY_COMM_QUEUE_H
#define TALLY_COMM_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/status.h"

typedef struct comm_queue comm_queue;

typedef struct {
    size_t operation_bytes;
    status (*start)(void *context);                      /* before the first operation */
    status (*run)(void *context, const void *operation); /* one operation, to its end */
    void (*stop)(void *context, bool failed);            /* after the last, or after start or run failed */
} comm_work;

/* Returns when start has: with its error, if any. work and context must outlive the queue. */
status comm_queue_open(comm_queue **q, const comm_work *work, void *context);
void comm_queue_end(comm_queue *q); /* the thread ends after what was put, or at once after a failure; not waited for */
void comm_queue_close(comm_queue *q); /* ends it and waits; NULL is fine */

/* Copies the operation. Where the ring is full it waits. Fails with the error of the operation that failed. */
status comm_queue_put(comm_queue *q, const void *operation, uint64_t *ticket);
status comm_queue_wait(comm_queue *q, uint64_t ticket);    /* ticket 0: only whether anything has failed */
bool comm_queue_must_wait(comm_queue *q, uint64_t ticket); /* whether comm_queue_wait would have to, now */
uint64_t comm_queue_before_put(const comm_queue *q);       /* the ticket that the next put waits for; 0: none */

#endif
