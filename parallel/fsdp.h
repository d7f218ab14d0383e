/* Sharded data parallelism over flat units (unit.h), in the manner of ZeRO (Rajbhandari et al. 2020), FSDP (Zhao et al.
 * 2023) and YaFSDP. The world of W ranks is R replicas of S = W / R shard ranks; a rank owns one of S equal pieces of every
 * unit, and the optimizer works on that alone. P: parameters, t: dtype of weights, gradients and their sums in f32.
 *
 *   stage      weights                gradients            optimizer's state   bytes sent, in P: f32 sums, bf16 weights
 *   none       tP                     4P                   all                 all-reduce 8(W-1)/W
 *   optimizer  tP                     4P                   1/S                 reduce-scatter 4 + all-gather 2
 *   gradients  tP                     4P/S + 2 slots       1/S                 the same, the reduction every micro-batch
 *   full       tP/S + 2 slots         4P/S + 2 slots       1/S                 and the all-gather twice, every micro-batch
 *                                                                              (each times (S-1)/S; replicas add an all-reduce of 4P/S)
 * none is R = W. A slot holds a unit: blocks take two in turns, the embedding and the head (units of their own, often larger
 * than a block) one together, or one each where they are tied, since then the embedding is in use from end to end.
 * Without reduce_every_microbatch the stages gradients and full keep 4P of gradients and reduce once a step.
 *
 * Order of things: entering unit u waits for its gather and queues that of the unit that comes next in this direction, into
 * the slot that has just become free; only behind it is the reduce-scatter of the unit before queued, so that the gather
 * that the computation needs next never stands behind a reduction. Two events a slot, `filled` and `released`, are the whole
 * protocol. What lies in a slot still is not gathered again: the last blocks from forward to backward, the first ones from
 * one micro-batch to the next. A unit is gathered once in backward, for recompute and gradient together.
 * World of one: pointers into flat buffers, no copies, no collectives. */
#ifndef TALLY_FSDP_H
#define TALLY_FSDP_H

#include "parallel/comm.h"
#include "parallel/unit.h"
#include "runtime/arena.h"

#define SHARD_STAGE_LIST(X)                                                                                            \
    X(SHARD_NONE, "none") X(SHARD_OPTIMIZER, "optimizer") X(SHARD_GRADIENTS, "gradients") X(SHARD_FULL, "full")
typedef enum { SHARD_STAGE_LIST(CHOICES_VALUE) } shard_stage;

typedef struct {
    comm *world; /* the ranks that compute; NULL only in a plan, which lays out memory and computes nothing */
    int ranks;   /* of a plan: how many ranks it is for */
    shard_stage stage;
    int replicas;            /* 0: 1 */
    bool gather_bf16;        /* f32 weights travel as bf16 (bf16 ones always do) and are used so rounded */
    bool reduce_bf16;        /* gradients travel as bf16 */
    bool accumulate_locally; /* reduce once a step, not every micro-batch */
} shard_options;

/* which way the computation goes through the units; PASS_STAY: nothing comes next */
typedef enum { PASS_FORWARD, PASS_BACKWARD, PASS_STAY } pass;

typedef struct {
    int unit; /* what it holds, or is being filled with; -1: nothing of use */
    bool fresh, entered;
    void *weights;
    comm_event filled, released; /* the gather is complete; the computation is done with it */
    int grad_unit;               /* the last that wrote here */
    float *grads;
    comm_event reduced; /* the reduction of what was written is complete */
} fsdp_slot;

enum { FSDP_SLOTS = 4 };

typedef struct {
    device *dev;
    shard_options o;
    comm *shards, *replicas; /* this rank's groups; NULL where it is alone in it */
    int ranks;               /* of the world or the plan */
    int pieces, piece;       /* S, and which is this rank's */
    const unit *units;
    int unit_count;
    i64 size;      /* elements of all units */
    dtype t, wire; /* of weights, and as they travel */
    bool tied;     /* the last unit uses unit 0 too */
    bool training;
    bool weight_slots, grad_slots; /* else all units are resident */
    void *weights;                 /* all units, where resident */
    void *shard;                   /* this rank's pieces, dtype t, where they do not lie inside weights */
    float *grads;                  /* all units, where resident */
    float *grad_shard;             /* else the sums of this rank's pieces */
    fsdp_slot slots[FSDP_SLOTS];
    comm_event *gathered; /* [units] of resident weights, after an update */
    comm_event *reduced;  /* [units] sums over replicas, or of resident gradients */
    comm_event written;   /* the computation has come as far as the collective that is being queued may read */
    int pending;          /* unit whose gradients are complete, its reduction not yet queued; -1 */
    bool first, last;     /* the micro-batch is that of its step */
    bool pending_first, pending_last; /* the pending unit's was */
    bool stale;                       /* weights have changed: resident ones are to be gathered */
    bool exact;                       /* what is gathered is unrounded: fsdp_whole */
} fsdp;

/* this rank's piece of a unit: elements [first, first + count) of the unit, at `at` in flat buffers of pieces only */
typedef struct {
    i64 first, count, at;
    void *weights; /* dtype t */
    float *grads;  /* after fsdp_finish_gradients: the sum over all ranks */
} fsdp_piece;

const char *fsdp_stage_name(shard_stage stage);

/* S: what units must be padded for. ARG where the ranks do not divide into the replicas. */
status fsdp_pieces(int *pieces, const shard_options *o);
/* units: embedding, blocks, head, padded for that many pieces; they stay the caller's. */
status fsdp_init(fsdp *f, device *dev, const unit *units, int unit_count, bool tied, bool training, dtype t,
                 shard_options o);
void fsdp_layout(fsdp *f, arena *a); /* both passes: see arena.h */
void fsdp_free(fsdp *f);

fsdp_piece fsdp_piece_of(const fsdp *f, int u);

/* A micro-batch begins: the first, the last of its step (both false where nothing is trained). */
status fsdp_begin(fsdp *f, bool first, bool last);
/* w: the unit's weights, of dtype t, until fsdp_leave. */
status fsdp_enter(fsdp *f, int u, pass p, const void **w);
status fsdp_leave(fsdp *f, int u);
/* dw: where the unit's gradients go, on top of what is there where *accumulate. Once a unit and micro-batch. */
status fsdp_gradients(fsdp *f, int u, float **dw, bool *accumulate);
status fsdp_reduce(fsdp *f, int u);    /* they are complete */
status fsdp_finish_gradients(fsdp *f); /* this rank's pieces are the sums over all ranks */

/* The pieces' weights have changed: what was gathered of them is old, and gathered anew when the next micro-batch begins. */
void fsdp_weights_changed(fsdp *f);
/* The whole unit as the pieces have it, unrounded, until the next call; all ranks together. fsdp_whole_end when done. */
status fsdp_whole(fsdp *f, int u, const void **w);
void fsdp_whole_end(fsdp *f);

#endif
