/* The owner of a run's lock: the contents of RUN/.lock, one line of JSON of a fixed length:
 *   host, boot, space, pid, start   the process (parallel/process.h)     since    when it took the lock, UTC
 *   command                         its command line                     nonce    distinguishes this lock from any other
 *   renewed                         a counter that increases while the owner is alive */
#ifndef TALLY_LOCK_OWNER_H
#define TALLY_LOCK_OWNER_H

#include <stddef.h>

#include "parallel/process.h"
#include "runtime/status.h"

typedef struct {
    process process;
    char since[32];
    char command[256];
    char nonce[40];
} lock_owner;

lock_owner lock_owner_self(void);

/* *text: malloc'ed; *renewed: offset of the ten digits of `renewed` in it */
status lock_owner_text(char **text, size_t *renewed, const lock_owner *o);
bool lock_owner_parse(lock_owner *o, const char *text, size_t bytes); /* text[bytes] must be NUL; false: damaged */

/* "process 123 on host since 2026-11-27 21:50:12 UTC (tally train ...)" */
typedef struct {
    char text[512];
} lock_owner_name;
lock_owner_name lock_owner_describe(const lock_owner *o);

#endif
