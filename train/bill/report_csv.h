/* The steps of runs as a table of comma-separated values (RFC 4180, with \n at the end of a line), to be opened by other
 * programs. The first line names the columns: run (the folder, as given), and then the keys of metrics.jsonl, in the order in
 * which they first appear. A key of an object within is written as outer.inner. One line per step follows, as metrics.jsonl has
 * it, with all digits. Unknown values are empty. Events (a resume) are left out, and so are damaged lines, which are logged. */
#ifndef TALLY_REPORT_CSV_H
#define TALLY_REPORT_CSV_H

#include "runtime/status.h"

/* Replaces the file at `path` atomically; in constant memory, however long the runs are. ARG if more than 256 keys appear. */
status report_csv_write(const char *const *folders, int count, const char *path);

#endif
