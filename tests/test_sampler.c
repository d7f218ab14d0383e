/* The sampler, token by token from its cache, against the model's losses of the whole row: with and without windows. */
#include <stdlib.h>
#include <unistd.h>

#include "tests/tiny_model.h"
#include "train/checkpoint/weights.h"
#include "train/sampler.h"

#ifndef SAMPLER_DEVICE
#define SAMPLER_DEVICE "cpu"
#endif

enum { T = 32, PROMPT = 7, ROWS = 3 };

static device *dev;
static char folder[] = "/tmp/tally-sampler-XXXXXX";

/* -log p(target) in float64, from f32 logits */
static double loss_of(const float *logits, int32_t target) {
    double top = -INFINITY, sum = 0;
    for (i64 v = 0; v < TINY_V; v++) top = fmax(top, (double)logits[v]);
    for (i64 v = 0; v < TINY_V; v++) sum += exp((double)logits[v] - top);
    return top + log(sum) - (double)logits[target];
}

static void check(const model_config *c, const float *logits, const int32_t *targets, const model *m, i64 t) {
    /* f32 sums in another order, through L layers of some ten roundings each, relative to logits below 8 */
    double tolerance = (double)(20 * (c->L + 1)) * 8 * F32_ROUNDOFF;
    double got = loss_of(logits, targets[t]), expected = (double)m->host_losses[t];
    if (!(fabs(got - expected) <= tolerance))
        fail_msg("%s, window %ld: loss %.9g at %ld, expected %.9g", c->name, c->window, got, t, expected);
}

/* Rows 2, 0 and 1 are at different places of the same text; the last tokens are fed to all together, until each has ended. */
static void check_rows(const model_config *c, sampler *p, const int32_t *tokens, const int32_t *targets,
                       const model *m) {
    const sampling greedy = {.top_p = 1};
    const i64 order[ROWS] = {2, 0, 1};
    i64 at[ROWS] = {1, 9, 20}, rows[ROWS], n;
    int32_t next, fed[ROWS];
    for (i64 r = 0; r < ROWS; r++) {
        sampler_restart(p, r, (uint64_t)r);
        OK(sampler_next(p, r, &next, tokens, at[r], &greedy));
        check(c, sampler_logits(p), targets, m, at[r] - 1);
    }
    for (;;) {
        n = 0;
        for (i64 i = 0; i < ROWS; i++)
            if (at[order[i]] < T) rows[n] = order[i], fed[n++] = tokens[at[order[i]]];
        if (!n) return;
        OK(sampler_next_rows(p, rows, n, fed, &greedy));
        for (i64 i = 0; i < n; i++) check(c, sampler_logits(p) + i * TINY_V, targets, m, at[rows[i]]++);
    }
}

static void check_model(model_config c) {
    const model_shape s = {.B = 1, .T = T};
    const sampling greedy = {.top_p = 1};
    int32_t tokens[T], targets[T], next;
    model m;
    sampler *p;
    double sum;
    blockfile_sums sums;
    for (uint64_t i = 0; i < T; i++) {
        tokens[i] = (int32_t)rng_below(3, 98, i, TINY_V);
        targets[i] = (int32_t)rng_below(4, 98, i, TINY_V);
    }
    OK(model_init(&m, dev, &c, s, tiny_options(F32), NULL));
    OK(parameters_randomize(&m.parameters, 11));
    OK(model_loss(&m, &sum, (token_batch){.tokens = tokens, .targets = targets, .B = 1, .T = T}));
    OK(weights_write(&m.parameters, &c, folder, &sums));
    OK(sampler_open(&p, dev, &c, folder, F32, T, ROWS));
    for (int text = 0; text < 2; text++) { /* the second one must not see the first one's cache */
        sampler_restart(p, 0, (uint64_t)text);
        for (i64 t = text ? 0 : PROMPT - 1; t < T; t++) {
            i64 count = !text && t == PROMPT - 1 ? PROMPT : 1;
            OK(sampler_next(p, 0, &next, tokens + t + 1 - count, count, &greedy));
            check(&c, sampler_logits(p), targets, &m, t);
        }
    }
    check_rows(&c, p, tokens, targets, &m);
    sampler_close(p);
    free(sums.crc);
    model_free(&m);
}

static void is_the_model(void **unused) {
    (void)unused;
    check_model(tiny_gpt2());
    check_model(tiny_llama());
}

static void is_the_model_with_windows(void **unused) {
    (void)unused;
    for (i64 window = 1; window <= 13; window += 4) {
        model_config c = tiny_llama();
        if (dev->kind != DEVICE_CPU && window != 5) continue; /* the emulation is slow */
        c.window = window, c.full_layers[0] = window == 5 ? 2 : 0;
        check_model(c);
    }
}

/* --- drawing --- */

enum { V = 500 };
static double p_of[V];
static int by_probability(const void *a, const void *b) {
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return p_of[x] != p_of[y] ? (p_of[x] < p_of[y] ? 1 : -1) : x - y;
}

/* the definition, with all candidates sorted */
static int32_t drawn(const float *logits, const sampling *how, double uniform) {
    int32_t order[V];
    double most = -INFINITY, sum = 0, kept = 0, below = 0;
    i64 n = how->top_k ? how->top_k : V, m = 0;
    for (i64 v = 0; v < V; v++) most = fmax(most, (double)logits[v]);
    for (int32_t v = 0; v < V; v++) order[v] = v, p_of[v] = expf((float)((logits[v] - (float)most) / how->temperature));
    qsort(order, V, sizeof *order, by_probability);
    for (i64 i = 0; i < n; i++) sum += p_of[order[i]];
    while (m < n && (how->top_p >= 1 || kept < how->top_p * sum)) kept += p_of[order[m++]];
    for (i64 i = 0; i + 1 < m; i++)
        if ((below += p_of[order[i]]) > uniform * kept) return order[i];
    return order[m - 1];
}

static void draws_are_those_of_sorted_candidates(void **unused) {
    (void)unused;
    float logits[V];
    const double temperatures[] = {0.1, 0.8, 1.7, 50}, top_ps[] = {1, 0.9, 0.3, 1e-9};
    const i64 top_ks[] = {0, 1, 7, V - 1, V};
    for (uint64_t draw = 0; draw < 400; draw++) {
        for (uint64_t v = 0; v < V; v++) /* one in three has the logit of others: ties */
            logits[v] = v % 3 ? (float)rng_uniform(draw, 90, v) * 9 : (float)rng_below(draw, 91, v, 4);
        sampling how = {temperatures[draw % 4], top_ks[draw % 5], top_ps[draw / 4 % 4], 17};
        int32_t token;
        OK(sampler_sample(&token, logits, V, &how, draw));
        assert_int_equal(token, drawn(logits, &how, rng_uniform(17, RNG_SAMPLE, draw)));
    }
}

int main(void) {
    status_code st = device_open(&dev, SAMPLER_DEVICE, 2, 0);
    if (st && strcmp(SAMPLER_DEVICE, "cuda") == 0) {
        printf("1..1\nok 1 - the sampler # SKIP %s\n", status_message());
        return 0;
    }
    OK(st);
    assert_non_null(mkdtemp(folder));
    const struct CMUnitTest tests[] = {cmocka_unit_test(is_the_model), cmocka_unit_test(is_the_model_with_windows),
                                       cmocka_unit_test(draws_are_those_of_sorted_candidates)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    device_close(dev);
    char file[64];
    snprintf(file, sizeof file, "%s/model.safetensors", folder);
    unlink(file);
    rmdir(folder);
    return failed;
}
