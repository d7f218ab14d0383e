#include "train/bill/energy.h"

#include <dirent.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/log.h"
#include "runtime/path.h"

/* An NVML reading is reused for this long. NVML's counter advances more slowly, and the end of a step, the start of the next and
 * the ledger then share one reading. */
enum { PACKAGES = 64, FRESH_NS = 10000000 };

/* Far above the power of a package (1 kW at most). The slack is for counters that advance in steps and are not read at the same
 * instant as the clock. */
static const double MOST_WATTS = 4000, SLACK_J = 100;

typedef struct {
    path_text path;       /* of energy_uj */
    unsigned package;     /* its number in the machine */
    uint64_t range, last; /* microjoules; the counter wraps to 0 after `range` */
} rapl_package;

struct energy_meter {
    pthread_mutex_t lock; /* the heartbeat's thread reads the meter too */
    energy_kind kind;
    rapl_package packages[PACKAGES];
    int count;
    nvml *gpu;
    nvml_state state;
    double last;   /* NVML's last value: joules or watts */
    bool reads;    /* false: another rank reads the counter */
    double joules; /* counted up to the last reading */
    double watts;
    char odd[640]; /* for energy_log; "": nothing */
    uint64_t opened_ns, read_ns;
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

/* "intel-rapl:N" whose name is "package-...". Folders with a second colon are parts of a package, intel-rapl-mmio has the same
 * packages again, and psys is the whole board. */
static bool is_package(const char *root, const char *folder, unsigned *package) {
    unsigned n;
    int length = 0;
    if (sscanf(folder, "intel-rapl:%u%n", &n, &length) != 1 || folder[length]) return false;
    char name[64];
    return read_line(path_join(path_join(root, folder).text, "name").text, name, sizeof name) &&
           sscanf(name, "package-%u", package) == 1;
}

static uint64_t distance(uint64_t a, uint64_t b, uint64_t range) {
    uint64_t d = a > b ? a - b : b - a;
    return d < range && range - d < d ? range - d : d;
}

/* Several dies of a package: on AMD each shows the counter of the package, on Intel its own. Two counters, both since boot, that
 * are within 100 J of each other are the same one, read twice. */
static bool is_counted(const energy_meter *e, const rapl_package *p) {
    for (int i = 0; i < e->count; i++) {
        const rapl_package *other = &e->packages[i];
        if (other->package == p->package && other->range == p->range &&
            (double)distance(other->last, p->last, p->range) <= 1e6 * SLACK_J)
            return true;
    }
    return false;
}

/* If one package cannot be read (most systems allow only root), the sum would be wrong: then RAPL is not used at all. */
static void open_rapl(energy_meter *e, const char *root) {
    DIR *dir = opendir(root);
    if (!dir) return;
    bool readable = true;
    for (struct dirent *entry; readable && (entry = readdir(dir));) {
        rapl_package *p = &e->packages[e->count];
        unsigned package;
        if (!is_package(root, entry->d_name, &package)) continue;
        readable = e->count < PACKAGES;
        if (!readable) break;
        p->package = package;
        path_text zone = path_join(root, entry->d_name);
        p->path = path_join(zone.text, "energy_uj");
        readable = read_counter(path_join(zone.text, "max_energy_range_uj").text, &p->range) &&
                   read_counter(p->path.text, &p->last);
        if (readable && !is_counted(e, p)) e->count++;
    }
    closedir(dir);
    if (!readable) e->count = 0;
    if (e->count) e->kind = ENERGY_RAPL;
}

static bool ask_gpu(const energy_meter *e, double *value) {
    return e->kind == ENERGY_NVML ? nvml_joules(e->gpu, value) : nvml_watts(e->gpu, value);
}

static void open_gpu(energy_meter *e, const energy_places *at) {
    if (nvml_open(&e->gpu, at->nvml, at->pci)) {
        log_line("energy: %s", status_message());
        return;
    }
    e->kind = nvml_counts_energy(e->gpu) ? ENERGY_NVML : ENERGY_NVML_POWER;
    if (!e->reads) return;
    if (!ask_gpu(e, &e->last)) e->last = NAN;
    e->state = nvml_look(e->gpu);
}

status energy_open_at(energy_meter **out, const energy_places *at, const device *dev, double tdp_watts, bool reads) {
    energy_meter *e = calloc(1, sizeof *e);
    if (!e) FAIL(MEM, "no memory for the energy meter");
    pthread_mutex_init(&e->lock, NULL);
    e->watts = tdp_watts;
    e->reads = reads;
    if (dev->kind == DEVICE_CPU) open_rapl(e, at->powercap);
    else open_gpu(e, at);
    bool ours = dev->kind == DEVICE_CPU || reads; /* a GPU that another rank reads counts 0 here */
    if (e->kind == ENERGY_TDP && !(tdp_watts > 0) && ours) e->kind = ENERGY_UNKNOWN;
    e->opened_ns = e->read_ns = meter_clock_ns();
    *out = e;
    return STATUS_OK;
}

status energy_open(energy_meter **e, const device *dev, double tdp_watts, bool reads) {
    const energy_places here = {.powercap = "/sys/class/powercap", .nvml = NVML_LIBRARY, .pci = device_pci(dev)};
    return energy_open_at(e, &here, dev, tdp_watts, reads);
}

/* Returns the microjoules to count: after a reset the new value of the counter if that is plausible, else 0. */
static uint64_t odd(energy_meter *e, const rapl_package *p, uint64_t now, uint64_t spent, double most_uj) {
    bool reset = now < p->last;
    uint64_t counts = reset && (double)now <= most_uj ? now : 0;
    snprintf(e->odd, sizeof e->odd, "energy: %.500s went from %lu to %lu: %s; %.6g J are counted, not %.6g",
             p->path.text, p->last, now, reset ? "a reset" : "more than a package can take", 1e-6 * (double)counts,
             1e-6 * (double)spent);
    return counts;
}

static void read_packages(energy_meter *e) {
    uint64_t now_ns = meter_clock_ns();
    double most_uj = 1e6 * (SLACK_J + MOST_WATTS * 1e-9 * (double)(now_ns - e->read_ns));
    for (int i = 0; i < e->count; i++) {
        rapl_package *p = &e->packages[i];
        uint64_t now;
        if (!read_counter(p->path.text, &now)) continue; /* the next reading includes it */
        uint64_t to_wrap = p->range > p->last ? p->range - p->last : 0;
        uint64_t spent = now >= p->last ? now - p->last : to_wrap + now;
        if ((double)spent > most_uj) spent = odd(e, p, now, spent, most_uj);
        e->joules += 1e-6 * (double)spent;
        p->last = now;
    }
    e->read_ns = now_ns;
}

static void read_gpu(energy_meter *e) {
    uint64_t now_ns = meter_clock_ns();
    double now;
    if (now_ns - e->read_ns < FRESH_NS) return;
    e->state = nvml_look(e->gpu);
    if (!ask_gpu(e, &now)) return; /* the next reading includes it */
    double spent = now - e->last;
    if (e->kind == ENERGY_NVML_POWER) spent = (e->last + now) / 2 * 1e-9 * (double)(now_ns - e->read_ns);
    if (spent > 0) e->joules += spent; /* NaN after a first reading that failed */
    e->last = now;
    e->read_ns = now_ns;
}

double energy_joules(energy_meter *e) {
    if (e->kind == ENERGY_TDP) return e->watts * 1e-9 * (double)(meter_clock_ns() - e->opened_ns);
    if (e->kind == ENERGY_UNKNOWN) return NAN;
    if (!e->reads) return 0;
    pthread_mutex_lock(&e->lock);
    if (e->kind == ENERGY_RAPL) read_packages(e);
    else read_gpu(e);
    double joules = e->joules;
    pthread_mutex_unlock(&e->lock);
    return joules;
}

void energy_log(energy_meter *e) {
    char text[sizeof e->odd];
    pthread_mutex_lock(&e->lock);
    memcpy(text, e->odd, sizeof text);
    e->odd[0] = 0;
    pthread_mutex_unlock(&e->lock);
    if (text[0]) log_line("%s", text);
}

nvml_state energy_gpu(energy_meter *e) {
    pthread_mutex_lock(&e->lock);
    nvml_state state = e->state;
    pthread_mutex_unlock(&e->lock);
    return state;
}

energy_kind energy_kind_of(const energy_meter *e) { return e->kind; }

const char *energy_source(energy_kind kind) {
    static const char *const names[] = {[ENERGY_TDP] = "tdp-estimated",
                                        [ENERGY_RAPL] = "rapl",
                                        [ENERGY_NVML] = "nvml",
                                        [ENERGY_NVML_POWER] = "nvml-power (estimated)",
                                        [ENERGY_UNKNOWN] = "unknown"};
    return names[kind];
}

void energy_close(energy_meter *e) {
    if (!e) return;
    nvml_close(e->gpu);
    free(e);
}
