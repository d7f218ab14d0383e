#include "train/data/dataset_paths.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fts.h>
#include <zlib.h>

#include "runtime/json.h"
#include "train/data/shard.h"

status dataset_paths_split(char **path, double *weight, const char *text) {
    const char *colon = strrchr(text, ':');
    char *end = NULL;
    *weight = NAN;
    double number = colon ? strtod(colon + 1, &end) : NAN;
    bool is_number = colon && end != colon + 1 && !*end;
    if (!is_number || access(text, F_OK) == 0) colon = text + strlen(text);
    else *weight = number;
    if (*colon && !(number > 0 && number < 1e30)) /* their sum is finite */
        FAIL(ARG, "--data %s: the weight is %s, expected a number above 0 and below 1e30", text, colon + 1);
    if (colon == text) FAIL(ARG, "--data %s: found no path, expected PATH or PATH:WEIGHT", text);
    *path = strndup(text, (size_t)(colon - text));
    if (!*path) FAIL(MEM, "%s: no memory for a path", text);
    return STATUS_OK;
}

static status add_file(dataset_paths *p, const char *path) {
    if (p->file_count == p->capacity) {
        int capacity = p->capacity ? 2 * p->capacity : 64;
        char **grown = realloc(p->files, (size_t)capacity * sizeof *grown);
        if (!grown) FAIL(MEM, "%s: no memory for %d paths", path, capacity);
        p->files = grown;
        p->capacity = capacity;
    }
    char *copy = strdup(path);
    if (!copy) FAIL(MEM, "%s: no memory for a path", path);
    p->files[p->file_count++] = copy;
    return STATUS_OK;
}

static int by_name(const FTSENT **a, const FTSENT **b) { return strcmp((*a)->fts_name, (*b)->fts_name); }

static void count_text(dataset_paths *p, const char *path, const struct stat *s) {
    const int64_t card[] = {s->st_size, s->st_mtim.tv_sec, s->st_mtim.tv_nsec};
    p->text_crc = (uint32_t)crc32(p->text_crc, (const unsigned char *)path, (unsigned)strlen(path) + 1);
    p->text_crc = (uint32_t)crc32(p->text_crc, (const unsigned char *)card, sizeof card);
    p->text_bytes += s->st_size;
}

/* The folder of `tally tokenize`, if it was interrupted, holds only a part of the text. */
static status check_complete(const char *path) {
    json_t *o;
    bool complete = true;
    if (json_read_file(&o, path)) return STATUS_OK; /* a file of something else */
    if (json_find(o, "complete") && json_get_bool(o, path, "complete", &complete)) complete = true;
    json_decref(o);
    if (!complete)
        FAIL(DATA, "%s: says that not all of the text is in token files yet; run `tally tokenize` again to continue",
             path);
    return STATUS_OK;
}

/* Hidden entries and links to folders are skipped, as documents.h does. */
static status walk(dataset_paths *p, FTS *tree, i64 *others) {
    for (FTSENT *e; (e = fts_read(tree));) {
        struct stat s;
        bool named = e->fts_level == FTS_ROOTLEVEL, hidden = !named && e->fts_name[0] == '.';
        if (e->fts_info == FTS_DNR || e->fts_info == FTS_ERR || (named && e->fts_info == FTS_NS))
            FAIL(DATA, "%s: %s, expected token files, a text file or a folder", e->fts_path, strerror(e->fts_errno));
        if (e->fts_info == FTS_D && hidden) fts_set(tree, e, FTS_SKIP);
        if (hidden || (e->fts_info != FTS_F && e->fts_info != FTS_SL)) continue;
        if (stat(e->fts_path, &s) || !S_ISREG(s.st_mode)) continue;
        if (strcmp(e->fts_name, "tokenize.json") == 0) TRY(check_complete(e->fts_path));
        else if (shard_is(e->fts_path)) TRY(add_file(p, e->fts_path));
        else count_text(p, e->fts_path, &s), ++*others;
    }
    return STATUS_OK;
}

status dataset_paths_add(dataset_paths *p, const char *path) {
    char *roots[] = {(char *)path, NULL};
    int before = p->file_count;
    i64 others = 0, bytes = p->text_bytes;
    FTS *tree = fts_open(roots, FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR, by_name);
    if (!tree) FAIL(IO, "%s: %s", path, strerror(errno));
    status_code st = walk(p, tree, &others);
    fts_close(tree);
    TRY(st);
    if (p->file_count == before) {
        if (!p->of_text) p->of_text = path;
        return STATUS_OK;
    }
    if (!p->of_files) p->of_files = path;
    p->other_files += others;
    p->text_bytes = bytes;
    return STATUS_OK;
}

void dataset_paths_free(dataset_paths *p) {
    for (int i = 0; i < p->file_count; i++) free(p->files[i]);
    free(p->files);
    *p = (dataset_paths){0};
}
