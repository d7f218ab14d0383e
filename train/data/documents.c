#include "runtime/path.h"
#include "train/data/documents_parts.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <search.h>
#include <zlib.h>

/* counts a file, for documents_scan */
static status list_file(document_files *f, const char *path) {
    struct stat s = {0};
    if (strcmp(path, DOCUMENTS_INPUT) && stat(path, &s)) FAIL(IO, "%s: %s", path, strerror(errno));
    const i64 facts[] = {s.st_size, s.st_mtim.tv_sec, s.st_mtim.tv_nsec};
    f->files++;
    f->bytes += s.st_size;
    f->crc32 = (uint32_t)crc32_z(f->crc32, (const unsigned char *)path, strlen(path) + 1);
    f->crc32 = (uint32_t)crc32_z(f->crc32, (const unsigned char *)facts, sizeof facts);
    return STATUS_OK;
}

/* true: it was read before the place where this reading begins */
static bool skip_file(reading *r, const char *path) {
    struct stat s;
    if (r->d->next.file >= r->begin.file) return false;
    if (strcmp(path, DOCUMENTS_INPUT) && !stat(path, &s)) r->d->input_bytes += s.st_size;
    return true;
}

static status read_file(reading *r, const char *path, bool named) {
    i64 bad = r->d->story->bad.count;
    bool no_text;
    status_code st = documents_file_read(r, path, named, &no_text);
    if (named || !no_text) return st;
    notes_cut(&r->d->story->bad, bad);
    return notes_add(&r->d->story->passed_over, "%s", status_message());
}

static status add_file(reading *r, const char *path, bool named) {
    if (r->scan) return list_file(r->scan, path);
    status_code st = skip_file(r, path) ? STATUS_OK : read_file(r, path, named);
    r->d->next = (document_place){.file = r->d->next.file + 1};
    return st;
}

static int visible(const struct dirent *entry) { return entry->d_name[0] != '.'; }
static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

static status add_folder(reading *r, const char *path);

static status add_found(reading *r, const char *path) {
    struct stat self, target;
    if (lstat(path, &self)) FAIL(IO, "%s: %s", path, strerror(errno));
    bool link = S_ISLNK(self.st_mode);
    if (!link) target = self;
    else if (stat(path, &target)) return notes_add(&r->d->story->passed_over, "%s: a broken link", path);
    if (S_ISREG(target.st_mode)) return add_file(r, path, false);
    if (S_ISDIR(target.st_mode) && !link) return add_folder(r, path);
    return notes_add(&r->d->story->passed_over, "%s: %s", path,
                     link ? "a link to a folder" : "neither a file nor a folder");
}

static status add_folder(reading *r, const char *path) {
    struct dirent **entries;
    int count = scandir(path, &entries, visible, by_name);
    if (count < 0) FAIL(IO, "%s: %s, expected a readable folder", path, strerror(errno));
    status_code st = STATUS_OK;
    char *child = NULL;
    const char *slash = path_ends_with(path, "/") ? "" : "/";
    for (int i = 0; i < count; i++) {
        if (asprintf(&child, "%s%s%s", path, slash, entries[i]->d_name) < 0) {
            child = NULL;
            FAIL_DONE(MEM, "%s: no memory for a path", path);
        }
        TRY_DONE(add_found(r, child));
        free(child);
        child = NULL;
    }
done:
    free(child);
    for (int i = 0; i < count; i++) free(entries[i]);
    free(entries);
    return st;
}

static bool resumed(const reading *r) { return r->begin.file || r->begin.bytes; }

static status add_named(reading *r, const char *path) {
    struct stat s;
    if (r->from->input && !strcmp(path, "-")) return add_file(r, DOCUMENTS_INPUT, true);
    if (stat(path, &s)) FAIL(DATA, "%s: %s, expected a text file or a folder", path, strerror(errno));
    if (S_ISREG(s.st_mode)) return add_file(r, path, true);
    if (!S_ISDIR(s.st_mode))
        FAIL(DATA, "%s: found neither a file nor a folder, expected a text file or a folder", path);
    i64 documents = r->d->count, passed_over = r->d->story->passed_over.count;
    TRY(add_folder(r, path));
    bool reason = r->d->story->passed_over.count > passed_over && passed_over < NOTES_KEPT;
    if (r->d->count == documents && !r->scan && !resumed(r))
        FAIL(DATA, "%s: found no text in this folder, expected at least one text file that is not empty%s%s", path,
             reason ? "; skipped: " : "", reason ? r->d->story->passed_over.first[passed_over] : "");
    return STATUS_OK;
}

static status add_paths(reading *r) {
    const text_source *from = r->from;
    text_count_of_kind before[TEXT_KINDS];
    for (int i = 0; i < from->count; i++) {
        if (i <= STORY_PATHS) memcpy(before, r->d->kinds, sizeof before);
        TRY(add_named(r, from->paths[i]));
        documents_story_path(r->d, i, before);
    }
    return STATUS_OK;
}

static status read_all(reading *r, document_summary *d) {
    d->story = calloc(1, sizeof *d->story);
    if (!d->story) FAIL(MEM, "no memory for %zu bytes of the data", sizeof *d->story);
    d->story->from = *r->from;
    d->story->has_tokens = r->to.tokens != NULL;
    if (r->from->template) TRY(json_template_parse(&r->template, r->from->template));
    TRY(add_paths(r));
    d->bad_lines = d->story->bad.count + r->begin.bad_lines;
    if (d->count == 0 && !r->scan && !resumed(r))
        FAIL(DATA, "%s%s: found no text, expected at least one file that is not empty", r->from->paths[0],
             r->from->count > 1 ? " and the other paths" : "");
    return STATUS_OK;
}

static status read_or_scan(document_summary *d, document_files *scan, const text_source *from, document_place at,
                           document_sink to) {
    *d = (document_summary){0};
    if (from->count < 1) FAIL(ARG, "data: found no path, expected at least one file or folder");
    reading *r = calloc(1, sizeof *r);
    if (!r) FAIL(MEM, "no memory for %zu bytes of the data", sizeof *r);
    r->d = d;
    r->scan = scan;
    r->from = from;
    r->begin = at;
    r->to = to;
    status_code st = read_all(r, d);
    tdestroy(r->seen, free);
    json_template_free(&r->template);
    free(r->line);
    free(r);
    if (st) documents_free(d);
    return st;
}

status documents_read(document_summary *d, const text_source *from, document_sink to) {
    return read_or_scan(d, NULL, from, (document_place){0}, to);
}

status documents_read_from(document_summary *d, const text_source *from, document_place at, document_sink to) {
    return read_or_scan(d, NULL, from, at, to);
}

status documents_scan(document_files *f, const text_source *from) {
    document_summary d;
    *f = (document_files){0};
    TRY(read_or_scan(&d, f, from, (document_place){0}, (document_sink){0}));
    documents_free(&d);
    return STATUS_OK;
}

void documents_free(document_summary *d) {
    documents_story_free(d->story);
    *d = (document_summary){0};
}
