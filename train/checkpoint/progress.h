/* progress.json of a checkpoint: how far the run is, what it has spent, and the settings that a resume must not change. */
#ifndef TALLY_PROGRESS_H
#define TALLY_PROGRESS_H

#include "train/bill/spent.h"
#include "train/data/mix.h"

enum { PROGRESS_FINITE_UNKNOWN = -1 };

typedef struct {
    uint64_t step;    /* of the run, skipped steps included */
    uint64_t updates; /* optimizer steps taken */
    uint64_t skipped;
    uint64_t tokens;  /* trained on */
    uint64_t windows; /* position in the data, see loader.h */
    uint64_t seed;
    uint64_t data_crc32;   /* of the token stream */
    uint64_t train_tokens; /* length of the part of the token stream that is trained on */
    uint64_t seq_len, global_batch;
    uint64_t threads; /* per rank */
    uint64_t ranks;   /* 1 in a file without it: it is older than ranks */
    uint64_t batch;   /* per rank; 0 in a file without it */
    spent spent;
    double model_flops;     /* of the tokens trained on, without recomputation; NaN: unknown */
    double loss, val_loss;  /* of the last step, and held-out loss of the last evaluation; NaN: unknown */
    char energy_source[32]; /* of spent.joules, as in ledger.json; "" in a file without it */
    /* 1: loss and gradient of the last step were finite, and so was the held-out loss if it was evaluated at this step; 0: they
     * were not; PROGRESS_FINITE_UNKNOWN in a file without it */
    int64_t finite;
    uint64_t
        keyed_order; /* 1: windows in the order of order.h; 0, and in a file without it: in the order of a table (loader.h) */
    char tokenizer[64];    /* its fingerprint, or "not known"; "bytes" in a file without it */
    uint64_t source_count; /* 0 in a file without it: then there is one source */
    struct {
        char data[48];    /* what --data calls it, or the end of that */
        uint64_t windows; /* used of it */
        double epochs;
    } sources[MIX_SOURCES];
    char init[64]; /* name of the folder whose weights the run began with, or the end of that; "": random weights */
    char precision[16], moments[16], master[16];
    char device[160];  /* of rank 0, and how ranks communicate; "" in a file without it */
    char sharding[40]; /* stage/replicas/reduce dtype/gather dtype/every or once; "alone"; "" in a file without it */
} progress;

status progress_text(char **text, const progress *p); /* JSON, malloc'ed */
status progress_read(progress *p, const char *path);

#endif
