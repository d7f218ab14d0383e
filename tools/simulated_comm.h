/* A communicator of ranks that are not there, under a clock that is not real: no data moves, collectives take virtual time.
 * They run one behind the other on one queue beside the computation, parts too, as parallel/comm.h says:
 *   start = max(the queue is free, now, `after`), end = start + duration; waiting moves `now` to the end.
 * It speaks for rank 0; the other ranks are taken to do the same at the same time.
 *
 * Durations, for n ranks, m of them on each of N nodes, x bytes of the whole (alpha: a hop's latency, beta: bytes/s a GPU each
 * way; inside a node and between nodes). All-gather and reduce-scatter take the better of
 *   ring    N(m-1) alpha_in + (N-1) alpha_out + (n-1)/n x / min(beta_in, m beta_out)
 *           (Thakur, Rabenseifner, Gropp 2005, section 4.1; a ring leaves a node once, and as many rings run as the node
 *           has network adapters, so that all m carry the traffic between nodes)
 *   staged  log2 N alpha_out + log2 m alpha_in + (N-1)/N x / (m beta_out) + (m-1)/m x / beta_in
 *           (recursive doubling, the same section; between nodes first, then inside, as Chan et al. 2007 on meshes)
 * and an all-reduce, which is one and the other, twice that. */
#ifndef TALLY_SIMULATED_COMM_H
#define TALLY_SIMULATED_COMM_H

#include "parallel/comm.h"

typedef struct {
    double bandwidth; /* bytes/s of one GPU each way, as a collective reaches it; INFINITY: no time */
    double latency;   /* s a hop */
} network_link;

typedef struct {
    int per_node; /* GPUs of a node */
    network_link inside, between;
} network;

/* Whole nanoseconds, so that sums are exact. overflow: what is asked for has passed 2^62 ns or bytes; the rest is then void. */
typedef struct {
    uint64_t now_ns;
    uint64_t queue_ns;   /* when all that is queued is complete */
    uint64_t compute_ns; /* of now_ns, the computation's */
    bool overflow;
    bool blocking; /* for comparison: the computation waits for every collective as soon as it is queued */
} virtual_clock;

void simulated_comm_work(virtual_clock *k, double seconds); /* the computation goes on for so long */

/* ranks in groups of `pieces` consecutive ones: the sharding engine's two splits (fsdp.h) are the only ones. ARG where a
 * group begins in the middle of a node and ends in another. clock and net stay the caller's. */
status simulated_comm_open(comm **c, virtual_clock *clock, const network *net, int ranks, int pieces);

#endif
