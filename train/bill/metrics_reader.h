/* metrics.jsonl line by line, in constant memory, whatever it holds. A damaged line costs only itself: it is passed over and
 * told to log_line, with its number, its first byte and what is wrong with it; so are steps whose lines are missing.
 * Damaged is what is no JSON object in one line of at most 64 KiB. NULs before a line, as a crash of the machine leaves
 * them, cost nothing but a message. A last line without its end is read if it is whole. */
#ifndef TALLY_METRICS_READER_H
#define TALLY_METRICS_READER_H

#include <stdbool.h>

#include "runtime/json.h"

typedef struct metrics_reader metrics_reader;

typedef struct {
    const char *text; /* without the newline; valid until the next call, as json is */
    size_t bytes;
    const json_t *json;
    i64 offset;   /* of its first byte in the file */
    bool has_end; /* false: the file's last, without a newline */
    double step;  /* NaN where it has none */
    bool event;   /* not the line of a step */
} metrics_line;

status metrics_reader_open(metrics_reader **r, const char *path); /* absent: DATA */
/* *more: false at the end, and *line is then empty */
status metrics_reader_next(metrics_reader *r, metrics_line *line, bool *more);
/* Tells that the lines of the steps after the last one read, up to `step`, are missing, if they are. */
void metrics_reader_expect(metrics_reader *r, double step);
bool metrics_reader_damaged(const metrics_reader *r); /* whether something was passed over so far */
void metrics_reader_close(metrics_reader *r);         /* tells how much was not told one by one; NULL: nothing to do */

#endif
