/* Where a run stands: progress.json of a checkpoint. What of the run must stay the same when it is resumed is here
 * too. */
#ifndef TALLY_PROGRESS_H
#define TALLY_PROGRESS_H

#include "train/bill/spent.h"

enum { PROGRESS_FINITE_UNKNOWN = -1 };

typedef struct {
    uint64_t step;    /* of the run, skipped steps included */
    uint64_t updates; /* optimizer steps taken */
    uint64_t skipped;
    uint64_t tokens;  /* trained on */
    uint64_t windows; /* position in the data, see loader.h */
    uint64_t seed;
    uint64_t data_crc32;   /* of the token stream */
    uint64_t train_tokens; /* the first so many of it are for training */
    uint64_t seq_len, global_batch;
    uint64_t threads; /* of a rank */
    uint64_t ranks;   /* 1 where the file does not tell: it is older than ranks */
    uint64_t batch;   /* of a rank; 0 where the file does not tell */
    spent spent;
    int64_t
        finite; /* 1: loss and gradient of the last step were, and the held-out loss where it was taken at this step;
                       0: they were not; PROGRESS_FINITE_UNKNOWN: the file does not tell */
    char precision[16], moments[16], master[16];
    char device[160];  /* of rank 0, and how ranks exchange; "" where not told */
    char sharding[40]; /* stage/replicas/reduce dtype/gather dtype/every or once; "alone"; "" where not told */
} progress;

status progress_text(char **text, const progress *p); /* JSON, malloc'ed */
status progress_read(progress *p, const char *path);

#endif
