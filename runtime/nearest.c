#include "runtime/nearest.h"

#include <ctype.h>
#include <limits.h>
#include <string.h>

enum { LONGEST = 127 };

/* Levenshtein distance, one row of the table at a time */
static int distance(const char *a, const char *b) {
    int n = (int)strnlen(b, LONGEST), row[LONGEST + 1];
    for (int j = 0; j <= n; j++) row[j] = j;
    for (int i = 0; i < LONGEST && a[i]; i++) {
        int diagonal = row[0];
        row[0] = i + 1;
        for (int j = 0; j < n; j++) {
            int replaced = diagonal + (tolower((unsigned char)a[i]) != tolower((unsigned char)b[j]));
            int shorter = row[j] < row[j + 1] ? row[j] + 1 : row[j + 1] + 1;
            diagonal = row[j + 1];
            row[j + 1] = replaced < shorter ? replaced : shorter;
        }
    }
    return row[n];
}

const char *nearest_name(const char *name, const char *const *names, int count) {
    const char *best = NULL;
    int least = INT_MAX;
    for (int i = 0; i < count; i++) {
        int d = distance(name, names[i]);
        if (d < least) least = d, best = names[i];
    }
    return best;
}
