/* An HTML page and a picture of a run, made from the files in its folder:
 *   metrics.jsonl  an object per step, any field absent or null; steps done again after a crash replace the lost ones
 *   ledger.json    bookings and totals      config.json  "model"      sample.txt  text
 * The last three are optional; what they lack is shown as "not known". A damaged line or file is logged and left out. The page
 * does not grow with the number of steps: see report_read.h. */
#ifndef TALLY_REPORT_H
#define TALLY_REPORT_H

#include "runtime/status.h"

status report_write(const char *run_folder); /* RUN/report.html, without scripts or external resources */
status report_loss_svg(const char *run_folder, const char *svg_path); /* the loss curve alone */

#endif
