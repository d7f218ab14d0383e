/* Messages between the ranks of the job, for one thread: every function is called by the thread that opened the mail,
 * messages_ask_abort excepted. messages_mpi.c is all of this program that knows MPI.
 *
 * Messages are sent and received in lanes, and a lane is waited for as a whole; while one is waited for, the other goes on
 * too. Between two ranks, messages of one tag arrive in the order in which they were sent. */
#ifndef TALLY_MESSAGES_H
#define TALLY_MESSAGES_H

#include "parallel/placement.h"
#include "runtime/status.h"

#include <stddef.h>

typedef struct messages messages;

enum {
    MESSAGES_LANES = 2,
    MESSAGES_TAGS = 1 << 15, /* MPI promises as many */
    MESSAGES_MOST_BYTES =
        1 << 20, /* a longer one is better sent as several: while one travels nothing is heard of it */
};

/* where: of as many ranks as the launcher started, allocated; it is filled here and must outlive the messages. timeout_s: see
 * comm_open. */
status messages_open(messages **m, placement *where, double timeout_s);
void messages_close(messages *m, bool failed); /* waits for all ranks, unless it has failed; NULL is fine */

uint64_t messages_sent_bytes(const messages *m);

/* What follows belongs to this: "reduce-scatter 17 of step 12". The time-out counts anew. */
void messages_begin(messages *m, const char *collective, uint64_t number, uint64_t step);
/* at most MESSAGES_MOST_BYTES to or from another rank; both may be at most once under way for each rank and lane */
status messages_receive(messages *m, int lane, int rank, int tag, void *x, size_t bytes);
status messages_send(messages *m, int lane, int rank, int tag, const void *x, size_t bytes);
status messages_wait(messages *m, int lane);

/* From another thread: the job is ended with this code by the next messages_wait that waits, or by messages_close. */
void messages_ask_abort(messages *m, int exit_code);

#endif
