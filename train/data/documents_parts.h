/* Shared by documents.c (paths), documents_file.c (the documents of one file) and documents_log.c. */
#ifndef TALLY_DOCUMENTS_PARTS_H
#define TALLY_DOCUMENTS_PARTS_H

#include "train/data/documents.h"
#include "train/data/json_template.h"
#include "train/data/notes.h"
#include "train/data/text_file.h"

/* The state of one documents_read. */
typedef struct {
    document_summary *d;
    const text_source *from;
    document_sink to;
    i64 start;            /* d->bytes where the current document begins */
    document_place begin; /* of documents_read_from */
    document_files *scan; /* NULL: read, do not only list */
    i64 input_before;     /* d->input_bytes where the file begins */
    uint32_t input_crc;   /* of standard input's text up to `summed` bytes of the chunk */
    size_t summed;
    json_template template;
    char *line; /* of JSON, as much as has been read of it */
    size_t line_bytes, line_capacity;
    void *seen; /* files read so far: a tree by device and inode (search.h) */
    text_file file;
} reading;

#define DOCUMENTS_INPUT "standard input" /* the path of "-" */

enum { STORY_PATHS = 12 }; /* the log has one line for each of the first paths: a shell's * may give many */

/* what documents_log writes */
struct documents_story {
    text_source from;
    bool has_tokens;
    notes bad, passed_over, not_utf8, twice;
    text_count_of_kind paths[STORY_PATHS + 1][TEXT_KINDS]; /* of each path; the last: of all others */
};

/* records what path i has added to the kinds since `before` */
void documents_story_path(document_summary *d, int i, const text_count_of_kind *before);
void documents_story_free(documents_story *s);

/* Reads the documents of a file. `named` by the user, a file must be text. Else the sink receives nothing of a file that is not
 * text; *no_text: it failed with DATA for that reason, not because it is damaged. */
status documents_file_read(reading *r, const char *path, bool named, bool *no_text);

#endif
