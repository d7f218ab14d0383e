#include "train/data/stages.h"

#include <stdlib.h>
#include <string.h>

#include "train/data/byte_level.h"

/* ---- held text ---- */

static status make_room(stage *s, size_t bytes) {
    if (s->held_room >= bytes) return STATUS_OK;
    size_t room = s->held_room ? s->held_room : 256;
    while (room < bytes) room *= 2;
    char *larger = realloc(s->held, room);
    if (!larger) FAIL(MEM, "no memory for a piece of text of %zu bytes", bytes);
    s->held = larger;
    s->held_room = room;
    return STATUS_OK;
}

status stages_join(stage *s, const char **text, size_t *bytes) {
    if (!s->held_bytes) return STATUS_OK;
    TRY(make_room(s, s->held_bytes + *bytes));
    if (*bytes) memcpy(s->held + s->held_bytes, *text, *bytes);
    s->held_bytes += *bytes;
    *text = s->held;
    *bytes = s->held_bytes;
    return STATUS_OK;
}

status stages_hold(stage *s, const char *text, size_t bytes, size_t at) {
    if (bytes - at > STAGES_MOST_HELD)
        FAIL(DATA, "the text has more than %d bytes without a place to split it; they begin with \"%.20s\"",
             STAGES_MOST_HELD, text + at);
    if (text != s->held) {
        TRY(make_room(s, bytes - at));
        if (bytes > at) memcpy(s->held, text + at, bytes - at);
    } else if (at) {
        memmove(s->held, text + at, bytes - at);
    }
    s->held_bytes = bytes - at;
    return STATUS_OK;
}

/* ---- added tokens ---- */

/* where the white space before `at` begins */
static size_t space_before(const char *text, size_t from, size_t at) {
    while (at > from) {
        size_t c = at - 1;
        while (c > from && (text[c] & 0xc0) == 0x80) c--;
        if (!unicode_is_space(unicode_read(text + c))) break;
        at = c;
    }
    return at;
}

static size_t space_after(const char *text, size_t at, size_t bytes) {
    while (at < bytes && unicode_is_space(unicode_read(text + at)))
        at += (size_t)unicode_length((unsigned char)text[at]);
    return at;
}

static status end_piece(stage *s, const char *text, size_t bytes) {
    bool ends = bytes || s->open;
    s->open = false;
    return ends ? stages_pass(s, text, bytes, STAGE_END) : STATUS_OK;
}

status_code stages_added(stage *s, const char *text, size_t bytes, stage_end end) {
    const added_tokens *added = s->what->added;
    const added_token *token;
    bool more = false;
    size_t at = s->held_bytes ? s->looked_at : 0, from = 0, spaces = at; /* held text up to here is white space */
    TRY(stages_join(s, &text, &bytes));
    if (s->stripping && (from = space_after(text, 0, bytes)) < bytes) s->stripping = false;
    if (at < from) at = from;
    while ((at = added_tokens_next(added, text, bytes, at)) < bytes) {
        size_t length = added_tokens_match(added, text + at, bytes - at, &token, &more);
        if (more && end == STAGE_MORE) break;
        more = false;
        if (!length || (token->special && !s->e->special)) {
            at += length ? length : 1;
            continue;
        }
        TRY(end_piece(s, text + from, (token->strip_left ? space_before(text, from, at) : at) - from));
        TRY(token_list_add(s->e->out, token->id));
        s->e->started = true;
        at = from = at + length;
        if (!token->strip_right) continue;
        at = from = space_after(text, at, bytes);
        s->stripping = from == bytes;
    }
    if (end != STAGE_MORE) s->stripping = false;
    if (end == STAGE_END) {
        s->held_bytes = 0;
        return end_piece(s, text + from, bytes - from);
    }
    size_t keep = end == STAGE_MORE ? at : bytes;
    if (end == STAGE_MORE && added->strip_left) {
        keep = space_before(text, from > spaces ? from : spaces, keep);
        if (keep == spaces) keep = from; /* all of it, without looking at it again */
    }
    s->open |= keep > from;
    if (keep > from || end == STAGE_BREAK) TRY(stages_pass(s, text + from, keep - from, end));
    s->looked_at = at - keep;
    return stages_hold(s, text, bytes, keep);
}

/* ---- texts that change ---- */

/* A part from one start to the next is normalized alone, if it is more than the one character. */
status_code stages_nfc(stage *s, const char *text, size_t bytes, stage_end end) {
    const unicode_nfc_starts *starts = s->e->t->nfc;
    TRY(stages_join(s, &text, &bytes));
    size_t clean = 0, part = 0, at = 0, length;
    bool dirty = false;
    if (end == STAGE_MORE && s->held_bytes && bytes < s->looked_at && bytes <= STAGES_MOST_HELD)
        return STATUS_OK; /* as in stages_split */
    while (at <= bytes) {
        while (at < bytes && !(text[at] & 0x80) && !dirty) part = at++;
        if (at == bytes && end == STAGE_MORE) break;
        if (at == bytes || unicode_nfc_start(starts, unicode_read(text + at))) {
            if (dirty) {
                if (part > clean) TRY(stages_pass(s, text + clean, part - clean, STAGE_MORE));
                TRY(unicode_nfc(&s->scratch, &length, text + part, at - part));
                TRY(stages_pass(s, s->scratch.text, length, STAGE_MORE));
                clean = at;
            }
            part = at;
            dirty = false;
        } else {
            dirty = true;
        }
        at += at < bytes ? (size_t)unicode_length((unsigned char)text[at]) : 1;
    }
    size_t keep = end == STAGE_MORE ? part : bytes;
    if (keep > clean || end != STAGE_MORE) TRY(stages_pass(s, text + clean, keep - clean, end));
    s->looked_at = 2 * (bytes - keep);
    return stages_hold(s, text, bytes, keep);
}

status_code stages_prepend(stage *s, const char *text, size_t bytes, stage_end end) {
    const tokenizer_step *w = s->what;
    size_t length = strlen(w->to);
    if ((bytes || end == STAGE_BREAK) && !s->open) {
        bool there = w->unless_there && bytes >= length && memcmp(text, w->to, length) == 0;
        if (!there && !(w->first_only && s->e->started)) TRY(stages_pass(s, w->to, length, STAGE_MORE));
        s->open = s->e->started = true;
    }
    if (end == STAGE_END) s->open = false;
    return stages_pass(s, text, bytes, end);
}

/* how many of the last bytes may begin an occurrence of `what` */
static size_t may_begin(const char *text, size_t bytes, const char *what, size_t length) {
    size_t most = bytes < length - 1 ? bytes : length - 1;
    for (size_t n = most; n > 0; n--)
        if (memcmp(text + bytes - n, what, n) == 0) return n;
    return 0;
}

status_code stages_replace(stage *s, const char *text, size_t bytes, stage_end end) {
    const tokenizer_step *w = s->what;
    size_t length = strlen(w->from), at = 0, to_length = strlen(w->to);
    TRY(stages_join(s, &text, &bytes));
    s->made.bytes = 0;
    for (const char *found; at < bytes && (found = memmem(text + at, bytes - at, w->from, length));) {
        TRY(tokenizer_text_add(&s->made, text + at, (size_t)(found - text) - at));
        TRY(tokenizer_text_add(&s->made, w->to, to_length));
        at = (size_t)(found - text) + length;
    }
    size_t keep = end == STAGE_MORE ? bytes - may_begin(text + at, bytes - at, w->from, length) : bytes;
    TRY(tokenizer_text_add(&s->made, text + at, keep - at));
    TRY(stages_hold(s, text, bytes, keep));
    if (!s->made.bytes && end == STAGE_MORE) return STATUS_OK;
    return stages_pass(s, s->made.text, s->made.bytes, end);
}

static status make(stage *s, size_t bytes) {
    if (s->made.capacity >= bytes) return STATUS_OK;
    tokenizer_text_free(&s->made);
    if (!(s->made.text = malloc(bytes))) FAIL(MEM, "no memory for a piece of text of %zu bytes", bytes);
    s->made.capacity = bytes;
    return STATUS_OK;
}

status_code stages_to_byte_level(stage *s, const char *text, size_t bytes, stage_end end) {
    TRY(make(s, 2 * bytes + 1));
    return stages_pass(s, s->made.text, byte_level_write(s->made.text, text, bytes), end);
}

status_code stages_from_byte_level(stage *s, const char *text, size_t bytes, stage_end end) {
    TRY(make(s, bytes + 1));
    return stages_pass(s, s->made.text, (size_t)byte_level_read(s->made.text, text, bytes), end);
}
