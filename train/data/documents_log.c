#include "train/data/documents_parts.h"

#include <stdio.h>
#include <stdlib.h>

#include "runtime/log.h"

const char *documents_kind_name(text_kind kind) {
    static const char *const names[] = {"plain text", "JSON lines", "JSON array"};
    return names[kind];
}

void documents_story_path(document_summary *d, int i, const text_count_of_kind *before) {
    text_count_of_kind *to = d->story->paths[i < STORY_PATHS ? i : STORY_PATHS];
    for (int k = 0; k < TEXT_KINDS; k++)
        to[k] = (text_count_of_kind){.files = d->kinds[k].files - before[k].files,
                                     .documents = d->kinds[k].documents - before[k].documents,
                                     .bytes = d->kinds[k].bytes - before[k].bytes,
                                     .tokens = d->kinds[k].tokens - before[k].tokens};
}

void documents_story_free(documents_story *s) {
    if (!s) return;
    notes_free(&s->bad);
    notes_free(&s->passed_over);
    notes_free(&s->not_utf8);
    notes_free(&s->twice);
    free(s);
}

static void log_kinds(const char *path, const text_count_of_kind *kinds, bool has_tokens) {
    char text[512];
    int used = 0;
    for (int i = 0; i < TEXT_KINDS; i++) {
        const text_count_of_kind *k = &kinds[i];
        if (!k->files) continue;
        used += snprintf(text + used, sizeof text - (size_t)used, "%s%s, %ld file%s, documents: %ld, %s: %ld",
                         used ? "; " : "", documents_kind_name((text_kind)i), k->files, k->files == 1 ? "" : "s",
                         k->documents, has_tokens ? "tokens" : "bytes", has_tokens ? k->tokens : k->bytes);
    }
    if (used) log_line("data: %s: %s", path, text);
}

void documents_log(const document_summary *d) {
    const documents_story *s = d->story;
    char rest[64];
    for (int i = 0; i < s->from.count && i < STORY_PATHS; i++) log_kinds(s->from.paths[i], s->paths[i], s->has_tokens);
    snprintf(rest, sizeof rest, "%d paths more", s->from.count - STORY_PATHS);
    log_kinds(rest, s->paths[STORY_PATHS], s->has_tokens);
    notes_log(&s->passed_over, "data: skipped");
    notes_log(&s->bad, "data: skipped a bad line");
    notes_log(&s->not_utf8, "data");
    notes_log(&s->twice, "data: given more than once, and used each time");
}
