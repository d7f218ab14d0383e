/* Text generation, one token at a time, with a key/value cache: each new token costs one row of the model.
 *
 *   p = softmax(logits / temperature), cut to the top_k most likely and to the smallest set whose probability reaches top_p
 * temperature 0: the most likely token. Draw n uses Philox(seed, n): repeatable.
 * When the context is full, its last half is fed again from position 0. Generation has no maximum length. */
#ifndef TALLY_SAMPLER_H
#define TALLY_SAMPLER_H

#include "train/model/model.h"

typedef struct {
    double temperature;
    i64 top_k;    /* 0: all */
    double top_p; /* 1: all */
    uint64_t seed;
} sampling;

typedef struct sampler sampler;

/* weights: a folder, or a file, as weights_read takes it. context: capacity of the cache in tokens, from 2 to the model's. */
status sampler_open(sampler **s, device *dev, const model_config *c, const char *weights, dtype t, i64 context);
/* Begins text number `index`: forgets the tokens; the draws depend on the seed and on this number. */
void sampler_restart(sampler *s, uint64_t index);
/* Adds count >= 1 tokens (a prompt, or the last one drawn) and draws the next. */
status sampler_next(sampler *s, int32_t *next, const int32_t *tokens, i64 count, const sampling *how);
/* The f32 logits [V] that the last sampler_next drew from. */
const float *sampler_logits(const sampler *s);
void sampler_close(sampler *s);

/* Draws a token from logits [V]. draw: index of the random number. NUMERIC where a logit is not finite. */
status sampler_sample(int32_t *token, const float *logits, i64 V, const sampling *how, uint64_t draw);

#endif
