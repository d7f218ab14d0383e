/* Every operation runs on the CPU and on CUDA, and the results are compared. Where there is no GPU, and in builds without
 * CUDA, these tests are skipped by name. In builds with TALLY_CUDA=EMULATED they run anywhere. */
#ifndef TALLY_CUDA_PAIR_H
#define TALLY_CUDA_PAIR_H

#include "tests/check.h"

typedef struct {
    device *cpu, *cuda;
} device_pair;

static device_pair both;

/* group setup and teardown: cmocka_run_group_tests(tests, pair_open, pair_close) */
static inline int pair_open(void **state) {
    (void)state;
    OK(device_open(&both.cpu, "cpu", 1,
                   0)); /* small shapes: more threads wait for each other, and ctest runs many tests */
    OK(device_open(&both.cuda, "cuda", 0, 0));
    return 0;
}

static inline int pair_close(void **state) {
    (void)state;
    device_close(both.cuda);
    device_close(both.cpu);
    both = (device_pair){0};
    return 0;
}

/* first line of main: the whole program is skipped, with the reason, where there is no GPU */
#define NEEDS_CUDA(program)                                                                                            \
    do {                                                                                                               \
        device *tried_;                                                                                                \
        if (device_open(&tried_, "cuda", 0, 0)) {                                                                      \
            printf("1..1\nok 1 - %s # SKIP %s\n", program, status_message());                                          \
            return 0;                                                                                                  \
        }                                                                                                              \
        device_close(tried_);                                                                                          \
    } while (0)

static inline bool cuda_emulated(void) { return strstr(both.cuda->name, "emulated") != NULL; }

/* A copy in the GPU's memory, of exactly this size, so that a byte too far is seen. */
static inline void *to_cuda(const void *host, size_t bytes) {
    void *p;
    OK(both.cuda->ops->alloc(both.cuda, &p, bytes));
    OK(both.cuda->ops->copy(both.cuda, p, host, bytes));
    return p;
}

/* filled with NaN, for outputs: every element must be written */
static inline void *cuda_unwritten(size_t bytes) {
    void *host = malloc(bytes ? bytes : 1);
    memset(host, 0xff, bytes);
    void *p = to_cuda(host, bytes);
    free(host);
    return p;
}

static inline void from_cuda(void *host, const void *p, size_t bytes) {
    OK(both.cuda->ops->copy(both.cuda, host, p, bytes));
}

static inline void cuda_release(void *p, size_t bytes) { both.cuda->ops->free(both.cuda, p, bytes); }

/* Relative L2 distance of what CUDA has at `cuda` to what the CPU has at `cpu`, n elements of t; no NaN may be there. */
static inline void check_same(const char *what, dtype t, const void *cuda, const void *cpu, i64 n, double tolerance) {
    size_t bytes = (size_t)n * dtype_bytes(t);
    void *copy = malloc(bytes);
    float *a = malloc((size_t)n * 4), *b = malloc((size_t)n * 4);
    double *wide = malloc((size_t)n * 8);
    from_cuda(copy, cuda, bytes);
    widen(a, copy, t, n);
    widen(b, cpu, t, n);
    for (i64 i = 0; i < n; i++) wide[i] = b[i];
    check_close(what, a, wide, n, tolerance);
    free(wide);
    free(b);
    free(a);
    free(copy);
}

#endif
