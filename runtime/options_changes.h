/* Values as text: the differences between two sets of options, for a run that is resumed with other options, and all values of
 * a set, for ranks to compare. */
#ifndef TALLY_OPTIONS_CHANGES_H
#define TALLY_OPTIONS_CHANGES_H

#include "runtime/options.h"

/* A line for each row whose values differ, in the table's order: "--steps was 20, is now 40". A value that was not given and
 * has no default is "not given". Rows that are `not_in_file` are left out. *lines is malloc'ed, "" if all are equal. */
status options_changes(char **lines, const options *then, const options *now);

/* A line for each row, in the table's order: "--steps<tab>20". Otherwise as above. */
status options_changes_lines(char **lines, const options *o);

#endif
