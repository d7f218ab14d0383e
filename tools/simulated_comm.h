/* A simulated communicator with a simulated clock: no data moves, and collectives take virtual time. The collectives of a
 * communicator and its parts run one after another on one queue, beside the computation, as parallel/comm.h states:
 *   start = max(when the queue is free, now, `after`), end = start + duration; waiting sets `now` to the end.
 * It simulates rank 0 and assumes that the other ranks do the same at the same time.
 *
 * Durations, for n ranks, m of them on each of N nodes, x bytes in all (alpha: latency of a hop; beta: bytes/s of a GPU in each
 * direction; each of them inside a node and between nodes). All-gather and reduce-scatter take the shorter of
 *   ring    N(m-1) alpha_in + (N-1) alpha_out + (n-1)/n x / min(beta_in, m beta_out)
 *           (Thakur, Rabenseifner, Gropp 2005, section 4.1; a ring leaves a node once, and as many rings run as the node
 *           has network adapters, so that all m carry the traffic between nodes)
 *   staged  log2 N alpha_out + log2 m alpha_in + (N-1)/N x / (m beta_out) + (m-1)/m x / beta_in
 *           (recursive doubling, the same section; between nodes first, then inside, as Chan et al. 2007 on meshes)
 * and an all-reduce, which is a reduce-scatter and an all-gather, twice that. */
#ifndef TALLY_SIMULATED_COMM_H
#define TALLY_SIMULATED_COMM_H

#include "parallel/comm.h"

typedef struct {
    double bandwidth; /* bytes/s that a collective reaches, per GPU and direction; INFINITY: it takes no time */
    double latency;   /* seconds per hop */
} network_link;

typedef struct {
    int per_node; /* GPUs in a node */
    network_link inside, between;
} network;

/* Integer nanoseconds, so that sums are exact. overflow: a time or a number of bytes exceeded 2^62; all values are then void. */
typedef struct {
    uint64_t now_ns;
    uint64_t queue_ns;   /* when everything queued is complete */
    uint64_t compute_ns; /* the part of now_ns in which the computation ran */
    bool overflow;
    bool blocking; /* for comparison: the computation waits for every collective as soon as it is queued */
} virtual_clock;

void simulated_comm_work(virtual_clock *k, double seconds); /* advances the computation by that time */

/* Opens a communicator of `ranks` ranks. It can only be split in the two ways of the sharding engine (fsdp.h), into groups of
 * `pieces` consecutive ranks. ARG if a group begins in the middle of a node and ends in another. The caller keeps clock and
 * net until it is closed. */
status simulated_comm_open(comm **c, virtual_clock *clock, const network *net, int ranks, int pieces);

#endif
