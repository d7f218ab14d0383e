#include "train/data/loader.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtime/rng.h"
#include "train/data/order.h"

/* one batch that the step reads, and three ahead: a new epoch's permutation or a page fault delays the thread */
enum { RING = 4 };

/* one source, as the thread reads it */
typedef struct {
    source *from;
    i64 windows;
    i64 epoch; /* that the order is of; -1: none yet */
    order keyed;
} stream;

struct loader {
    loader_options o;
    mix mix;
    stream streams[MIX_SOURCES];
    uint32_t *table;                      /* LOADER_ORDER_TABLE: the windows of the current epoch of the only source */
    int32_t *slots;                       /* [RING][B,T] tokens, then targets, then starts */
    int32_t *window;                      /* [T+1] */
    mix_position made_at;                 /* only the thread uses it */
    mix_position taken_at, ends_at[RING]; /* the run's position after the batch */
    pthread_t thread;
    bool running;
    pthread_mutex_t lock;
    pthread_cond_t batch_made, slot_free;
    i64 taken; /* batches taken since loader_open; only the caller uses it. Batch b is in slot b % RING */
    /* guarded by the lock */
    i64 made, released;
    bool stop;
    status_code failed; /* the thread has ended */
    char message[1024];
};

/* Fisher-Yates. The random numbers have the counter (epoch + 1, RNG_ORDER); (0, RNG_ORDER) is used for the order of documents. */
static void fill_table(uint32_t *table, i64 windows, uint64_t seed, i64 epoch) {
    uint64_t numbers = ((uint64_t)(epoch + 1) << 32) | RNG_ORDER;
    for (i64 i = 0; i < windows; i++) table[i] = (uint32_t)i;
    for (i64 i = windows - 1; i > 0; i--) {
        uint64_t j = rng_below(seed, numbers, (uint64_t)i, (uint64_t)i + 1);
        uint32_t swapped = table[i];
        table[i] = table[j];
        table[j] = swapped;
    }
}

/* the window that is used as the `used`-th of its source */
static i64 window_at(loader *l, int which, i64 used) {
    stream *s = &l->streams[which];
    i64 epoch = used / s->windows, i = used % s->windows;
    bool other = epoch != s->epoch;
    s->epoch = epoch;
    if (l->o.order == LOADER_ORDER_TABLE) {
        if (other) fill_table(l->table, s->windows, l->o.seed, epoch);
        return l->table[i];
    }
    if (other) s->keyed = order_init(s->windows, l->o.seed, (uint64_t)which, (uint64_t)epoch);
    return order_at(&s->keyed, i);
}

/* Counts the windows of every rank, and reads those of this one. */
static status fill(loader *l, i64 batch) {
    i64 B = l->o.B, T = l->o.T;
    int32_t *tokens = l->slots + batch % RING * B * T, *targets = tokens + RING * B * T;
    for (i64 row = 0; row < B * l->o.ranks; row++) {
        int which = mix_next(&l->mix, &l->made_at);
        if (row / B != l->o.rank) continue;
        i64 first = window_at(l, which, l->made_at.used[which] - 1) * T, at = row % B * T;
        TRY(source_read(l->streams[which].from, first, T + 1, l->window));
        memcpy(tokens + at, l->window, (size_t)T * sizeof *tokens);
        memcpy(targets + at, l->window + 1, (size_t)T * sizeof *targets);
        if (l->o.documents) source_starts(l->streams[which].from, first, T, targets + RING * B * T + at);
    }
    l->ends_at[batch % RING] = l->made_at;
    return STATUS_OK;
}

static void *make_batches(void *argument) {
    loader *l = argument;
    pthread_mutex_lock(&l->lock);
    while (!l->stop && !l->failed) {
        if (l->made - l->released == RING) {
            pthread_cond_wait(&l->slot_free, &l->lock);
            continue;
        }
        i64 batch = l->made;
        pthread_mutex_unlock(&l->lock);
        status_code st = fill(l, batch);
        pthread_mutex_lock(&l->lock);
        if (st) snprintf(l->message, sizeof l->message, "%s", status_message());
        l->failed = st;
        l->made += !st;
        pthread_cond_signal(&l->batch_made);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

static status open_streams(loader *l, source *sources, int count) {
    double weights[MIX_SOURCES];
    i64 T = l->o.T;
    for (int i = 0; i < count; i++) {
        source *s = &sources[i];
        l->streams[i] = (stream){.from = s, .windows = source_windows(s, T), .epoch = -1};
        weights[i] = s->weight;
        if (l->streams[i].windows < 1)
            FAIL(DATA,
                 "%s: found %ld tokens to train on, expected at least %ld for one sequence of %ld and its last target",
                 s->name, s->train_count, T + 1, T);
    }
    l->mix = mix_init(weights, count);
    i64 windows = l->streams[0].windows;
    if (l->o.order == LOADER_ORDER_CHOOSE)
        l->o.order = count == 1 && sources->byte_text && windows <= LOADER_TABLE_WINDOWS ? LOADER_ORDER_TABLE
                                                                                         : LOADER_ORDER_KEYED;
    if (l->o.order == LOADER_ORDER_TABLE) {
        if (count > 1) FAIL(ARG, "loader: %d sources have no order by a table, expected 1", count);
        if (windows > UINT32_MAX)
            FAIL(DATA, "%s: found %ld sequences of %ld tokens, expected at most %u", sources->name, windows, T,
                 UINT32_MAX);
        l->table = malloc((size_t)windows * sizeof *l->table);
        if (!l->table) FAIL(MEM, "no memory for the order of %ld sequences", windows);
    }
    return STATUS_OK;
}

status loader_open(loader **out, source *sources, int count, loader_options o, const mix_position *position) {
    *out = NULL;
    if (o.B < 1 || o.T < 1 || (position && position->windows < 0))
        FAIL(ARG, "loader: batch %ld, sequence length %ld, position %ld; expected at least 1, 1, 0", o.B, o.T,
             position ? position->windows : 0);
    if (count < 1 || count > MIX_SOURCES) FAIL(ARG, "loader: %d sources, expected 1 to %d", count, MIX_SOURCES);
    loader *l = calloc(1, sizeof *l);
    if (!l) FAIL(MEM, "no memory for the loader");
    l->o = o;
    if (position) l->made_at = l->taken_at = *position;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->batch_made, NULL);
    pthread_cond_init(&l->slot_free, NULL);
    status_code st = STATUS_OK;
    TRY_DONE(open_streams(l, sources, count));
    l->slots = malloc((size_t)(RING * (o.documents ? 3 : 2) * o.B * o.T) * sizeof *l->slots);
    l->window = malloc((size_t)(o.T + 1) * sizeof *l->window);
    if (!l->slots || !l->window) FAIL_DONE(MEM, "no memory for %d batches of %ld x %ld tokens", RING, o.B, o.T);
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
    while (l->made == l->taken && !l->failed) pthread_cond_wait(&l->batch_made, &l->lock);
    bool none = l->made == l->taken;
    pthread_mutex_unlock(&l->lock);
    if (none) return status_fail(l->failed, __FILE__, __LINE__, "%s", l->message);
    i64 slot = l->taken++ % RING;
    l->taken_at = l->ends_at[slot];
    i64 n = l->o.B * l->o.T;
    const int32_t *tokens = l->slots + slot * n;
    *b = (token_batch){.tokens = tokens, .targets = tokens + RING * n, .B = l->o.B, .T = l->o.T};
    if (l->o.documents) b->starts = tokens + 2 * RING * n;
    return STATUS_OK;
}

mix_position loader_position(const loader *l) { return l->taken_at; }
i64 loader_windows_per_epoch(const loader *l, int which) { return l->streams[which].windows; }
loader_order loader_order_of(const loader *l) { return l->o.order; }

void loader_close(loader *l) {
    if (!l) return;
    if (l->running) {
        pthread_mutex_lock(&l->lock);
        l->stop = true;
        pthread_cond_signal(&l->slot_free);
        pthread_mutex_unlock(&l->lock);
        pthread_join(l->thread, NULL);
    }
    pthread_cond_destroy(&l->slot_free);
    pthread_cond_destroy(&l->batch_made);
    pthread_mutex_destroy(&l->lock);
    free(l->table);
    free(l->slots);
    free(l->window);
    free(l);
}
