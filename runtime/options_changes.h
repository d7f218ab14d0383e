/* What differs between two sets of values of one table: for a run that is resumed with other options. */
#ifndef TALLY_OPTIONS_CHANGES_H
#define TALLY_OPTIONS_CHANGES_H

#include "runtime/options.h"

/* A line for each row whose values differ, in the table's order: "--steps was 20, is now 40". A value that nobody gave and
 * that has no default is "not given". Rows that are `not_in_file` are left out. *lines is malloc'ed, "" where all are equal. */
status options_changes(char **lines, const options *then, const options *now);

#endif
