#include "train/bill/scaling.h"

#include <math.h>
#include <string.h>

#define HOFFMANN "Hoffmann et al. 2022, Training Compute-Optimal Large Language Models (arXiv 2203.15556)"
#define BESIROGLU "Besiroglu et al. 2024, Chinchilla Scaling: A replication attempt (arXiv 2404.10102)"
#define MUENNIGHOFF "Muennighoff et al. 2023, Scaling Data-Constrained Language Models (arXiv 2305.16264)"

/* clang-format off */
const scaling_law scaling_laws[SCALING_LAWS] = {
    [SCALING_HOFFMANN_1] = {
        .key = "hoffmann-1", .name = "Chinchilla, approach 1", .source = HOFFMANN ", table 3",
        .k = 0.09934867, .a = 0.498092, .least_N = 70e6, .most_N = 16e9, .most_epochs = 1},
    [SCALING_HOFFMANN_2] = {
        .key = "hoffmann-2", .name = "Chinchilla, approach 2", .source = HOFFMANN ", table A3",
        .k = 0.1455744, .a = 0.489927, .least_N = 70e6, .most_N = 16e9, .most_epochs = 1},
    /* The paper prints 406.4, 410.7, 1.69, 0.34, 0.28. Rounding 0.2849 to 0.28 moves the optimum for Gopher's FLOPs from the 40e9
     * parameters of the paper to 32e9. */
    [SCALING_HOFFMANN_3] = {
        .key = "hoffmann-3", .name = "Chinchilla, approach 3",
        .source = HOFFMANN ", equation 10, with the digits of its TeX source as " BESIROGLU " gives them",
        .A = 406.401, .B = 410.7228, .E = 1.693374, .alpha = 0.33917084, .beta = 0.2849083, .least_N = 70e6, .most_N = 16e9, .most_epochs = 1},
    [SCALING_BESIROGLU] = {
        .key = "besiroglu", .name = "Chinchilla, re-fit", .source = BESIROGLU ", table 1",
        .A = 482.01, .B = 2085.43, .E = 1.8172, .alpha = 0.3478, .beta = 0.3658, .least_N = 70e6, .most_N = 16e9, .most_epochs = 1,
        .covariance = {
            { 6.368569e-02, -2.403024e-02,  2.113136e-03,  3.797229e-03, -1.208947e-03},
            {-2.403024e-02,  1.747568e-01,  3.638409e-03, -1.502198e-03,  8.538096e-03},
            { 2.113136e-03,  3.638409e-03,  1.974130e-04,  1.247583e-04,  1.770222e-04},
            { 3.797229e-03, -1.502198e-03,  1.247583e-04,  2.267226e-04, -7.561323e-05},
            {-1.208947e-03,  8.538096e-03,  1.770222e-04, -7.561323e-05,  4.174265e-04}},
        .covariance_source = "4000 bootstrap samples of the 240 points that the authors published with the paper "
                             "(github.com/epoch-research/analyzing-chinchilla), fitted as in the paper"},
    [SCALING_MUENNIGHOFF] = {
        .key = "muennighoff", .name = "data-constrained", .source = MUENNIGHOFF ", appendix A (C4)",
        .A = 520.82495, .B = 1487.7161, .E = 1.8691437, .alpha = 0.3526596, .beta = 0.3526596,
        .repeats_tokens = 15.387756, .repeats_model = 5.309743, .least_N = 7e6, .most_N = 9e9, .most_epochs = 500},
};
/* clang-format on */

static double balance(const scaling_law *l) {
    return pow(l->alpha * l->A / (l->beta * l->B), 1 / (l->alpha + l->beta));
}

/* how much `all` is worth of which only `fresh` is new, if the value of repetitions decays with constant R */
static double worth(double all, double fresh, double R) {
    return all <= fresh ? all : fresh - fresh * R * expm1(-(all / fresh - 1) / R);
}

double scaling_loss(const scaling_law *l, double N, double D, double U) {
    if (!(l->E > 0) || (D > U && !(l->repeats_tokens > 0))) return NAN;
    if (l->repeats_tokens > 0) {
        double G = balance(l), unique = fmin(U, D);
        N = worth(N, pow(unique * G, l->beta / l->alpha) * G, l->repeats_model);
        D = worth(D, unique, l->repeats_tokens);
    }
    return l->E + l->A * pow(N, -l->alpha) + l->B * pow(D, -l->beta);
}

/* standard deviation of the loss that follows from that of the fit */
static double loss_deviation(const scaling_law *l, double N, double D) {
    double model = l->A * pow(N, -l->alpha), data = l->B * pow(D, -l->beta), variance = 0;
    const double gradient[5] = {model, data, l->E, -model * log(N), -data * log(D)};
    for (int i = 0; i < 5; i++)
        for (int j = 0; j < 5; j++) variance += gradient[i] * l->covariance[i][j] * gradient[j];
    return sqrt(variance);
}

scaling_point scaling_at(const scaling_law *l, double N, double D, double U) {
    scaling_point p = {N, D, fmin(U, D), scaling_loss(l, N, D, U), NAN, NAN};
    if (!l->covariance_source) return p;
    double half = 1.96 * loss_deviation(l, N, D);
    p.low = p.loss - half;
    p.high = p.loss + half;
    return p;
}

/* What is minimised over ln N where tokens repeat. With hundreds of epochs the law is flat to the last bit; there the last term, too
 * small to matter elsewhere, keeps them near the proportion of the unlimited optimum. */
static double objective(const scaling_law *l, double flops, double U, double ln_N) {
    double N = exp(ln_N), unlimited = balance(l) * pow(flops / 6, l->beta / (l->alpha + l->beta));
    return scaling_loss(l, N, flops / 6 / N, U) + 1e-11 * fabs(ln_N - log(unlimited));
}

/* There is no closed form, but one minimum, found by golden sections. */
static double best_parameters(const scaling_law *l, double flops, double U) {
    const double golden = 0.61803398874989485;
    double low = 0, high = log(flops / 6);
    double left = high - golden * (high - low), right = low + golden * (high - low);
    double at_left = objective(l, flops, U, left), at_right = objective(l, flops, U, right);
    while (high - low > 1e-7) {
        if (at_left < at_right) {
            high = right, right = left, at_right = at_left;
            left = high - golden * (high - low);
            at_left = objective(l, flops, U, left);
        } else {
            low = left, left = right, at_left = at_right;
            right = low + golden * (high - low);
            at_right = objective(l, flops, U, right);
        }
    }
    return exp((low + high) / 2);
}

bool scaling_within_fit(const scaling_law *l, const scaling_point *p) {
    return p->N >= l->least_N && p->N <= l->most_N && p->D <= p->U * l->most_epochs;
}

status scaling_optimum(scaling_point *p, const scaling_law *l, double flops, double tokens_at_most) {
    if (!(flops > 0) || isinf(flops)) FAIL(ARG, "training FLOPs: %g, expected a positive number", flops);
    if (!(tokens_at_most > 0)) FAIL(ARG, "tokens at most: %g, expected a positive number", tokens_at_most);
    double N = l->k > 0 ? l->k * pow(flops, l->a) : balance(l) * pow(flops / 6, l->beta / (l->alpha + l->beta));
    double U = l->repeats_tokens > 0 ? tokens_at_most : INFINITY;
    if (flops / 6 / N > U) N = best_parameters(l, flops, U);
    if (N < 1 || flops / 6 / N < 1) FAIL(ARG, "%.3g FLOPs do not train a model of one parameter on one token", flops);
    *p = scaling_at(l, N, flops / 6 / N, U);
    return STATUS_OK;
}
