#include "runtime/path.h"
#include "train/data/documents_parts.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <search.h>

static status add_file(reading *r, const char *path, bool named) {
    i64 bad = r->d->story->bad.count;
    bool no_text;
    status_code st = documents_file_read(r, path, named, &no_text);
    if (named || !no_text) return st;
    notes_cut(&r->d->story->bad, bad);
    return notes_add(&r->d->story->passed_over, "%s", status_message());
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

static status add_named(reading *r, const char *path) {
    struct stat s;
    if (stat(path, &s)) FAIL(DATA, "%s: %s, expected a text file or a folder", path, strerror(errno));
    if (S_ISREG(s.st_mode)) return add_file(r, path, true);
    if (!S_ISDIR(s.st_mode))
        FAIL(DATA, "%s: found neither a file nor a folder, expected a text file or a folder", path);
    i64 documents = r->d->count, passed_over = r->d->story->passed_over.count;
    TRY(add_folder(r, path));
    bool reason = r->d->story->passed_over.count > passed_over && passed_over < NOTES_KEPT;
    if (r->d->count == documents)
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

status documents_read(document_summary *d, const text_source *from, document_sink to) {
    *d = (document_summary){0};
    if (from->count < 1) FAIL(ARG, "data: found no path, expected at least one file or folder");
    status_code st = STATUS_OK;
    reading *r = calloc(1, sizeof *r);
    d->story = calloc(1, sizeof *d->story);
    if (!r || !d->story) FAIL_DONE(MEM, "no memory for %zu bytes of the data", sizeof *r + sizeof *d->story);
    d->story->from = *from;
    d->story->has_tokens = to.tokens != NULL;
    r->d = d;
    r->from = from;
    r->to = to;
    TRY_DONE(add_paths(r));
    d->bad_lines = d->story->bad.count;
    if (d->count == 0)
        FAIL_DONE(DATA, "%s%s: found no text, expected at least one file that is not empty", from->paths[0],
                  from->count > 1 ? " and the other paths" : "");
done:
    if (r) {
        tdestroy(r->seen, free);
        free(r->line);
        free(r);
    }
    if (st) documents_free(d);
    return st;
}

void documents_free(document_summary *d) {
    documents_story_free(d->story);
    *d = (document_summary){0};
}
