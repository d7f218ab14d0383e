#include "train/bill/ledger.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "runtime/json.h"
#include "runtime/log.h"
#include "runtime/path.h"
#include "train/bill/hardware.h"
#include "train/bill/heartbeat.h"

static status open_energy(ledger *l, const device *dev) {
    TRY(energy_open(&l->energy, dev, l->watts,
                    dev->kind == DEVICE_CPU ? l->world->placement->local_rank == 0 : !l->gpu_counted));
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

static double price_of_device(ledger *l, const ledger_terms *terms) {
    bool owned = !isnan(terms->owned.capex_usd);
    if (owned || !isnan(terms->usd_per_hour))
        snprintf(l->price_source, sizeof l->price_source, "%s",
                 !owned                      ? "--price"
                 : isnan(terms->usd_per_kwh) ? "owned, --capex; power is not billed: --kwh-price"
                                             : "owned, --capex; power is billed on top, --kwh-price");
    return owned ? money_owned_usd_per_hour(&terms->owned) : terms->usd_per_hour;
}

/* The power of a host counts once, by its first rank. */
static status open_rates(ledger *l, const ledger_terms *terms) {
    l->grid = terms->grid;
    l->rates = (power_rates){.host_watts = l->world->placement->local_rank == 0 ? terms->host_watts : 0,
                             .pue = terms->pue,
                             .kg_per_kwh = terms->grid.country ? terms->grid.kg_per_kwh : NAN,
                             .usd_per_kwh = terms->usd_per_kwh};
    TRY(comm_sum_f64(l->world, &l->rates.host_watts, 1));
    if (!isnan(terms->usd_per_kwh) && l->energy_of == ENERGY_UNKNOWN)
        FAIL(ARG, "--kwh-price %g: the energy of the devices cannot be read; expected --tdp-watts as well",
             terms->usd_per_kwh);
    return STATUS_OK;
}

status ledger_open(ledger *l, const device *dev, comm *world, const ledger_terms *terms) {
    *l = (ledger){.time = l->time, .world = world};
    double price = price_of_device(l, terms), watts = terms->watts;
    l->usd_per_hour = price;
    const hardware *h = hardware_find(dev->kind, dev->name);
    for (int r = 0; r < world->rank; r++) l->gpu_counted |= placement_same_gpu(world->placement, r, world->rank);
    int gpus = !l->gpu_counted;
    double devices = dev->kind == DEVICE_CPU ? dev->cpus : gpus; /* the table lists a CPU per hardware thread */
    if (!isnan(price)) {
        l->usd_per_hour = price * gpus;
    } else if (h && h->usd_per_hour > 0) {
        l->usd_per_hour = h->usd_per_hour * devices;
        snprintf(l->price_source, sizeof l->price_source, "%s%s", h->price_source,
                 dev->kind != DEVICE_CPU    ? ""
                 : dev->cpus < dev->threads ? "; times the CPU quota"
                                            : "; times the threads used");
    }
    l->watts = watts * gpus;
    snprintf(l->watts_source, sizeof l->watts_source, watts > 0 ? "--tdp-watts" : "unknown; give it with --tdp-watts");
    if (watts <= 0 && h) {
        l->watts = h->tdp_watts * devices;
        snprintf(l->watts_source, sizeof l->watts_source, "%s", h->tdp_source);
    }
    TRY(comm_sum_f64(world, &l->usd_per_hour, 1));
    TRY(open_energy(l, dev));
    return open_rates(l, terms);
}

void ledger_close(ledger *l) {
    energy_close(l->energy);
    l->energy = NULL;
}

ledger_part ledger_mine(ledger *l) {
    meter_settle(&l->time);
    ledger_part mine = {.joules = ledger_energy_now_j(l), .before = l->before};
    memcpy(mine.ns, l->time.booked_ns, sizeof mine.ns);
    energy_log(l->energy);
    return mine;
}

static double usd_of(const ledger *l, uint64_t ns) { return l->usd_per_hour * (double)ns * 1e-9 / 3600; }

void ledger_sum(ledger *l, const ledger_part *parts, size_t stride) {
    u128 ns[BOOKINGS] = {0}; /* 64 bits overflow after 13 days of 16,384 ranks */
    spent *total = &l->total;
    double joules = 0, power[POWER_ENTRIES];
    uint64_t attempt_ns = 0;
    *total = (spent){0};
    for (int r = 0; r < l->world->ranks; r++) {
        const ledger_part *p = (const ledger_part *)((const char *)parts + (size_t)r * stride);
        for (int b = 0; b < BOOKINGS; b++) {
            ns[b] += p->ns[b];
            total->ns[b] += p->before.ns[b];
            total->usd[b] += p->before.usd[b];
        }
        for (int i = 0; i < POWER_ENTRIES; i++) total->power[i] += p->before.power[i];
        joules += p->joules;
        total->joules += p->joules + p->before.joules;
    }
    for (int b = 0; b < BOOKINGS; b++) attempt_ns += (uint64_t)(ns[b] / (u128)l->world->ranks);
    double hours = (double)attempt_ns * 1e-9 / 3600;
    power_entries(power, &l->rates, joules, hours * 3600);
    for (int i = 0; i < POWER_ENTRIES; i++) total->power[i] += power[i];
    l->power_usd_per_hour = isnan(l->rates.usd_per_kwh) || !attempt_ns ? 0 : power[POWER_USD] / hours;
    for (int b = 0; b < BOOKINGS; b++) {
        uint64_t mean = (uint64_t)(ns[b] / (u128)l->world->ranks);
        total->ns[b] += mean;
        total->usd[b] += usd_of(l, mean);
        if (l->power_usd_per_hour) total->usd[b] += l->power_usd_per_hour * (double)mean * 1e-9 / 3600;
    }
}

double ledger_wall_s(const ledger *l) { return (double)spent_total(&l->total).ns * 1e-9; }

double ledger_usd(const ledger *l) { return spent_total(&l->total).usd; }

double ledger_usd_per_hour(const ledger *l) { return l->usd_per_hour + l->power_usd_per_hour; }

const char *ledger_energy_source(const ledger *l) { return energy_source(l->energy_of); }

double ledger_energy_now_j(ledger *l) { return energy_joules(l->energy); }

static path_text ledger_path(const char *run) { return path_join(run, "ledger.json"); }

static status add_seconds(json_t *o, const spent *s) {
    json_t *seconds = json_add_object(o, "bookings");
    if (!seconds) FAIL(MEM, "no memory for ledger.json");
    for (int b = 0; b < BOOKINGS; b++)
        TRY(json_add_number_or_null(seconds, meter_booking_key((booking)b), (double)s->ns[b] * 1e-9));
    return STATUS_OK;
}

static status fill(json_t *o, const ledger *l, uint64_t step, uint64_t tokens) {
    double usd = ledger_usd(l);
    TRY(json_add_u64(o, "step", step));
    TRY(json_add_u64(o, "tokens", tokens));
    TRY(json_add_u64(o, "ranks", (uint64_t)l->world->ranks));
    TRY(json_add_number_or_null(o, "wall_s", ledger_wall_s(l)));
    TRY(json_add_string(o, "energy_source", ledger_energy_source(l)));
    TRY(json_add_number_or_null(o, "usd", usd));
    TRY(json_add_number_or_null(o, "usd_per_mtok", tokens ? usd / (double)tokens * 1e6 : NAN));
    TRY(json_add_number_or_null(o, "price_usd_per_hour", l->usd_per_hour));
    TRY(json_add_string(o, "price_source", l->price_source));
    if (!l->grid.country) TRY(json_add_number_or_null(o, "grid", NAN));
    else TRY(json_add_string(o, "grid", grid_describe(&l->grid).text));
    TRY(add_seconds(o, &l->total));
    return spent_write(o, &l->total);
}

status ledger_write(const ledger *l, const char *run, uint64_t step, uint64_t tokens) {
    json_t *o = json_object();
    if (!o) FAIL(MEM, "no memory for %s/ledger.json", run);
    return json_write_file(o, fill(o, l, step, tokens), ledger_path(run).text);
}

/* *s stays as it is if ledger.json is of another step than the checkpoint. */
static status read_ledger(spent *s, uint64_t step, const char *path) {
    json_t *o;
    TRY(json_read_file(&o, path));
    status_code st = STATUS_OK;
    uint64_t written_step;
    TRY_DONE(json_get_u64(o, path, "step", &written_step));
    if (written_step == step) st = spent_read(s, o, path);
done:
    json_decref(o);
    return st;
}

/* A damaged ledger.json changes nothing: the checkpoint and metrics.jsonl hold all but what came after the checkpoint was
 * written. */
static status read_written(spent *s, uint64_t step, const char *path) {
    spent written = *s;
    if (access(path, F_OK) != 0) return STATUS_OK;
    status_code st = read_ledger(&written, step, path);
    if (st != STATUS_DATA) TRY(st);
    if (st) log_line("%s; the bill continues from the checkpoint and metrics.jsonl", status_message());
    else *s = written;
    return STATUS_OK;
}

/* Time of *then whose cost is unknown is priced as this attempt. */
static void take_over(ledger *l, const spent *then, const spent_totals *last) {
    spent *b = &l->before;
    *b = *then;
    for (int i = 0; i < BOOKINGS; i++)
        if (isnan(b->usd[i])) b->usd[i] = usd_of(l, b->ns[i]);
    spent_totals had = spent_total(then);
    uint64_t later = last->ns > had.ns ? last->ns - had.ns : 0;
    uint64_t stopped = last->stopped_ns > had.stopped_ns ? last->stopped_ns - had.stopped_ns : 0;
    if (stopped > later) stopped = later;
    double cost = isnan(had.usd) || isnan(last->usd) ? usd_of(l, later) : fmax(last->usd - had.usd, 0);
    double of_stopped = later ? cost * (double)stopped / (double)later : 0;
    b->ns[BOOK_LOST] += later - stopped;
    b->usd[BOOK_LOST] += cost - of_stopped;
    b->ns[BOOK_STOPPED] += stopped;
    b->usd[BOOK_STOPPED] += of_stopped;
    bool known = !isnan(last->joules) && !isnan(then->joules);
    b->joules = known ? fmax(last->joules, then->joules) : NAN;
    for (int i = 0; later && i < POWER_ENTRIES; i++) {
        bool told = !isnan(last->power[i]) && !isnan(then->power[i]);
        b->power[i] = told ? fmax(last->power[i], then->power[i]) : NAN;
    }
}

status ledger_resume(ledger *l, const char *run, uint64_t step, const spent *then, const spent_totals *last) {
    spent latest = *then;
    TRY(read_written(&latest, step, ledger_path(run).text));
    take_over(l, &latest, last);
    return STATUS_OK;
}

void ledger_heartbeat(const ledger *l, double own_joules) {
    spent_totals now = spent_total(&l->total);
    heartbeat_update(&now, l->usd_per_hour, &l->rates, own_joules, l->energy);
}
