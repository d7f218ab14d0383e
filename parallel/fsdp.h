/* Sharded data parallelism over flat units (unit.h), in the manner of ZeRO (Rajbhandari et al. 2020), FSDP (Zhao et al.
 * 2023) and YaFSDP. A world of W ranks holds R replicas of the model, each on S = W / R ranks. A rank owns one of S
 * equal pieces of every unit, and the optimizer updates only that piece. P: parameters; t: dtype of weights;
 * gradients and their sums are f32.
 *
 *   stage      weights                gradients            optimizer's state   bytes sent, in P: f32 sums, bf16 weights
 *   none       tP                     4P                   all                 all-reduce 8(W-1)/W
 *   optimizer  tP                     4P                   1/S                 reduce-scatter 4 + all-gather 2
 *   gradients  tP                     4P/S + 2 slots       1/S                 the same, the reduction every micro-batch
 *   full       tP/S + 2 slots         4P/S + 2 slots       1/S                 and the all-gather twice, every micro-batch
 *                                                                              (each times (S-1)/S; replicas add an all-reduce of 4P/S)
 * none means R = W. A slot holds one unit. Blocks use two slots in turns. The embedding and the head (units of their own, often
 * larger than a block) share one, or have one each if they are tied, since the embedding is then in use from start to end.
 * With accumulate_locally the stages gradients and full keep 4P of gradients and reduce once a step.
 *
 * Order: entering unit u waits for its gather and queues the gather of the next unit in this direction, into the slot that has
 * just become free. The reduce-scatter of the previous unit is queued after that, so that the gather that the computation needs
 * next never waits for a reduction. The protocol is two events a slot, `filled` and `released`. A unit that is still in its slot
 * is not gathered again: the last blocks from forward to backward, the first blocks from one micro-batch to the next. Backward
 * gathers a unit once, for recompute and gradient together.
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
    int ranks;   /* without a world: the number of ranks to plan for */
    shard_stage stage;
    int replicas;            /* 0 means 1 */
    bool gather_bf16;        /* f32 weights travel as bf16 and are used so rounded (bf16 weights travel as they are) */
    bool reduce_bf16;        /* gradients travel as bf16 */
    bool accumulate_locally; /* reduce once a step, not every micro-batch */
} shard_options;

/* the direction of the computation through the units; PASS_STAY: no unit follows */
typedef enum { PASS_FORWARD, PASS_BACKWARD, PASS_STAY } pass;

typedef struct {
    int unit; /* that it holds or is being filled with; -1: none */
    bool fresh, entered;
    void *weights;
    comm_event filled, released; /* the gather is complete; the computation has finished with it */
    int grad_unit;               /* the unit that wrote here last */
    float *grads;
    comm_event reduced; /* the reduction of these gradients is complete */
} fsdp_slot;

enum { FSDP_SLOTS = 4 };

typedef struct {
    device *dev;
    shard_options o;
    comm *shards, *replicas; /* this rank's groups; NULL: a group of one */
    int ranks;               /* of the world or the plan */
    int pieces, piece;       /* S, and the number of this rank's piece */
    const unit *units;
    int unit_count;
    i64 size;      /* elements of all units */
    dtype t, wire; /* dtypes of weights, and of weights that travel */
    bool tied;     /* the last unit uses the weights of unit 0 too */
    bool training;
    bool weight_slots, grad_slots; /* else the rank holds all units */
    void *weights;                 /* all units, without slots */
    void *shard;                   /* this rank's pieces, dtype t, if they are not part of `weights` */
    float *grads;                  /* all units, without slots */
    float *grad_shard;             /* with slots: the sums of this rank's pieces */
    fsdp_slot slots[FSDP_SLOTS];
    comm_event *gathered; /* [units] without slots: the gather after an update */
    comm_event *reduced;  /* [units] the sum over replicas, or without slots the reduction */
    comm_event written;   /* the computation has written what the next collective reads */
    int pending;          /* the unit whose gradients are complete but whose reduction is not yet queued; -1 */
    bool first, last;     /* the micro-batch is the first, the last of its step */
    bool pending_first, pending_last; /* the same for the pending unit */
    bool stale;                       /* weights have changed and must be gathered again */
    bool exact;                       /* gathered weights are not rounded: fsdp_whole */
} fsdp;

/* this rank's piece of a unit: elements [first, first + count) of the unit; `at`: its offset in buffers that hold pieces only */
typedef struct {
    i64 first, count, at;
    void *weights; /* dtype t */
    float *grads;  /* after fsdp_finish_gradients: the sum over all ranks */
} fsdp_piece;

const char *fsdp_stage_name(shard_stage stage);

/* pieces: S, the number of pieces for which units must be padded. ARG if the ranks do not divide into the replicas. */
status fsdp_pieces(int *pieces, const shard_options *o);
/* units: embedding, blocks, head, padded for so many pieces; the caller keeps them. */
status fsdp_init(fsdp *f, device *dev, const unit *units, int unit_count, bool tied, bool training, dtype t,
                 shard_options o);
void fsdp_layout(fsdp *f, arena *a); /* both passes: see arena.h */
void fsdp_free(fsdp *f);

fsdp_piece fsdp_piece_of(const fsdp *f, int u);

/* A micro-batch begins. first, last: of its step (both false without training). */
status fsdp_begin(fsdp *f, bool first, bool last);
/* w: the unit's weights, of dtype t, until fsdp_leave. */
status fsdp_enter(fsdp *f, int u, pass p, const void **w);
status fsdp_leave(fsdp *f, int u);
/* dw: where to write the unit's gradients; if *accumulate, add to what is there. Once a unit and micro-batch. */
status fsdp_gradients(fsdp *f, int u, float **dw, bool *accumulate);
status fsdp_reduce(fsdp *f, int u);    /* call it when the gradients are complete */
status fsdp_finish_gradients(fsdp *f); /* then this rank's pieces are sums over all ranks */

/* The weights of the pieces have changed: the next micro-batch gathers them again. */
void fsdp_weights_changed(fsdp *f);
/* w: the whole unit, not rounded, until the next call; all ranks together. Call fsdp_whole_end at the end. */
status fsdp_whole(fsdp *f, int u, const void **w);
void fsdp_whole_end(fsdp *f);

#endif
