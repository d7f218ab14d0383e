/* "Did you mean ...?": the known name that takes the fewest edits to reach from what was typed. */
#ifndef TALLY_NEAREST_H
#define TALLY_NEAREST_H

/* Smallest edit distance (insert, delete, replace; letters compare without case); the first of equals. NULL if count is
 * 0. Only the first 127 characters of a name count. */
const char *nearest_name(const char *name, const char *const *names, int count);

#endif
