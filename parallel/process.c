#include "parallel/process.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef enum { CANNOT_TELL, ABSENT, ENDED, RUNNING } state;

/* start: when the process started, if it exists */
static state look_up(int64_t pid, uint64_t *start) {
    char path[64], line[1024];
    *start = 0;
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file) return access("/proc/self/stat", R_OK) == 0 ? ABSENT : CANNOT_TELL;
    size_t bytes = fread(line, 1, sizeof line - 1, file);
    fclose(file);
    line[bytes] = 0;
    /* "pid (name) state 18 more numbers start ...": the name may hold anything, a ')' too */
    const char *rest = strrchr(line, ')');
    char letter;
    uint64_t ticks;
    if (!rest) return bytes ? CANNOT_TELL : ABSENT; /* it ended between open and read */
    if (sscanf(rest + 1, " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %lu", &letter,
               &ticks) != 2)
        return CANNOT_TELL;
    *start = ticks;
    return letter == 'Z' || letter == 'X' ? ENDED : RUNNING;
}

static void read_boot(char *text, size_t bytes) {
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "r");
    if (!file) return;
    if (!fgets(text, (int)bytes, file)) text[0] = 0;
    text[strcspn(text, "\n")] = 0;
    fclose(file);
}

process process_self(void) {
    process p = {.pid = getpid()};
    gethostname(p.host, sizeof p.host - 1);
    read_boot(p.boot, sizeof p.boot);
    struct stat space;
    if (stat("/proc/self/ns/pid", &space) == 0) p.space = space.st_ino;
    look_up(p.pid, &p.start);
    return p;
}

bool process_same_host(const process *a, const process *b) {
    return strcmp(a->host, b->host) == 0 && strcmp(a->boot, b->boot) == 0;
}

bool process_gone(const process *p, const process *self) {
    if (!process_same_host(p, self) || p->space != self->space || !p->start || !p->space || !p->boot[0]) return false;
    uint64_t start;
    switch (look_up(p->pid, &start)) {
    case CANNOT_TELL: return false;
    case ABSENT:
    case ENDED: return true;
    case RUNNING: return start != p->start;
    }
    return false;
}
