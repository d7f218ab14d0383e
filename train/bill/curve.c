#include "train/bill/curve.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/rng.h"
#include "runtime/text.h"

enum { GRID = 32, GOLDEN_STEPS = 40, SEED = 12 };

/* the points as the fit needs them: logarithms of tokens relative to the last point, so that powers are of the size of 1 */
typedef struct {
    int count;
    double log_last;
    const curve_point *points;
    double log_tokens[CURVE_MOST], loss[CURVE_MOST];
} sample;

double curve_loss(const curve_law *law, double tokens) { return law->floor + law->scale * pow(tokens, -law->exponent); }

double curve_tokens(const curve_law *law, double loss) {
    return loss > law->floor ? pow(law->scale / (loss - law->floor), 1 / law->exponent) : INFINITY;
}

/* The best E and B for this b, and the weighted sum of squares that they leave; B is that of the relative tokens. */
static double fit_linear(curve_law *law, const sample *s, double exponent) {
    double x[CURVE_MOST], w = 0, wx = 0, wy = 0, wxx = 0, wxy = 0, left = 0;
    for (int i = 0; i < s->count; i++) {
        double weight = s->points[i].weight;
        x[i] = exp(-exponent * s->log_tokens[i]);
        w += weight, wx += weight * x[i], wy += weight * s->loss[i];
        wxx += weight * x[i] * x[i], wxy += weight * x[i] * s->loss[i];
    }
    double determinant = w * wxx - wx * wx;
    law->exponent = exponent;
    law->scale = determinant > 0 ? (w * wxy - wx * wy) / determinant : 0;
    law->floor = (wy - law->scale * wx) / w;
    if (law->scale < 0) law->scale = 0, law->floor = wy / w;
    if (law->floor < 0) law->floor = 0, law->scale = wxy / wxx;
    for (int i = 0; i < s->count; i++) {
        double r = s->loss[i] - law->floor - law->scale * x[i];
        left += s->points[i].weight * r * r;
    }
    return left;
}

/* The sum of squares over log b may have several minima: a grid finds the lowest, golden section refines it. */
static curve_law fit(const sample *s) {
    const double low = log(CURVE_EXPONENT_LOW), step = (log(CURVE_EXPONENT_HIGH) - low) / GRID,
                 ratio = 0.6180339887498949;
    curve_law law;
    double least = INFINITY;
    int at = 0;
    for (int i = 0; i <= GRID; i++) {
        double left = fit_linear(&law, s, exp(low + i * step));
        if (left < least) least = left, at = i;
    }
    double a = low + (at > 0 ? at - 1 : 0) * step, b = low + (at < GRID ? at + 1 : GRID) * step;
    for (int i = 0; i < GOLDEN_STEPS; i++) {
        double c = b - ratio * (b - a), d = a + ratio * (b - a);
        if (fit_linear(&law, s, exp(c)) < fit_linear(&law, s, exp(d))) b = d;
        else a = c;
    }
    fit_linear(&law, s, exp((a + b) / 2));
    law.scale *= exp(law.exponent * s->log_last);
    return law;
}

static status check(const curve_point *p, int count) {
    if (count < CURVE_FEWEST || count > CURVE_MOST)
        FAIL(DATA, "the curve has %d points after its beginning, expected %d to %d", count, CURVE_FEWEST, CURVE_MOST);
    for (int i = 0; i < count; i++)
        if (!(p[i].tokens > (i ? p[i - 1].tokens : 0)) || !isfinite(p[i].tokens) || !isfinite(p[i].loss) ||
            !(p[i].weight > 0) || !isfinite(p[i].weight))
            FAIL(DATA,
                 "point %d of the curve: loss %g at %g tokens, weight %g, expected finite values by ascending tokens",
                 i, p[i].loss, p[i].tokens, p[i].weight);
    return STATUS_OK;
}

/* Each fit takes 3 degrees of freedom from the residuals, and the slow ones, which the means of blocks keep: they are widened as
 * for blocks / (blocks - 3). */
static void resample(curve_law *laws, int count, sample *s, const curve_law *law, uint64_t *drawn) {
    int n = s->count, block = (int)cbrt(n), places = n - block + 1;
    double residuals[CURVE_MOST], fitted[CURVE_MOST], mean = 0;
    double blocks = (double)n / block, wider = sqrt(blocks / (blocks - 3));
    for (int i = 0; i < n; i++) {
        fitted[i] = curve_loss(law, s->points[i].tokens);
        residuals[i] = (s->loss[i] - fitted[i]) * sqrt(s->points[i].weight);
        mean += residuals[i] / n;
    }
    for (int k = 0; k < count; k++) {
        for (int i = 0; i < n; ++*drawn) {
            int from = (int)rng_below(SEED, RNG_SAMPLE, *drawn, (uint64_t)places);
            for (int j = 0; j < block && i < n; j++, i++)
                s->loss[i] = fitted[i] + wider * (residuals[from + j] - mean) / sqrt(s->points[i].weight);
        }
        laws[k] = fit(s);
    }
}

static void fill(sample *s, const curve_point *points, int count) {
    *s = (sample){.count = count, .log_last = log(points[count - 1].tokens), .points = points};
    for (int i = 0; i < count; i++) {
        s->log_tokens[i] = log(points[i].tokens) - s->log_last;
        s->loss[i] = points[i].loss;
    }
}

/* the first point from which a fit may begin that leaves out what is before `share` of the tokens; -1: too few would be left */
static int beginning(const curve_point *points, int count, double share) {
    int first = 0;
    while (points[first].tokens < share * points[count - 1].tokens) first++;
    return count - first >= CURVE_FEWEST ? first : -1;
}

status curve_fit_points(curve_fit *f, const curve_point *points, int count) {
    static const double shares[] = {0, 0.15, 0.2, 0.3, 0.4};
    enum { BEGINNINGS = sizeof shares / sizeof *shares };
    uint64_t drawn = 0;
    int used = 0, done = 0;
    TRY(check(points, count));
    sample *s = malloc(sizeof *s);
    if (!s) FAIL(MEM, "no memory to fit a curve");
    *f = (curve_fit){.points = count, .from_tokens = points[0].tokens, .to_tokens = points[count - 1].tokens};
    while (used < BEGINNINGS && beginning(points, count, shares[used]) >= 0) used++;
    for (int b = 0; b < used; b++) {
        int first = beginning(points, count, shares[b]), end = CURVE_RESAMPLES * (b + 1) / used;
        fill(s, points + first, count - first);
        curve_law law = fit(s);
        if (b == 0) f->law = law, f->whole = end;
        resample(f->resampled + done, end - done, s, &law, &drawn);
        done = end;
    }
    free(s);
    for (int i = 0; i < count; i++) f->rms += pow(points[i].loss - curve_loss(&f->law, points[i].tokens), 2) / count;
    f->rms = sqrt(f->rms);
    return STATUS_OK;
}

/* --- intervals --- */

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* widens *i to the 5th and the 95th percentile of the first `count` values, which it sorts */
static void widen(curve_interval *i, double *values, int count) {
    int tail = count / 20;
    qsort(values, (size_t)count, sizeof *values, by_value);
    i->low = fmin(i->low, values[tail]);
    i->high = fmax(i->high, values[count - 1 - tail]);
}

/* values: of the refits, in their order */
static curve_interval interval(const curve_fit *f, double *values, double best) {
    curve_interval i = {best, best, best};
    widen(&i, values, f->whole);
    widen(&i, values, CURVE_RESAMPLES);
    return i;
}

curve_interval curve_floor(const curve_fit *f) {
    double values[CURVE_RESAMPLES];
    for (int k = 0; k < CURVE_RESAMPLES; k++) values[k] = f->resampled[k].floor;
    return interval(f, values, f->law.floor);
}

status curve_target(curve_interval *tokens, const curve_fit *f, double loss) {
    double values[CURVE_RESAMPLES];
    int never = 0;
    curve_interval floor = curve_floor(f);
    if (!(loss > f->law.floor))
        FAIL(DATA,
             "loss %.4g is not above the %.4g (%.4g to %.4g) that the curve approaches: this model does not reach it",
             loss, floor.best, floor.low, floor.high);
    for (int k = 0; k < CURVE_RESAMPLES; k++) {
        values[k] = curve_tokens(&f->resampled[k], loss);
        never += isinf(values[k]);
    }
    *tokens = interval(f, values, curve_tokens(&f->law, loss));
    if (isinf(tokens->high))
        FAIL(DATA,
             "loss %.4g: the interval is too wide: %.3g%% of the refits never reach it, since the curve approaches "
             "%.4g to "
             "%.4g; a longer run narrows it",
             loss, 100.0 * never / CURVE_RESAMPLES, floor.low, floor.high);
    if (tokens->high > CURVE_WIDEST * tokens->low)
        FAIL(
            DATA,
            "loss %.4g: the interval is too wide: %s to %s tokens, a factor of %.3g, expected at most %g; a longer run "
            "narrows it",
            loss, text_count(tokens->low).text, text_count(tokens->high).text, tokens->high / tokens->low,
            CURVE_WIDEST);
    return STATUS_OK;
}
