/* "Did you mean ...?": the known name with the smallest edit distance to the name that was typed. */
#ifndef TALLY_NEAREST_H
#define TALLY_NEAREST_H

/* Edits are insert, delete and replace; case is ignored. The first of several equally near names. NULL if count is 0. Only
 * the first 127 characters of a name count. */
const char *nearest_name(const char *name, const char *const *names, int count);

#endif
