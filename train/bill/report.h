/* HTML pages and a picture of runs, made from the files in their folders:
 *   metrics.jsonl  an object per step, any field absent or null; steps done again after a crash replace the lost ones
 *   ledger.json    bookings and totals      config.json  the options, "model"      plan.json  what was predicted
 *   sample.txt     text
 * The last four are optional; what they lack is shown as "not known". A damaged line or file is logged and left out. The page
 * does not grow with the number of steps: see report_read.h. It needs no other file and no network. Its script only adds zoom and
 * values under the pointer to what is there without it. */
#ifndef TALLY_REPORT_H
#define TALLY_REPORT_H

#include "runtime/status.h"

enum { REPORT_MOST_RUNS = 8 }; /* on one page */

status report_write(const char *run_folder);                                 /* RUN/report.html */
status report_page(const char *const *folders, int count, const char *path); /* one run, or several compared */
status report_loss_svg(const char *run_folder, const char *svg_path);        /* the loss curve alone */

#endif
