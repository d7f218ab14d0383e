#include "train/data/text_words.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/data/unicode.h"

enum { BLOCK = 1 << 20, LARGEST_BLOCK = 16 << 20, LONGEST_MESSAGE = 1024 };

/* Some text, which a thread splits: the ends of whole documents or parts of them, one after the other. */
typedef struct block block;
struct block {
    char *text;
    size_t bytes, room;
    size_t *ends;
    size_t count, ends_room;
    block *next;
};

typedef struct {
    pthread_t id;
    word_counts words;
    pattern_matcher *matcher;
    struct job *job;
} worker;

/* One text_words_count. The reader takes blocks from `spare`, fills them and puts them into `full`, in order. */
typedef struct job {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    block *spare, *full, **last;
    bool ended;
    status_code failed; /* of a worker */
    char message[LONGEST_MESSAGE];
    block *current; /* the reader's */
    size_t start;   /* of the document in it */
} job;

/* ---- one thread ---- */

static status count_word(word_counts *w, const char *text, size_t bytes) {
    while (bytes > TEXT_WORDS_LONGEST) {
        TRY(word_counts_add(w, text, TEXT_WORDS_LONGEST, 1));
        text += TEXT_WORDS_LONGEST, bytes -= TEXT_WORDS_LONGEST;
    }
    return bytes ? word_counts_add(w, text, bytes, 1) : STATUS_OK;
}

static status count_valid(worker *k, const char *text, size_t bytes) {
    for (size_t at = 0; at < bytes;) {
        pattern_found found;
        TRY(pattern_find(k->matcher, &found, text, bytes, at, false));
        TRY(count_word(&k->words, text + at, found.start - at));
        TRY(count_word(&k->words, text + found.start, found.end - found.start));
        at = found.end;
    }
    return STATUS_OK;
}

static status count_text(worker *k, const char *text, size_t bytes) {
    while (bytes) {
        bool more;
        size_t valid = unicode_valid(text, bytes, &more);
        TRY(count_valid(k, text, valid));
        text += valid, bytes -= valid;
        if (!bytes) break;
        TRY(count_word(&k->words, text, 1));
        text++, bytes--;
    }
    return STATUS_OK;
}

static status count_block(worker *k, const block *b) {
    for (size_t i = 0, start = 0; i < b->count; start = b->ends[i++])
        TRY(count_text(k, b->text + start, b->ends[i] - start));
    return STATUS_OK;
}

static void *work(void *context) {
    worker *k = context;
    job *j = k->job;
    pthread_mutex_lock(&j->lock);
    for (;;) {
        while (!j->full && !j->ended && !j->failed) pthread_cond_wait(&j->changed, &j->lock);
        block *b = j->full;
        if (!b || j->failed) break;
        j->full = b->next;
        if (!j->full) j->last = &j->full;
        pthread_mutex_unlock(&j->lock);
        status_code st = count_block(k, b);
        b->bytes = b->count = 0;
        pthread_mutex_lock(&j->lock);
        if (st && !j->failed) {
            j->failed = st;
            snprintf(j->message, sizeof j->message, "%s", status_message());
        }
        b->next = j->spare;
        j->spare = b;
        pthread_cond_broadcast(&j->changed);
    }
    pthread_mutex_unlock(&j->lock);
    return NULL;
}

/* ---- the reader ---- */

static status failed_worker(const job *j) {
    status_fail(j->failed, __FILE__, __LINE__, "%s", j->message);
    return j->failed;
}

static status take_spare(job *j, block **b) {
    pthread_mutex_lock(&j->lock);
    while (!j->spare && !j->failed) pthread_cond_wait(&j->changed, &j->lock);
    status_code st = j->failed ? failed_worker(j) : STATUS_OK;
    if (!st) {
        *b = j->spare;
        j->spare = j->spare->next;
    }
    pthread_mutex_unlock(&j->lock);
    return st;
}

static void give_current(job *j) {
    pthread_mutex_lock(&j->lock);
    j->current->next = NULL;
    *j->last = j->current;
    j->last = &j->current->next;
    j->current = NULL;
    j->start = 0;
    pthread_cond_broadcast(&j->changed);
    pthread_mutex_unlock(&j->lock);
}

static status append(block *b, const char *text, size_t bytes) {
    if (b->room - b->bytes < bytes) {
        size_t room = b->room ? b->room : BLOCK + BLOCK / 2;
        while (room - b->bytes < bytes) room *= 2;
        char *grown = realloc(b->text, room);
        if (!grown) FAIL(MEM, "no memory for %zu bytes of text", room);
        b->text = grown;
        b->room = room;
    }
    memcpy(b->text + b->bytes, text, bytes);
    b->bytes += bytes;
    return STATUS_OK;
}

static status add_end(block *b, size_t end) {
    if (b->count == b->ends_room) {
        size_t room = b->ends_room ? 2 * b->ends_room : 64;
        size_t *grown = realloc(b->ends, room * sizeof *grown);
        if (!grown) FAIL(MEM, "no memory for %zu documents", room);
        b->ends = grown;
        b->ends_room = room;
    }
    b->ends[b->count++] = end;
    return STATUS_OK;
}

static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static bool is_white(char c) { return c == ' ' || (c >= 9 && c <= 13); }

/* whether the character that begins at text[at], or the one that ends before it, is known not to be white space */
static bool solid(const char *text, size_t at, size_t bytes) {
    if ((unsigned char)text[at] < 0x80) return !is_white(text[at]);
    return bytes - at >= 4 && ((unsigned char)text[at] & 0xc0) == 0xc0 && !unicode_is_space(unicode_read(text + at));
}
static bool solid_before(const char *text, size_t at, size_t bytes) {
    size_t first = at - 1;
    while (first > 0 && at - first < 4 && ((unsigned char)text[first] & 0xc0) == 0x80) first--;
    return solid(text, first, bytes);
}

static bool is_border(const char *text, size_t at, size_t bytes) {
    if (is_letter(text[at - 1])) return is_white(text[at]);
    return at >= 2 && text[at - 1] == '\n' && solid_before(text, at - 1, bytes) && solid(text, at, bytes);
}

/* Ends the block at the last border of its last document and begins the next block with what is behind it. */
static status cut(job *j) {
    block *b = j->current, *next;
    size_t bytes = b->bytes - j->start, at = bytes - 1;
    const char *text = b->text + j->start;
    while (at > 0 && !is_border(text, at, bytes)) at--;
    if (at == 0) {
        if (bytes < LARGEST_BLOCK) return STATUS_OK;
        at = bytes - 1; /* where a character begins, if this is UTF-8 */
        while (at > bytes - 4 && ((unsigned char)text[at] & 0xc0) == 0x80) at--;
    }
    size_t end = j->start + at;
    TRY(take_spare(j, &next));
    TRY(append(next, text + at, bytes - at));
    TRY(add_end(b, end));
    b->bytes = end;
    give_current(j);
    j->current = next;
    return STATUS_OK;
}

static status_code add_text(void *context, const char *text, size_t bytes) {
    job *j = context;
    if (!j->current) TRY(take_spare(j, &j->current));
    TRY(append(j->current, text, bytes));
    return j->current->bytes - j->start < BLOCK ? STATUS_OK : cut(j);
}

static status_code end_document(void *context) {
    job *j = context;
    block *b = j->current;
    TRY(add_end(b, b->bytes));
    j->start = b->bytes;
    if (b->bytes >= BLOCK / 2) give_current(j);
    return STATUS_OK;
}

/* ---- the whole ---- */

static status merge(word_counts *into, const word_counts *from) {
    for (i64 i = 0; i < from->count; i++)
        TRY(word_counts_add(into, from->words[i].text, from->words[i].bytes, from->words[i].times));
    return STATUS_OK;
}

static status start(worker *k, job *j, const pattern *split) {
    k->job = j;
    TRY(pattern_matcher_open(&k->matcher, split));
    int error = pthread_create(&k->id, NULL, work, k);
    if (error) {
        pattern_matcher_close(k->matcher);
        FAIL(MEM, "a thread to count words: %s", strerror(error));
    }
    return STATUS_OK;
}

static void stop(job *j) {
    pthread_mutex_lock(&j->lock);
    j->ended = true;
    pthread_cond_broadcast(&j->changed);
    pthread_mutex_unlock(&j->lock);
}

status text_words_count(word_counts *w, document_summary *read, const text_source *from, const pattern *split,
                        int threads) {
    *w = (word_counts){0};
    *read = (document_summary){0};
    job j = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .last = &j.full};
    int started = 0, count = 2 * threads + 2; /* of blocks: the reader has up to two at once */
    worker *workers = calloc((size_t)threads, sizeof *workers);
    block *blocks = calloc((size_t)count, sizeof *blocks);
    status_code st = STATUS_OK;
    if (!workers || !blocks) FAIL_DONE(MEM, "no memory for %d threads", threads);
    for (int i = 0; i < count; i++) {
        blocks[i].next = j.spare;
        j.spare = &blocks[i];
    }
    for (; started < threads; started++) TRY_DONE(start(&workers[started], &j, split));
    TRY_DONE(documents_read(read, from, (document_sink){.context = &j, .text = add_text, .end = end_document}));
    if (j.current) give_current(&j);
done:
    stop(&j);
    for (int i = 0; i < started; i++) pthread_join(workers[i].id, NULL);
    if (!st && j.failed) st = failed_worker(&j);
    if (started) *w = workers[0].words;
    for (int i = 0; i < started; i++) {
        if (i && !st) st = merge(w, &workers[i].words);
        if (i) word_counts_free(&workers[i].words);
        pattern_matcher_close(workers[i].matcher);
    }
    for (int i = 0; blocks && i < count; i++) {
        free(blocks[i].text);
        free(blocks[i].ends);
    }
    free(blocks);
    free(workers);
    if (st) {
        word_counts_free(w);
        documents_free(read);
    }
    return st;
}
