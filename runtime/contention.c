#include "runtime/contention.h"

#include <dirent.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/resource.h>

/* The second figure of schedstat is the time in ns that a thread was ready and waited. */
static double waited_s(void) {
    double sum = 0;
    bool known = false;
    DIR *tasks = opendir("/proc/self/task");
    for (const struct dirent *e; tasks && (e = readdir(tasks));) {
        char path[300];
        unsigned long ran, waited;
        if (e->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "/proc/self/task/%s/schedstat", e->d_name);
        FILE *f = fopen(path, "r");
        if (!f) continue;
        if (fscanf(f, "%lu %lu", &ran, &waited) == 2) known = true, sum += (double)waited * 1e-9;
        fclose(f);
    }
    if (tasks) closedir(tasks);
    return known ? sum : NAN;
}

static double swapped_bytes(void) {
    char line[256];
    double kib = NAN;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && isnan(kib) && fgets(line, sizeof line, f)) sscanf(line, "VmSwap: %lf", &kib);
    if (f) fclose(f);
    return kib * 1024;
}

static double seconds(struct timeval t) { return (double)t.tv_sec + 1e-6 * (double)t.tv_usec; }

contention contention_now(void) {
    struct rusage u = {0};
    getrusage(RUSAGE_SELF, &u);
    return (contention){.cpu_s = seconds(u.ru_utime) + seconds(u.ru_stime),
                        .waited_s = waited_s(),
                        .switches = u.ru_nivcsw,
                        .major_faults = u.ru_majflt,
                        .swapped_bytes = swapped_bytes()};
}
