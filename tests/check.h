/* Shared by all tests in C. They print TAP. A tolerance is the dtype's unit roundoff (f32 2^-24, bf16 2^-8, round to
 * nearest) times the number of roundings between the value and its reference. */
#ifndef TALLY_CHECK_H
#define TALLY_CHECK_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka.h needs the headers above */
#include <cmocka.h>

#include "runtime/device.h"
#include "runtime/rng.h"

#define F32_ROUNDOFF 5.9604644775390625e-8
#define BF16_ROUNDOFF 0.00390625

#define OK(call)                                                                                                       \
    do {                                                                                                               \
        status_code ok_ = (call);                                                                                      \
        if (ok_) fail_msg("%s: %s (%s)", #call, status_message(), status_backtrace());                                 \
    } while (0)

/* the call must fail with `code` and its message contain `text` */
#define FAILS(code, text, call)                                                                                        \
    do {                                                                                                               \
        status_code got_ = (call);                                                                                     \
        if (got_ != STATUS_##code || !strstr(status_message(), text))                                                  \
            fail_msg("%s: got %s \"%s\", expected %s with \"%s\"", #call, status_text(got_),                           \
                     got_ ? status_message() : "", #code, text);                                                       \
    } while (0)

/* relative L2 distance |a - b| / |b| of n values */
static inline double relative_l2(const float *a, const double *b, i64 n) {
    double d = 0, s = 0;
    for (i64 i = 0; i < n; i++) d += (a[i] - b[i]) * (a[i] - b[i]), s += b[i] * b[i];
    return sqrt(d / (s > 0 ? s : 1));
}

static inline void check_close(const char *what, const float *a, const double *b, i64 n, double tolerance) {
    double d = relative_l2(a, b, n);
    if (!(d <= tolerance)) fail_msg("%s: relative distance %.3g, tolerance %.3g", what, d, tolerance);
}

/* normal numbers of standard deviation std, as values that dtype t holds exactly; widened copies in f64 for references */
static inline void random_tensor(void *x, double *wide, dtype t, i64 n, float std, uint64_t seed) {
    float *f = malloc((size_t)n * 4);
    rng_normal(f, n, std, seed, 99, 0);
    for (i64 i = 0; i < n; i++) {
        if (t == BF16) ((bf16 *)x)[i] = bf16_from_f32(f[i]), f[i] = bf16_to_f32(((bf16 *)x)[i]);
        else ((float *)x)[i] = f[i];
        if (wide) wide[i] = f[i];
    }
    free(f);
}

static inline void widen(float *y, const void *x, dtype t, i64 n) {
    for (i64 i = 0; i < n; i++) y[i] = t == BF16 ? bf16_to_f32(((const bf16 *)x)[i]) : ((const float *)x)[i];
}

#endif
