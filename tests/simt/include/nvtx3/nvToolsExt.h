/* NVTX's stand-in: the names of ranges, two spaces further in for each range around them, go to the file that SIMT_NVTX names. */
#include <stdio.h>
#include <stdlib.h>

static _Thread_local int simt_nvtx_depth;

static inline int nvtxRangePushA(const char *name) {
    const char *path = getenv("SIMT_NVTX");
    FILE *f = path ? fopen(path, "a") : NULL;
    if (f) fprintf(f, "%*s%s\n", 2 * simt_nvtx_depth, "", name), fclose(f);
    return simt_nvtx_depth++;
}

static inline int nvtxRangePop(void) { return --simt_nvtx_depth; }
