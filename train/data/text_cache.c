#include "train/data/text_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include "runtime/durable.h"
#include "runtime/file.h"
#include "runtime/json.h"
#include "runtime/path.h"
#include "runtime/rng.h"
#include "train/data/shard.h"

enum { PIECE = 1 << 16 };

/* ---- PATH.json ---- */

static status add_members(json_t *o, const text_cache_options *from, const shard *tokens, uint32_t crc) {
    TRY(json_add_string(o, "tokenizer", tokenizer_fingerprint(from->tokenizer)));
    TRY(json_add_u64(o, "seed", from->seed));
    TRY(json_add_string(o, "text_key", from->from.text_key ? from->from.text_key : "text"));
    TRY(json_add_i64(o, "text_bytes", from->text_bytes));
    TRY(json_add_u64(o, "text_crc32", from->text_crc));
    if (!tokens) return STATUS_OK;
    TRY(json_add_u64(o, "file_crc32", tokens->sums_crc));
    return json_add_u64(o, "tokens_crc32", crc);
}

static status describe(char **text, const text_cache_options *from, const shard *tokens, uint32_t crc) {
    json_t *o = json_object();
    if (!o) FAIL(MEM, "%s: no memory for its description", from->path);
    status_code st = add_members(o, from, tokens, crc);
    if (!st) st = json_print(text, o, JSON_INDENTED);
    json_decref(o);
    return st;
}

status text_cache_crc32(uint32_t *crc32, const char *path) {
    path_text name = path_add_ending(path, ".json");
    json_t *o;
    uint64_t crc;
    TRY(json_read_file(&o, name.text));
    status_code st = json_get_u64(o, name.text, "tokens_crc32", &crc);
    json_decref(o);
    *crc32 = (uint32_t)crc;
    return st;
}

/* Whether the files of `path` are whole and were made of this. A file that cannot be read is made again. */
static status look(const text_cache_options *o, text_cache_result *r) {
    shard s;
    char *expected = NULL, *found = NULL;
    size_t bytes;
    status_code st = STATUS_OK;
    if (text_cache_crc32(&r->crc32, o->path) || shard_open(&s, path_add_ending(o->path, ".tokens").text)) return st;
    TRY_DONE(describe(&expected, o, &s, r->crc32));
    r->found =
        file_read(path_add_ending(o->path, ".json").text, &found, &bytes) == STATUS_OK && strcmp(found, expected) == 0;
done:
    shard_close(&s);
    free(expected);
    free(found);
    return st;
}

/* ---- from text to tokens ---- */

typedef struct {
    const text_cache_options *o;
    tokenizer_encoder *encoder;
    shard_writer *to;
    token_list tokens;
    i64 bytes; /* of the document so far */
    i64 count; /* tokens of all documents, for the log */
    bool begun;
} encoding;

static status tick(const text_cache_options *o) { return o->tick ? o->tick(o->context) : STATUS_OK; }

static status_code write_tokens(encoding *e) {
    TRY(shard_writer_add(e->to, e->tokens.ids, e->tokens.count));
    e->count += e->tokens.count;
    e->tokens.count = 0;
    return tick(e->o);
}

static status_code add_text(void *context, const char *text, size_t bytes) {
    encoding *e = context;
    int32_t begin = tokenizer_begin_of_text(e->o->tokenizer);
    if (!e->begun && begin >= 0) TRY(token_list_add(&e->tokens, begin));
    e->begun = true;
    e->bytes += (i64)bytes;
    TRY(tokenizer_encode(e->encoder, &e->tokens, text, bytes, false));
    return e->tokens.count >= PIECE ? write_tokens(e) : STATUS_OK;
}

static status_code end_document(void *context) {
    encoding *e = context;
    int32_t end = tokenizer_end_of_text(e->o->tokenizer);
    TRY(tokenizer_encode(e->encoder, &e->tokens, "", 0, true));
    if (end >= 0) TRY(token_list_add(&e->tokens, end));
    TRY(write_tokens(e));
    TRY(shard_writer_end(e->to, e->bytes));
    e->bytes = 0;
    e->begun = false;
    return STATUS_OK;
}

static status encode(const text_cache_options *o, const char *path, document_summary *summary) {
    encoding e = {.o = o};
    shard_kind kind = {.vocabulary = tokenizer_size(o->tokenizer), .end_of_text = tokenizer_end_of_text(o->tokenizer)};
    snprintf(kind.fingerprint, sizeof kind.fingerprint, "%s", tokenizer_fingerprint(o->tokenizer));
    status_code st = STATUS_OK;
    TRY_DONE(tokenizer_encoder_open(&e.encoder, o->tokenizer, false));
    TRY_DONE(shard_writer_open(&e.to, path, &kind));
    TRY_DONE(documents_read(summary, &o->from, (document_sink){&e, add_text, end_document, &e.count}));
    shard_writer *to = e.to;
    e.to = NULL;
    TRY_DONE(shard_writer_close(to));
done:
    shard_writer_abandon(e.to);
    tokenizer_encoder_close(e.encoder);
    token_list_free(&e.tokens);
    return st;
}

/* ---- in the order of the seed ---- */

/* The order of the documents is in a file without a name, so that a corpus of any number of documents can be shuffled. */
static status map_order(i64 **order, const char *path, i64 count) {
    path_text name = path_add_ending(path, ".order");
    int fd;
    TRY(file_create(&fd, name.text));
    unlink(name.text);
    status_code st = STATUS_OK;
    size_t bytes = (size_t)count * sizeof **order;
    int code = posix_fallocate(fd, 0, (off_t)bytes); /* a full disk shows here, and not as SIGBUS */
    if (code) FAIL_DONE(IO, "%s: no room for %zu bytes: %s", name.text, bytes, strerror(code));
    *order = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (*order == MAP_FAILED) FAIL_DONE(MEM, "%s: mmap of %zu bytes: %s", name.text, bytes, strerror(errno));
done:
    close(fd);
    return st;
}

/* as put_in_order of corpus.c does */
static void shuffle(i64 *order, i64 count, uint64_t seed) {
    for (i64 i = 0; i < count; i++) order[i] = i;
    for (i64 i = count - 1; i > 0; i--) {
        i64 j = (i64)rng_below(seed, RNG_ORDER, (uint64_t)i, (uint64_t)i + 1), swapped = order[i];
        order[i] = order[j];
        order[j] = swapped;
    }
}

static uint32_t crc_as_stored(uint32_t crc, const int32_t *tokens, i64 count, int token_bytes, uint16_t *narrow) {
    if (token_bytes == 4) return (uint32_t)crc32_z(crc, (const unsigned char *)tokens, (size_t)count * 4);
    for (i64 i = 0; i < count; i++) narrow[i] = (uint16_t)tokens[i];
    return (uint32_t)crc32_z(crc, (const unsigned char *)narrow, (size_t)count * 2);
}

static status gather(shard_writer *to, shard *from, const i64 *order, const text_cache_options *o, uint32_t *crc) {
    struct {
        int32_t tokens[PIECE];
        uint16_t narrow[PIECE];
    } *piece = malloc(sizeof *piece);
    if (!piece) FAIL(MEM, "%s: no memory to shuffle documents", o->path);
    status_code st = STATUS_OK;
    for (i64 d = 0; d < from->documents; d++) {
        i64 at = shard_document(from, order[d]), end = shard_document(from, order[d] + 1);
        for (i64 n; at < end; at += n) {
            n = end - at < PIECE ? end - at : PIECE;
            shard_read(from, at, n, piece->tokens);
            *crc = crc_as_stored(*crc, piece->tokens, n, from->token_bytes, piece->narrow);
            TRY_DONE(shard_writer_add(to, piece->tokens, n));
        }
        TRY_DONE(shard_writer_end(to, d ? 0 : from->bytes)); /* only their sum is kept */
        TRY_DONE(tick(o));
    }
done:
    free(piece);
    return st;
}

static status put_in_order(const text_cache_options *o, const char *unshuffled, uint32_t *crc) {
    shard s;
    shard_writer *to = NULL;
    i64 *order = MAP_FAILED;
    TRY(shard_open(&s, unshuffled));
    status_code st = STATUS_OK;
    *crc = 0;
    TRY_DONE(map_order(&order, o->path, s.documents));
    shuffle(order, s.documents, o->seed);
    TRY_DONE(shard_writer_open(&to, path_add_ending(o->path, ".tokens").text, &s.kind));
    TRY_DONE(gather(to, &s, order, o, crc));
    shard_writer *whole = to;
    to = NULL;
    TRY_DONE(shard_writer_close(whole));
done:
    shard_writer_abandon(to);
    if (order != MAP_FAILED) munmap(order, (size_t)s.documents * sizeof *order);
    shard_close(&s);
    return st;
}

static status write_description(const text_cache_options *o, uint32_t crc) {
    shard s;
    char *text = NULL;
    TRY(shard_open(&s, path_add_ending(o->path, ".tokens").text));
    status_code st = describe(&text, o, &s, crc);
    if (!st) st = durable_write_file(path_add_ending(o->path, ".json").text, text, strlen(text));
    shard_close(&s);
    free(text);
    return st;
}

status text_cache_make(text_cache_result *r, const text_cache_options *o) {
    path_text unshuffled = path_add_ending(o->path, ".unshuffled");
    *r = (text_cache_result){0};
    TRY(look(o, r));
    if (r->found) return STATUS_OK;
    status_code st = STATUS_OK;
    TRY_DONE(encode(o, unshuffled.text, &r->summary));
    TRY_DONE(put_in_order(o, unshuffled.text, &r->crc32));
    TRY_DONE(write_description(o, r->crc32));
done:
    unlink(unshuffled.text);
    if (st) documents_free(&r->summary);
    return st;
}
