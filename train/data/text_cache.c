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
#include "train/data/source.h"
#include "train/data/tokenize.h"

/* a token file ends after so many tokens or documents */
static const i64 FILE_TOKENS = 1LL << 30, FILE_DOCUMENTS = 1LL << 22;
enum { PIECE = 1 << 16 };

/* ---- text.json ---- */

static status add_members(json_t *o, const text_cache_options *from, const uint32_t *crc) {
    TRY(json_add_string(o, "tokenizer", tokenizer_fingerprint(from->tokenizer)));
    TRY(json_add_i64(o, "end_of_text", tokenizer_end_of_text(from->tokenizer))); /* it is not in the fingerprint */
    TRY(json_add_u64(o, "seed", from->seed));
    TRY(json_add_string(o, "text_key", from->from.text_key ? from->from.text_key : "text"));
    TRY(json_add_string(o, "template", from->from.template ? from->from.template : ""));
    TRY(json_add_i64(o, "max_bad_lines", from->from.max_bad_lines));
    TRY(json_add_i64(o, "text_bytes", from->text_bytes));
    TRY(json_add_u64(o, "text_crc32", from->text_crc));
    return crc ? json_add_u64(o, "tokens_crc32", *crc) : STATUS_OK;
}

static status describe(char **text, const text_cache_options *from, const uint32_t *crc) {
    json_t *o = json_object();
    if (!o) FAIL(MEM, "%s: no memory for its description", from->folder);
    status_code st = add_members(o, from, crc);
    if (!st) st = json_print(text, o, JSON_INDENTED);
    json_decref(o);
    return st;
}

status text_cache_crc32(uint32_t *crc32, const char *folder) {
    path_text name = path_join(folder, "text.json");
    json_t *o;
    uint64_t crc;
    TRY(json_read_file(&o, name.text));
    status_code st = json_get_u64(o, name.text, "tokens_crc32", &crc);
    json_decref(o);
    *crc32 = (uint32_t)crc;
    return st;
}

/* Whether `path` describes this text, tokenizer and seed. A file that cannot be read does not. */
static status describes(bool *same, const char *path, const text_cache_options *o, const uint32_t *crc) {
    char *expected, *found = NULL;
    size_t bytes;
    TRY(describe(&expected, o, crc));
    *same = file_read(path, &found, &bytes) == STATUS_OK && strcmp(found, expected) == 0;
    free(expected);
    free(found);
    return STATUS_OK;
}

static status write_description(const char *path, const text_cache_options *o, const uint32_t *crc) {
    char *text;
    TRY(describe(&text, o, crc));
    status_code st = durable_write_file(path, text, strlen(text));
    free(text);
    return st;
}

/* ---- the order of the documents ---- */

/* It is in a file without a name, so that any number of documents can be shuffled. */
static status map_order(i64 **order, const char *folder, i64 count) {
    path_text name = path_add_ending(folder, ".order");
    unlink(name.text);
    int fd = open(name.text, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) FAIL(IO, "%s: %s", name.text, strerror(errno));
    unlink(name.text);
    status_code st = STATUS_OK;
    size_t bytes = (size_t)count * sizeof **order;
    int code = posix_fallocate(fd, 0, (off_t)bytes); /* so that a full disk is an error here, and not a signal later */
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

/* ---- documents in that order ---- */

typedef struct {
    const char *folder;
    source from;
    i64 *documents;   /* [file_count + 1]: the number of each file's first document */
    i64 *order;       /* MAP_FAILED: none yet */
    shard_writer *to; /* NULL: the next document begins a file */
    int files;
    i64 text_bytes; /* to be told to the next file: only their sum is known */
    uint32_t crc;
    int32_t tokens[PIECE];
    uint16_t narrow[PIECE];
} gathering;

static status open_unshuffled(gathering *g, const char *folder, i64 files) {
    char **paths = calloc((size_t)files, sizeof *paths);
    g->documents = calloc((size_t)files + 1, sizeof *g->documents);
    status_code st = STATUS_OK;
    if (!paths || !g->documents) FAIL_DONE(MEM, "%s: no memory for %ld token files", folder, files);
    for (i64 i = 0; i < files; i++)
        if (asprintf(&paths[i], "%s/shard-%06ld.tok", folder, i) < 0)
            FAIL_DONE(MEM, "%s: no memory for a path", folder);
    TRY_DONE(source_open(&g->from, folder, paths, (int)files));
    for (i64 i = 0; i < files; i++) g->documents[i + 1] = g->documents[i] + g->from.files[i].documents;
    g->text_bytes = g->from.bytes;
done:
    for (i64 i = 0; paths && i < files; i++) free(paths[i]);
    free(paths);
    return st;
}

static uint32_t crc_as_stored(gathering *g, i64 count) {
    if (g->from.files->token_bytes == 4)
        return (uint32_t)crc32_z(g->crc, (const unsigned char *)g->tokens, (size_t)count * 4);
    for (i64 i = 0; i < count; i++) g->narrow[i] = (uint16_t)g->tokens[i];
    return (uint32_t)crc32_z(g->crc, (const unsigned char *)g->narrow, (size_t)count * 2);
}

static status close_file(gathering *g) {
    shard_writer *w = g->to;
    g->to = NULL;
    g->files++;
    return shard_writer_close(w);
}

static status add_document(gathering *g, i64 number) {
    int low = 0, high = g->from.file_count;
    while (high - low > 1) {
        int middle = low + (high - low) / 2;
        if (g->documents[middle] <= number) low = middle;
        else high = middle;
    }
    shard *f = &g->from.files[low];
    i64 at = shard_document(f, number - g->documents[low]), end = shard_document(f, number - g->documents[low] + 1);
    if (!g->to) {
        char name[32];
        snprintf(name, sizeof name, "shard-%06d.tok", g->files);
        TRY(shard_writer_open(&g->to, path_join(g->folder, name).text, &f->kind));
    }
    for (i64 n; at < end; at += n) {
        n = end - at < PIECE ? end - at : PIECE;
        TRY(source_read(&g->from, g->from.firsts[low] + at, n, g->tokens));
        g->crc = crc_as_stored(g, n);
        TRY(shard_writer_add(g->to, g->tokens, n));
    }
    TRY(shard_writer_end(g->to, g->text_bytes));
    g->text_bytes = 0;
    bool full = shard_writer_count(g->to) >= FILE_TOKENS || shard_writer_documents(g->to) == FILE_DOCUMENTS;
    return full ? close_file(g) : STATUS_OK;
}

static status gather(uint32_t *crc, const char *to, const char *unshuffled, i64 files, uint64_t seed) {
    gathering *g = calloc(1, sizeof *g);
    if (!g) FAIL(MEM, "%s: no memory to shuffle documents", to);
    g->folder = to;
    g->order = MAP_FAILED;
    status_code st = STATUS_OK;
    TRY_DONE(open_unshuffled(g, unshuffled, files));
    TRY_DONE(map_order(&g->order, to, g->from.documents));
    shuffle(g->order, g->from.documents, seed);
    for (i64 d = 0; d < g->from.documents; d++) TRY_DONE(add_document(g, g->order[d]));
    if (g->to) TRY_DONE(close_file(g));
    *crc = g->crc;
done:
    shard_writer_abandon(g->to);
    if (g->order != MAP_FAILED) munmap(g->order, (size_t)g->from.documents * sizeof *g->order);
    source_close(&g->from);
    free(g->documents);
    free(g);
    return st;
}

/* ---- the whole ---- */

/* Token files in the order of the text. They stay until they are shuffled, so that a killed process can be continued. */
static status make_unshuffled(i64 *files, const char *folder, const text_cache_options *o) {
    path_text description = path_add_ending(folder, ".json");
    tokenize_options t = {.from = o->from,
                          .t = o->tokenizer,
                          .folder = folder,
                          .format = SHARD_TALLY,
                          .shard_tokens = FILE_TOKENS,
                          .threads = o->threads};
    tokenize_result r;
    bool same;
    TRY(describes(&same, description.text, o, NULL));
    if (!same) TRY(durable_remove_folder(folder));
    TRY(write_description(description.text, o, NULL));
    TRY(tokenize_run(&r, &t));
    *files = r.shards;
    if (!r.shards) FAIL(DATA, "%s: its text becomes no token with this tokenizer", o->from.paths[0]);
    return STATUS_OK;
}

status text_cache_make(uint32_t *crc32, bool *found, const text_cache_options *o) {
    path_text unshuffled = path_add_ending(o->folder, ".unshuffled"), making = path_add_ending(o->folder, ".tmp");
    path_text description = path_join(making.text, "text.json");
    i64 files;
    *found = text_cache_crc32(crc32, o->folder) == STATUS_OK;
    if (*found) TRY(describes(found, path_join(o->folder, "text.json").text, o, crc32));
    if (*found) return STATUS_OK;
    TRY(make_unshuffled(&files, unshuffled.text, o));
    TRY(durable_remove_folder(making.text));
    TRY(durable_make_folders(making.text));
    TRY(gather(crc32, making.text, unshuffled.text, files, o->seed));
    TRY(write_description(description.text, o, crc32));
    TRY(durable_remove_folder(o->folder));
    TRY(durable_rename(making.text, o->folder));
    unlink(path_add_ending(unshuffled.text, ".json").text);
    return durable_remove_folder(unshuffled.text);
}
