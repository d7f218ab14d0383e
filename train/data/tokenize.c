#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "runtime/durable.h"
#include "runtime/log.h"
#include "runtime/text.h"
#include "train/data/encode_pool.h"
#include "train/data/tokenize_parts.h"

/* documents in a token file, which may be much shorter than a token each: their offsets are in memory until it ends */
enum { MOST_DOCUMENTS = 1 << 22 };

typedef struct {
    const tokenize_options *o;
    tokenize_state begun, state;
    shard_kind kind;
    shard_writer *writer; /* NULL: the next document begins a file */
    document_summary read;
    encode_pool *pool;
    i64 document_tokens;  /* of the current document so far */
    i64 file_bytes;       /* of the text of the current token file */
    i64 tokens;           /* of this call */
    double started, told; /* seconds */
    i64 input_started;    /* bytes of input before the first document; -1: not known yet */
} tokenizing;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- progress ---- */

/* Five times a second on a terminal, else every ten seconds. */
static void tell(tokenizing *k) {
    double at = now(), seconds = at - k->started;
    if (at - k->told < (log_is_terminal() ? 0.2 : 10)) return;
    k->told = at;
    i64 total = k->state.files.bytes, read = k->read.input_bytes;
    char left[64] = "", line[256];
    if (total && read > k->input_started)
        snprintf(left, sizeof left, " | %s left",
                 text_seconds(seconds * (double)(total - read) / (double)(read - k->input_started)).text);
    snprintf(line, sizeof line, "tokenize: %s of text | %s tokens | %.1f MB/s | %s tokens/s%s",
             text_bytes((double)(k->begun.bytes + k->read.bytes)).text,
             text_count((double)(k->begun.tokens + k->tokens)).text, (double)k->read.bytes / 1e6 / seconds,
             text_count((double)k->tokens / seconds).text, left);
    log_progress(line, total ? (double)read / (double)total : 0);
}

/* ---- token files ---- */

static status close_shard(tokenizing *k, document_place next) {
    shard_writer *w = k->writer;
    k->writer = NULL;
    k->state.shards++;
    k->state.tokens += shard_writer_count(w);
    k->state.documents += shard_writer_documents(w);
    k->state.bytes += k->file_bytes;
    k->state.next = next;
    k->file_bytes = 0;
    TRY(shard_writer_close(w));
    return tokenize_state_write(&k->state, k->o);
}

static status_code write_ids(void *context, const int32_t *ids, i64 count) {
    tokenizing *k = context;
    if (!k->writer) TRY(shard_writer_open(&k->writer, tokenize_shard_path(k->o, k->state.shards).text, &k->kind));
    k->document_tokens += count;
    k->tokens += count;
    tell(k);
    return shard_writer_add(k->writer, ids, count);
}

static status_code end_document(void *context, i64 bytes, document_place next) {
    tokenizing *k = context;
    if (!k->document_tokens) return STATUS_OK; /* its text became no token */
    k->document_tokens = 0;
    k->file_bytes += bytes;
    TRY(shard_writer_end(k->writer, bytes));
    bool full = shard_writer_count(k->writer) >= k->o->shard_tokens;
    return full || shard_writer_documents(k->writer) == MOST_DOCUMENTS ? close_shard(k, next) : STATUS_OK;
}

static status_code read_text(void *context, const char *text, size_t bytes) {
    tokenizing *k = context;
    if (k->input_started < 0) k->input_started = k->read.input_bytes;
    return encode_pool_text(k->pool, text, bytes);
}

static status_code read_end(void *context) {
    tokenizing *k = context;
    return encode_pool_end(k->pool, k->read.next);
}

/* ---- the whole ---- */

static status choose_kind(tokenizing *k, encode_pool_options *pool) {
    const tokenize_options *o = k->o;
    const char *fingerprint = tokenizer_fingerprint(o->t);
    int32_t begin = tokenizer_begin_of_text(o->t), end = tokenizer_end_of_text(o->t);
    k->kind = (shard_kind){.format = o->format, .vocabulary = tokenizer_size(o->t), .end_of_text = end};
    if (strlen(fingerprint) >= sizeof k->kind.fingerprint)
        FAIL(ARG, "the tokenizer's fingerprint, %s, has more than %d bytes", fingerprint, SHARD_FINGERPRINT - 1);
    strcpy(k->kind.fingerprint, fingerprint);
    *pool = (encode_pool_options){
        .t = o->t, .threads = o->threads, .before = begin, .after = end, .documents = k->state.documents};
    if (o->format == SHARD_TALLY) return STATUS_OK;
    if (begin < 0 && end < 0)
        FAIL(ARG, "--format llm.c: the tokenizer has neither begin-of-text nor end-of-text to separate documents");
    pool->before = begin >= 0 ? begin : end; /* llm.c's order: a separator before each document, none at the end */
    pool->after = -1;
    int32_t usual = k->kind.vocabulary <= 1 << 16 ? SHARD_SEPARATOR_GPT2 : SHARD_SEPARATOR_LLAMA3;
    if (pool->before != usual)
        log_line("tokenize: warning: token %d begins each document; who reads llm.c's format expects %d there, and "
                 "does not see "
                 "where documents begin",
                 pool->before, usual);
    return STATUS_OK;
}

static status write_all(tokenizing *k) {
    encode_pool_options pool;
    TRY(choose_kind(k, &pool));
    TRY(encode_pool_open(&k->pool, &pool, (encode_pool_sink){.context = k, .ids = write_ids, .end = end_document}));
    TRY(documents_read_from(&k->read, &k->o->from, k->state.next,
                            (document_sink){.context = k, .text = read_text, .end = read_end, .tokens = NULL}));
    TRY(encode_pool_finish(k->pool));
    document_place end = {.file = k->read.next.file, .bad_lines = k->read.bad_lines};
    k->state.complete = true;
    if (k->writer) return close_shard(k, end);
    k->state.next = end;
    return tokenize_state_write(&k->state, k->o);
}

/* The threads do not know where their text comes from. */
static status named(const tokenize_options *o, status_code st) {
    const char *others = o->from.count > 1 ? " and the other paths" : "";
    if (st != STATUS_DATA || strncmp(status_message(), "document ", 9)) return st;
    FAIL(DATA, "%s%s: %s", o->from.paths[0], others, status_message());
}

/* Two that write to the same folder would replace each other's files. The lock ends with the process. */
static status lock_folder(int *fd, const char *folder) {
    *fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0) FAIL(IO, "%s: %s", folder, strerror(errno));
    if (flock(*fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK)
        FAIL(DATA, "%s: another process is writing token files to this folder", folder);
    return STATUS_OK;
}

status tokenize_run(tokenize_result *r, const tokenize_options *o) {
    int lock = -1;
    struct stat info;
    status_code st = STATUS_OK;
    tokenizing k = {.o = o, .started = now(), .input_started = -1};
    *r = (tokenize_result){0};
    k.told = k.started;
    TRY(documents_scan(&k.state.files, &o->from));
    if (!stat(o->folder, &info) && !S_ISDIR(info.st_mode))
        FAIL(DATA, "%s: is not a folder, expected a folder for the token files", o->folder);
    TRY(durable_make_folders(o->folder));
    TRY_DONE(lock_folder(&lock, o->folder));
    TRY_DONE(tokenize_state_open(&k.state, o));
    k.begun = k.state;
    r->was_complete = k.state.complete;
    if (k.state.shards && !k.state.complete)
        log_line("tokenize: %s: goes on after %ld token file%s and %ld documents", o->folder, k.state.shards,
                 k.state.shards == 1 ? "" : "s", k.state.documents);
    if (!k.state.complete) TRY_DONE(named(o, write_all(&k)));
    log_progress_end();
    if (!r->was_complete) documents_log(&k.read);
    r->shards = k.state.shards, r->documents = k.state.documents, r->bytes = k.state.bytes;
    r->tokens = k.state.tokens, r->bad_lines = k.state.next.bad_lines;
    r->own_bytes = k.read.bytes, r->own_tokens = k.tokens;
    r->seconds = now() - k.started;
done:
    shard_writer_abandon(k.writer);
    encode_pool_close(k.pool);
    documents_free(&k.read);
    if (lock >= 0) close(lock);
    return st;
}
