/* A queue of operations that its own thread runs in order, with tickets to wait for them. One other thread puts operations and
 * waits. The queue's thread makes every call of the functions of comm_work. */
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
    status (*run)(void *context, const void *operation); /* one whole operation */
    void (*stop)(void *context, bool failed);            /* after the last, or after start or run failed */
} comm_work;

/* Returns when start has returned, with its error. work and context must outlive the queue. */
status comm_queue_open(comm_queue **q, const comm_work *work, void *context);
void comm_queue_end(
    comm_queue *q); /* the thread ends after the operations put so far, or after a failure; does not wait for it */
void comm_queue_close(comm_queue *q); /* ends the thread and waits; NULL is allowed */

/* Copies the operation; waits while the ring is full. Fails with the error of the operation that failed. */
status comm_queue_put(comm_queue *q, const void *operation, uint64_t *ticket);
status comm_queue_wait(comm_queue *q, uint64_t ticket);    /* ticket 0: only reports a failure */
bool comm_queue_must_wait(comm_queue *q, uint64_t ticket); /* whether comm_queue_wait would wait now */
uint64_t comm_queue_before_put(const comm_queue *q);       /* the ticket for which the next put waits; 0: none */

#endif
