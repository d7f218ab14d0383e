#include "parallel/unit.h"

static int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

int64_t unit_place(int64_t *used, int64_t count) {
    int64_t offset = round_up(*used, UNIT_ALIGN);
    *used = offset + count;
    return offset;
}

int64_t unit_padded_size(int64_t used, int ranks) { return round_up(used, (int64_t)ranks * UNIT_ALIGN); }
