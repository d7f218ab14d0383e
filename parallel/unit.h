/* A unit is gathered, reduced and updated as a whole: one flat, padded buffer, whose parts are the parameters. Every block is a
 * unit; the embedding is one, and the final norm with the head is one.
 *
 * Offsets are in elements and the same in every buffer of the unit (weights, gradients, master, moments). Each parameter
 * starts at a multiple of UNIT_ALIGN; the unit's size is padded so that it divides into `ranks` equal aligned pieces. */
#ifndef TALLY_UNIT_H
#define TALLY_UNIT_H

#include <stdint.h>

enum { UNIT_ALIGN = 64 };

typedef struct {
    int64_t offset; /* of the unit's first element in the concatenation of all units */
    int64_t size;   /* padded */
} unit;

int64_t unit_place(int64_t *used, int64_t count);  /* offset of the next parameter of `count` elements */
int64_t unit_padded_size(int64_t used, int ranks); /* smallest multiple of ranks * UNIT_ALIGN that holds `used` */

#endif
