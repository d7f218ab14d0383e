#include "train/energy.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

enum { PACKAGES = 64 };

typedef struct {
    char path[512];       /* its energy_uj */
    uint64_t range, last; /* microjoules; the counter goes on from 0 after `range` */
} rapl_package;

struct energy_meter {
    rapl_package packages[PACKAGES];
    int count;     /* 0: estimate */
    bool reads;    /* else another rank does */
    double joules; /* of RAPL, up to the last reading */
    double watts;
    uint64_t opened_ns;
};

static bool read_line(const char *path, char *line, int size) {
    FILE *f = fopen(path, "r");
    if (!f) return false;
    bool ok = fgets(line, size, f) != NULL;
    fclose(f);
    return ok;
}

static bool read_counter(const char *path, uint64_t *value) {
    char line[64], *end;
    if (!read_line(path, line, sizeof line)) return false;
    *value = strtoull(line, &end, 10);
    return end != line;
}

/* "intel-rapl:N" whose name is "package-..."; a colon more is a part of a package, intel-rapl-mmio counts the same
 * packages once more, and psys is the whole board */
static bool is_package(const char *root, const char *folder) {
    unsigned n;
    int length = 0;
    if (sscanf(folder, "intel-rapl:%u%n", &n, &length) != 1 || folder[length]) return false;
    char path[512], name[64];
    snprintf(path, sizeof path, "%s/%s/name", root, folder);
    return read_line(path, name, sizeof name) && strncmp(name, "package-", 8) == 0;
}

/* one package that cannot be read (it needs root on most systems) makes the sum no measurement: then none is taken */
static void open_rapl(energy_meter *e, const char *root) {
    DIR *dir = opendir(root);
    if (!dir) return;
    bool readable = true;
    for (struct dirent *entry; readable && (entry = readdir(dir));) {
        if (!is_package(root, entry->d_name)) continue;
        readable = e->count < PACKAGES;
        if (!readable) break;
        rapl_package *p = &e->packages[e->count++];
        char range[512];
        snprintf(range, sizeof range, "%s/%s/max_energy_range_uj", root, entry->d_name);
        snprintf(p->path, sizeof p->path, "%s/%s/energy_uj", root, entry->d_name);
        readable = read_counter(range, &p->range) && read_counter(p->path, &p->last);
    }
    closedir(dir);
    if (!readable) e->count = 0;
}

status energy_open_at(energy_meter **out, const char *root, const device *dev, double tdp_watts, bool first_of_host) {
    energy_meter *e = calloc(1, sizeof *e);
    if (!e) FAIL(MEM, "energy meter");
    e->watts = tdp_watts;
    e->reads = first_of_host;
    e->opened_ns = clock_ns();
    if (dev->kind == DEVICE_CPU) open_rapl(e, root);
    *out = e;
    return STATUS_OK;
}

status energy_open(energy_meter **e, const device *dev, double tdp_watts, bool first_of_host) {
    return energy_open_at(e, "/sys/class/powercap", dev, tdp_watts, first_of_host);
}

double energy_joules(energy_meter *e) {
    if (!e->count) return e->watts * 1e-9 * (double)(clock_ns() - e->opened_ns);
    if (!e->reads) return 0;
    for (int i = 0; i < e->count; i++) {
        rapl_package *p = &e->packages[i];
        uint64_t now;
        if (!read_counter(p->path, &now)) continue; /* the next reading has it */
        uint64_t to_wrap = p->range > p->last ? p->range - p->last : 0;
        uint64_t spent = now >= p->last ? now - p->last : to_wrap + now;
        e->joules += 1e-6 * (double)spent;
        p->last = now;
    }
    return e->joules;
}

const char *energy_source(const energy_meter *e) { return e->count ? "rapl" : "tdp-estimated"; }
void energy_close(energy_meter *e) { free(e); }
