#include "runtime/range.h"

#include <nvtx3/nvToolsExt.h>
#include <stdio.h>

void range_begin(const char *name, i64 number) {
    char text[64];
    if (number == RANGE_PLAIN) snprintf(text, sizeof text, "%s", name);
    else snprintf(text, sizeof text, "%s %ld", name, number);
    nvtxRangePushA(text);
}

void range_end(void) { nvtxRangePop(); }
