#include "train/data/corpus_parts.h"

#include <stdio.h>
#include <stdlib.h>

#include "runtime/log.h"

const char *corpus_kind_name(text_kind kind) {
    static const char *const names[] = {"plain text", "JSON lines", "JSON array"};
    return names[kind];
}

void corpus_story_path(corpus *c, int i, const text_count_of_kind *before) {
    text_count_of_kind *to = c->story->paths[i < STORY_PATHS ? i : STORY_PATHS];
    for (int k = 0; k < TEXT_KINDS; k++)
        to[k] = (text_count_of_kind){.files = c->kinds[k].files - before[k].files,
                                     .documents = c->kinds[k].documents - before[k].documents,
                                     .tokens = c->kinds[k].tokens - before[k].tokens};
}

void corpus_story_free(corpus_story *s) {
    if (!s) return;
    notes_free(&s->bad);
    notes_free(&s->passed_over);
    notes_free(&s->not_utf8);
    notes_free(&s->twice);
    free(s);
}

static void log_kinds(const char *path, const text_count_of_kind *kinds) {
    char text[512];
    int used = 0;
    for (int i = 0; i < TEXT_KINDS; i++) {
        const text_count_of_kind *k = &kinds[i];
        if (!k->files) continue;
        used += snprintf(text + used, sizeof text - (size_t)used, "%s%s, %ld file%s, documents: %ld, tokens: %ld",
                         used ? "; " : "", corpus_kind_name((text_kind)i), k->files, k->files == 1 ? "" : "s",
                         k->documents, k->tokens);
    }
    if (used) log_line("data: %s: %s", path, text);
}

void corpus_log(const corpus *c) {
    const corpus_story *s = c->story;
    char rest[64];
    for (int i = 0; i < s->from.count && i < STORY_PATHS; i++) log_kinds(s->from.paths[i], s->paths[i]);
    snprintf(rest, sizeof rest, "%d paths more", s->from.count - STORY_PATHS);
    log_kinds(rest, s->paths[STORY_PATHS]);
    notes_log(&s->passed_over, "data: skipped");
    notes_log(&s->bad, "data: skipped a bad line");
    notes_log(&s->not_utf8, "data");
    notes_log(&s->twice, "data: given more than once, and used each time");
}
