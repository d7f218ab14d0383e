/* A power law through the loss curve of a run: L(D) = E + B D^-b, D tokens of training.
 *
 * It is equation 2 of Hoffmann et al. 2022 (arXiv 2203.15556) for one model: E is the loss that endless data of this kind would
 * leave to a model of this size, B D^-b what more tokens can still remove. The fit is weighted least squares in the loss, with
 * E >= 0, B >= 0 and CURVE_EXPONENT_LOW <= b <= CURVE_EXPONENT_HIGH: E and B are linear for a given b, and b is searched.
 *
 * The interval comes from a bootstrap of CURVE_RESAMPLES refits to the fitted law plus residuals, which are drawn in blocks of
 * neighbouring points (Künsch 1989), since what the law misses is alike in neighbours. A part of the refits each begins at all
 * points, and at 15%, 20%, 30% and 40% of the tokens: where the law does not describe the curve, these differ, and the interval
 * is wide. Its ends are the 5th and the 95th percentile of all refits, and at least those of the refits to all points: where the
 * shorter fits all err to one side, they would else cut off the other. It is the same in every call. It does not cover a learning
 * rate or data that change later. */
#ifndef TALLY_CURVE_H
#define TALLY_CURVE_H

#include <stdbool.h>

#include "runtime/status.h"
#include "runtime/tensor.h"

#define CURVE_EXPONENT_LOW 0.01
#define CURVE_EXPONENT_HIGH 3.0
#define CURVE_WIDEST 4.0 /* an interval of tokens whose ends differ by a larger factor is refused */
enum { CURVE_RESAMPLES = 1000, CURVE_FEWEST = 8, CURVE_BINS_PER_DECADE = 32, CURVE_MOST = 20 * CURVE_BINS_PER_DECADE };

typedef struct {
    double tokens, loss, weight; /* weight: 1 / variance of the loss, in any unit */
} curve_point;

typedef struct {
    double floor, scale, exponent; /* E, B, b */
} curve_law;

typedef struct {
    double low, best, high; /* best: of the fit; tokens that no law reaches: INFINITY */
} curve_interval;

typedef struct {
    curve_law law, resampled[CURVE_RESAMPLES];
    int whole;  /* so many of the refits, the first, are to all points */
    double rms; /* of the residuals */
    double from_tokens, to_tokens;
    int points;
} curve_fit;

/* points: by ascending tokens. DATA: fewer than CURVE_FEWEST, or one that is not positive and finite. */
status curve_fit_points(curve_fit *f, const curve_point *points, int count);
double curve_loss(const curve_law *law, double tokens);
double curve_tokens(const curve_law *law, double loss); /* the inverse; INFINITY at E and below */
curve_interval curve_floor(const curve_fit *f);
/* Tokens, counted from the start of the run, at which the curve reaches `loss`. DATA, with the reason: the loss is not above E;
 * or the interval is too wide: more than 5% of the refits never reach it, or its ends differ by more than CURVE_WIDEST. */
status curve_target(curve_interval *tokens, const curve_fit *f, double loss);

/* The curve of a run, from RUN/metrics.jsonl, in bins of CURVE_BINS_PER_DECADE per factor of 10 in tokens. Points before
 * `skip_steps` (the warm-up) or before a tenth of the run's tokens are left out: no power law describes the beginning. */
typedef struct {
    curve_point points[CURVE_MOST];
    int count;
    bool held_out;  /* the losses are those of evaluations; false: fewer than CURVE_FEWEST bins have one: of training */
    double reached; /* lowest loss of an evaluation, or NAN: there was none */
    double reached_tokens;
    double steps, ranks, tokens, wall_s, usd; /* spent up to the last step; usd NAN: unknown */
    double s_per_token,
        usd_per_token; /* of this curve's steps, evaluations and checkpoints included; usd at the last price */
} curve_run;

/* DATA: no metrics.jsonl, or no steps in it */
status curve_read(curve_run *r, const char *run, double skip_steps);

#endif
