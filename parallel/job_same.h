/* Compares what must be the same on all ranks before they compute: options, model, program, environment.
 *
 * It is a text of lines "NAME<tab>VALUE", in the same order on all ranks. What a caller does not list may differ. */
#ifndef TALLY_JOB_SAME_H
#define TALLY_JOB_SAME_H

#include "parallel/comm.h"
#include "runtime/options.h"

/* If a line differs, every rank gets the same ARG error with the line's name, two values and the ranks that have them. A missing
 * line has the value "not given". All ranks call it together, before other collectives, whose sizes depend on these values. */
status job_same(comm *world, const char *text);

/* Add lines to f: the crc32 of the program's file and the environment variables that change what libraries compute; the
 * options in effect, except those named in `own`, which may differ. */
void job_same_program(FILE *f);
status job_same_options(FILE *f, const options *o, const char *const *own, int own_count);

#endif
