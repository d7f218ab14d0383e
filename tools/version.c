#include "tools/version.h"

#include "runtime/onednn.h"
#include "tally_version.h" /* written by every build */

void version_print(FILE *out) {
    char library[64];
    onednn_version(library, sizeof library);
    fprintf(out, "tally %s\n", TALLY_VERSION);
    fprintf(out, "%s\n%s\n", BUILT_BY, library); /* tools/package.cmake defines the names that begin with BUILT */
    fprintf(out, "%s\n%s\n%s\n%s\n", BUILT_MPI, BUILT_CUDA, BUILT_NCCL, BUILT_CUDNN);
}
