/* Tensors for tests that run an operation on both devices. */
#ifndef TALLY_TWIN_H
#define TALLY_TWIN_H

#include "tests/cuda_pair.h"

/* A tensor of n elements on both devices, `offset` elements behind an aligned address; before that NaN. */
typedef struct {
    dtype t;
    i64 n, offset;
    char *host_memory, *cuda_memory;
    void *host, *cuda;
} twin;

static inline size_t twin_bytes(const twin *w) { return (size_t)(w->n + w->offset) * dtype_bytes(w->t); }

/* normal numbers of standard deviation std; 0: not written yet, which is NaN */
static inline twin twin_open(dtype t, i64 n, i64 offset, float std, uint64_t seed) {
    twin w = {.t = t, .n = n, .offset = offset};
    size_t skip = (size_t)offset * dtype_bytes(t);
    w.host_memory = malloc(twin_bytes(&w));
    memset(w.host_memory, 0xff, twin_bytes(&w));
    w.host = w.host_memory + skip;
    if (std > 0) random_tensor(w.host, NULL, t, n, std, seed);
    w.cuda_memory = to_cuda(w.host_memory, twin_bytes(&w));
    w.cuda = w.cuda_memory + skip;
    return w;
}

static inline void twin_close(twin *w) {
    cuda_release(w->cuda_memory, twin_bytes(w));
    free(w->host_memory);
}

static inline void twin_upload(twin *w) {
    OK(both.cuda->ops->copy(both.cuda, w->cuda_memory, w->host_memory, twin_bytes(w)));
}

/* the GPU's tensor, malloc'ed */
static inline void *twin_download(const twin *w) {
    void *p = malloc((size_t)w->n * dtype_bytes(w->t));
    from_cuda(p, w->cuda, (size_t)w->n * dtype_bytes(w->t));
    return p;
}

static inline void check_twin(const char *what, const twin *w, double tolerance) {
    check_same(what, w->t, w->cuda, w->host, w->n, tolerance);
}

/* rows of `used` elements in strides of ld are compared; what lies between them must still have the CPU's bits */
static inline void check_twin_rows(const char *what, const twin *w, i64 rows, i64 used, i64 ld, double tolerance) {
    size_t e = dtype_bytes(w->t), row = (size_t)used * e, stride = (size_t)ld * e;
    char *cuda = twin_download(w);
    float *a = malloc((size_t)(rows * used) * 4), *b = malloc((size_t)(rows * used) * 4);
    double *wide = malloc((size_t)(rows * used) * 8);
    for (i64 r = 0; r < rows; r++) {
        const char *c = cuda + (size_t)r * stride, *h = (const char *)w->host + (size_t)r * stride;
        widen(a + r * used, c, w->t, used);
        widen(b + r * used, h, w->t, used);
        assert_memory_equal(c + row, h + row, stride - row);
    }
    for (i64 i = 0; i < rows * used; i++) wide[i] = b[i];
    check_close(what, a, wide, rows * used, tolerance);
    free(cuda), free(a), free(b), free(wide);
}

#endif
