#include "train/data/dataset.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

#include "runtime/durable.h"
#include "runtime/log.h"
#include "runtime/text.h"
#include "train/data/dataset_paths.h"
#include "train/data/text_cache.h"

/* what one source is made of */
typedef struct {
    char **paths; /* without weights */
    int path_count;
    double weight; /* NaN: none given */
    dataset_paths found;
    corpus text;     /* in memory */
    path_text cache; /* the folder of its token files; "": none */
    bool was_there;
} part;

struct dataset_parts {
    part list[MIX_SOURCES];
    tokenizer *bytes; /* for text without a tokenizer */
};

/* ---- one source ---- */

static text_source text_of(const dataset_options *o, const part *p) {
    text_source from = o->from;
    from.paths = (const char *const *)p->paths;
    from.count = p->path_count;
    return from;
}

static status find_paths(part *p) {
    for (int i = 0; i < p->path_count; i++) TRY(dataset_paths_add(&p->found, p->paths[i]));
    if (p->found.of_text && p->found.of_files)
        FAIL(ARG, "--data: %s holds token files, %s text; to mix them give each path a weight, as in %s:1 %s:1",
             p->found.of_files, p->found.of_text, p->found.of_files, p->found.of_text);
    return STATUS_OK;
}

static status make_cache(source *s, part *p, const dataset_options *o, const tokenizer *t) {
    text_cache_options c = {.from = text_of(o, p),
                            .text_bytes = p->found.text_bytes,
                            .text_crc = p->found.text_crc,
                            .tokenizer = t,
                            .seed = o->seed,
                            .threads = o->threads,
                            .folder = p->cache.text};
    dataset_paths made = {0};
    uint32_t crc;
    if (o->made) TRY(text_cache_crc32(&crc, p->cache.text));
    else TRY(text_cache_make(&crc, &p->was_there, &c));
    status_code st = dataset_paths_add(&made, p->cache.text);
    if (!st) st = source_open(s, p->paths[0], made.files, made.file_count);
    dataset_paths_free(&made);
    s->byte_text = strcmp(s->fingerprint, "bytes") == 0;
    s->crc32 = crc;
    return st;
}

/* for this process only: the files are deleted as soon as they are open */
static status make_temporary_cache(source *s, part *p, const dataset_options *o, const tokenizer *t) {
    const char *root = getenv("TMPDIR");
    path_text folder = path_join(root && *root ? root : "/tmp", "tally-XXXXXX");
    if (!mkdtemp(folder.text)) FAIL(IO, "%s: cannot make a folder for the tokens of %s", folder.text, p->paths[0]);
    p->cache = path_join(folder.text, "text");
    status_code st = make_cache(s, p, o, t);
    p->cache.text[0] = 0;
    status_code removed = durable_remove_folder(folder.text);
    return st ? st : removed;
}

static status open_text(dataset *d, int i, const dataset_options *o) {
    part *p = &d->parts->list[i];
    source *s = &d->sources[i];
    text_source from = text_of(o, p);
    bool bytes = !o->tokenizer || strcmp(tokenizer_fingerprint(o->tokenizer), "bytes") == 0;
    if (bytes && !o->files && p->found.text_bytes <= DATASET_TEXT_IN_MEMORY) {
        TRY(corpus_load(&p->text, &from, o->val_fraction, o->seed));
        *s = source_of_corpus(&p->text, p->paths[0]);
        return STATUS_OK;
    }
    if (!o->tokenizer && !d->parts->bytes) TRY(tokenizer_open(&d->parts->bytes, NULL));
    const tokenizer *t = o->tokenizer ? o->tokenizer : d->parts->bytes;
    if (!o->folder) return make_temporary_cache(s, p, o, t);
    char name[32];
    snprintf(name, sizeof name, "text-%d", i);
    TRY(durable_make_folders(o->folder));
    p->cache = path_join(o->folder, name);
    return make_cache(s, p, o, t);
}

static status open_source(dataset *d, int i, const dataset_options *o) {
    part *p = &d->parts->list[i];
    source *s = &d->sources[i];
    TRY(find_paths(p));
    if (p->found.file_count) TRY(source_open(s, p->paths[0], p->found.files, p->found.file_count));
    else TRY(open_text(d, i, o));
    d->count++;
    s->weight = isnan(p->weight) ? 1 : p->weight;
    return source_hold_out(s, o->val_fraction);
}

/* ---- all of them ---- */

static status add_path(dataset *d, int at, char *path, double weight) {
    part *p = &d->parts->list[at];
    char **grown = realloc(p->paths, (size_t)(p->path_count + 1) * sizeof *grown);
    if (!grown) {
        free(path);
        FAIL(MEM, "--data: no memory for %d paths", p->path_count + 1);
    }
    p->paths = grown;
    p->paths[p->path_count++] = path;
    p->weight = weight;
    return STATUS_OK;
}

/* *parts: how many sources there are */
static status split_paths(dataset *d, const dataset_options *o, int *parts) {
    const char *with = NULL, *without = NULL;
    *parts = 0;
    for (int i = 0; i < o->from.count; i++) {
        char *path;
        double weight;
        TRY(dataset_paths_split(&path, &weight, o->from.paths[i]));
        if (isnan(weight)) without = o->from.paths[i];
        else with = o->from.paths[i];
        if (*parts == 0 || with) ++*parts;
        if (*parts <= MIX_SOURCES) TRY(add_path(d, *parts - 1, path, weight));
        else free(path);
        if (with && without)
            FAIL(ARG, "--data: %s has a weight, but %s has none; expected a weight for every path or for none", with,
                 without);
    }
    if (*parts > MIX_SOURCES) FAIL(ARG, "--data: %d sources, expected at most %d", *parts, MIX_SOURCES);
    return STATUS_OK;
}

static status check_tokenizer(dataset *d, const source *s, const dataset_options *o) {
    if (!s->fingerprint[0]) return STATUS_OK;
    if (o->tokenizer && strcmp(s->fingerprint, tokenizer_fingerprint(o->tokenizer)) != 0)
        FAIL(DATA, "%s: holds tokens of the tokenizer \"%s\", expected those of \"%s\"", s->name, s->fingerprint,
             tokenizer_fingerprint(o->tokenizer));
    if (d->fingerprint[0] && strcmp(s->fingerprint, d->fingerprint) != 0)
        FAIL(DATA, "%s: holds tokens of the tokenizer \"%s\", but %s of \"%s\"; expected the same tokenizer", s->name,
             s->fingerprint, d->sources[0].name, d->fingerprint);
    memcpy(d->fingerprint, s->fingerprint, sizeof d->fingerprint);
    return STATUS_OK;
}

static status add_up(dataset *d, const dataset_options *o) {
    bool documents = true, bytes = true;
    for (int i = 0; i < d->count; i++) {
        const source *s = &d->sources[i];
        TRY(check_tokenizer(d, s, o));
        d->tokens += s->count;
        d->train_tokens += s->train_count;
        d->documents += s->documents;
        d->bytes += s->bytes;
        documents = documents && s->documents, bytes = bytes && s->bytes;
        if (s->vocabulary > d->vocabulary) d->vocabulary = s->vocabulary;
        struct {
            uint64_t crc, count;
            double weight;
        } card = {s->crc32, (uint64_t)s->count, s->weight};
        d->crc32 = (uint32_t)crc32_z(d->crc32, (const unsigned char *)&card, sizeof card);
    }
    if (d->count == 1) d->crc32 = d->sources->crc32; /* as earlier versions store it */
    if (o->tokenizer && tokenizer_size(o->tokenizer) > d->vocabulary) d->vocabulary = tokenizer_size(o->tokenizer);
    if (o->tokenizer && !d->fingerprint[0])
        snprintf(d->fingerprint, sizeof d->fingerprint, "%s", tokenizer_fingerprint(o->tokenizer));
    if (!documents) d->documents = 0;
    if (!bytes) d->bytes = 0;
    return STATUS_OK;
}

status dataset_open(dataset *d, const dataset_options *o) {
    int parts;
    *d = (dataset){0};
    if (o->from.count < 1) FAIL(ARG, "data: found no path, expected at least one file or folder");
    if (!(o->val_fraction >= 0 && o->val_fraction < 1))
        FAIL(ARG, "fraction to hold out: found %g, expected at least 0 and less than 1", o->val_fraction);
    d->parts = calloc(1, sizeof *d->parts);
    if (!d->parts) FAIL(MEM, "no memory for %zu bytes of the data", sizeof *d->parts);
    status_code st = STATUS_OK;
    TRY_DONE(split_paths(d, o, &parts));
    for (int i = 0; i < parts; i++) TRY_DONE(open_source(d, i, o));
    TRY_DONE(add_up(d, o));
done:
    if (st) dataset_close(d);
    return st;
}

static void free_part(part *p) {
    for (int i = 0; i < p->path_count; i++) free(p->paths[i]);
    free(p->paths);
    dataset_paths_free(&p->found);
    corpus_free(&p->text);
}

void dataset_close(dataset *d) {
    for (int i = 0; i < MIX_SOURCES && d->parts; i++) {
        source_close(&d->sources[i]);
        free_part(&d->parts->list[i]);
    }
    if (d->parts) tokenizer_close(d->parts->bytes);
    free(d->parts);
    *d = (dataset){0};
}

void dataset_allow(dataset *d, i64 vocabulary) {
    for (int i = 0; i < d->count; i++) d->sources[i].most = vocabulary;
}

/* ---- the log ---- */

static void log_files(const source *s, const part *p) {
    char others[64] = "";
    if (p->found.other_files)
        snprintf(others, sizeof others, "; other files in its folders, which are not used: %ld", p->found.other_files);
    log_line("data: %s%s: %d token file%s, tokens: %ld, tokenizer: %s%s", s->name,
             p->path_count > 1 ? " and others" : "", s->file_count, s->file_count == 1 ? "" : "s", s->count,
             s->fingerprint[0] ? s->fingerprint : "not known", others);
}

void dataset_log(const dataset *d) {
    double weights = 0;
    for (int i = 0; i < d->count; i++) weights += d->sources[i].weight;
    for (int i = 0; i < d->count; i++) {
        const source *s = &d->sources[i];
        const part *p = &d->parts->list[i];
        if (p->found.file_count) log_files(s, p);
        else if (!p->cache.text[0] && s->text) documents_log(&p->text.text);
        else if (p->cache.text[0])
            log_line("data: %s: %ld tokens, in %s%s", s->name, s->count, p->cache.text,
                     p->was_there ? ", which was made of this text before" : "");
        if (d->count > 1)
            log_line("data: %s: %.4g%% of the sequences, %ld tokens to train on", s->name, 100 * s->weight / weights,
                     s->train_count);
    }
    char tokens[80]; /* an evaluation has none to train on */
    if (d->train_tokens)
        snprintf(tokens, sizeof tokens, "%ld tokens to train on, %ld held out", d->train_tokens,
                 d->tokens - d->train_tokens);
    else snprintf(tokens, sizeof tokens, "%ld tokens", d->tokens);
    if (d->bytes && d->documents)
        log_line("data: %s of text, %ld documents, %s", text_bytes((double)d->bytes).text, d->documents, tokens);
    else log_line("data: %s", tokens);
}
