/* Published scaling laws: which model and how many tokens make the best use of C training FLOPs, and the loss to expect.
 * N: all parameters, D: tokens trained on, U: different tokens among them; C = 6 N D as in all of the papers. Losses are in nats per
 * token of the paper's own data and tokenizer: compare them with each other, not with those of other data.
 *
 *   hoffmann-1, hoffmann-2   N = k C^a                  Hoffmann et al. 2022 (Chinchilla), approaches 1 and 2: a line in logarithms
 *                                                       through the table that the paper prints, without the row of 67e9, which the
 *                                                       others contradict by 1.4% and 3.7% (of `a` it prints two digits)
 *   hoffmann-3, besiroglu    L = E + A/N^alpha + B/D^beta          approach 3, and its corrected re-fit of Besiroglu et al. 2024
 *                            N = G (C/6)^(beta/(alpha+beta)),  G = (alpha A / beta B)^(1/(alpha+beta))
 *   muennighoff              the same with N' and D' in place of N and D     Muennighoff et al. 2023, for data that is repeated
 *                            D' = U + U R*_D (1 - exp(-(D/U - 1)/R*_D)), N' likewise from the N that is optimal for U tokens */
#ifndef TALLY_SCALING_H
#define TALLY_SCALING_H

#include <stdbool.h>

#include "runtime/status.h"

enum {
    SCALING_HOFFMANN_1,
    SCALING_HOFFMANN_2,
    SCALING_HOFFMANN_3,
    SCALING_BESIROGLU,
    SCALING_MUENNIGHOFF,
    SCALING_LAWS
};

typedef struct {
    const char *key, *name, *source;
    double k, a;                          /* k 0: the law has a loss, and the optimum follows from it */
    double A, B, E, alpha, beta;          /* E 0: the law has no loss */
    double covariance[5][5];              /* of the fitted ln A, ln B, ln E, alpha, beta */
    const char *covariance_source;        /* NULL: no covariance was published */
    double repeats_tokens, repeats_model; /* R*_D, R*_N; 0: the law is for tokens that are not repeated */
    double least_N, most_N, most_epochs;  /* of the runs that it was fitted to */
} scaling_law;

extern const scaling_law scaling_laws[SCALING_LAWS];

typedef struct {
    double N, D, U;         /* epochs: D / U */
    double loss, low, high; /* 95% interval of the fit; NAN where the law or the paper gives none */
} scaling_point;

/* Loss of a model of N parameters trained on D tokens of which U are different (U >= D: all of them). NAN where the law has none.
 * Laws without repetition take U only as D's upper limit: NAN where D > U. */
double scaling_loss(const scaling_law *l, double N, double D, double U);

/* The point with its loss and interval: sqrt(g' S g) of the gradient g and the covariance S, times 1.96. */
scaling_point scaling_at(const scaling_law *l, double N, double D, double U);

/* whether a model and its epochs are within those that the law was fitted to */
bool scaling_within_fit(const scaling_law *l, const scaling_point *p);

/* The best N and D for C FLOPs. tokens_at_most limits U, and only laws with repetition heed it: INFINITY is no limit.
 * ARG unless both are positive, or where N or D would be less than 1. */
status scaling_optimum(scaling_point *p, const scaling_law *l, double flops, double tokens_at_most);

#endif
