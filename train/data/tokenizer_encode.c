#include <stdlib.h>
#include <string.h>

#include "train/data/stages.h"

enum { MOST_AT_ONCE = 1 << 16 }; /* bytes that go through all stages before the next do: they stay in the cache */

/* ---- the chain of stages ---- */

/* the last stage of tokenizer_normalize */
static status_code push_text(stage *s, const char *text, size_t bytes, stage_end end) {
    (void)end;
    return tokenizer_text_add(s->e->text, text, bytes);
}

static stage_push *push_of(const tokenizer *t, step_kind kind) {
    switch (kind) {
    case STEP_ADDED: return stages_added;
    case STEP_NFC: return stages_nfc;
    case STEP_PREPEND: return stages_prepend;
    case STEP_REPLACE: return stages_replace;
    case STEP_SPLIT: return stages_split;
    case STEP_TO_BYTE_LEVEL: return stages_to_byte_level;
    case STEP_FROM_BYTE_LEVEL: return stages_from_byte_level;
    case STEP_MODEL: break;
    }
    return t->byte_level ? stages_words : stages_characters;
}

static status add_stage(tokenizer_encoder *e, const tokenizer_step *what, stage_push *push) {
    stage *s = &e->stages[e->count];
    *s = (stage){.push = push, .e = e, .what = what};
    if (e->count) e->stages[e->count - 1].next = s;
    e->count++;
    return what && what->p ? pattern_matcher_open(&s->matcher, what->p) : STATUS_OK;
}

status tokenizer_encoder_open(tokenizer_encoder **e, const tokenizer *t, bool special) {
    status_code st = STATUS_OK;
    *e = NULL;
    tokenizer_encoder *opened = calloc(1, sizeof *opened);
    if (!opened) FAIL(MEM, "no memory for an encoder");
    opened->t = t;
    opened->special = special;
    if (t->model) TRY_DONE(bpe_worker_open(&opened->worker, t->model));
    for (int i = 0; i < t->step_count; i++) TRY_DONE(add_stage(opened, &t->steps[i], push_of(t, t->steps[i].kind)));
    *e = opened;
done:
    if (st) tokenizer_encoder_close(opened);
    return st;
}

void tokenizer_encoder_close(tokenizer_encoder *e) {
    if (!e) return;
    for (int i = 0; i < e->count; i++) {
        stage *s = &e->stages[i];
        free(s->held);
        tokenizer_text_free(&s->made);
        unicode_scratch_free(&s->scratch);
        pattern_matcher_close(s->matcher);
    }
    bpe_worker_close(e->worker);
    free(e);
}

status tokenizer_normalize(const tokenizer *t, int first, int end, tokenizer_text *out, const char *text) {
    status_code st = STATUS_OK;
    tokenizer_encoder *e = calloc(1, sizeof *e);
    if (!e) FAIL(MEM, "no memory to normalize the added tokens");
    e->t = t;
    e->text = out;
    for (int i = first; i < end; i++) TRY_DONE(add_stage(e, &t->steps[i], push_of(t, t->steps[i].kind)));
    TRY_DONE(add_stage(e, NULL, push_text));
    TRY_DONE(e->stages[0].push(&e->stages[0], text, strlen(text), STAGE_END));
done:
    tokenizer_encoder_close(e);
    return st;
}

/* ---- encoding ---- */

void tokenizer_encode_restart(tokenizer_encoder *e) {
    for (int i = 0; i < e->count; i++) {
        stage *s = &e->stages[i];
        s->held_bytes = s->looked_at = 0;
        s->open = s->open_match = s->in_gap = s->stripping = false;
    }
    e->started = false;
    e->cut_bytes = 0;
}

static status encode_bytes(token_list *out, const char *text, size_t bytes) {
    TRY(token_list_reserve(out, (i64)bytes));
    for (size_t i = 0; i < bytes; i++) out->ids[out->count + (i64)i] = (unsigned char)text[i];
    out->count += (i64)bytes;
    return STATUS_OK;
}

/* a byte that is not UTF-8 */
static status wrong_byte(tokenizer_encoder *e, char byte) {
    int32_t id = bpe_byte(e->t->model, (unsigned char)byte);
    TRY(e->stages[0].push(&e->stages[0], "", 0, STAGE_BREAK));
    e->started = true;
    return id >= 0 ? token_list_add(e->out, id) : STATUS_OK;
}

/* Passes on whole characters, keeps the begin of one that is cut off. */
static status encode_text(tokenizer_encoder *e, const char *text, size_t bytes, bool last) {
    stage *first = &e->stages[0];
    bool more;
    while (bytes) {
        size_t valid = unicode_valid(text, bytes, &more);
        if (valid) TRY(first->push(first, text, valid, STAGE_MORE));
        text += valid, bytes -= valid;
        if (!bytes) break;
        if (more && !last) {
            memmove(e->cut, text, bytes);
            e->cut_bytes = (int)bytes;
            return STATUS_OK;
        }
        TRY(wrong_byte(e, *text));
        text++, bytes--;
    }
    return STATUS_OK;
}

/* Completes a character that was cut off before, byte by byte; then the rest. */
static status encode_part(tokenizer_encoder *e, const char *text, size_t bytes, bool last) {
    while (e->cut_bytes) {
        char joined[sizeof e->cut + 1];
        size_t had = (size_t)e->cut_bytes, take = bytes ? 1 : 0;
        if (!take && !last) return STATUS_OK;
        memcpy(joined, e->cut, had);
        if (take) joined[had] = *text;
        e->cut_bytes = 0;
        TRY(encode_text(e, joined, had + take, last && bytes == take));
        if (take) text++, bytes--;
    }
    return encode_text(e, text, bytes, last);
}

status tokenizer_encode(tokenizer_encoder *e, token_list *out, const char *text, size_t bytes, bool last) {
    if (!e->t->model) return encode_bytes(out, text, bytes);
    e->out = out;
    for (; bytes > MOST_AT_ONCE; text += MOST_AT_ONCE, bytes -= MOST_AT_ONCE)
        TRY(encode_part(e, text, MOST_AT_ONCE, false));
    TRY(encode_part(e, text, bytes, last));
    if (!last) return STATUS_OK;
    TRY(e->stages[0].push(&e->stages[0], "", 0, STAGE_END));
    tokenizer_encode_restart(e);
    return STATUS_OK;
}
