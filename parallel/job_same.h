/* What must be the same on all ranks before anything is computed: options, the model, the program, its environment.
 *
 * It is a text of lines "NAME<tab>VALUE", in one order on all ranks. What is not listed may differ: each caller says why. */
#ifndef TALLY_JOB_SAME_H
#define TALLY_JOB_SAME_H

#include "parallel/comm.h"
#include "runtime/options.h"

/* Fails on all ranks alike (ARG) where a line differs: the first one, both values and the ranks that have them. A line that a
 * rank lacks is "not given". All ranks together; of all collectives the first, for the shape of others depends on it. */
status job_same(comm *world, const char *text);

/* Adds to f: the program (the crc32 of its file), the environment that changes what libraries compute, and the options in
 * effect but those in `own` (`own_count` names), which may differ. */
void job_same_program(FILE *f);
status job_same_options(FILE *f, const options *o, const char *const *own, int own_count);

#endif
