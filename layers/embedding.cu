#include "runtime/kernel.cuh"

extern "C" {
#include "layers/embedding.h"
}

enum { THREADS = 256, IN_FLIGHT = 4 };

/* one block per token */
template <class E, int W>
static __global__ void forward_kernel(E *x, token_batch b, const E *wte, const E *wpe, i64 C, i64 V, i64 first) {
    i64 n = blockIdx.x;
    int32_t token = b.tokens[n];
    bool known = token >= 0 && token < V;
    x += n * C;
    wte += (known ? token : 0) * C;
    if (wpe) wpe += (first + blockIdx.x % (unsigned)b.T - (b.starts ? b.starts[n] : 0)) * C;
    for (i64 c = threadIdx.x * W; c < C; c += blockDim.x * W) {
        float a[W], p[W];
        load(a, wte + c);
        if (wpe) load(p, wpe + c);
#pragma unroll
        for (int k = 0; k < W; k++) a[k] = !known ? NAN : wpe ? a[k] + p[k] : a[k];
        store(x + c, a);
    }
}

/* --- for each token of the vocabulary, the sorted list of the positions n that hold it. Integer atomics count and fill the
 * lists; their order decides only where a list lies and in which order it is filled. Sorting makes the result repeatable. --- */

typedef struct {
    uint2 *lists;      /* [V]: x length, y first entry */
    unsigned *used;    /* [1]: entries of `listed` in use */
    unsigned *ordered; /* [N] the sorted lists; before sorting, the place of n in its list */
    unsigned *listed;  /* [N] the lists before sorting */
} places;

DEVICE_INLINE bool in_vocabulary(int32_t token, i64 V) { return token >= 0 && token < V; }

static __global__ void positions_kernel(int32_t *positions, const int32_t *starts, unsigned N, unsigned T) {
    unsigned n = blockIdx.x * THREADS + threadIdx.x;
    if (n < N) positions[n] = (int32_t)(n % T) - starts[n];
}

static __global__ void count_kernel(places p, const int32_t *tokens, unsigned N, i64 V) {
    unsigned n = blockIdx.x * THREADS + threadIdx.x;
    if (n < N && in_vocabulary(tokens[n], V)) p.ordered[n] = atomicAdd(&p.lists[tokens[n]].x, 1u);
}

/* one atomic per warp, since all go to one address */
static __global__ void start_kernel(places p, i64 V) {
    i64 v = (i64)blockIdx.x * THREADS + threadIdx.x;
    unsigned lane = threadIdx.x % 32, count = v < V ? p.lists[v].x : 0, behind = count, start = 0;
#pragma unroll
    for (unsigned step = 1; step < 32; step *= 2) {
        unsigned left = __shfl_up_sync(~0u, behind, step);
        if (lane >= step) behind += left;
    }
    if (lane == 31) start = atomicAdd(p.used, behind);
    start = __shfl_sync(~0u, start, 31);
    if (v < V) p.lists[v].y = start + behind - count;
}

static __global__ void list_kernel(places p, const int32_t *tokens, unsigned N, i64 V) {
    unsigned n = blockIdx.x * THREADS + threadIdx.x;
    if (n < N && in_vocabulary(tokens[n], V)) p.listed[p.lists[tokens[n]].y + p.ordered[n]] = n;
}

/* One thread per entry finds the entry's rank in its list. Neighbouring threads mostly read the same list. */
static __global__ void order_kernel(places p, const int32_t *tokens) {
    unsigned i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= *p.used) return;
    unsigned n = p.listed[i], rank = 0;
    uint2 list = p.lists[tokens[n]];
#pragma unroll 8
    for (unsigned k = 0; k < list.x; k++) rank += p.listed[list.y + k] < n;
    p.ordered[list.y + rank] = n;
}

/* --- sums of rows --- */

/* += rows [from, to) of dx, taken from a list or, without a list, from first, first + step, ...; in this order, with IN_FLIGHT
 * loads in flight */
template <class E, int W>
DEVICE_INLINE void add_rows(float (&sum)[W], const E *dx, i64 C, const unsigned *list, unsigned first, unsigned step,
                            unsigned from, unsigned to) {
    for (unsigned i = from; i < to; i += IN_FLIGHT) {
        pack<E, W> rows[IN_FLIGHT];
#pragma unroll
        for (unsigned k = 0; k < IN_FLIGHT; k++)
            if (i + k < to) rows[k] = *(const pack<E, W> *)(dx + (list ? list[i + k] : first + (i + k) * step) * C);
#pragma unroll
        for (unsigned k = 0; k < IN_FLIGHT; k++)
            if (i + k < to)
#pragma unroll
                for (int w = 0; w < W; w++) sum[w] += to_f32(rows[k].v[w]);
    }
}

template <int W> DEVICE_INLINE void put(float *to, float (&before)[W], const float (&sum)[W]) {
#pragma unroll
    for (int w = 0; w < W; w++) before[w] += sum[w];
    store(to, before);
}

/* One block per row of the vocabulary, threadIdx.x along the columns. A long list is divided among threadIdx.y; their sums
 * are added in order. */
template <class E, int W>
static __global__ void __launch_bounds__(THREADS, 3)
    token_kernel(float *dwte, const E *dx, places p, i64 C, bool accumulate) {
    SHARED(float, parts, [THREADS * W]);
    i64 v = blockIdx.x;
    uint2 list = p.lists[v];
    if (accumulate && !list.x) return;
    unsigned teams = list.x > IN_FLIGHT ? blockDim.y : 1, share = (list.x + teams - 1) / teams;
    unsigned from = threadIdx.y * share, to = from + share < list.x ? from + share : list.x;
    for (i64 c0 = 0; c0 < C; c0 += blockDim.x * W) {
        i64 c = c0 + threadIdx.x * W;
        float sum[W] = {0}, before[W] = {0}; /* loaded early, together with the rows */
        if (accumulate && c < C && threadIdx.y == 0) load(before, dwte + v * C + c);
        if (c < C && threadIdx.y < teams) add_rows(sum, dx + c, C, p.ordered + list.y, 0, 0, from, to);
        if (teams > 1) {
            __syncthreads();
            store(parts + (threadIdx.y * blockDim.x + threadIdx.x) * W, sum);
            __syncthreads();
            for (unsigned team = 1; team < teams && threadIdx.y == 0; team++) {
                float part[W];
                load(part, parts + (team * blockDim.x + threadIdx.x) * W);
#pragma unroll
                for (int w = 0; w < W; w++) sum[w] += part[w];
            }
        }
        if (c < C && threadIdx.y == 0) put(dwte + v * C + c, before, sum);
    }
}

/* one block per position; rows from T on become zero, or stay as they are when accumulating */
template <class E, int W>
static __global__ void position_kernel(float *dwpe, const E *dx, unsigned B, unsigned T, i64 C, bool accumulate) {
    bool inside = blockIdx.x < T;
    if (accumulate && !inside) return;
    for (i64 c = threadIdx.x * W; c < C; c += blockDim.x * W) {
        float sum[W] = {0}, before[W] = {0};
        if (accumulate) load(before, dwpe + blockIdx.x * C + c);
        if (inside) add_rows(sum, dx + c, C, (const unsigned *)NULL, blockIdx.x, T, 0, B);
        put(dwpe + blockIdx.x * C + c, before, sum);
    }
}

/* --- launches --- */

template <class E, int W>
static status forward_run(device *dev, void *x, token_batch b, const embedding *e, i64 first) {
    RUN(dev, (forward_kernel<E, W>), (unsigned)(b.B * b.T), even_threads(e->C / W, THREADS), 0, (E *)x, b,
        (const E *)e->wte, (const E *)e->wpe, e->C, e->V, first);
    return STATUS_OK;
}

extern "C" status embedding_forward_cuda(device *dev, dtype t, void *x, token_batch b, const embedding *e, i64 first) {
    bool wide = fits_16(t, x, e->C) && fits_16(t, e->wte, e->C) && fits_16(t, e->wpe, e->C);
    WITH_TYPE(t, E,
              return wide ? forward_run<E, lanes<E>::all>(dev, x, b, e, first)
                          : forward_run<E, 1>(dev, x, b, e, first));
}

/* of the tokens, or, where positions of documents is set, of their positions, which it writes to scratch first */
static status find_places(device *dev, places *p, token_batch b, i64 V, bool positions) {
    const unsigned N = (unsigned)(b.B * b.T), by_token = (unsigned)ceil_div(N, THREADS);
    const int32_t *tokens = b.tokens;
    void *scratch;
    TRY(cuda_scratch(dev, &scratch, (size_t)(1 + 2 * V + (positions ? 3 : 2) * (i64)N) * sizeof(unsigned)));
    uint2 *lists = (uint2 *)scratch;
    unsigned *behind = (unsigned *)(lists + V);
    *p = (places){lists, behind, behind + 1, behind + 1 + N};
    if (positions) {
        int32_t *own = (int32_t *)(p->listed + N);
        RUN(dev, positions_kernel, by_token, THREADS, 0, own, b.starts, N, (unsigned)b.T);
        tokens = own;
    }
    TRY(dev->ops->zero(dev, scratch, (size_t)(1 + 2 * V) * sizeof(unsigned)));
    RUN(dev, count_kernel, by_token, THREADS, 0, *p, tokens, N, V);
    RUN(dev, start_kernel, (unsigned)ceil_div(V, THREADS), THREADS, 0, *p, V);
    RUN(dev, list_kernel, by_token, THREADS, 0, *p, tokens, N, V);
    RUN(dev, order_kernel, by_token, THREADS, 0, *p, tokens);
    return STATUS_OK;
}

template <class E, int W> static status backward_run(device *dev, const void *dx, token_batch b, const embedding *e) {
    const unsigned along = even_threads(e->C / W, THREADS);
    const dim3 block(along, THREADS / along);
    places p = {};
    TRY(find_places(dev, &p, b, e->V, false));
    RUN(dev, (token_kernel<E, W>), (unsigned)e->V, block, 0, e->dwte, (const E *)dx, p, e->C, e->accumulate_wte);
    if (!e->dwpe) return STATUS_OK;
    if (b.starts) { /* a position occurs as often as documents have it: as tokens do */
        TRY(find_places(dev, &p, b, e->positions, true));
        RUN(dev, (token_kernel<E, W>), (unsigned)e->positions, block, 0, e->dwpe, (const E *)dx, p, e->C,
            e->accumulate_wpe);
        return STATUS_OK;
    }
    RUN(dev, (position_kernel<E, W>), (unsigned)e->positions, along, 0, e->dwpe, (const E *)dx, (unsigned)b.B,
        (unsigned)b.T, e->C, e->accumulate_wpe);
    return STATUS_OK;
}

extern "C" status embedding_backward_cuda(device *dev, dtype t, const void *dx, token_batch b, const embedding *e) {
    bool wide = fits_16(t, dx, e->C) && fits_16(F32, e->dwte, e->C) && fits_16(F32, e->dwpe, e->C);
    WITH_TYPE(t, E, return wide ? backward_run<E, lanes<E>::all>(dev, dx, b, e) : backward_run<E, 1>(dev, dx, b, e));
}
