/* Reads metrics.jsonl line by line in constant memory. A damaged line is skipped and logged with its number, its first byte
 * and what is wrong with it; missing lines of steps are logged too. A line is damaged if it is not a JSON object of at most
 * 64 KiB. NUL bytes before a line, which a crash of the machine may leave, are skipped and logged. A last line without a newline
 * is read if it is complete. */
#ifndef TALLY_METRICS_READER_H
#define TALLY_METRICS_READER_H

#include <stdbool.h>

#include "runtime/json.h"

typedef struct metrics_reader metrics_reader;

typedef struct {
    const char *text; /* without the newline; text and json are valid until the next call */
    size_t bytes;
    const json_t *json;
    i64 offset;   /* of its first byte in the file */
    bool has_end; /* false: the last line of the file, without a newline */
    double step;  /* NaN: none */
    bool event;   /* it has the key "event" and is not the line of a step */
} metrics_line;

status metrics_reader_open(metrics_reader **r, const char *path); /* absent or no regular file: DATA */
/* *more is false at the end of the file; *line is then empty. */
status metrics_reader_next(metrics_reader *r, metrics_line *line, bool *more);
/* For a file that still grows: a last line without its newline waits for the rest, and after *more was false the next call reads
 * what was added since. Nothing is logged. */
void metrics_reader_follow(metrics_reader *r);
bool metrics_reader_replaced(
    const metrics_reader *r); /* the path names another file by now, or the file became shorter */
/* Logs the steps up to `step` whose lines are missing after the last line that was read. */
void metrics_reader_expect(metrics_reader *r, double step);
bool metrics_reader_damaged(const metrics_reader *r); /* whether anything was skipped so far */
void metrics_reader_close(metrics_reader *r); /* logs how many problems were not logged one by one; NULL is allowed */

#endif
