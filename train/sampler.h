/* Text generation, one token at a time, with a key/value cache for each of several rows (texts). Rows draw their next tokens
 * together: the weights are read once for all of them.
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

enum { SAMPLER_MOST_ROWS = 128 };

/* weights: a folder, or a file, as weights_read takes it. context: capacity of a cache in tokens, from 2 to the model's. */
status sampler_open(sampler **s, device *dev, const model_config *c, const char *weights, dtype t, i64 context,
                    i64 rows);
/* Begins text number `index` in a row: forgets the row's tokens. The draws depend on the seed and on this number. */
void sampler_restart(sampler *s, i64 row, uint64_t index);
/* Adds count >= 1 tokens (a prompt) to a row, and draws the next one. */
status sampler_next(sampler *s, i64 row, int32_t *next, const int32_t *tokens, i64 count, const sampling *how);
/* Adds tokens[i] to row rows[i], for each of `count` different rows, and replaces it by the next one that is drawn. */
status sampler_next_rows(sampler *s, const i64 *rows, i64 count, int32_t *tokens, const sampling *how);
/* The f32 logits that were drawn from last: [V] of each row, in the order in which the rows were named. */
const float *sampler_logits(const sampler *s);
void sampler_close(sampler *s);

/* Draws a token from logits [V]. draw: index of the random number. NUMERIC where a logit is not finite. */
status sampler_sample(int32_t *token, const float *logits, i64 V, const sampling *how, uint64_t draw);

#endif
