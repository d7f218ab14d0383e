/* Values as text: what differs between two sets of one table, for a run that is resumed with other options; and all of a set,
 * for ranks to compare. */
#ifndef TALLY_OPTIONS_CHANGES_H
#define TALLY_OPTIONS_CHANGES_H

#include "runtime/options.h"

/* A line for each row whose values differ, in the table's order: "--steps was 20, is now 40". A value that nobody gave and
 * that has no default is "not given". Rows that are `not_in_file` are left out. *lines is malloc'ed, "" where all are equal. */
status options_changes(char **lines, const options *then, const options *now);

/* A line for each row, in the table's order: "--steps<tab>20". The rest is as above. */
status options_changes_lines(char **lines, const options *o);

#endif
