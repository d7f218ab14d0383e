/* The options of every command that reads text, beside the paths themselves. */
#ifndef TALLY_TEXT_OPTIONS_H
#define TALLY_TEXT_OPTIONS_H

#include "runtime/options.h"
#include "train/data/corpus.h"

typedef struct {
    char *key;
    i64 max_bad_lines;
} text_options;

/* what --data takes, for its help */
#define TEXT_OPTION_PATHS                                                                                              \
    "files and folders of plain text, or of JSON objects (.jsonl, .ndjson, .json) that hold a document each, under "   \
    "--text-key; any of them may be .gz"

/* rows of an option table, for the member `member` of the struct `values` */
#define TEXT_OPTION_ROWS(values, member, group)                                                                        \
    {"text-key", OPT_STRING, offsetof(values, member) + offsetof(text_options, key),                                   \
     "text",     "KEY",      "the key under which a JSON object holds its text",                                       \
     NULL,       0,          0,                                                                                        \
     group,      false},                                                                                               \
    {                                                                                                                  \
        "max-bad-lines", OPT_I64, offsetof(values, member) + offsetof(text_options, max_bad_lines), "100", "N",        \
            "leave out up to N lines of JSON that hold no text under the key, and log the first few; with more, the "  \
            "command fails",                                                                                           \
            NULL, 0, 1e15, group, false                                                                                \
    }

static inline text_source text_options_source(const text_options *o, const char *const *paths, int count) {
    return (text_source){.paths = paths, .count = count, .text_key = o->key, .max_bad_lines = o->max_bad_lines};
}

#endif
