/* Messages between the ranks of the job, for one thread: every function is called by the thread that opened the mail,
 * mail_ask_abort excepted. mail_mpi.c is all of this program that knows MPI.
 *
 * Messages are sent and received in lanes, and a lane is waited for as a whole; while one is waited for, the other goes on
 * too. Between two ranks, messages of one tag arrive in the order in which they were sent. */
#ifndef TALLY_MAIL_H
#define TALLY_MAIL_H

#include "parallel/peer.h"
#include "runtime/status.h"

#include <stddef.h>

typedef struct mail mail;

enum {
    MAIL_LANES = 2,
    MAIL_TAGS = 1 << 15,          /* MPI promises as many */
    MAIL_MESSAGE_BYTES = 1 << 20, /* a longer one is better sent as several: while one travels nothing is heard of it */
};

/* ranks: as many as the launcher started. timeout_s: see comm_open. */
status mail_open(mail **m, int ranks, double timeout_s);
void mail_close(mail *m, bool failed); /* waits for all ranks, unless it has failed; NULL is fine */

int mail_rank(const mail *m);
void mail_local(const mail *m, int *rank, int *ranks); /* this rank among those of its host */
uint64_t mail_sent_bytes(const mail *m);

/* What follows belongs to this: "reduce-scatter 17 of step 12". The time-out counts anew. */
void mail_begin(mail *m, const char *collective, uint64_t number, uint64_t step);
/* at most MAIL_MESSAGE_BYTES to or from another rank; both may be at most once under way for each rank and lane */
status mail_receive(mail *m, int lane, int rank, int tag, void *x, size_t bytes);
status mail_send(mail *m, int lane, int rank, int tag, const void *x, size_t bytes);
status mail_wait(mail *m, int lane);

/* From another thread: the job is ended with this code by the next mail_wait that waits, or by mail_close. */
void mail_ask_abort(mail *m, int exit_code);

#endif
