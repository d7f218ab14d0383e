/* What a run was, as one page and one picture, from the files in its folder:
 *   metrics.jsonl  an object a step; any field may be absent or null. Steps done again after a crash replace the lost
 * ones ledger.json    where every second went, and totals; config.json: "model"; sample.txt: text. All three may be
 * absent What is not in them is shown as "not known". A file that is there and damaged fails (DATA). */
#ifndef TALLY_REPORT_H
#define TALLY_REPORT_H

#include "runtime/status.h"

status report_write(const char *run_folder);                          /* RUN/report.html: no scripts, nothing fetched */
status report_loss_svg(const char *run_folder, const char *svg_path); /* the loss curve alone, e.g. for a README */

#endif
