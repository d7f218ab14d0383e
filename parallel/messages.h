/* Messages between the ranks of the job. One thread opens them and calls every function, except messages_ask_abort. Only
 * messages_mpi.c uses MPI.
 *
 * Messages are sent and received in lanes. messages_wait waits for a whole lane, and the other lanes progress meanwhile. Between
 * two ranks, messages with the same tag arrive in the order in which they were sent. */
#ifndef TALLY_MESSAGES_H
#define TALLY_MESSAGES_H

#include "parallel/placement.h"
#include "runtime/status.h"

#include <stddef.h>

typedef struct messages messages;

enum {
    MESSAGES_LANES = 2,
    MESSAGES_TAGS = 1 << 15,       /* MPI guarantees so many */
    MESSAGES_MOST_BYTES = 1 << 20, /* send more as several: the time-out sees no progress inside a message */
};

/* where: of as many ranks as the launcher started, allocated; it is filled here and must outlive the messages. timeout_s: see
 * comm_open. */
status messages_open(messages **m, placement *where, double timeout_s);
void messages_close(messages *m, bool failed); /* waits for all ranks, unless it has failed; NULL is allowed */

uint64_t messages_sent_bytes(const messages *m);

/* Names the messages that follow in errors: "reduce-scatter 17 of step 12". Restarts the time-out. */
void messages_begin(messages *m, const char *collective, uint64_t number, uint64_t step);
/* At most MESSAGES_MOST_BYTES to or from another rank. At most one of each may be open for a rank and lane. */
status messages_receive(messages *m, int lane, int rank, int tag, void *x, size_t bytes);
status messages_send(messages *m, int lane, int rank, int tag, const void *x, size_t bytes);
status messages_wait(messages *m, int lane);

/* From another thread: the next messages_wait that waits, or messages_close, ends the job with this code. */
void messages_ask_abort(messages *m, int exit_code);

#endif
