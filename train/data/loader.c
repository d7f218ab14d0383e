#include "train/data/loader.h"

#include <pthread.h>
#include <stdlib.h>

#include "runtime/rng.h"

/* one batch that the step reads, and three ahead: a new epoch's permutation or a page fault delays the thread */
enum { RING = 4 };

struct loader {
    const corpus *c;
    i64 B, T, windows;
    int rank, ranks;
    uint64_t seed;
    i64 first;       /* position at loader_open */
    uint32_t *order; /* windows of the current epoch; only the thread uses it */
    i64 order_epoch; /* the current epoch; -1: none yet */
    int32_t *slots;  /* [RING][2][B,T]: tokens, then targets */
    pthread_t thread;
    bool running;
    pthread_mutex_t lock;
    pthread_cond_t batch_made, slot_free;
    i64 taken; /* batches taken since loader_open; only the caller uses it. Batch b is in slot b % RING */
    /* guarded by the lock */
    i64 made, released;
    bool stop;
};

/* Fisher-Yates with 4 bytes a window, and not a Feistel cipher, which needs no memory: every permutation is equally likely,
 * and the table is small beside the tokens (2 T bytes a window). The random numbers have the counter (epoch + 1,
 * RNG_ORDER); (0, RNG_ORDER) is used for the order of documents. */
static void permute(loader *l, i64 epoch) {
    uint64_t stream = ((uint64_t)(epoch + 1) << 32) | RNG_ORDER;
    for (i64 i = 0; i < l->windows; i++) l->order[i] = (uint32_t)i;
    for (i64 i = l->windows - 1; i > 0; i--) {
        uint64_t j = rng_below(l->seed, stream, (uint64_t)i, (uint64_t)i + 1);
        uint32_t swapped = l->order[i];
        l->order[i] = l->order[j];
        l->order[j] = swapped;
    }
    l->order_epoch = epoch;
}

static void fill(loader *l, i64 batch) {
    i64 T = l->T;
    int32_t *tokens = l->slots + batch % RING * 2 * l->B * T, *targets = tokens + l->B * T;
    for (i64 row = 0; row < l->B; row++, tokens += T, targets += T) {
        i64 position = l->first + (batch * l->ranks + l->rank) * l->B + row;
        if (position / l->windows != l->order_epoch) permute(l, position / l->windows);
        const uint16_t *from = l->c->tokens + (i64)l->order[position % l->windows] * T;
        for (i64 t = 0; t < T; t++) tokens[t] = from[t], targets[t] = from[t + 1];
    }
}

static void *make_batches(void *argument) {
    loader *l = argument;
    pthread_mutex_lock(&l->lock);
    while (!l->stop) {
        if (l->made - l->released == RING) {
            pthread_cond_wait(&l->slot_free, &l->lock);
            continue;
        }
        i64 batch = l->made;
        pthread_mutex_unlock(&l->lock);
        fill(l, batch);
        pthread_mutex_lock(&l->lock);
        l->made++;
        pthread_cond_signal(&l->batch_made);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

status loader_open(loader **out, const corpus *c, i64 B, i64 T, uint64_t seed, i64 position, int rank, int ranks) {
    *out = NULL;
    if (B < 1 || T < 1 || position < 0)
        FAIL(ARG, "loader: batch %ld, sequence length %ld, position %ld; expected at least 1, 1, 0", B, T, position);
    i64 windows = (c->train_count - 1) / T;
    if (windows < 1)
        FAIL(DATA, "training text: found %ld tokens, expected at least %ld for one sequence of %ld and its last target",
             c->train_count, T + 1, T);
    if (windows > UINT32_MAX)
        FAIL(DATA, "training text: found %ld sequences of %ld tokens, expected at most %u", windows, T, UINT32_MAX);
    loader *l = calloc(1, sizeof *l);
    if (!l) FAIL(MEM, "no memory for the loader");
    *l = (loader){.c = c,
                  .B = B,
                  .T = T,
                  .windows = windows,
                  .rank = rank,
                  .ranks = ranks,
                  .seed = seed,
                  .first = position,
                  .order_epoch = -1};
    l->order = malloc((size_t)windows * sizeof *l->order);
    l->slots = malloc((size_t)(RING * 2 * B * T) * sizeof *l->slots);
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->batch_made, NULL);
    pthread_cond_init(&l->slot_free, NULL);
    status_code st = STATUS_OK;
    if (!l->order || !l->slots)
        FAIL_DONE(MEM, "no memory for the order of %ld sequences and %d batches of %ld x %ld tokens", windows, RING, B,
                  T);
    int code = pthread_create(&l->thread, NULL, make_batches, l);
    if (code) FAIL_DONE(MEM, "cannot start the loader's thread: %s", strerror(code));
    l->running = true;
    *out = l;
done:
    if (st) loader_close(l);
    return st;
}

status loader_next(loader *l, token_batch *b) {
    pthread_mutex_lock(&l->lock);
    if (l->released < l->taken) { /* the batch of the previous call */
        l->released = l->taken;
        pthread_cond_signal(&l->slot_free);
    }
    while (l->made == l->taken) pthread_cond_wait(&l->batch_made, &l->lock);
    i64 batch = l->taken++;
    pthread_mutex_unlock(&l->lock);
    const int32_t *tokens = l->slots + batch % RING * 2 * l->B * l->T;
    *b = (token_batch){.tokens = tokens, .targets = tokens + l->B * l->T, .B = l->B, .T = l->T};
    return STATUS_OK;
}

i64 loader_position(const loader *l) { return l->first + l->taken * l->ranks * l->B; }
i64 loader_windows_per_epoch(const loader *l) { return l->windows; }

void loader_close(loader *l) {
    if (!l) return;
    if (l->running) {
        pthread_mutex_lock(&l->lock);
        l->stop = true;
        pthread_cond_signal(&l->slot_free); /* the thread waits for it when the ring is full */
        pthread_mutex_unlock(&l->lock);
        pthread_join(l->thread, NULL);
    }
    pthread_cond_destroy(&l->slot_free);
    pthread_cond_destroy(&l->batch_made);
    pthread_mutex_destroy(&l->lock);
    free(l->order);
    free(l->slots);
    free(l);
}
