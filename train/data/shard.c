#include "train/data/shard_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include "runtime/file.h"

/* The kernel maps up to 64 KiB around a page that is touched. */
enum { DROP_AFTER = 64 << 20, LEAST_TOUCHED = 64 << 10, CHECKED_TOKENS = 1 << 16 };

static const i64 MOST_TOKENS = 1LL << 56; /* more than any disk holds; sums of sizes do not overflow */

/* ---- llm.c's files ---- */

static const struct {
    int32_t magic, version;
    int token_bytes;
    int32_t separator;
    const char *what;
} llmc[] = {
    {SHARD_LLMC_GPT2, 1, 2, SHARD_SEPARATOR_GPT2, "tokens"},
    {SHARD_LLMC_LLAMA3, 7, 4, SHARD_SEPARATOR_LLAMA3, "tokens"},
    {20240522, 0, 0, 0, "an llm.c file of multiple-choice questions"},
    {20240326, 0, 0, 0, "an llm.c checkpoint of GPT-2"},
    {20240327, 0, 0, 0, "an llm.c file for debugging"},
    {20240328, 0, 0, 0, "an llm.c tokenizer"},
    {20240527, 0, 0, 0, "an llm.c state of optimizer and loader"},
    {20240803, 0, 0, 0, "an llm.c checkpoint of Llama 3"},
};
enum { LLMC_KINDS = sizeof llmc / sizeof *llmc };

static int llmc_kind(int32_t magic) {
    for (int i = 0; i < LLMC_KINDS; i++)
        if (llmc[i].magic == magic) return i;
    return -1;
}

static status open_llmc(shard *s, int kind) {
    int32_t header[SHARD_LLMC_HEADER];
    memcpy(header, s->map, sizeof header);
    if (!llmc[kind].version) FAIL(DATA, "%s: is %s, expected a token file", s->path.text, llmc[kind].what);
    if (header[SHARD_LLMC_VERSION] != llmc[kind].version)
        FAIL(DATA, "%s: is an llm.c file of version %d, expected %d", s->path.text, header[SHARD_LLMC_VERSION],
             llmc[kind].version);
    s->kind = (shard_kind){.format = SHARD_LLMC, .end_of_text = -1};
    s->token_bytes = llmc[kind].token_bytes;
    s->separator = llmc[kind].separator;
    s->count = header[SHARD_LLMC_TOKENS];
    if (s->count < 0) FAIL(DATA, "%s: the header says %ld tokens, expected 0 or more", s->path.text, s->count);
    s->sums_at = SHARD_HEADER + (size_t)s->count * (size_t)s->token_bytes;
    if (s->map_bytes != s->sums_at)
        FAIL(DATA, "%s: is %zu bytes long, expected %zu for %ld tokens; the file may be truncated", s->path.text,
             s->map_bytes, s->sums_at, s->count);
    return STATUS_OK;
}

/* ---- opening ---- */

static status open_own(shard *s) {
    shard_header h;
    memcpy(&h, s->map, sizeof h);
    uint32_t crc = (uint32_t)crc32(0, s->map, offsetof(shard_header, header_crc));
    if (h.version != SHARD_VERSION)
        FAIL(DATA, "%s: is a token file of version %u, expected %d", s->path.text, h.version, SHARD_VERSION);
    if (crc != h.header_crc)
        FAIL(DATA, "%s: the header has crc32 %08x, expected %08x; the file is damaged", s->path.text, crc,
             h.header_crc);
    if ((h.token_bytes != 2 && h.token_bytes != 4) || h.block_bytes != SHARD_BLOCK)
        FAIL(DATA, "%s: has %u bytes a token and blocks of %u bytes, expected 2 or 4 and %d", s->path.text,
             h.token_bytes, h.block_bytes, SHARD_BLOCK);
    if (h.tokens > (uint64_t)MOST_TOKENS || h.documents > h.tokens || h.vocabulary < 1 || h.vocabulary > 1ULL << 31 ||
        h.text_bytes > INT64_MAX || h.end_of_text < -1 || h.end_of_text >= (i64)h.vocabulary ||
        !memchr(h.fingerprint, 0, sizeof h.fingerprint))
        FAIL(DATA, "%s: the header has %lu tokens, %lu documents, vocabulary %lu, end-of-text %d; they contradict",
             s->path.text, h.tokens, h.documents, h.vocabulary, h.end_of_text);
    s->kind = (shard_kind){.format = SHARD_TALLY, .vocabulary = (i64)h.vocabulary, .end_of_text = h.end_of_text};
    memcpy(s->kind.fingerprint, h.fingerprint, sizeof h.fingerprint);
    s->count = (i64)h.tokens, s->documents = (i64)h.documents, s->bytes = (i64)h.text_bytes;
    s->token_bytes = (int)h.token_bytes;
    s->separator = -1;
    s->sums_crc = h.sums_crc;
    s->offsets_at = SHARD_HEADER + (h.tokens * h.token_bytes + 7) / 8 * 8;
    s->sums_at = s->offsets_at + 8 * h.documents;
    size_t expected = s->sums_at + (s->sums_at - SHARD_HEADER + SHARD_BLOCK - 1) / SHARD_BLOCK * 4;
    if (s->map_bytes != expected)
        FAIL(DATA, "%s: is %zu bytes long, expected %zu for %ld tokens of %ld documents; the file may be truncated",
             s->path.text, s->map_bytes, expected, s->count, s->documents);
    return STATUS_OK;
}

static int32_t first_integer(const void *bytes) {
    int32_t x;
    memcpy(&x, bytes, sizeof x);
    return x;
}

bool shard_is(const char *path) {
    char start[sizeof SHARD_MAGIC - 1];
    size_t size;
    int fd;
    if (file_open(&fd, path, &size)) return false;
    bool whole = pread(fd, start, sizeof start, 0) == (ssize_t)sizeof start;
    close(fd);
    return whole && (!memcmp(start, SHARD_MAGIC, sizeof start) || llmc_kind(first_integer(start)) >= 0);
}

static status map(shard *s, int fd) {
    void *at = mmap(NULL, s->map_bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) FAIL(IO, "%s: mmap of %zu bytes: %s", s->path.text, s->map_bytes, strerror(errno));
    s->map = at;
    madvise(at, s->map_bytes, MADV_RANDOM); /* windows are read in random order: reading ahead would be in vain */
    return STATUS_OK;
}

status shard_open(shard *s, const char *path) {
    int fd;
    memset(s, 0, sizeof *s);
    s->path = path_add_ending(path, "");
    TRY(file_open(&fd, path, &s->map_bytes));
    status_code st = STATUS_OK;
    if (s->map_bytes < SHARD_HEADER)
        FAIL_DONE(DATA, "%s: is %zu bytes long, expected a token file, whose header alone has %d", path, s->map_bytes,
                  SHARD_HEADER);
    TRY_DONE(map(s, fd));
    int kind = llmc_kind(first_integer(s->map));
    if (kind >= 0) TRY_DONE(open_llmc(s, kind));
    else if (!memcmp(s->map, SHARD_MAGIC, sizeof SHARD_MAGIC - 1)) TRY_DONE(open_own(s));
    else FAIL_DONE(DATA, "%s: is not a token file, neither of tally nor of llm.c", path);
done:
    close(fd);
    if (st) shard_close(s);
    return st;
}

void shard_close(shard *s) {
    if (s->map) munmap((void *)s->map, s->map_bytes);
    s->map = NULL;
}

/* ---- reading ---- */

/* Pages of a file that were read stay in the map, and count as this process's memory, until they are dropped. That takes a
 * system call that interrupts every thread, so it is done now and then. The page cache keeps them. */
void shard_drop(shard *s) { madvise((void *)s->map, s->map_bytes, MADV_DONTNEED); }

static const unsigned char *touch(shard *s, size_t at, size_t bytes) {
    long more = bytes > LEAST_TOUCHED ? (long)bytes : LEAST_TOUCHED;
    if (atomic_fetch_add(&s->touched, more) + more >= DROP_AFTER) {
        atomic_store(&s->touched, more);
        shard_drop(s);
    }
    size_t page = (size_t)sysconf(_SC_PAGESIZE), skip = at % page;
    if (bytes > page) madvise((void *)(s->map + at - skip), bytes + skip, MADV_WILLNEED); /* one request to the disk */
    return s->map + at;
}

static uint32_t widen_16(int32_t *restrict out, const uint16_t *restrict from, i64 count) {
    uint16_t most = 0;
    for (i64 i = 0; i < count; i++) {
        out[i] = from[i];
        most = from[i] > most ? from[i] : most;
    }
    return most;
}

static uint32_t copy_32(int32_t *restrict out, const uint32_t *restrict from, i64 count) {
    uint32_t most = 0;
    for (i64 i = 0; i < count; i++) {
        out[i] = (int32_t)from[i];
        most = from[i] > most ? from[i] : most;
    }
    return most;
}

uint32_t shard_read(shard *s, i64 first, i64 count, int32_t *out) {
    size_t width = (size_t)s->token_bytes;
    const void *from = touch(s, SHARD_HEADER + (size_t)first * width, (size_t)count * width);
    return width == 2 ? widen_16(out, from, count) : copy_32(out, from, count);
}

/* A damaged table may hold any number. */
i64 shard_document(shard *s, i64 document) {
    if (document >= s->documents) return s->count;
    uint64_t at;
    memcpy(&at, touch(s, s->offsets_at + 8 * (size_t)document, 8), 8);
    return at < (uint64_t)s->count ? (i64)at : s->count;
}

/* of the last document that begins at `token` or before */
static i64 document_of(shard *s, i64 token) {
    i64 low = 0, high = s->documents; /* it is in [low, high) */
    while (high - low > 1) {
        i64 middle = low + (high - low) / 2;
        if (shard_document(s, middle) <= token) low = middle;
        else high = middle;
    }
    return low;
}

void shard_starts(shard *s, i64 first, i64 count, int32_t *starts) {
    i64 document = s->documents ? document_of(s, first) : 0;
    i64 next = s->documents ? shard_document(s, document + 1) : s->count;
    const unsigned char *tokens = touch(s, SHARD_HEADER + (size_t)(first * s->token_bytes), 0);
    int32_t start = 0;
    for (i64 i = 0; i < count; i++) {
        uint32_t token = 0;
        if (s->separator >= 0) memcpy(&token, tokens + i * s->token_bytes, (size_t)s->token_bytes);
        if (s->separator >= 0 ? token == (uint32_t)s->separator : first + i == next) {
            start = (int32_t)i;
            if (s->documents) next = shard_document(s, ++document + 1);
        }
        starts[i] = start;
    }
}

/* ---- checking ---- */

static status check_sums(shard *s) {
    size_t count = (s->sums_at - SHARD_HEADER + SHARD_BLOCK - 1) / SHARD_BLOCK;
    uint32_t *sums = malloc(count * 4 + 1);
    if (!sums) FAIL(MEM, "%s: no memory for %zu checksums", s->path.text, count);
    memcpy(sums, touch(s, s->sums_at, count * 4), count * 4);
    status_code st = STATUS_OK;
    uint32_t crc = (uint32_t)crc32_z(0, (const unsigned char *)sums, count * 4);
    if (crc != s->sums_crc)
        FAIL_DONE(DATA, "%s: the checksums have crc32 %08x, expected %08x; the file is damaged", s->path.text, crc,
                  s->sums_crc);
    for (size_t i = 0; i < count; i++) {
        size_t at = SHARD_HEADER + i * SHARD_BLOCK, left = s->sums_at - at;
        size_t bytes = left < SHARD_BLOCK ? left : SHARD_BLOCK;
        crc = (uint32_t)crc32_z(0, touch(s, at, bytes), bytes);
        if (crc != sums[i])
            FAIL_DONE(DATA, "%s: block %zu (bytes %zu to %zu) has crc32 %08x, expected %08x; the file is damaged",
                      s->path.text, i, at, at + bytes - 1, crc, sums[i]);
    }
done:
    free(sums);
    return st;
}

static status check_documents(shard *s) {
    if (s->documents ? shard_document(s, 0) != 0 : s->count > 0)
        FAIL(DATA, "%s: the first token is in no document", s->path.text);
    for (i64 i = 0, at = 0, end; i < s->documents; i++, at = end)
        if ((end = shard_document(s, i + 1)) <= at)
            FAIL(DATA, "%s: document %ld begins at token %ld, but the next one at %ld; expected a later token",
                 s->path.text, i, at, end);
    return STATUS_OK;
}

static status check_tokens(shard *s) {
    int32_t tokens[CHECKED_TOKENS];
    for (i64 at = 0; at < s->count; at += CHECKED_TOKENS) {
        i64 left = s->count - at;
        uint32_t most = shard_read(s, at, left < CHECKED_TOKENS ? left : CHECKED_TOKENS, tokens);
        if (most >= s->kind.vocabulary)
            FAIL(DATA, "%s: found token %u, expected one below the vocabulary, %ld", s->path.text, most,
                 s->kind.vocabulary);
    }
    return STATUS_OK;
}

status shard_check(shard *s) {
    if (s->kind.format == SHARD_LLMC) return STATUS_OK;
    TRY(check_sums(s));
    TRY(check_documents(s));
    return check_tokens(s);
}
