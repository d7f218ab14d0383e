/* GEMM by cuBLASLt, which is column-major: our row-major D[M,N] is its D^T[N,M] = op(B)^T op(A)^T. So our B is its first
 * operand, and our bias, one value per column, is its BIAS epilogue, one value per row. */
#include <cublasLt.h>
#include <stdlib.h>

#include "runtime/cuda.h"
#include "runtime/device_cuda.h"
#include "runtime/gemm_backend.h"
#include "runtime/stop.h"

enum { WORKSPACE_BYTES = GEMM_CUDA_BYTES - CUDA_SCRATCH_BYTES, ALIGNED = 16, BUCKETS = 256, OFFERS = 16, TRIALS = 3 };

/* everything that the choice of an algorithm depends on; no padding, for memcmp */
typedef struct {
    i64 M, N, K, lda, ldb, ldd;
    int32_t trans_a, trans_b, ab, d, bias, add, dgelu;
    uint32_t align_a, align_b, align_c, align_d;
    uint32_t zero;
} plan_key;

typedef struct plan {
    struct plan *next;
    plan_key key;
    cublasLtMatmulDesc_t product;
    cublasLtMatrixLayout_t b, a, d; /* of the transposes; C is laid out as D */
    cublasLtMatmulAlgo_t algorithm;
} plan;

typedef struct {
    cublasLtHandle_t lt;
    cublasLtMatmulPreference_t preference;
    void *workspace;
    cudaEvent_t begin, end;
    bool search;
    plan *plans[BUCKETS];
} gemm_context;

static gemm_context *context_of(const device *dev) { return dev->libraries[DEVICE_GEMM].state; }

#define LT_TRY(call)                                                                                                   \
    do {                                                                                                               \
        cublasStatus_t code_ = (call);                                                                                 \
        if (code_ != CUBLAS_STATUS_SUCCESS) FAIL(DEVICE, "%s: %s", #call, cublasLtGetStatusString(code_));             \
    } while (0)

#define SET(product, attribute, value)                                                                                 \
    LT_TRY(cublasLtMatmulDescSetAttribute(product, CUBLASLT_MATMUL_DESC_##attribute, &(value), sizeof(value)))
#define PREFER(c, attribute, value)                                                                                    \
    LT_TRY(cublasLtMatmulPreferenceSetAttribute((c)->preference, CUBLASLT_MATMUL_PREF_##attribute, &(value),           \
                                                sizeof(value)))

static cudaDataType_t type_of(dtype t) { return t == F32 ? CUDA_R_32F : CUDA_R_16BF; }

/* what is added to op(A) op(B): residual, or D to accumulate. Without either, cuBLASLt still requires a C. */
static const void *addend(const gemm_args *g) { return g->residual ? g->residual : g->D; }

static uint32_t alignment(const void *p) {
    uint32_t bytes = ALIGNED;
    while ((uintptr_t)p % bytes) bytes /= 2;
    return bytes;
}

static plan_key key_of(const gemm_args *g) {
    return (plan_key){.M = g->M,
                      .N = g->N,
                      .K = g->K,
                      .lda = g->lda,
                      .ldb = g->ldb,
                      .ldd = g->ldd,
                      .trans_a = g->trans_a,
                      .trans_b = g->trans_b,
                      .ab = g->ab,
                      .d = g->d,
                      .bias = g->bias != NULL,
                      .add = g->accumulate || g->residual,
                      .dgelu = g->dgelu_of != NULL,
                      .align_a = alignment(g->A),
                      .align_b = alignment(g->B),
                      .align_c = alignment(addend(g)),
                      .align_d = alignment(g->D)};
}

static unsigned bucket_of(const plan_key *key) { /* FNV-1a */
    const unsigned char *bytes = (const unsigned char *)key;
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < sizeof *key; i++) hash = (hash ^ bytes[i]) * 0x100000001b3u;
    return (unsigned)((hash ^ hash >> 32) % BUCKETS);
}

/* --- one product --- */

/* needed before the query for algorithms too: cuBLASLt derives the alignment of these two from the pointers */
static status set_pointers(plan *p, const gemm_args *g) {
    if (g->bias) SET(p->product, BIAS_POINTER, g->bias);
    if (g->dgelu_of) SET(p->product, EPILOGUE_AUX_POINTER, g->dgelu_of);
    return STATUS_OK;
}

static cublasStatus_t multiply(device *dev, const plan *p, const gemm_args *g, const cublasLtMatmulAlgo_t *algorithm,
                               void *D) {
    float one = 1, beta = p->key.add ? 1 : 0;
    const void *C = p->key.add ? addend(g) : D;
    return cublasLtMatmul(context_of(dev)->lt, p->product, &one, g->B, p->b, g->A, p->a, &beta, C, p->d, D, p->d,
                          algorithm, context_of(dev)->workspace, WORKSPACE_BYTES, cuda_stream(dev));
}

/* --- the choice of an algorithm --- */

/* the least time of TRIALS runs after a warm-up; infinite if the algorithm cannot run */
static status time_offer(device *dev, const plan *p, const gemm_args *g, const cublasLtMatmulAlgo_t *algorithm, void *D,
                         float *least_ms) {
    gemm_context *c = context_of(dev);
    *least_ms = __builtin_inff();
    for (int i = 0; i <= TRIALS; i++) {
        float ms;
        CUDA_TRY(cudaEventRecord(c->begin, cuda_stream(dev)));
        if (multiply(dev, p, g, algorithm, D) != CUBLAS_STATUS_SUCCESS) return STATUS_OK;
        CUDA_TRY(cudaEventRecord(c->end, cuda_stream(dev)));
        CUDA_TRY(cudaEventSynchronize(c->end));
        CUDA_TRY(cudaEventElapsedTime(&ms, c->begin, c->end));
        if (i && ms < *least_ms) *least_ms = ms;
    }
    return STATUS_OK;
}

/* moves the fastest offer to the front */
static status race(device *dev, const plan *p, const gemm_args *g, cublasLtMatmulHeuristicResult_t *offers, int count) {
    status_code st = STATUS_OK;
    size_t bytes = (size_t)(g->M * g->ldd) * dtype_bytes(g->d);
    bool spoilt = p->key.add && addend(g) == g->D;
    void *D = g->D, *own = NULL;
    float best = __builtin_inff(), ms;
    int fastest = 0;
    if (spoilt) TRY_DONE(dev->ops->alloc(dev, &own, bytes));
    if (spoilt) D = own;
    for (int i = 0; i < count; i++) {
        TRY_DONE(time_offer(dev, p, g, &offers[i].algo, D, &ms));
        if (ms < best) best = ms, fastest = i;
    }
    offers[0] = offers[fastest];
done:
    if (own) dev->ops->free(dev, own, bytes);
    return st;
}

static status no_algorithm(const gemm_args *g, cublasStatus_t why) {
    FAIL(DEVICE,
         "gemm: cuBLASLt has no algorithm for M %ld, N %ld, K %ld, %s to %s, lda %ld%s, ldb %ld%s, ldd %ld%s%s%s, "
         "pointers aligned to %u, %u, %u bytes: %s",
         g->M, g->N, g->K, dtype_name(g->ab), dtype_name(g->d), g->lda, g->trans_a ? " (transposed)" : "", g->ldb,
         g->trans_b ? " (transposed)" : "", g->ldd, g->bias ? ", bias" : "",
         g->residual || g->accumulate ? ", added to" : "", g->dgelu_of ? ", dgelu" : "", alignment(g->A),
         alignment(g->B), alignment(g->D), cublasLtGetStatusString(why));
}

static status choose_algorithm(device *dev, plan *p, const gemm_args *g) {
    gemm_context *c = context_of(dev);
    cublasLtMatmulHeuristicResult_t offers[OFFERS];
    int count = 0;
    PREFER(c, MIN_ALIGNMENT_A_BYTES, p->key.align_b);
    PREFER(c, MIN_ALIGNMENT_B_BYTES, p->key.align_a);
    PREFER(c, MIN_ALIGNMENT_C_BYTES, p->key.align_c);
    PREFER(c, MIN_ALIGNMENT_D_BYTES, p->key.align_d);
    cublasStatus_t code = cublasLtMatmulAlgoGetHeuristic(c->lt, p->product, p->b, p->a, p->d, p->d, c->preference,
                                                         c->search ? OFFERS : 1, offers, &count);
    if (code || count < 1) return no_algorithm(g, code ? code : CUBLAS_STATUS_NOT_SUPPORTED);
    if (count > 1) TRY(race(dev, p, g, offers, count));
    p->algorithm = offers[0].algo;
    return STATUS_OK;
}

static status describe(plan *p, const gemm_args *g) {
    int32_t trans_a = g->trans_a ? CUBLAS_OP_T : CUBLAS_OP_N, trans_b = g->trans_b ? CUBLAS_OP_T : CUBLAS_OP_N;
    int32_t type = (int32_t)type_of(g->d);
    uint32_t epilogue = g->bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DGELU;
    LT_TRY(cublasLtMatmulDescCreate(&p->product, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    SET(p->product, TRANSA, trans_b);
    SET(p->product, TRANSB, trans_a);
    if (g->bias || g->dgelu_of) SET(p->product, EPILOGUE, epilogue);
    if (g->bias) SET(p->product, BIAS_DATA_TYPE, type);
    if (g->dgelu_of) {
        SET(p->product, EPILOGUE_AUX_DATA_TYPE, type);
        SET(p->product, EPILOGUE_AUX_LD, g->ldd);
    }
    uint64_t M = (uint64_t)g->M, N = (uint64_t)g->N, K = (uint64_t)g->K;
    LT_TRY(cublasLtMatrixLayoutCreate(&p->b, type_of(g->ab), g->trans_b ? K : N, g->trans_b ? N : K, g->ldb));
    LT_TRY(cublasLtMatrixLayoutCreate(&p->a, type_of(g->ab), g->trans_a ? M : K, g->trans_a ? K : M, g->lda));
    LT_TRY(cublasLtMatrixLayoutCreate(&p->d, type_of(g->d), N, M, g->ldd));
    return set_pointers(p, g);
}

static void free_plan(plan *p) {
    if (!p) return;
    if (p->product) (void)cublasLtMatmulDescDestroy(p->product);
    if (p->b) (void)cublasLtMatrixLayoutDestroy(p->b);
    if (p->a) (void)cublasLtMatrixLayoutDestroy(p->a);
    if (p->d) (void)cublasLtMatrixLayoutDestroy(p->d);
    free(p);
}

/* made at the first use of a shape, kept until the device closes */
static status find_plan(device *dev, plan **found, const gemm_args *g) {
    plan_key key = key_of(g);
    plan **bucket = &context_of(dev)->plans[bucket_of(&key)], *p = *bucket;
    while (p && memcmp(&p->key, &key, sizeof key) != 0) p = p->next;
    *found = p;
    if (p) return set_pointers(p, g);
    status_code st = STATUS_OK;
    p = calloc(1, sizeof *p);
    if (!p) FAIL(MEM, "gemm: no memory for a plan of %zu bytes", sizeof *p);
    p->key = key;
    TRY_DONE(describe(p, g));
    TRY_DONE(choose_algorithm(dev, p, g));
    p->next = *bucket;
    *bucket = *found = p;
done:
    if (st) free_plan(p);
    return st;
}

/* An epilogue requires an aligned bias, whatever alignment the algorithm was chosen for. */
static status align_bias(device *dev, gemm_args *g) {
    void *aligned;
    size_t bytes = (size_t)g->N * dtype_bytes(g->ab);
    if (!g->bias || alignment(g->bias) == ALIGNED) return STATUS_OK;
    TRY(cuda_scratch(dev, &aligned, bytes));
    CUDA_TRY(cudaMemcpyAsync(aligned, g->bias, bytes, cudaMemcpyDeviceToDevice, cuda_stream(dev)));
    g->bias = aligned;
    return STATUS_OK;
}

status gemm_cuda(device *dev, const gemm_args *given) {
    gemm_args g = *given;
    plan *p;
    TRY(align_bias(dev, &g));
    TRY(find_plan(dev, &p, &g));
    LT_TRY(multiply(dev, p, &g, &p->algorithm, g.D));
    return STATUS_OK;
}

void gemm_search_cuda(device *dev, bool on) { context_of(dev)->search = on; }

void gemm_weights_changed_cuda(device *dev) { (void)dev; } /* nothing is packed */

status gemm_reserve_cuda(device *dev, const device *dry) {
    (void)dev, (void)dry; /* the workspace was taken when the device opened */
    return STATUS_OK;
}

/* --- opening and closing --- */

/* How a split sum over K may be reduced. INPLACE adds the parts in D, in D's type and in no fixed order; OUTPUT_TYPE rounds
 * them to D's type before it adds them. COMPUTE_TYPE keeps them in f32 in the workspace and adds them in a separate pass: only
 * that is allowed. An unsplit sum is always allowed. */
static status set_preference(gemm_context *c) {
    uint64_t workspace = WORKSPACE_BYTES;
    uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    LT_TRY(cublasLtMatmulPreferenceCreate(&c->preference));
    PREFER(c, MAX_WORKSPACE_BYTES, workspace);
    PREFER(c, REDUCTION_SCHEME_MASK, reductions);
    return STATUS_OK;
}

static void close_context(device *dev) {
    gemm_context *c = context_of(dev);
    (void)cudaStreamSynchronize(cuda_stream(dev)); /* queued GEMMs use the workspace */
    for (int i = 0; i < BUCKETS; i++)
        for (plan *p = c->plans[i], *next; p; p = next) {
            next = p->next;
            free_plan(p);
        }
    if (c->preference) (void)cublasLtMatmulPreferenceDestroy(c->preference);
    if (c->begin) (void)cudaEventDestroy(c->begin);
    if (c->end) (void)cudaEventDestroy(c->end);
    dev->ops->free(dev, c->workspace, WORKSPACE_BYTES);
    if (c->lt) (void)cublasLtDestroy(c->lt);
    free(c);
    dev->libraries[DEVICE_GEMM] = (device_library){0};
}

status gemm_open_cuda(device *dev) {
    status_code st = STATUS_OK;
    gemm_context *c = calloc(1, sizeof *c);
    if (!c) FAIL(MEM, "no memory for the GEMM library's state");
    dev->libraries[DEVICE_GEMM] = (device_library){c, GEMM_CUDA_BYTES, close_context};
    cublasStatus_t code = cublasLtCreate(&c->lt);
    if (code) FAIL_DONE(DEVICE, "cublasLtCreate: %s", cublasLtGetStatusString(code));
    TRY_DONE(dev->ops->alloc(dev, &c->workspace, WORKSPACE_BYTES));
    if (cudaEventCreate(&c->begin) || cudaEventCreate(&c->end)) FAIL_DONE(DEVICE, "gemm: cannot create events");
    TRY_DONE(set_preference(c));
done:
    if (st) close_context(dev);
    return st;
}

/* --- peak --- */

enum { PEAK_SIZE = 8192, EMULATED_SIZE = 64, PIECE = 1048573 /* a prime, so that the rows of a matrix differ */ };

static status fill(device *dev, void *x, const void *values, dtype t, i64 n) {
    for (i64 from = 0; from < n; from += PIECE) {
        i64 count = n - from < PIECE ? n - from : PIECE;
        TRY(dev->ops->copy(dev, tensor_at(x, t, from), values, (size_t)count * dtype_bytes(t)));
    }
    return STATUS_OK;
}

static status best_rate(device *dev, const gemm_args *g, double seconds, double *flops_per_s) {
    plan *p;
    float ms;
    uint64_t start = meter_clock_ns();
    TRY(find_plan(dev, &p, g));
    do {
        TRY(time_offer(dev, p, g, &p->algorithm, g->D, &ms));
        double rate = 2.0 * (double)g->M * (double)g->N * (double)g->K / ((double)ms * 1e-3);
        if (ms > 0 && rate > *flops_per_s) *flops_per_s = rate;
    } while ((double)(meter_clock_ns() - start) * 1e-9 < seconds && !stop_signal());
    return STATUS_OK;
}

/* the largest size that uses at most half of the free memory */
static status peak_size(dtype t, i64 *size) {
    size_t left, all;
    CUDA_TRY(cudaMemGetInfo(&left, &all));
    *size = device_cuda_emulated() ? EMULATED_SIZE : PEAK_SIZE;
    while (3 * (size_t)(*size * *size) * dtype_bytes(t) > left / 2) *size /= 2;
    return STATUS_OK;
}

status gemm_measure_peak_cuda(device *dev, dtype t, double seconds, double *flops_per_s) {
    device probe = *dev; /* its own plans and workspace, freed at the end */
    status_code st = STATUS_OK;
    void *values = malloc(PIECE * dtype_bytes(t)), *x[3] = {NULL};
    i64 S = 0;
    probe.libraries[DEVICE_GEMM] = (device_library){0};
    *flops_per_s = 0;
    if (!values) FAIL(MEM, "gemm: no memory for %zu bytes of trial values", PIECE * dtype_bytes(t));
    gemm_trial_values(values, t, PIECE);
    TRY_DONE(gemm_open_cuda(&probe));
    context_of(&probe)->search = true;
    TRY_DONE(peak_size(t, &S));
    for (int i = 0; i < 3; i++) {
        TRY_DONE(dev->ops->alloc(dev, &x[i], (size_t)(S * S) * dtype_bytes(t)));
        TRY_DONE(fill(dev, x[i], values, t, S * S));
    }
    const i64 shapes[][3] = {{S, S, S}, {S, S, S / 2}, {S / 2, S / 2, S}};
    enum { count = sizeof shapes / sizeof *shapes };
    for (int i = 0; i < count; i++) {
        gemm_args g = {.M = shapes[i][0], .N = shapes[i][1], .K = shapes[i][2], .A = x[0], .B = x[1], .D = x[2]};
        g.lda = g.ldb = g.K, g.ldd = g.N;
        g.trans_b = true, g.ab = g.d = t;
        TRY_DONE(best_rate(&probe, &g, seconds / count, flops_per_s));
    }
    if (!(*flops_per_s > 0)) FAIL_DONE(DEVICE, "gemm: none of cuBLASLt's algorithms ran large GEMMs");
done:
    for (int i = 0; i < 3; i++)
        if (x[i]) dev->ops->free(dev, x[i], (size_t)(S * S) * dtype_bytes(t));
    if (context_of(&probe)) close_context(&probe);
    free(values);
    return st;
}
