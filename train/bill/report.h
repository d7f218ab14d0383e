/* What a run was, as one page and one picture, from the files in its folder:
 *   metrics.jsonl  an object a step, any field absent or null; steps done again after a crash replace the lost ones
 *   ledger.json    where every second went, and totals      config.json  "model"      sample.txt  text
 * The last three may be absent; what is not in them is shown as "not known". A damaged line or file is told to
 * log_line, and the page does without it. The page's size does not grow with the steps: see report_read.h. */
#ifndef TALLY_REPORT_H
#define TALLY_REPORT_H

#include "runtime/status.h"

status report_write(const char *run_folder);                          /* RUN/report.html: no scripts, nothing fetched */
status report_loss_svg(const char *run_folder, const char *svg_path); /* the loss curve alone, e.g. for a README */

#endif
