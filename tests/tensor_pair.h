/* Tensors for tests that run an operation on both devices. */
#ifndef TALLY_TENSOR_PAIR_H
#define TALLY_TENSOR_PAIR_H

#include "tests/cuda_pair.h"

/* A tensor of n elements on both devices, `offset` elements behind an aligned address; before that NaN. */
typedef struct {
    dtype t;
    i64 n, offset;
    char *host_memory, *cuda_memory;
    void *host, *cuda;
} tensor_pair;

static inline size_t tensor_pair_bytes(const tensor_pair *w) { return (size_t)(w->n + w->offset) * dtype_bytes(w->t); }

/* normal numbers of standard deviation std; with std 0 all NaN: an output not written yet */
static inline tensor_pair tensor_pair_open(dtype t, i64 n, i64 offset, float std, uint64_t seed) {
    tensor_pair w = {.t = t, .n = n, .offset = offset};
    size_t skip = (size_t)offset * dtype_bytes(t);
    w.host_memory = malloc(tensor_pair_bytes(&w));
    memset(w.host_memory, 0xff, tensor_pair_bytes(&w));
    w.host = w.host_memory + skip;
    if (std > 0) random_tensor(w.host, NULL, t, n, std, seed);
    w.cuda_memory = to_cuda(w.host_memory, tensor_pair_bytes(&w));
    w.cuda = w.cuda_memory + skip;
    return w;
}

static inline void tensor_pair_close(tensor_pair *w) {
    cuda_release(w->cuda_memory, tensor_pair_bytes(w));
    free(w->host_memory);
}

static inline void tensor_pair_upload(tensor_pair *w) {
    OK(both.cuda->ops->copy(both.cuda, w->cuda_memory, w->host_memory, tensor_pair_bytes(w)));
}

/* the GPU's tensor, malloc'ed */
static inline void *tensor_pair_download(const tensor_pair *w) {
    void *p = malloc((size_t)w->n * dtype_bytes(w->t));
    from_cuda(p, w->cuda, (size_t)w->n * dtype_bytes(w->t));
    return p;
}

static inline void check_tensor_pair(const char *what, const tensor_pair *w, double tolerance) {
    check_same(what, w->t, w->cuda, w->host, w->n, tolerance);
}

/* compares rows of `used` elements with stride ld; the gaps must have the CPU's bits */
static inline void check_tensor_pair_rows(const char *what, const tensor_pair *w, i64 rows, i64 used, i64 ld,
                                          double tolerance) {
    size_t e = dtype_bytes(w->t), row = (size_t)used * e, stride = (size_t)ld * e;
    char *cuda = tensor_pair_download(w);
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
