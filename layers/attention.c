#include "layers/attention.h"

#include <math.h>
#include <omp.h>

#include "layers/tile.h"

/* Tile sizes: what a step reads repeatedly (keys and values of a tile, one strip of queries) nearly fits in L1. */
enum {
    MAX_D = 256,
    QUERIES = 128, /* of one forward item; the keys are widened once for all of them */
    KEYS = 64,
    STRIP = 32, /* queries computed together; at the diagonal half of a strip is wasted */
};
#define ALIGNED __attribute__((aligned(64)))

static inline i64 min_i64(i64 a, i64 b) { return a < b ? a : b; }
static inline i64 max_i64(i64 a, i64 b) { return a > b ? a : b; }

/* the first key that query i sees; along a row it never decreases */
static inline i64 first_key(const attention_shape *s, i64 b, i64 i) {
    i64 low = s->window ? i + s->Tk - s->Tq - s->window + 1 : 0;
    return max_i64(low, s->starts ? s->starts[b * s->Tq + i] : 0);
}

/* of one sequence whose queries see `seen` keys at most: 1 + 2 + .. + T */
static u128 triangle(i64 T, i64 seen) {
    u128 short_rows = (u128)min_i64(T, seen);
    return short_rows * (short_rows + 1) / 2 + ((u128)T - short_rows) * (u128)seen;
}

u128 attention_pairs(i64 B, i64 T, i64 window, const int32_t *starts) {
    u128 pairs = 0;
    i64 most = window ? window : T;
    if (!starts) return (u128)B * triangle(T, most);
    for (i64 n = 0; n < B * T; n++) pairs += (u128)min_i64(n % T - starts[n] + 1, most);
    return pairs;
}

/* the pairs of a head; with a cache, the queries are the last of Tk */
static u128 pairs_of(attention_shape s) {
    i64 past = s.Tk - s.Tq;
    if (s.starts) return (u128)s.pairs;
    return attention_pairs(s.B, s.Tk, s.window, NULL) - (past ? attention_pairs(s.B, past, s.window, NULL) : 0);
}

static u128 product_flops(attention_shape s) { return 2 * (u128)s.H * (u128)s.D * pairs_of(s); }

u128 attention_forward_flops(attention_shape s) { return 2 * product_flops(s); }

static status check_shape(attention_shape s) {
    if (s.B < 1 || s.Tq < 1 || s.Tk < s.Tq || s.H < 1 || s.K < 1 || s.D < 1)
        FAIL(ARG, "attention: B %ld Tq %ld Tk %ld H %ld K %ld D %ld, expected positive and Tq <= Tk", s.B, s.Tq, s.Tk,
             s.H, s.K, s.D);
    if (s.H % s.K) FAIL(ARG, "attention: %ld query heads, expected a multiple of %ld", s.H, s.K);
    if (s.D > MAX_D) FAIL(ARG, "attention: head size %ld, expected at most %d", s.D, MAX_D);
    if (s.ldq < s.H * s.D || s.ldo < s.H * s.D || s.ldk < s.K * s.D)
        FAIL(ARG, "attention: row strides q %ld, k %ld, o %ld, expected at least %ld, %ld, %ld", s.ldq, s.ldk, s.ldo,
             s.H * s.D, s.K * s.D, s.H * s.D);
    if (s.window < 0) FAIL(ARG, "attention: a window of %ld keys, expected 0 (all) or more", s.window);
    if (s.starts && s.Tq != s.Tk)
        FAIL(ARG, "attention: starts of documents with %ld queries, expected as many as keys, %ld", s.Tq, s.Tk);
    return STATUS_OK;
}

const char *attention_kind_name(attention_kind kind) {
    switch (kind) { ATTENTION_KIND_LIST(CHOICES_RETURN_NAME) }
    return "?";
}

status attention_choose_cpu(device *dev, attention_kind kind) {
    if (kind == ATTENTION_CUDNN) FAIL(ARG, "--attention cudnn: %s is not a GPU; expected own", dev->name);
    return STATUS_OK;
}

status attention_choose(device *dev, attention_kind kind) { return DISPATCH(dev, attention_choose, kind); }

size_t attention_memory_bytes(const device *dev) { return dev->libraries[DEVICE_ATTENTION].bytes; }

/* ---- forward ---- */

/* removes the scores of keys before the first one that query i + lane sees; j: the tile's first key */
static void mask_strip(float *scores, i64 keys, const attention_shape *s, i64 b, i64 i, i64 queries, i64 j) {
    for (i64 lane = 0; lane < queries; lane++) {
        i64 hidden = min_i64(keys, first_key(s, b, i + lane) - j);
        for (i64 n = 0; n < hidden; n++) scores[n * STRIP + lane] = -INFINITY;
    }
}

/* One strip against one tile of keys: scores [keys, STRIP], a query a lane, become probabilities relative to the
 * running maximum; the sums so far and the output rows are scaled down where the maximum rose. Lane i sees key j where
 * j <= diagonal + i. A lane that has seen no key yet has the maximum -inf and the sum 0. */
SIMD_CLONES static void softmax_strip(float *restrict scores, i64 keys, i64 diagonal, float *restrict max,
                                      float *restrict sum, float *restrict o, i64 Dp, i64 queries) {
    float m[STRIP], l[STRIP] = {0}, shrink[STRIP], base[STRIP];
    for (i64 j = diagonal + 1 > 0 ? diagonal + 1 : 0; j < keys; j++)
        for (i64 i = 0; i < STRIP; i++) scores[j * STRIP + i] = j > diagonal + i ? -INFINITY : scores[j * STRIP + i];
    memcpy(m, max, sizeof m);
    for (i64 j = 0; j < keys; j++)
        for (i64 i = 0; i < STRIP; i++) m[i] = scores[j * STRIP + i] > m[i] ? scores[j * STRIP + i] : m[i];
    for (i64 i = 0; i < STRIP; i++) base[i] = m[i] == -INFINITY ? 0 : m[i];
    for (i64 j = 0; j < keys; j++) {
        float *restrict p = scores + j * STRIP;
#pragma omp simd
        for (i64 i = 0; i < STRIP; i++) {
            p[i] = simd_expf(p[i] - base[i]);
            l[i] += p[i];
        }
    }
#pragma omp simd
    for (i64 i = 0; i < STRIP; i++) {
        shrink[i] = simd_expf(max[i] - base[i]);
        sum[i] = sum[i] * shrink[i] + l[i];
        max[i] = m[i];
    }
    for (i64 i = 0; i < queries; i++) {
        float c = shrink[i], *restrict row = o + i * Dp;
        if (c == 1.0f) continue;
        for (i64 d = 0; d < Dp; d++) row[d] *= c;
    }
}

/* y = c * x, rounded to dtype t */
SIMD_CLONES static void store_row(void *y, dtype t, const float *x, float c, i64 n) {
    float scaled[MAX_D];
    for (i64 i = 0; i < n; i++) scaled[i] = x[i] * c;
    simd_store_f32(y, scaled, t, n);
}

/* queries [first, first + QUERIES) of head h of sequence b */
static void forward_item(dtype t, void *o, float *lse, const void *q, const void *k, const void *v, attention_shape s,
                         i64 b, i64 h, i64 first) {
    float qt[MAX_D * QUERIES] ALIGNED, out[QUERIES * MAX_D] ALIGNED;
    float key[KEYS * MAX_D] ALIGNED, value[KEYS * MAX_D] ALIGNED;
    float scores[KEYS * STRIP] ALIGNED = {0}, max[QUERIES] ALIGNED, sum[QUERIES] ALIGNED;
    i64 Dp = tile_padded(s.D), group = h / (s.H / s.K), past = s.Tk - s.Tq;
    i64 rows = min_i64(QUERIES, s.Tq - first);
    bool masked = s.window || s.starts;

    tile_load(out, tensor_at(q, t, (b * s.Tq + first) * s.ldq + h * s.D), t, s.ldq, rows, s.D, s.scale);
    tile_transpose(qt, QUERIES, out, Dp, tile_padded(rows));
    memset(out, 0, (size_t)(rows * Dp) * sizeof *out);
    for (i64 i = 0; i < QUERIES; i++) max[i] = -INFINITY, sum[i] = 0;

    for (i64 j = first_key(&s, b, first) / KEYS * KEYS; j <= first + rows - 1 + past; j += KEYS) {
        i64 tile = min_i64(KEYS, s.Tk - j), row = (b * s.Tk + j) * s.ldk + group * s.D;
        tile_load(key, tensor_at(k, t, row), t, s.ldk, tile, s.D, 1);
        tile_load(value, tensor_at(v, t, row), t, s.ldk, tile, s.D, 1);
        i64 next = min_i64(KEYS, s.Tk - j - tile), next_row = row + tile * s.ldk;
        tile_prefetch(tensor_at(k, t, next_row), t, s.ldk, next, s.D);
        tile_prefetch(tensor_at(v, t, next_row), t, s.ldk, next, s.D);
        for (i64 i = 0; i < rows; i += STRIP) {
            i64 queries = min_i64(STRIP, rows - i), diagonal = first + i + past - j;
            i64 keys = min_i64(tile, diagonal + queries);
            if (keys <= 0 || first_key(&s, b, first + i) >= j + keys) continue;
            tile_product((tile_view){scores, STRIP}, (tile_view){key, Dp}, false, (tile_view){qt + i, QUERIES}, keys,
                         tile_padded(queries), s.D, false);
            if (masked && first_key(&s, b, first + i + queries - 1) > j)
                mask_strip(scores, keys, &s, b, first + i, queries, j);
            softmax_strip(scores, keys, diagonal, max + i, sum + i, out + i * Dp, Dp, queries);
            tile_product((tile_view){out + i * Dp, Dp}, (tile_view){scores, STRIP}, true, (tile_view){value, Dp},
                         queries, Dp, keys, true);
        }
    }
    for (i64 i = 0; i < rows; i++) {
        store_row(tensor_at(o, t, (b * s.Tq + first + i) * s.ldo + h * s.D), t, out + i * Dp, 1 / sum[i], s.D);
        lse[(b * s.H + h) * s.Tq + first + i] = max[i] + logf(sum[i]);
    }
}

status attention_forward_cpu(device *dev, dtype t, void *o, float *lse, const void *q, const void *k, const void *v,
                             attention_shape s) {
    i64 tiles = (s.Tq + QUERIES - 1) / QUERIES;
    /* late tiles have most keys; they go first, so that all threads finish at about the same time */
#pragma omp parallel for schedule(dynamic, 1) num_threads(dev->threads)
    for (i64 item = 0; item < tiles * s.B * s.H; item++) {
        i64 tile = tiles - 1 - item / (s.B * s.H), bh = item % (s.B * s.H);
        forward_item(t, o, lse, q, k, v, s, bh / s.H, bh % s.H, tile * QUERIES);
    }
    return STATUS_OK;
}

status attention_forward(device *dev, dtype t, void *o, float *lse, const void *q, const void *k, const void *v,
                         attention_shape s) {
    TRY(check_shape(s));
    dev->flops.work[device_forward_work(dev)] += attention_forward_flops(s);
    uint64_t since = profile_begin(dev->profile);
    TRY(DISPATCH(dev, attention_forward, t, o, lse, q, k, v, s));
    profile_end(dev->profile, PROFILE_ATTENTION_FORWARD, since);
    return STATUS_OK;
}

/* ---- backward ---- */

/* per thread: dq [T,Dp] f32 of the current head, and delta [T] */
static i64 thread_floats(attention_shape s) { return tile_padded(s.Tq * (tile_padded(s.D) + 1)); }

size_t attention_backward_scratch_bytes(const device *dev, attention_shape s) {
    if (dev->kind == DEVICE_CUDA) { /* lse and delta of each query: attention.cuh */
        i64 padded = (s.Tq + ATTENTION_PADDING - 1) / ATTENTION_PADDING * ATTENTION_PADDING;
        return (size_t)(s.B * s.H * padded) * 2 * sizeof(float);
    }
    i64 partial = s.H > s.K ? 2 * s.B * s.H * s.Tq * s.D : 0; /* each query head's dk and dv */
    return (size_t)(dev->threads * thread_floats(s) + partial) * sizeof(float);
}

/* delta_i = sum_d o_id do_id, which is sum_j p_ij dp_ij */
SIMD_CLONES static void row_deltas(float *delta, const void *o, const void *d_o, dtype t, i64 ld, i64 rows, i64 D) {
    float x[MAX_D], y[MAX_D];
    for (i64 i = 0; i < rows; i++) {
        simd_load_f32(x, tensor_at(o, t, i * ld), t, D);
        simd_load_f32(y, tensor_at(d_o, t, i * ld), t, D);
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (i64 d = 0; d < D; d++) sum += x[d] * y[d];
        delta[i] = sum;
    }
}

/* clears what query i + lane has computed for keys before the first one that it sees; j: the tile's first key */
static void mask_gradients(float *p, float *ds, const attention_shape *s, i64 b, i64 i, i64 queries, i64 keys, i64 j) {
    for (i64 lane = 0; lane < queries; lane++) {
        i64 hidden = min_i64(keys, first_key(s, b, i + lane) - j);
        for (i64 n = 0; n < hidden; n++) p[lane * KEYS + n] = ds[lane * KEYS + n] = 0;
    }
}

/* p [queries, KEYS] from scores to probabilities, ds from dp to the gradient of the scores. Query i sees key j where
 * j <= diagonal + i. */
SIMD_CLONES static void score_gradients(float *restrict p, float *restrict ds, const float *lse, const float *delta,
                                        i64 queries, i64 keys, i64 diagonal) {
    for (i64 i = 0; i < queries; i++, p += KEYS, ds += KEYS) {
        float l = lse[i], d = delta[i];
        i64 seen = min_i64(keys, diagonal + i + 1);
#pragma omp simd
        for (i64 j = 0; j < seen; j++) {
            /* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): tile_product has written p and ds */
            p[j] = simd_expf(p[j] - l);
            ds[j] = p[j] * (ds[j] - d);
        }
        for (i64 j = seen; j < keys; j++) p[j] = ds[j] = 0;
    }
}

/* Head h of sequence b: an outer loop over keys, an inner one over queries. dk and dv of a tile stay in cache; dq is summed in
 * scratch. dk and dv point at the head's first row; they have dtype tg and row stride ldg. */
static void backward_item(dtype t, void *dk, void *dv, dtype tg, i64 ldg, const attention_gradients *d,
                          const attention_tensors *x, float *scratch, attention_shape s, i64 b, i64 h) {
    const void *q = x->q, *k = x->k, *v = x->v, *d_o = d->d_o;
    float key[KEYS * MAX_D] ALIGNED, keyt[MAX_D * KEYS] ALIGNED, valuet[MAX_D * KEYS] ALIGNED;
    float dkey[KEYS * MAX_D] ALIGNED, dvalue[KEYS * MAX_D] ALIGNED;
    float query[STRIP * MAX_D] ALIGNED, dout[STRIP * MAX_D] ALIGNED;
    float p[STRIP * KEYS] ALIGNED, ds[STRIP * KEYS] ALIGNED;
    i64 T = s.Tq, Dp = tile_padded(s.D);
    bool masked = s.window || s.starts;
    i64 q0 = b * T * s.ldq + h * s.D, k0 = b * T * s.ldk + h / (s.H / s.K) * s.D, o0 = b * T * s.ldo + h * s.D;
    float *dquery = scratch, *delta = scratch + T * Dp;
    const float *lse = x->lse + (b * s.H + h) * T;

    memset(dquery, 0, (size_t)(T * Dp) * sizeof *dquery);
    row_deltas(delta, tensor_at(x->o, t, o0), tensor_at(d_o, t, o0), t, s.ldo, T, s.D);
    for (i64 j = 0; j < T; j += KEYS) {
        i64 tile = min_i64(KEYS, T - j);
        tile_load(key, tensor_at(v, t, k0 + j * s.ldk), t, s.ldk, tile, s.D, 1);
        tile_transpose(valuet, KEYS, key, Dp, tile_padded(tile));
        tile_load(key, tensor_at(k, t, k0 + j * s.ldk), t, s.ldk, tile, s.D, 1);
        tile_transpose(keyt, KEYS, key, Dp, tile_padded(tile));
        memset(dkey, 0, (size_t)(tile * Dp) * sizeof *dkey);
        memset(dvalue, 0, (size_t)(tile * Dp) * sizeof *dvalue);
        for (i64 i = j; i < T; i += STRIP) {
            if (masked && first_key(&s, b, i) >= j + tile) break; /* nor does any later query see this tile */
            i64 queries = min_i64(STRIP, T - i), keys = min_i64(tile, i + queries - j);
            tile_load(query, tensor_at(q, t, q0 + i * s.ldq), t, s.ldq, queries, s.D, s.scale);
            tile_load(dout, tensor_at(d_o, t, o0 + i * s.ldo), t, s.ldo, queries, s.D, 1);
            i64 after = i + queries < T ? i + queries : j + tile, next = min_i64(STRIP, T - after);
            tile_prefetch(tensor_at(q, t, q0 + after * s.ldq), t, s.ldq, next, s.D);
            tile_prefetch(tensor_at(d_o, t, o0 + after * s.ldo), t, s.ldo, next, s.D);
            tile_product((tile_view){p, KEYS}, (tile_view){query, Dp}, false, (tile_view){keyt, KEYS}, queries,
                         tile_padded(keys), s.D, false);
            tile_product((tile_view){ds, KEYS}, (tile_view){dout, Dp}, false, (tile_view){valuet, KEYS}, queries,
                         tile_padded(keys), s.D, false);
            score_gradients(p, ds, lse + i, delta + i, queries, keys, i - j);
            if (masked && first_key(&s, b, i + queries - 1) > j) mask_gradients(p, ds, &s, b, i, queries, keys, j);
            tile_product((tile_view){dvalue, Dp}, (tile_view){p, KEYS}, true, (tile_view){dout, Dp}, keys, Dp, queries,
                         true);
            tile_product((tile_view){dkey, Dp}, (tile_view){ds, KEYS}, true, (tile_view){query, Dp}, keys, Dp, queries,
                         true);
            tile_product((tile_view){dquery + i * Dp, Dp}, (tile_view){ds, KEYS}, false, (tile_view){key, Dp}, queries,
                         Dp, keys, true);
        }
        for (i64 r = 0; r < tile; r++) {
            store_row(tensor_at(dk, tg, (j + r) * ldg), tg, dkey + r * Dp, 1, s.D);
            store_row(tensor_at(dv, tg, (j + r) * ldg), tg, dvalue + r * Dp, 1, s.D);
        }
    }
    for (i64 i = 0; i < T; i++) store_row(tensor_at(d->dq, t, q0 + i * s.ldq), t, dquery + i * Dp, s.scale, s.D);
}

/* one row of dk or dv: adds the group's heads in order, from partial sums that are `stride` floats apart */
SIMD_CLONES static void sum_heads(void *y, dtype t, const float *x, i64 stride, i64 heads, i64 D) {
    float sum[MAX_D];
    for (i64 d = 0; d < D; d++) sum[d] = x[d];
    for (i64 h = 1; h < heads; h++)
        for (i64 d = 0; d < D; d++) sum[d] += x[h * stride + d];
    simd_store_f32(y, sum, t, D);
}

status attention_backward_cpu(device *dev, dtype t, const attention_gradients *d, const attention_tensors *x,
                              void *scratch, attention_shape s) {
    i64 heads = s.H / s.K, T = s.Tq, head = T * s.D;
    float *own = scratch, *partial_dk = own + dev->threads * thread_floats(s),
          *partial_dv = partial_dk + s.B * s.H * head;
#pragma omp parallel for schedule(dynamic, 1) num_threads(dev->threads)
    for (i64 bh = 0; bh < s.B * s.H; bh++) {
        i64 b = bh / s.H, h = bh % s.H, first = b * T * s.ldk + h * s.D;
        float *mine = own + omp_get_thread_num() * thread_floats(s);
        if (heads == 1)
            backward_item(t, tensor_at(d->dk, t, first), tensor_at(d->dv, t, first), t, s.ldk, d, x, mine, s, b, h);
        else backward_item(t, partial_dk + bh * head, partial_dv + bh * head, F32, s.D, d, x, mine, s, b, h);
    }
    if (heads == 1) return STATUS_OK;
#pragma omp parallel for schedule(static) num_threads(dev->threads)
    for (i64 row = 0; row < s.B * T * s.K; row++) {
        i64 g = row % s.K, bt = row / s.K, b = bt / T;
        i64 from = (b * s.H + g * heads) * head + bt % T * s.D, to = bt * s.ldk + g * s.D;
        sum_heads(tensor_at(d->dk, t, to), t, partial_dk + from, head, heads, s.D);
        sum_heads(tensor_at(d->dv, t, to), t, partial_dv + from, head, heads, s.D);
    }
    return STATUS_OK;
}

status attention_backward(device *dev, dtype t, const attention_gradients *d, const attention_tensors *x, void *scratch,
                          attention_shape s) {
    TRY(check_shape(s));
    if (s.Tq != s.Tk) FAIL(ARG, "attention_backward: %ld queries, expected as many as keys, %ld", s.Tq, s.Tk);
    dev->flops.work[WORK_RECOMPUTE] += product_flops(s);
    dev->flops.work[WORK_DGRAD] += 4 * product_flops(s);
    uint64_t since = profile_begin(dev->profile);
    TRY(DISPATCH(dev, attention_backward, t, d, x, scratch, s));
    profile_end(dev->profile, PROFILE_ATTENTION_BACKWARD, since);
    return STATUS_OK;
}
