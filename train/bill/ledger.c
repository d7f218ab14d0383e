#include "train/bill/ledger.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "parallel/process.h"
#include "runtime/durable.h"
#include "runtime/file.h"
#include "runtime/json.h"
#include "runtime/log.h"
#include "train/bill/hardware.h"
#include "train/bill/heartbeat.h"

/* a rank's GPU, as other ranks know it; "" where it computes on the CPU */
typedef struct {
    process process;
    char pci[32];
} gpu_place;

static bool same_gpu(const gpu_place *a, const gpu_place *b) {
    return a->pci[0] && strcmp(a->pci, b->pci) == 0 && process_same_host(&a->process, &b->process);
}

static status find_shared_gpu(ledger *l, const device *dev) {
    const comm *world = l->world;
    gpu_place mine = {.process = process_self()}, *all = calloc((size_t)world->ranks, sizeof *all);
    if (!all) FAIL(MEM, "%d ranks", world->ranks);
    snprintf(mine.pci, sizeof mine.pci, "%s", device_pci(dev));
    status_code st = comm_allgather_host(l->world, all, &mine, sizeof mine);
    for (int r = 0; r < world->rank; r++) l->gpu_counted |= same_gpu(&all[r], &mine);
    free(all);
    return st;
}

static status open_energy(ledger *l, const device *dev) {
    TRY(energy_open(&l->energy, dev, l->watts, dev->kind == DEVICE_CPU ? l->world->local_rank == 0 : !l->gpu_counted));
    energy_kind mine = energy_kind_of(l->energy);
    double of_all[] = {mine == ENERGY_TDP ? l->watts : 0, mine == ENERGY_TDP, mine == ENERGY_NVML_POWER,
                       mine == ENERGY_UNKNOWN};
    TRY(comm_sum_f64(l->world, of_all, 4));
    l->watts = of_all[0];
    l->estimating = (int)of_all[1];
    l->energy_of = of_all[3] > 0   ? ENERGY_UNKNOWN
                   : of_all[1] > 0 ? ENERGY_TDP
                   : of_all[2] > 0 ? ENERGY_NVML_POWER
                                   : mine;
    return STATUS_OK;
}

status ledger_open(ledger *l, const device *dev, comm *world, double price, double watts) {
    *l = (ledger){.time = l->time, .usd_per_hour = price, .world = world};
    const hardware *h = hardware_find(dev->kind, dev->name);
    TRY(find_shared_gpu(l, dev));
    int gpus = !l->gpu_counted;
    double devices = dev->kind == DEVICE_CPU ? dev->cpus : gpus; /* the table has CPUs by hardware thread */
    if (!isnan(price)) {
        l->usd_per_hour = price * gpus;
        snprintf(l->price_source, sizeof l->price_source, "--price");
    } else if (h && h->usd_per_hour > 0) {
        l->usd_per_hour = h->usd_per_hour * devices;
        snprintf(l->price_source, sizeof l->price_source, "%s%s", h->price_source,
                 dev->kind != DEVICE_CPU    ? ""
                 : dev->cpus < dev->threads ? ", times the CPU quota"
                                            : ", times the threads used");
    }
    l->watts = watts * gpus;
    snprintf(l->watts_source, sizeof l->watts_source, watts > 0 ? "--tdp-watts" : "not known; --tdp-watts gives it");
    if (watts <= 0 && h) {
        l->watts = h->tdp_watts * devices;
        snprintf(l->watts_source, sizeof l->watts_source, "%s", h->tdp_source);
    }
    TRY(comm_sum_f64(world, &l->usd_per_hour, 1));
    return open_energy(l, dev);
}

void ledger_close(ledger *l) {
    energy_close(l->energy);
    l->energy = NULL;
}

ledger_part ledger_mine(ledger *l) {
    meter_settle(&l->time);
    ledger_part mine = l->before;
    memcpy(mine.booked_ns, l->time.booked_ns, sizeof mine.booked_ns);
    mine.energy_j = ledger_energy_now_j(l);
    energy_log(l->energy);
    return mine;
}

static double usd_of(const ledger *l, uint64_t ns) { return l->usd_per_hour * (double)ns * 1e-9 / 3600; }

void ledger_sum(ledger *l, const ledger_part *parts, size_t stride) {
    u128 booked[BOOKINGS] = {0}; /* 64 bits wrap after 13 days of 16,384 ranks */
    uint64_t before[BOOKINGS] = {0};
    double before_usd[BOOKINGS] = {0};
    l->energy_j = 0;
    for (int r = 0; r < l->world->ranks; r++) {
        const ledger_part *p = (const ledger_part *)((const char *)parts + (size_t)r * stride);
        for (int b = 0; b < BOOKINGS; b++) {
            booked[b] += p->booked_ns[b];
            before[b] += p->before_ns[b];
            before_usd[b] += p->before_usd[b];
        }
        l->energy_j += p->energy_j + p->energy_before_j;
    }
    for (int b = 0; b < BOOKINGS; b++) {
        uint64_t mean = (uint64_t)(booked[b] / (u128)l->world->ranks);
        l->booked_ns[b] = before[b] + mean;
        l->usd[b] = before_usd[b] + usd_of(l, mean);
    }
}

static uint64_t wall_ns(const ledger *l) {
    uint64_t all = 0;
    for (int b = 0; b < BOOKINGS; b++) all += l->booked_ns[b];
    return all;
}

double ledger_wall_s(const ledger *l) { return (double)wall_ns(l) * 1e-9; }

double ledger_usd(const ledger *l) {
    double all = 0;
    for (int b = 0; b < BOOKINGS; b++) all += l->usd[b];
    return all;
}

const char *ledger_energy_source(const ledger *l) { return energy_source(l->energy_of); }

double ledger_energy_now_j(ledger *l) { return energy_joules(l->energy); }

static path_text ledger_path(const char *run) {
    path_text p;
    snprintf(p.text, sizeof p.text, "%.4000s/ledger.json", run);
    return p;
}

static status bookings_json(cJSON *o, const ledger *l) {
    cJSON *seconds = cJSON_AddObjectToObject(o, "bookings"), *exact = cJSON_AddObjectToObject(o, "booked_ns"),
          *money = cJSON_AddObjectToObject(o, "usd_by_booking");
    if (!seconds || !exact || !money) FAIL(MEM, "ledger.json");
    for (int b = 0; b < BOOKINGS; b++) {
        const char *key = meter_booking_key((booking)b);
        TRY(json_add_number_or_null(seconds, key, (double)l->booked_ns[b] * 1e-9));
        TRY(json_add_u64(exact, key, l->booked_ns[b]));
        TRY(json_add_number_or_null(money, key, l->usd[b]));
    }
    return STATUS_OK;
}

status ledger_write(const ledger *l, const char *run, const progress *p) {
    double usd = ledger_usd(l);
    status_code st = STATUS_OK;
    char *text = NULL;
    cJSON *o = cJSON_CreateObject();
    if (!o) FAIL(MEM, "%s/ledger.json", run);
    TRY_DONE(json_add_u64(o, "step", p->step));
    TRY_DONE(json_add_u64(o, "tokens", p->tokens));
    TRY_DONE(json_add_u64(o, "ranks", (uint64_t)l->world->ranks));
    TRY_DONE(json_add_number_or_null(o, "wall_s", ledger_wall_s(l)));
    TRY_DONE(json_add_number_or_null(o, "energy_j", l->energy_j));
    TRY_DONE(json_add_string(o, "energy_source", ledger_energy_source(l)));
    TRY_DONE(json_add_number_or_null(o, "usd", usd));
    TRY_DONE(json_add_number_or_null(o, "usd_per_mtok", p->tokens ? usd / (double)p->tokens * 1e6 : NAN));
    TRY_DONE(json_add_number_or_null(o, "price_usd_per_hour", l->usd_per_hour));
    TRY_DONE(json_add_string(o, "price_source", l->price_source));
    TRY_DONE(bookings_json(o, l));
    TRY_DONE(json_print(&text, o, JSON_INDENTED));
    st = durable_write_file(ledger_path(run).text, text, strlen(text));
done:
    free(text);
    cJSON_Delete(o);
    return st;
}

/* what ledger.json has of p, where it is of the same step */
static status read_ledger(progress *p, const char *path) {
    cJSON *o;
    TRY(json_read_file(&o, path));
    status_code st = STATUS_OK;
    uint64_t written_step;
    TRY_DONE(json_get_u64(o, path, "step", &written_step));
    if (written_step != p->step) goto done;
    st = spent_read(p, o, path);
done:
    cJSON_Delete(o);
    return st;
}

/* A damaged one changes nothing: the checkpoint and metrics.jsonl know all but what came after the checkpoint was written. */
static status read_written(progress *p, const char *path) {
    progress written = *p;
    if (access(path, F_OK) != 0) return STATUS_OK;
    status_code st = read_ledger(&written, path);
    if (st != STATUS_DATA) TRY(st);
    if (st) log_line("%s; the bill goes on from the checkpoint and metrics.jsonl", status_message());
    else *p = written;
    return STATUS_OK;
}

/* booked_ns, usd and energy_j of *then go on in l; what of it is not known in money is priced as now */
static void take_over(ledger *l, const progress *then, const metrics_last *last, uint64_t stopped_ns) {
    ledger_part *b = &l->before;
    uint64_t booked = 0, lived = (uint64_t)(last->wall_s * 1e9);
    double usd = 0;
    for (int i = 0; i < BOOKINGS; i++) {
        b->before_ns[i] = then->booked_ns[i];
        b->before_usd[i] = isnan(then->usd[i]) ? usd_of(l, then->booked_ns[i]) : then->usd[i];
        booked += then->booked_ns[i];
        usd += then->usd[i];
    }
    uint64_t later = lived > booked ? lived - booked : 0, had = then->booked_ns[BOOK_STOPPED];
    uint64_t stopped = stopped_ns > had ? stopped_ns - had : 0;
    if (stopped > later) stopped = later;
    double cost = isnan(usd) || isnan(last->usd) ? usd_of(l, later) : fmax(last->usd - usd, 0);
    double of_stopped = later ? cost * (double)stopped / (double)later : 0;
    b->before_ns[BOOK_LOST] += later - stopped;
    b->before_usd[BOOK_LOST] += cost - of_stopped;
    b->before_ns[BOOK_STOPPED] += stopped;
    b->before_usd[BOOK_STOPPED] += of_stopped;
    bool known = !isnan(last->energy_j) && !isnan(then->energy_j);
    b->energy_before_j = known ? fmax(last->energy_j, then->energy_j) : NAN;
}

status ledger_resume(ledger *l, const char *run, const progress *p, const metrics_last *last, uint64_t stopped_ns) {
    progress then = *p;
    TRY(read_written(&then, ledger_path(run).text));
    take_over(l, &then, last, stopped_ns);
    return STATUS_OK;
}

void ledger_beat(const ledger *l, double own_joules) {
    heartbeat_totals now = {.wall_ns = wall_ns(l),
                            .stopped_ns = l->booked_ns[BOOK_STOPPED],
                            .usd = ledger_usd(l),
                            .usd_per_hour = l->usd_per_hour,
                            .energy_j = l->energy_j};
    heartbeat_tell(&now, own_joules, l->energy);
}
