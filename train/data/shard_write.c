#include "train/data/shard_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "runtime/durable.h"

struct shard_writer {
    path_text path, temporary;
    shard_kind kind;
    int fd;
    int token_bytes;
    i64 count, bytes;
    i64 begun; /* the first token of the current document */
    uint64_t *offsets;
    i64 documents, offsets_capacity;
    uint32_t *sums;
    size_t blocks, sums_capacity;
    size_t buffered;
    unsigned char buffer[SHARD_BLOCK];
};

static void free_writer(shard_writer *w) {
    free(w->offsets);
    free(w->sums);
    free(w);
}

static status check_kind(const char *path, const shard_kind *kind) {
    if (kind->vocabulary < 1 || kind->vocabulary > 1LL << 31)
        FAIL(ARG, "%s: a vocabulary of %ld tokens, expected 1 to 2^31", path, kind->vocabulary);
    if (kind->end_of_text < -1 || kind->end_of_text >= kind->vocabulary)
        FAIL(ARG, "%s: end-of-text %d, expected a token below %ld", path, kind->end_of_text, kind->vocabulary);
    if (!memchr(kind->fingerprint, 0, sizeof kind->fingerprint))
        FAIL(ARG, "%s: the tokenizer's fingerprint has more than %d bytes", path, SHARD_FINGERPRINT - 1);
    return STATUS_OK;
}

status shard_writer_open(shard_writer **out, const char *path, const shard_kind *kind) {
    static const char empty[SHARD_HEADER];
    *out = NULL;
    TRY(check_kind(path, kind));
    shard_writer *w = calloc(1, sizeof *w);
    if (!w) FAIL(MEM, "%s: no memory for a buffer", path);
    w->kind = *kind;
    w->token_bytes = kind->vocabulary <= 1 << 16 ? 2 : 4;
    w->path = path_add_ending(path, "");
    w->temporary = path_add_ending(path, ".tmp");
    w->fd = -1;
    status_code st = STATUS_OK;
    if (!w->temporary.text[0]) FAIL_DONE(ARG, "%s: path is too long", path);
    TRY_DONE(durable_create(&w->fd, w->temporary.text));
    TRY_DONE(durable_write(w->fd, w->temporary.text, empty, sizeof empty)); /* the header, written last */
    *out = w;
    return STATUS_OK;
done:
    shard_writer_abandon(w);
    return st;
}

static status write_block(shard_writer *w) {
    if (!w->buffered) return STATUS_OK;
    if (w->blocks == w->sums_capacity) {
        size_t capacity = w->sums_capacity ? 2 * w->sums_capacity : 256;
        uint32_t *grown = realloc(w->sums, capacity * sizeof *grown);
        if (!grown) FAIL(MEM, "%s: no memory for %zu checksums", w->path.text, capacity);
        w->sums = grown;
        w->sums_capacity = capacity;
    }
    w->sums[w->blocks++] = (uint32_t)crc32_z(0, w->buffer, w->buffered);
    TRY(durable_write(w->fd, w->temporary.text, w->buffer, w->buffered));
    w->buffered = 0;
    return STATUS_OK;
}

static status write_bytes(shard_writer *w, const void *data, size_t bytes) {
    for (const unsigned char *from = data; bytes;) {
        size_t room = SHARD_BLOCK - w->buffered, n = bytes < room ? bytes : room;
        memcpy(w->buffer + w->buffered, from, n);
        w->buffered += n, from += n, bytes -= n;
        if (w->buffered == SHARD_BLOCK) TRY(write_block(w));
    }
    return STATUS_OK;
}

status shard_writer_add(shard_writer *w, const int32_t *tokens, i64 count) {
    for (i64 i = 0; i < count; i++)
        if (tokens[i] < 0 || tokens[i] >= w->kind.vocabulary)
            FAIL(DATA, "%s: token %d, expected 0 to %ld", w->path.text, tokens[i], w->kind.vocabulary - 1);
    if (w->kind.format == SHARD_LLMC && count > INT32_MAX - w->count)
        FAIL(DATA, "%s: more than 2^31 - 1 tokens, which llm.c's format cannot count; expected shorter documents",
             w->path.text);
    w->count += count;
    if (w->token_bytes == 4) return write_bytes(w, tokens, (size_t)count * 4);
    while (count) { /* SHARD_BLOCK and what is buffered are even */
        i64 room = (i64)(SHARD_BLOCK - w->buffered) / 2, n = count < room ? count : room;
        uint16_t *to = (uint16_t *)(void *)(w->buffer + w->buffered);
        for (i64 i = 0; i < n; i++) to[i] = (uint16_t)tokens[i];
        w->buffered += (size_t)n * 2, tokens += n, count -= n;
        if (w->buffered == SHARD_BLOCK) TRY(write_block(w));
    }
    return STATUS_OK;
}

status shard_writer_end(shard_writer *w, i64 bytes) {
    if (w->count == w->begun) FAIL(ARG, "%s: document %ld has no token", w->path.text, w->documents);
    if (w->documents == w->offsets_capacity) {
        i64 capacity = w->offsets_capacity ? 2 * w->offsets_capacity : 1024;
        uint64_t *grown = realloc(w->offsets, (size_t)capacity * sizeof *grown);
        if (!grown) FAIL(MEM, "%s: no memory for the offsets of %ld documents", w->path.text, capacity);
        w->offsets = grown;
        w->offsets_capacity = capacity;
    }
    w->offsets[w->documents++] = (uint64_t)w->begun;
    w->begun = w->count;
    w->bytes += bytes;
    return STATUS_OK;
}

i64 shard_writer_count(const shard_writer *w) { return w->count; }
i64 shard_writer_documents(const shard_writer *w) { return w->documents; }

/* ---- the end of the file, and its header ---- */

static status write_tables(shard_writer *w, shard_header *h) {
    static const char zeros[8];
    TRY(write_bytes(w, zeros, (8 - (size_t)w->count * (size_t)w->token_bytes % 8) % 8));
    TRY(write_bytes(w, w->offsets, (size_t)w->documents * 8));
    TRY(write_block(w));
    *h = (shard_header){.version = SHARD_VERSION,
                        .token_bytes = (uint32_t)w->token_bytes,
                        .tokens = (uint64_t)w->count,
                        .documents = (uint64_t)w->documents,
                        .vocabulary = (uint64_t)w->kind.vocabulary,
                        .text_bytes = (uint64_t)w->bytes,
                        .end_of_text = w->kind.end_of_text,
                        .block_bytes = SHARD_BLOCK,
                        .sums_crc = (uint32_t)crc32_z(0, (const unsigned char *)w->sums, w->blocks * 4)};
    memcpy(h->magic, SHARD_MAGIC, sizeof h->magic);
    memcpy(h->fingerprint, w->kind.fingerprint, sizeof h->fingerprint);
    h->header_crc = (uint32_t)crc32(0, (const unsigned char *)h, offsetof(shard_header, header_crc));
    return durable_write(w->fd, w->temporary.text, w->sums, w->blocks * 4);
}

static status write_header(shard_writer *w) {
    union {
        shard_header own;
        int32_t llmc[SHARD_LLMC_HEADER];
    } h = {.llmc = {0}};
    if (w->kind.format == SHARD_TALLY) {
        TRY(write_tables(w, &h.own));
    } else {
        TRY(write_block(w));
        h.llmc[SHARD_LLMC_MAGIC] = w->token_bytes == 2 ? SHARD_LLMC_GPT2 : SHARD_LLMC_LLAMA3;
        h.llmc[SHARD_LLMC_VERSION] = w->token_bytes == 2 ? 1 : 7;
        h.llmc[SHARD_LLMC_TOKENS] = (int32_t)w->count;
    }
    if (lseek(w->fd, 0, SEEK_SET) != 0) FAIL(IO, "%s: seek: %s", w->temporary.text, strerror(errno));
    return durable_write(w->fd, w->temporary.text, &h, sizeof h);
}

status shard_writer_close(shard_writer *w) {
    status_code st = STATUS_OK;
    if (w->count > w->begun) FAIL_DONE(ARG, "%s: the last document was not ended", w->path.text);
    TRY_DONE(write_header(w));
    TRY_DONE(durable_sync(w->fd, w->temporary.text));
    int fd = w->fd;
    w->fd = -1;
    TRY_DONE(durable_close(fd, w->temporary.text));
    TRY_DONE(durable_rename(w->temporary.text, w->path.text));
    free_writer(w);
    return STATUS_OK;
done:
    shard_writer_abandon(w);
    return st;
}

void shard_writer_abandon(shard_writer *w) {
    if (!w) return;
    if (w->fd >= 0) close(w->fd);
    unlink(w->temporary.text);
    free_writer(w);
}
