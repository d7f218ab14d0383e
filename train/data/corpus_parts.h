/* Shared by corpus.c (paths, the token stream and its order), corpus_file.c (the documents of one file) and corpus_log.c. */
#ifndef TALLY_CORPUS_PARTS_H
#define TALLY_CORPUS_PARTS_H

#include "runtime/host.h"
#include "train/data/corpus.h"
#include "train/data/notes.h"
#include "train/data/text_file.h"

typedef struct {
    i64 start, count; /* in tokens, with its end-of-text */
} document;

/* The state of one corpus_load. As text, only a chunk or a line of a file is in memory. */
typedef struct {
    corpus *c;
    const text_source *from;
    i64 capacity;   /* tokens */
    host_room room; /* for the tokens, at the start; this rank's part of it */
    document *documents;
    i64 document_capacity;
    char *line; /* of JSON, as much as has been read of it */
    size_t line_bytes, line_capacity;
    void *seen; /* files read so far: a tree by device and inode (search.h) */
    text_file file;
} loading;

enum { STORY_PATHS = 12 }; /* the log has one line for each of the first paths: a shell's * may give many */

/* what corpus_log writes */
struct corpus_story {
    text_source from;
    notes bad, passed_over, not_utf8, twice;
    text_count_of_kind paths[STORY_PATHS + 1][TEXT_KINDS]; /* of each path; the last: of all others */
};

/* records what path i has added to the kinds since `before` */
void corpus_story_path(corpus *c, int i, const text_count_of_kind *before);
void corpus_story_free(corpus_story *s);

/* Both allocate. A document is what was added since `start`, unless that is nothing. */
status corpus_add_bytes(loading *l, const char *text, size_t bytes);
status corpus_end_document(loading *l, i64 start);

/* Adds the documents of a file. *no_text: it failed with DATA because the file is not text, not because it is damaged; the
 * caller then removes what was added. */
status corpus_file_add(loading *l, const char *path, bool *no_text);

#endif
