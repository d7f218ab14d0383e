#include <string.h>

#include "train/data/stages.h"

/* ---- splitting by a pattern ---- */

static status close_piece(stage *s) {
    if (!s->open) return STATUS_OK;
    s->open = false;
    return stages_pass(s, "", 0, STAGE_END);
}

/* A match or what is between two matches, or a part of it. begins: its first part. */
static status item(stage *s, const char *text, size_t bytes, bool is_match, bool begins) {
    bool follows = false; /* it belongs to the piece that is open */
    is_match ^= s->what->invert;
    switch (s->what->split) {
    case SPLIT_REMOVED:
    case SPLIT_ISOLATED: break;
    case SPLIT_MERGED_WITH_PREVIOUS: follows = is_match && !s->open_match; break;
    case SPLIT_MERGED_WITH_NEXT: follows = !is_match && s->open_match; break;
    case SPLIT_CONTIGUOUS: follows = is_match == s->open_match;
    }
    if (begins && !follows) TRY(close_piece(s));
    if (s->what->split == SPLIT_REMOVED && is_match) return STATUS_OK;
    s->open = true;
    s->open_match = is_match;
    return stages_pass(s, text, bytes, STAGE_MORE);
}

static status gap(stage *s, const char *text, size_t bytes) {
    if (!bytes) return STATUS_OK;
    bool begins = !s->in_gap;
    s->in_gap = true;
    return item(s, text, bytes, false, begins);
}

static status match(stage *s, const char *text, size_t bytes) {
    s->in_gap = false;
    if (s->what->split != SPLIT_ISOLATED || s->what->invert) return item(s, text, bytes, true, true);
    TRY(close_piece(s));
    return stages_pass(s, text, bytes, STAGE_END);
}

status_code stages_split(stage *s, const char *text, size_t bytes, stage_end end) {
    size_t at = 0, keep;
    pattern_found f = {.kind = PATTERN_NONE};
    TRY(stages_join(s, &text, &bytes));
    /* A match that is not decided is looked for again when its text has doubled: else a long one takes quadratic time. */
    if (end == STAGE_MORE && s->held_bytes && bytes < s->looked_at && bytes <= STAGES_MOST_HELD) return STATUS_OK;
    while (at < bytes) {
        TRY(pattern_find(s->matcher, &f, text, bytes, at, end == STAGE_MORE));
        TRY(gap(s, text + at, f.start - at));
        at = f.start;
        if (f.kind != PATTERN_MATCH) break;
        TRY(match(s, text + f.start, f.end - f.start));
        at = f.end;
    }
    keep = end == STAGE_MORE ? at : bytes;
    s->looked_at = 2 * (bytes - keep);
    if (end != STAGE_MORE) {
        s->in_gap = false;
        TRY(close_piece(s));
    }
    return stages_hold(s, text, bytes, keep);
}

/* ---- the model ---- */

status_code stages_words(stage *s, const char *text, size_t bytes, stage_end end) {
    if (end != STAGE_MORE && !s->held_bytes) return bpe_word(s->e->worker, s->e->out, text, bytes);
    if (s->held_bytes > BPE_LONGEST) end = STAGE_END; /* an error */
    if (!s->held_bytes) return stages_hold(s, text, bytes, 0);
    TRY(stages_join(s, &text, &bytes));
    if (end == STAGE_MORE) return STATUS_OK;
    s->held_bytes = 0;
    return bpe_word(s->e->worker, s->e->out, text, bytes);
}

/* The words are as short as the merges allow. */
status_code stages_characters(stage *s, const char *text, size_t bytes, stage_end end) {
    const bpe *model = s->e->t->model;
    size_t from = 0, at = s->held_bytes ? s->looked_at : 0; /* the begin of the last character looked at */
    TRY(stages_join(s, &text, &bytes));
    int32_t left = at < bytes ? unicode_read(text + at) : 0;
    if (at < bytes)
        for (size_t next = at + (size_t)unicode_length((unsigned char)text[at]); next < bytes;) {
            int32_t right = unicode_read(text + next);
            if (bpe_may_cut(model, left, right)) {
                TRY(bpe_word(s->e->worker, s->e->out, text + from, next - from));
                from = next;
            }
            left = right;
            at = next;
            next += (size_t)unicode_length((unsigned char)text[next]);
        }
    if (end == STAGE_MORE && bytes - from <= BPE_LONGEST) {
        s->looked_at = at - from;
        return stages_hold(s, text, bytes, from);
    }
    s->held_bytes = 0;
    return bpe_word(s->e->worker, s->e->out, text + from, bytes - from);
}
