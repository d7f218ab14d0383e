#include "runtime/host.h"

#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "runtime/path.h"

enum { PATH_BYTES = 1024 };

static int ranks_here = 1;

void host_set_ranks(int ranks) { ranks_here = ranks > 1 ? ranks : 1; }
int host_ranks(void) { return ranks_here; }

/* --- small files of the kernel --- */

static bool read_text(const char *folder, const char *name, char *text, int size) {
    FILE *f = fopen(path_join(folder, name).text, "re");
    if (!f) return false;
    bool ok = fgets(text, size, f) != NULL;
    fclose(f);
    return ok;
}

/* UINT64_MAX, which is no limit, for "max", for -1 and for a file that cannot be read */
static uint64_t read_limit(const char *folder, const char *name) {
    char text[64], *end;
    if (!read_text(folder, name, text, sizeof text) || text[0] == '-') return UINT64_MAX;
    uint64_t value = strtoull(text, &end, 10);
    return end == text ? UINT64_MAX : value;
}

/* the number after `key` in a file of "key number" lines; 0 if there is none */
static uint64_t read_field(const char *folder, const char *file, const char *key) {
    char line[256];
    size_t length = strlen(key);
    uint64_t value = 0;
    FILE *f = fopen(path_join(folder, file).text, "re");
    if (!f) return 0;
    while (fgets(line, sizeof line, f)) {
        if (strncmp(line, key, length) != 0 || !strchr(" \t", line[length])) continue;
        value = strtoull(line + length, NULL, 10);
        break;
    }
    fclose(f);
    return value;
}

/* --- where this process's cgroups are --- */

/* a controller's hierarchy as this process sees it */
typedef struct {
    bool found, v2;
    char mount[PATH_BYTES];  /* where it is mounted */
    char root[PATH_BYTES];   /* the cgroup that the mount shows as its top */
    char folder[PATH_BYTES]; /* this process's cgroup; it begins with `mount` */
} hierarchy;

static bool has_word(const char *list, const char *word) {
    size_t length = strlen(word);
    for (const char *p = list; *p; p += strcspn(p, ","), p += *p == ',')
        if (strncmp(p, word, length) == 0 && (p[length] == ',' || !p[length])) return true;
    return false;
}

/* mountinfo writes space, tab, newline and backslash as a backslash and three octal digits */
static void unescape(char *text) {
    char *to = text;
    for (const char *p = text; *p; p++) {
        unsigned code;
        if (*p == '\\' && sscanf(p + 1, "%3o", &code) == 1) *to++ = (char)code, p += 3;
        else *to++ = *p;
    }
    *to = 0;
}

/* "36 35 98:0 ROOT MOUNT options optional... - TYPE source options" */
static bool parse_mount(char *line, const char *controller, hierarchy *h) {
    char root[PATH_BYTES], mount[PATH_BYTES], type[32], options[256];
    char *rest = strstr(line, " - ");
    if (!rest || sscanf(line, "%*s %*s %*s %1023s %1023s", root, mount) != 2) return false;
    if (sscanf(rest + 3, "%31s %*s %255s", type, options) != 2) return false;
    h->v2 = strcmp(type, "cgroup2") == 0;
    if (!h->v2 && (strcmp(type, "cgroup") != 0 || !has_word(options, controller))) return false;
    unescape(root);
    unescape(mount);
    strcpy(h->root, root);
    strcpy(h->mount, mount);
    return true;
}

/* A controller belongs to a hierarchy of version 1 or to that of version 2, never to both. If both are mounted, the mount of
 * version 1 that names the controller decides. */
static void find_mount(const char *proc, const char *controller, hierarchy *h) {
    char *line = NULL;
    size_t size = 0;
    hierarchy one;
    FILE *f = fopen(path_join(proc, "self/mountinfo").text, "re");
    if (!f) return;
    while (getline(&line, &size, f) > 0) {
        if (!parse_mount(line, controller, &one) || (h->found && one.v2)) continue;
        *h = one;
        h->found = true;
        if (!one.v2) break;
    }
    free(line);
    fclose(f);
}

/* "4:cpu,cpuacct:/path", of version 2 "0::/path" */
static bool find_path(const char *proc, const char *controller, bool v2, char *out) {
    char *line = NULL;
    size_t size = 0;
    bool found = false;
    FILE *f = fopen(path_join(proc, "self/cgroup").text, "re");
    if (!f) return false;
    while (!found && getline(&line, &size, f) > 0) {
        char *controllers = strchr(line, ':'), *at = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!at) continue;
        *at++ = 0;
        at[strcspn(at, "\n")] = 0;
        found = v2 ? !controllers[1] : has_word(controllers + 1, controller);
        if (found) snprintf(out, PATH_BYTES, "%s", at);
    }
    free(line);
    fclose(f);
    return found;
}

/* A container's mount often shows the container's own cgroup as its top, while /proc/self/cgroup gives the path from there or
 * from the top of the host. A path that is not below the mounted cgroup is taken for the top of the mount, whose limits
 * apply in any case. */
static hierarchy find_hierarchy(const char *root, const char *controller) {
    char path[PATH_BYTES] = "";
    hierarchy h = {0};
    path_text proc = path_join(root, "proc");
    find_mount(proc.text, controller, &h);
    if (!h.found || !find_path(proc.text, controller, h.v2, path)) return (hierarchy){0};
    size_t top = strcmp(h.root, "/") == 0 ? 0 : strlen(h.root);
    bool below = strncmp(path, h.root, top) == 0 && (path[top] == '/' || !path[top]) && !strstr(path, "/..");
    char mount[PATH_BYTES];
    if (snprintf(mount, sizeof mount, "%s%s", root, h.mount) >= (int)sizeof mount) return (hierarchy){0};
    strcpy(h.mount, mount);
    size_t length = strlen(mount);
    snprintf(h.folder, sizeof h.folder, "%s", mount);
    if (below && strcmp(path + top, "/") != 0) snprintf(h.folder + length, sizeof h.folder - length, "%s", path + top);
    return h;
}

/* to the cgroup above; false at the top of the mount */
static bool go_up(hierarchy *h) {
    size_t top = strlen(h->mount);
    if (strlen(h->folder) <= top) return false;
    *strrchr(h->folder, '/') = 0;
    return strlen(h->folder) >= top;
}

/* --- CPU time --- */

static double quota_of(const hierarchy *h) {
    char text[64];
    double quota, period;
    if (h->v2) {
        if (!read_text(h->folder, "cpu.max", text, sizeof text)) return INFINITY;
        if (sscanf(text, "%lf %lf", &quota, &period) != 2) return INFINITY; /* "max 100000" */
    } else {
        uint64_t us = read_limit(h->folder, "cpu.cfs_quota_us"), period_us = read_limit(h->folder, "cpu.cfs_period_us");
        if (us == UINT64_MAX || period_us == UINT64_MAX) return INFINITY;
        quota = (double)us, period = (double)period_us;
    }
    return quota > 0 && period > 0 ? quota / period : INFINITY;
}

host_quota host_cpu_quota_at(const char *root) {
    host_quota q = {.cpus = INFINITY};
    hierarchy h = find_hierarchy(root, "cpu");
    if (!h.found) return q;
    do {
        double cpus = quota_of(&h);
        if (cpus >= q.cpus) continue;
        q.cpus = cpus;
        strcpy(q.group, h.folder);
    } while (go_up(&h));
    return q;
}

int host_whole_cpus(double cpus) {
    if (cpus >= INT_MAX) return INT_MAX;
    return cpus < 1.5 ? 1 : (int)(cpus + 0.5);
}

/* --- memory --- */

static void tighten(host_room *r, uint64_t limit, uint64_t used, const char *kind, const char *name) {
    uint64_t left = used < limit ? limit - used : 0;
    if (limit == UINT64_MAX || left >= r->left) return;
    *r = (host_room){.left = left, .limit = limit};
    snprintf(r->what, sizeof r->what, "%s%.1000s", kind, name);
}

/* without the file cache, which the kernel drops when memory is needed */
static uint64_t used_in(const hierarchy *h) {
    uint64_t all = read_limit(h->folder, h->v2 ? "memory.current" : "memory.usage_in_bytes");
    if (all == UINT64_MAX) return 0;
    uint64_t cache = read_field(h->folder, "memory.stat", h->v2 ? "active_file" : "total_active_file") +
                     read_field(h->folder, "memory.stat", h->v2 ? "inactive_file" : "total_inactive_file");
    return all > cache ? all - cache : 0;
}

static void add_groups(host_room *r, const char *root) {
    hierarchy h = find_hierarchy(root, "memory");
    if (!h.found) return;
    do {
        uint64_t limit = read_limit(h.folder, h.v2 ? "memory.max" : "memory.limit_in_bytes");
        if (limit < UINT64_MAX / 4) tighten(r, limit, used_in(&h), "cgroup ", h.folder); /* v1: "none" is near 2^63 */
    } while (go_up(&h));
}

static void add_rlimit(host_room *r, const char *root, int resource, const char *field, const char *name) {
    struct rlimit limit;
    if (getrlimit(resource, &limit) || limit.rlim_cur == RLIM_INFINITY) return;
    tighten(r, limit.rlim_cur, read_field(path_join(root, "proc/self").text, "status", field) * 1024, name, "");
}

host_room host_memory_at(const char *root) {
    host_room r = {.left = UINT64_MAX, .limit = UINT64_MAX};
    path_text proc = path_join(root, "proc");
    uint64_t all_kib = read_field(proc.text, "meminfo", "MemTotal:") + read_field(proc.text, "meminfo", "SwapTotal:");
    add_groups(&r, root);
    add_rlimit(&r, root, RLIMIT_AS, "VmSize:", "ulimit -v");
    add_rlimit(&r, root, RLIMIT_DATA, "VmData:", "ulimit -d");
    if (all_kib) tighten(&r, all_kib * 1024, 0, "this machine", "");
    return r;
}

uint64_t host_available_at(const char *root) {
    uint64_t kib = read_field(path_join(root, "proc").text, "meminfo", "MemAvailable:");
    return kib ? kib * 1024 : UINT64_MAX;
}

host_used host_process_at(const char *root) {
    path_text self = path_join(root, "proc/self");
    uint64_t peak = read_field(self.text, "status", "VmHWM:");
    uint64_t files = read_field(self.text, "status", "RssFile:") + read_field(self.text, "status", "RssShmem:");
    host_used u = {.now = read_field(self.text, "status", "RssAnon:") * 1024};
    if (u.now) u.peak = peak > files && (peak - files) * 1024 > u.now ? (peak - files) * 1024 : u.now;
    return u;
}

bool host_restart_peak_at(const char *root) {
    int fd = open(path_join(root, "proc/self/clear_refs").text, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return false;
    bool restarted = write(fd, "5", 1) == 1;
    close(fd);
    return restarted;
}

host_used host_process(void) { return host_process_at(""); }
bool host_restart_peak(void) { return host_restart_peak_at(""); }
host_quota host_cpu_quota(void) { return host_cpu_quota_at(""); }
host_room host_memory(void) { return host_memory_at(""); }
uint64_t host_available(void) { return host_available_at(""); }
