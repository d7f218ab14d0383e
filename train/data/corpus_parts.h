/* What the files of the corpus share: corpus.c (paths, the stream of tokens, its order), corpus_file.c (from one file to
 * documents), corpus_log.c (what is told of them). */
#ifndef TALLY_CORPUS_PARTS_H
#define TALLY_CORPUS_PARTS_H

#include "runtime/host.h"
#include "train/data/corpus.h"
#include "train/data/notes.h"
#include "train/data/text_file.h"

typedef struct {
    i64 start, count; /* in tokens, its end-of-text included */
} document;

/* One corpus_load. Only a chunk of a file, or a line of it, is ever held as text. */
typedef struct {
    corpus *c;
    const text_source *from;
    i64 capacity;   /* tokens */
    host_room room; /* for them, as of the beginning; of ranks that share it, this one's part */
    document *documents;
    i64 document_capacity;
    char *line; /* of JSON, as far as it has been read */
    size_t line_bytes, line_capacity;
    void *seen; /* files, a tree by device and inode (search.h) */
    text_file file;
} loading;

enum { STORY_PATHS = 12 }; /* of many paths, as a shell's * gives, the first are told one by one */

/* what corpus_log tells */
struct corpus_story {
    text_source from;
    notes bad, passed_over, not_utf8, twice;
    text_count_of_kind paths[STORY_PATHS + 1][TEXT_KINDS]; /* what each path gave; the last, all others */
};

/* path i has brought the kinds from what they were before to what they are */
void corpus_story_path(corpus *c, int i, const text_count_of_kind *before);
void corpus_story_free(corpus_story *s);

/* both allocate; a document is what was added since `start`, where that is anything */
status corpus_add_bytes(loading *l, const char *text, size_t bytes);
status corpus_end_document(loading *l, i64 start);

/* Adds the documents of a file. *no_text: it failed with DATA not because it is damaged, but because it is no text; what
 * it has added is the caller's to take back. */
status corpus_file_add(loading *l, const char *path, bool *no_text);

#endif
