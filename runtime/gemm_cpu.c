#include "runtime/gemm_backend.h"

#include <omp.h>
#include <stdlib.h>

#include "runtime/gemm_check.h"
#include "runtime/onednn.h"
#include "runtime/simd.h"
#include "runtime/stop.h"

/* memory that grows to the largest size requested and is kept; in the pool it is the pool's */
typedef struct {
    void *memory;
    size_t bytes;
    bool pooled;
} buffer;

/* A copy of a weight: widened to f32, in a layout that oneDNN chose, or both. A copy that is only widened keeps the stored
 * orientation, so that forward and dgrad share it. */
typedef struct {
    const void *B;
    i64 rows, columns, ld; /* as stored */
    bool trans;            /* false if only widened */
    matmul *product;       /* a GEMM with this layout; NULL if only widened */
    uint64_t generation;   /* of the weights that were copied */
    buffer copy;
} packed_weight;

typedef struct gemm_context {
    onednn *nn;
    buffer a, b, bias;    /* widened operands */
    buffer product;       /* in f32, before it is rounded to a bf16 D */
    buffer scratch;       /* oneDNN's */
    packed_weight *slots; /* open addressing, a power of two, at most half full */
    size_t slot_count, used;
    buffer pool; /* see gemm_reserve */
    size_t pool_used;
    size_t own; /* onednn_own_bytes: the most of all GEMMs so far */
    uint64_t generation;
} gemm_context;

static gemm_context *context_of(const device *dev) { return dev->libraries[DEVICE_GEMM].state; }

static void release(device *dev, buffer *b) {
    if (!b->pooled) {
        dev->ops->free(dev, b->memory, b->bytes);
        dev->libraries[DEVICE_GEMM].bytes -= b->bytes;
    }
    *b = (buffer){0};
}

static status reserve(device *dev, buffer *b, size_t bytes) {
    if (bytes <= b->bytes) return STATUS_OK;
    bytes = (bytes + 255) & ~(size_t)255;
    release(dev, b);
    TRY(dev->ops->alloc(dev, &b->memory, bytes));
    b->bytes = bytes;
    dev->libraries[DEVICE_GEMM].bytes += bytes;
    return STATUS_OK;
}

/* --- passes before and after an f32 GEMM that replaces a bf16 one */

SIMD_CLONES static void widen_row(float *restrict y, const bf16 *restrict x, i64 n) { simd_load_f32(y, x, BF16, n); }

/* y [rows,columns] f32 dense = x, row stride ld */
static void widen(float *y, const bf16 *x, i64 rows, i64 columns, i64 ld) {
#pragma omp parallel for schedule(static)
    for (i64 i = 0; i < rows; i++) widen_row(y + i * columns, x + i * ld, columns);
}

/* a widened copy, in b, of x [rows,columns] bf16 */
static const void *widen_into(const buffer *b, const void *x, i64 rows, i64 columns, i64 ld) {
    widen(b->memory, x, rows, columns, ld);
    return b->memory;
}

/* d = product + bias + residual; residual may be d */
SIMD_CLONES static void finish_row(bf16 *d, const float *product, const bf16 *bias, const bf16 *residual, i64 n) {
    float sum[SIMD_CHUNK], term[SIMD_CHUNK];
    for (i64 from = 0; from < n; from += SIMD_CHUNK) {
        i64 m = n - from < SIMD_CHUNK ? n - from : SIMD_CHUNK;
        memcpy(sum, product + from, (size_t)m * 4);
        if (bias) {
            simd_load_f32(term, bias + from, BF16, m);
            for (i64 i = 0; i < m; i++) sum[i] += term[i];
        }
        if (residual) {
            simd_load_f32(term, residual + from, BF16, m);
            for (i64 i = 0; i < m; i++) sum[i] += term[i];
        }
        simd_store_f32(d + from, sum, BF16, m);
    }
}

/* --- weights */

static bool same_weight(const packed_weight *a, const packed_weight *b) {
    if (a->B != b->B || a->rows != b->rows || a->columns != b->columns || a->ld != b->ld || a->trans != b->trans)
        return false;
    if (!a->product || !b->product) return a->product == b->product;
    return onednn_same_packing(a->product, b->product);
}

static size_t find_weight(const packed_weight *slots, size_t slot_count, const packed_weight *key) {
    size_t i = (size_t)(((uintptr_t)key->B >> 4) * 0x9E3779B97F4A7C15u >> 32) & (slot_count - 1);
    while (slots[i].B && !same_weight(&slots[i], key)) i = (i + 1) & (slot_count - 1);
    return i;
}

static status grow_weights(gemm_context *c) {
    size_t count = c->slot_count ? 2 * c->slot_count : 256;
    packed_weight *slots = calloc(count, sizeof *slots);
    if (!slots) FAIL(MEM, "no memory for a table of %zu packed weights", count);
    for (size_t i = 0; i < c->slot_count; i++)
        if (c->slots[i].B) slots[find_weight(slots, count, &c->slots[i])] = c->slots[i];
    free(c->slots);
    c->slots = slots;
    c->slot_count = count;
    return STATUS_OK;
}

static void take_from_pool(gemm_context *c, buffer *b, size_t bytes) {
    *b = (buffer){(char *)c->pool.memory + c->pool_used, bytes, true};
    c->pool_used += bytes;
}

/* w = the packed weight of the key, with room for its copy */
static status room_for_copy(device *dev, packed_weight **w, packed_weight key, size_t bytes) {
    gemm_context *c = context_of(dev);
    bytes = (bytes + 255) & ~(size_t)255;
    if (2 * c->used >= c->slot_count) TRY(grow_weights(c));
    *w = &c->slots[find_weight(c->slots, c->slot_count, &key)];
    if ((*w)->B) return STATUS_OK;
    if (bytes <= c->pool.bytes - c->pool_used) take_from_pool(c, &key.copy, bytes);
    else TRY(reserve(dev, &key.copy, bytes));
    **w = key;
    c->used++;
    return STATUS_OK;
}

/* --- the product */

/* D = product + bias + residual, rounded once */
static void finish(const gemm_args *g, const float *product) {
    bf16 *D = g->D;
    const bf16 *residual = g->residual;
#pragma omp parallel for schedule(static)
    for (i64 i = 0; i < g->M; i++)
        finish_row(D + i * g->ldd, product + i * g->N, g->bias, residual ? residual + i * g->ldd : NULL, g->N);
}

/* A GEMM as oneDNN runs it. If the CPU does not multiply bf16, bf16 operands are widened to f32 first: O(MK + KN) bytes beside
 * 2MNK operations. A bf16 D is then rounded from the f32 result in a separate pass, which also adds bias and residual.
 *
 * A transposed A [K,1] and a D [M,1] are made dense first. oneDNN 3.7 with AVX-512 ignores the row stride of
 * both: it reads A's elements, and writes D's, as if they were neighbours. */
typedef struct {
    bool widened, finished_apart, gathered_a, column_d, has_bias;
    i64 a_rows, a_columns, b_rows, b_columns; /* as stored */
    const void *added;                        /* to the product; NULL: nothing */
    matmul *m;
    packed_weight *w; /* NULL: B is used as it is stored, or widened for this GEMM alone */
} gemm_plan;

static matmul_shape shape_of(gemm_plan *p, const device *dev, const gemm_args *g) {
    bool row_a = g->M == 1;
    p->widened = g->ab == BF16 && !dev->bf16_products;
    p->finished_apart = p->widened && g->d == BF16;
    p->gathered_a = row_a && g->trans_a && g->lda > 1 && !p->widened;
    p->column_d = g->N == 1 && g->ldd > 1 && !p->finished_apart;
    p->a_rows = g->trans_a ? g->K : g->M, p->a_columns = g->trans_a ? g->M : g->K;
    p->b_rows = g->trans_b ? g->N : g->K, p->b_columns = g->trans_b ? g->K : g->N;
    p->added = g->accumulate ? g->D : g->residual;
    matmul_shape shape = {
        .M = g->M,
        .N = g->N,
        .K = g->K,
        .lda = row_a        ? g->K
               : p->widened ? p->a_columns
                            : g->lda,
        .ldb = p->widened ? p->b_columns : g->ldb,
        .ldd = p->finished_apart || p->column_d ? g->N : g->ldd,
        .trans_a = g->trans_a && !row_a,
        .trans_b = g->trans_b,
        .ab = p->widened ? F32 : g->ab,
        .d = p->widened ? F32 : g->d,
        .may_pack = g->b_is_weight,
    };
    if (!p->finished_apart) {
        shape.has_bias = p->has_bias = g->bias != NULL;
        shape.add = !p->added ? ADD_NOTHING : p->added == g->D || p->column_d ? ADD_TO_D : ADD_RESIDUAL;
    }
    return shape;
}

static void count_own(device *dev, size_t bytes) {
    gemm_context *c = context_of(dev);
    if (bytes <= c->own) return;
    dev->libraries[DEVICE_GEMM].bytes += bytes - c->own;
    c->own = bytes;
}

/* Everything but the computation: the primitive, and room for copies and workspaces. */
static status prepare(device *dev, gemm_plan *p, const gemm_args *g) {
    gemm_context *c = context_of(dev);
    *p = (gemm_plan){0};
    matmul_shape shape = shape_of(p, dev, g);
    TRY(onednn_matmul(c->nn, &p->m, &shape));
    size_t packed_bytes = onednn_packed_bytes(p->m), widened_bytes = (size_t)(p->b_rows * p->b_columns) * 4;
    if (packed_bytes || (p->widened && g->b_is_weight)) {
        packed_weight key = {.B = g->B, .rows = p->b_rows, .columns = p->b_columns, .ld = g->ldb};
        if (packed_bytes) key.trans = g->trans_b, key.product = p->m;
        TRY(room_for_copy(dev, &p->w, key, packed_bytes ? packed_bytes : widened_bytes));
    }
    if (p->widened) {
        TRY(reserve(dev, &c->a, (size_t)(p->a_rows * p->a_columns) * 4));
        if (!p->w || packed_bytes) TRY(reserve(dev, &c->b, widened_bytes));
        if (p->has_bias) TRY(reserve(dev, &c->bias, (size_t)g->N * 4));
    }
    count_own(dev, onednn_own_bytes(p->m));
    if (p->gathered_a) TRY(reserve(dev, &c->a, (size_t)g->K * dtype_bytes(g->ab)));
    if (p->finished_apart || p->column_d) TRY(reserve(dev, &c->product, (size_t)(g->M * g->N) * 4));
    return reserve(dev, &c->scratch, onednn_scratch_bytes(p->m));
}

/* *B = g->B as the product takes it */
static status weight_operand(device *dev, const void **B, const gemm_args *g, const gemm_plan *p) {
    gemm_context *c = context_of(dev);
    packed_weight *w = p->w;
    if (w->generation != c->generation) {
        const void *plain = g->B;
        if (p->widened) plain = widen_into(w->product ? &c->b : &w->copy, plain, p->b_rows, p->b_columns, g->ldb);
        if (w->product) TRY(onednn_pack(c->nn, p->m, w->copy.memory, plain));
        w->generation = c->generation;
    }
    *B = w->copy.memory;
    return STATUS_OK;
}

status gemm_cpu(device *dev, const gemm_args *g) {
    gemm_context *c = context_of(dev);
    gemm_plan p;
    TRY(prepare(dev, &p, g));
    size_t ab_bytes = dtype_bytes(g->ab), d_bytes = dtype_bytes(g->d);
    const void *A = g->A, *B = g->B, *bias = g->bias;
    void *D = g->D;
    if (p.w) TRY(weight_operand(dev, &B, g, &p));
    if (p.widened) {
        A = widen_into(&c->a, A, p.a_rows, p.a_columns, g->lda);
        if (!p.w) B = widen_into(&c->b, B, p.b_rows, p.b_columns, g->ldb);
        if (p.has_bias) bias = widen_into(&c->bias, bias, 1, g->N, g->N);
    }
    if (p.gathered_a) {
        A = c->a.memory;
        TRY(dev->ops->copy_rows(dev, c->a.memory, ab_bytes, g->A, (size_t)g->lda * ab_bytes, ab_bytes, g->K));
    }
    if (p.finished_apart || p.column_d) D = c->product.memory;
    if (p.column_d && p.added)
        TRY(dev->ops->copy_rows(dev, D, d_bytes, p.added, (size_t)g->ldd * d_bytes, d_bytes, g->M));
    TRY(onednn_run(c->nn, p.m, D, A, B, bias, g->residual, c->scratch.memory));
    if (p.column_d) TRY(dev->ops->copy_rows(dev, g->D, (size_t)g->ldd * d_bytes, D, d_bytes, d_bytes, g->M));
    if (p.finished_apart) finish(g, D);
    return STATUS_OK;
}

status gemm_dry(device *dev, const gemm_args *g) {
    gemm_plan p;
    return dev->kind == DEVICE_CPU ? prepare(dev, &p, g) : STATUS_OK;
}

/* --- the device's resource */

/* oneDNN chooses by fixed rules: there is nothing to search */
void gemm_search_cpu(device *dev, bool on) { (void)dev, (void)on; }

void gemm_weights_changed_cpu(device *dev) {
    if (context_of(dev)) context_of(dev)->generation++; /* a planner's device has no library */
}

enum { WORKSPACES = 5 };

static void list_workspaces(gemm_context *c, buffer *list[WORKSPACES]) {
    buffer *all[WORKSPACES] = {&c->a, &c->b, &c->bias, &c->product, &c->scratch};
    memcpy(list, all, sizeof all);
}

static void drop_all(device *dev) {
    gemm_context *c = context_of(dev);
    buffer *workspaces[WORKSPACES];
    list_workspaces(c, workspaces);
    for (int i = 0; i < WORKSPACES; i++) release(dev, workspaces[i]);
    for (size_t i = 0; i < c->slot_count; i++) release(dev, &c->slots[i].copy);
    release(dev, &c->pool);
    free(c->slots);
    c->slots = NULL;
    c->slot_count = c->used = c->pool_used = 0;
}

status gemm_reserve_cpu(device *dev, const device *dry) {
    gemm_context *c = context_of(dev), *needed = context_of(dry);
    buffer *have[WORKSPACES], *want[WORKSPACES];
    list_workspaces(c, have);
    list_workspaces(needed, want);
    drop_all(dev); /* what earlier models have left */
    TRY(reserve(dev, &c->pool, gemm_memory_bytes(dry) - needed->own));
    dev->libraries[DEVICE_GEMM].bytes += needed->own - c->own;
    c->own = needed->own;
    for (int i = 0; i < WORKSPACES; i++) take_from_pool(c, have[i], want[i]->bytes);
    return STATUS_OK;
}

static void close_context(device *dev) {
    gemm_context *c = context_of(dev);
    drop_all(dev);
    onednn_close(c->nn);
    free(c);
    dev->libraries[DEVICE_GEMM] = (device_library){0};
}

static status open_context(device *dev) {
    gemm_context *c = calloc(1, sizeof *c);
    if (!c) FAIL(MEM, "no memory for the GEMM library's state");
    status_code st = onednn_open(&c->nn, dev->isa, sizeof dev->isa, &dev->bf16_products);
    if (st) {
        free(c);
        return status_trace(st, __FILE__, __LINE__);
    }
    c->generation = 1;
    dev->libraries[DEVICE_GEMM] = (device_library){.state = c, .close = close_context};
    return STATUS_OK;
}

/* The check has its own context, so that the device does not keep its packed copies. It uses one thread: several threads would
 * spend more time waiting for each other than computing. */
static status check_library(const device *dev) {
    char library[32];
    onednn_version(library, sizeof library);
    device probe = *dev;
    TRY(open_context(&probe));
    omp_set_num_threads(1);
    status_code st = gemm_check(&probe, gemm_cpu, library);
    omp_set_num_threads(dev->threads);
    close_context(&probe);
    if (st) return status_trace(st, __FILE__, __LINE__);
    return STATUS_OK;
}

status gemm_open_cpu(device *dev) {
    TRY(open_context(dev));
    status_code st = check_library(dev);
    if (!st) return STATUS_OK;
    close_context(dev);
    return status_trace(st, __FILE__, __LINE__);
}

status gemm_open_dry(device *dev) {
    bool bf16_products = dev->bf16_products;
    if (dev->kind == DEVICE_CPU) TRY(open_context(dev));
    else dev->libraries[DEVICE_GEMM].bytes = GEMM_CUDA_BYTES;
    dev->bf16_products = bf16_products;
    return STATUS_OK;
}

/* --- peak */

/* repeats one large GEMM for `seconds` */
static status best_rate(device *dev, dtype t, i64 M, i64 N, i64 K, double seconds, double *flops_per_s) {
    status_code st = STATUS_OK;
    size_t a_bytes = (size_t)(M * K) * dtype_bytes(t), b_bytes = (size_t)(K * N) * dtype_bytes(t);
    size_t d_bytes = (size_t)(M * N) * dtype_bytes(t);
    gemm_args g = {
        .M = M, .N = N, .K = K, .lda = K, .ldb = K, .ldd = N, .trans_b = true, .ab = t, .d = t, .b_is_weight = true};
    void *A = NULL, *B = NULL, *D = NULL;
    TRY_DONE(dev->ops->alloc(dev, &A, a_bytes));
    TRY_DONE(dev->ops->alloc(dev, &B, b_bytes));
    TRY_DONE(dev->ops->alloc(dev, &D, d_bytes));
    g.A = A, g.B = B, g.D = D;
    gemm_trial_values(A, t, M * K);
    gemm_trial_values(B, t, K * N);
    uint64_t start = meter_clock_ns(), now = start;
    do {
        uint64_t before = now;
        TRY_DONE(gemm_cpu(dev, &g));
        now = meter_clock_ns();
        double rate = 2.0 * (double)M * (double)N * (double)K / ((double)(now - before) * 1e-9);
        if (rate > *flops_per_s) *flops_per_s = rate;
    } while ((double)(now - start) * 1e-9 < seconds && !stop_signal());
done:
    dev->ops->free(dev, D, d_bytes);
    dev->ops->free(dev, B, b_bytes);
    dev->ops->free(dev, A, a_bytes);
    return st;
}

status gemm_measure_peak_cpu(device *dev, dtype t, double seconds, double *flops_per_s) {
    static const i64 shapes[][3] = {{2048, 2048, 2048}, {4096, 3072, 768}, {4096, 768, 3072}};
    enum { count = sizeof shapes / sizeof *shapes };
    /* its own context and counter: the device does not keep the trial's workspace, packed copies and FLOPs */
    device probe = *dev;
    TRY(open_context(&probe));
    status_code st = STATUS_OK;
    *flops_per_s = 0;
    /* without bf16 hardware the bound is that of f32, as if widening cost nothing */
    dtype multiplied = t == BF16 && !dev->bf16_products ? F32 : t;
    for (int i = 0; i < count; i++)
        TRY_DONE(best_rate(&probe, multiplied, shapes[i][0], shapes[i][1], shapes[i][2], seconds / count, flops_per_s));
done:
    close_context(&probe);
    return st;
}
