/* What `tally --version` prints: the version, which comes from git (tools/version.cmake), and what the program was built with. */
#ifndef TALLY_TOOLS_VERSION_H
#define TALLY_TOOLS_VERSION_H

#include <stdio.h>

void version_print(FILE *out);

#endif
