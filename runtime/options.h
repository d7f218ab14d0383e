/* One table drives the command line, the help and --config FILE. The file is JSON with the options' names as keys, '-' as
 * '_'. Defaults come first, then the file, then the command line.
 *
 * On the command line: `--name value` or `--name=value`; a flag is `--name` or `--no-name`; a list takes the words up
 * to the next option and may repeat. `--` ends the options. Words that belong to no option are kept in `words`.
 * A value of the file that is out of range is refused unless the command line overrides it.
 * Integers: 524288, 1e6, 0.5M, 512k (k, M and G: 10^3, 10^6, 10^9); the value must be an integer.
 *
 * The row named "config" holds the file's name; "-h" is short for the row named "help". Both are marked `not_in_file`. A row
 * without default_text has no value until one is given: it is 0, NULL or an empty list, and null in the file. */
#ifndef TALLY_OPTIONS_H
#define TALLY_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "runtime/json.h"
#include "runtime/status.h"
#include "runtime/tensor.h"

typedef struct {
    char **list;
    int count;
} string_list;

/* and the type of the member at `offset` of the caller's struct */
typedef enum {
    OPT_I64,    /* i64 */
    OPT_F64,    /* double */
    OPT_STRING, /* char *, owned by options */
    OPT_CHOICE, /* int: position in `choices`, which is the value of an enum in that order; -1: no value */
    OPT_FLAG,   /* bool */
    OPT_LIST    /* string_list, owned by options */
} option_type;

typedef struct {
    const char *name; /* "grad-clip" */
    option_type type;
    size_t offset;
    const char *default_text; /* as typed; of a flag "on" or NULL; of a list NULL */
    const char *argument;     /* its name in the help: "N". A string or list may hold "" only if it is "TEXT" */
    const char *help;
    const char *choices; /* "none|optimizer|gradients|full": see choices.h */
    double min, max;     /* both included; checked if min < max; INFINITY: no upper limit */
    const char *group;   /* the heading of this row and the following ones in the help; NULL: that of the row before */
    bool not_in_file;    /* for the command line only: not a key of the file, not written to it */
} option;

/* type and offset of a row whose value is this member of the struct: the member's type decides the option's */
#define OPTION_AT(values_type, member)                                                                                 \
    .type = _Generic(((values_type *)0)->member,                                                                       \
        i64: OPT_I64,                                                                                                  \
        double: OPT_F64,                                                                                               \
        char *: OPT_STRING,                                                                                            \
        int: OPT_CHOICE,                                                                                               \
        bool: OPT_FLAG,                                                                                                \
        string_list: OPT_LIST),                                                                                        \
    .offset = offsetof(values_type, member)

typedef struct {
    const option *table;
    int count;
    void *values;
    unsigned char *source; /* of each row: whether default, file or command line set its value */
    string_list words;
} options;

/* argv[0] is the first word after the program's and the subcommand's name. Call options_free whether it succeeds or fails; it
 * frees the strings in `values`. */
status options_parse(options *o, const option *table, int count, void *values, int argc, char **argv);
void options_free(options *o);

/* For a command that needs a word that belongs to no option: if there is none, takes the last of several words of the list
 * `name` on the command line, so that --data F1 F2 RUN is read as RUN --data F1 F2. */
status options_take_word(options *o, const char *name);

/* The position of `text` in "a|b|c", or -1. */
int options_choice(const char *choices, const char *text);

bool options_given(const options *o, const char *name); /* on the command line or in the file */
void options_unset(options *o, const char *name); /* as if it had not been given; only for a number without a default */

/* The values in effect, as a file that --config reads back to the same values. */
status options_to_json(json_t **json, const options *o);

void options_print_help(FILE *out, const option *table, int count); /* by group, at most 100 columns */

/* For scripts, such as one that writes a man page or shell completion: a line for each row, of these fields with tabs between
 * them: name, type (integer, number, text, choice, flag or list), argument or choices, default, minimum, maximum, key in the
 * file, group, help. A field that does not apply is empty. */
void options_print_table(FILE *out, const option *table, int count);

#endif
