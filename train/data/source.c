#include "train/data/source.h"

source source_of_corpus(const corpus *c, const char *name) {
    return (source){.name = name,
                    .weight = 1,
                    .count = c->count,
                    .train_count = c->train_count,
                    .crc32 = c->crc32,
                    .byte_text = true,
                    .end_of_text = TOKEN_END_OF_TEXT,
                    .text = c->tokens};
}

status source_read(const source *s, i64 first, i64 count, int32_t *out) {
    for (i64 i = 0; i < count; i++) out[i] = s->text[first + i];
    if (!s->most) return STATUS_OK;
    for (i64 i = 0; i < count; i++)
        if (out[i] < 0 || out[i] >= s->most)
            FAIL(DATA, "%s: token %ld is %d, expected 0 to %ld: the model's vocabulary", s->name, first + i, out[i],
                 s->most - 1);
    return STATUS_OK;
}

i64 source_windows(const source *s, i64 T) { return s->train_count > T ? (s->train_count - 1) / T : 0; }

static i64 held_out_pairs(const source *s) { return s->count - s->train_count - 1; } /* of a token and the next */

i64 source_held_out_batches(const source *s, i64 B, i64 T) {
    i64 pairs = held_out_pairs(s);
    return pairs > 0 ? (pairs + B * T - 1) / (B * T) : 0;
}

status source_held_out(const source *s, i64 i, i64 B, i64 T, int32_t *tokens, int32_t *targets) {
    /* windows lie end to end: row r of the batch begins T after row r - 1 */
    i64 first = i * B * T, left = held_out_pairs(s) - first, there = left < B * T ? left : B * T;
    TRY(source_read(s, s->train_count + first, there, tokens));
    TRY(source_read(s, s->train_count + first + 1, there, targets));
    for (i64 k = there; k < B * T; k++) tokens[k] = s->end_of_text < 0 ? 0 : s->end_of_text, targets[k] = -1;
    return STATUS_OK;
}
