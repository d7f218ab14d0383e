#include "tools/plan_print.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "runtime/text.h"

#define NOT_KNOWN "not known"

static short_text usd(double x) { return isnan(x) ? (short_text){NOT_KNOWN} : text_usd(x); }
static short_text seconds(double x) { return isnan(x) ? (short_text){NOT_KNOWN} : text_seconds(x); }

/* %.Pg, or "not known" */
static short_text figure(double x, int digits, const char *of) {
    short_text t = {NOT_KNOWN};
    if (!isnan(x)) snprintf(t.text, sizeof t.text, "%.*g%s", digits, x, of);
    return t;
}

static short_text percent(double x) {
    short_text t = {NOT_KNOWN};
    if (!isnan(x)) snprintf(t.text, sizeof t.text, "%.1f%%", 100 * x);
    return t;
}

static short_text kwh(double x) {
    short_text t = {NOT_KNOWN};
    if (!isnan(x))
        snprintf(t.text, sizeof t.text,
                 x < 1000  ? "%.4g kWh"
                 : x < 1e6 ? "%.4g MWh"
                           : "%.4g GWh",
                 x < 1000  ? x
                 : x < 1e6 ? x / 1e3
                           : x / 1e6);
    return t;
}

static short_text co2(double kg) {
    short_text t = {NOT_KNOWN};
    if (!isnan(kg))
        snprintf(t.text, sizeof t.text, kg < 1000 ? "%.4g kg CO2" : "%.4g t CO2", kg < 1000 ? kg : kg / 1000);
    return t;
}

/* "85.02 days"; below a day "3h 12m" */
static short_text days(double s) {
    short_text t = {NOT_KNOWN};
    if (s < 86400) return text_seconds(s);
    if (!isnan(s)) snprintf(t.text, sizeof t.text, "%.4g days", s / 86400);
    return t;
}

/* --- one plan in full --- */

static void print_flops(const plan *p) {
    static const char *const what[] = {[PLAN_EXACT] = "matmul weights only, causal attention",
                                       [PLAN_PALM] = "6N + 12 L q T, N all parameters (PaLM)",
                                       [PLAN_6N] = "6N"};
    static const char *const names[] = {[PLAN_EXACT] = "exact", [PLAN_PALM] = "palm", [PLAN_6N] = "6n"};
    printf("\nFLOPs             a token      the run    MFU\n");
    for (int i = 0; i < PLAN_CONVENTIONS; i++)
        printf("  %-12s %10s %12s %9s   %s\n", names[i], text_count(p->flops_per_token[i]).text,
               figure(p->flops[i], 4, "").text, percent(p->mfu[i]).text, what[i]);
    printf("  %-12s %10s %12s %9s   with recomputation, that of attention in its backward too (HFU)\n", "executed",
           text_count(p->executed_per_token).text,
           figure(p->flops[PLAN_EXACT] / p->flops_per_token[PLAN_EXACT] * p->executed_per_token, 4, "").text,
           percent(p->hfu).text);
}

static void print_memory(const plan *p, const plan_request *r) {
    int largest = 0;
    printf("\nmemory of a device\n");
    for (int i = 0; i < MEM_CATEGORIES; i++) {
        if (p->step.memory[i] > p->step.memory[largest]) largest = i;
        if (p->step.memory[i])
            printf("  %-14s %12s  %5.1f%%\n", arena_category_name((mem_category)i),
                   text_bytes((double)p->step.memory[i]).text, 100 * (double)p->step.memory[i] / p->memory_bytes);
    }
    printf("  %-14s %12s  taken before the first step and held to the end%s; most of it is %s\n", "total",
           text_bytes(p->memory_bytes).text,
           p->step.memory[MEM_CHECKPOINT] ? ", but for the checkpoint's, while one is written" : "",
           arena_category_name((mem_category)largest));
    if (isnan(p->spare_bytes)) printf("  %-14s %12s\n", "device", NOT_KNOWN);
    else if (p->spare_bytes >= 0)
        printf("  %-14s %12s  fits: %s are left\n", "device", text_bytes(r->memory_limit).text,
               text_bytes(p->spare_bytes).text);
    else
        printf("  %-14s %12s  does not fit: exceeds the memory of a device by %s\n", "device",
               text_bytes(r->memory_limit).text, text_bytes(-p->spare_bytes).text);
}

/* dollars in the decimals of their total, each rounded so that what is printed adds up to it */
typedef struct {
    double sum, unit;
    int decimals;
} dollars;

static short_text next_usd(dollars *d, double part) {
    short_text t = {NOT_KNOWN};
    double before = nearbyint(d->sum / d->unit);
    if (isnan(part)) return t;
    d->sum += part;
    snprintf(t.text, sizeof t.text, "$%.*f", d->decimals, (nearbyint(d->sum / d->unit) - before) * d->unit);
    return t;
}

static void print_part(const char *name, double s, double total, const char *usd_of_run) {
    short_text share = percent(s / total), ms = figure(s * 1e3, 5, " ms");
    printf("  %-14s %12s %12s", name, ms.text, isnan(s) ? "" : share.text);
    if (usd_of_run) printf(" %14s", usd_of_run);
    putchar('\n');
}

static void print_time(const plan *p, const plan_request *r) {
    bool run = r->tokens > 0, cents = p->usd.total >= 1;
    const plan_parts *s = &p->step_s, *u = &p->usd;
    dollars d = {.unit = cents ? 0.01 : 0.0001, .decimals = cents ? 2 : 4};
    printf("\n%-16s %12s %12s %14s\n", "time and money", "a step", "", run ? "the run" : "");
    print_part("useful", s->useful, s->total, run ? next_usd(&d, u->useful).text : NULL);
    print_part("recompute", s->recompute, s->total, run ? next_usd(&d, u->recompute).text : NULL);
    print_part("communication", s->communication, s->total, run ? next_usd(&d, u->communication).text : NULL);
    if (run)
        printf("  %-14s %12s %12s %14s%s\n", "failures", "", "", next_usd(&d, u->failures).text,
               isnan(p->goodput) ? " (without --mtbf-hours), left out" : "");
    d.sum = 0;
    print_part("total", s->total, s->total, run ? next_usd(&d, u->total).text : NULL);
    printf("  %s tokens/s, %s per million tokens\n", text_count(p->tokens_per_s).text, usd(p->usd_per_mtok).text);
    if (isnan(p->step_s.communication))
        printf(
            "  The assumed links or memory are slower than the given rate, so the parts of the step are not known.\n");
}

static void print_run(const plan *p, const plan_request *r) {
    printf("\nrun of %s tokens\n", text_count((double)r->tokens).text);
    printf("  %-14s %s of %s tokens\n", "steps", text_count(p->steps).text,
           text_count((double)p->tokens_per_step).text);
    printf("  %-14s %s, %s device-hours\n", "time", days(p->wall_s).text, text_count(p->device_hours).text);
    if (!isnan(p->goodput))
        printf("  %-14s %s goodput%s; a failure every %s; the best interval between checkpoints is %s\n", "failures",
               percent(p->goodput).text, p->goodput < 0.75 ? " (roughly: the formula is for rare failures)" : "",
               days(r->device_mtbf_hours * 3600 / r->step.o.shard.ranks).text, seconds(p->checkpoint_every_s).text);
    printf("  %-14s %s", "energy", kwh(p->kwh).text);
    if (!isnan(p->kwh)) {
        printf(": devices %s", kwh(p->kwh_devices).text);
        if (isnan(p->kwh_host)) printf("; the hosts are left out (without --host-watts)");
        else printf(", hosts %s", kwh(p->kwh_host).text);
        if (isnan(p->kwh_overhead)) printf("; cooling is left out (without --pue)");
        else printf(", cooling and conversion %s", kwh(p->kwh_overhead).text);
    }
    printf("\n  %-14s %s%s\n", "carbon", co2(p->kg_co2).text, isnan(r->kg_co2_per_kwh) ? " (without --grid)" : "");
}

static void print_one(const plan *p, const plan_request *r) {
    print_flops(p);
    print_memory(p, r);
    print_time(p, r);
    if (r->tokens) print_run(p, r);
}

/* --- several as tables --- */

static void print_steps(const plan_list *l) {
    printf("\n%7s %-9s %9s %9s %19s %10s %10s %6s %9s\n", "devices", "shard", "step ms", "compute", "exposed",
           "sent/dev", "tokens/s", "MFU", "USD/Mtok");
    for (int i = 0; i < l->count; i++) {
        const plan *p = &l->plans[i];
        const shard_options *o = &l->requests[i].step.o.shard;
        const plan_parts *s = &p->step_s;
        printf("%7d %-9s %9.1f", o->ranks, fsdp_stage_name(o->stage), s->total * 1e3);
        if (isnan(s->communication)) printf(" %9s %10s %8s", "-", "-", "");
        else
            printf(" %9.1f %10.1f (%5.1f%%)", (s->total - s->communication) * 1e3, s->communication * 1e3,
                   100 * s->communication / s->total);
        printf(" %10s %10s", text_bytes((double)p->step.bytes_sent).text, text_count(p->tokens_per_s).text);
        if (isnan(p->mfu[PLAN_EXACT])) printf(" %6s", "-");
        else printf(" %5.1f%%", 100 * p->mfu[PLAN_EXACT]);
        if (isnan(p->usd_per_mtok)) printf(" %9s\n", "-");
        else printf(" %9.4f\n", p->usd_per_mtok);
    }
}

static void print_memories(const plan_list *l, const plan_setting *s) {
    bool too_large = false;
    printf("\n%7s %-9s", "devices", "bytes/dev");
    for (int i = 0; i < MEM_CATEGORIES; i++) printf(" %11s", arena_category_name((mem_category)i));
    printf(" %11s\n", "total");
    for (int i = 0; i < l->count; i++) {
        const plan *p = &l->plans[i];
        const shard_options *o = &l->requests[i].step.o.shard;
        printf("%7d %-9s", o->ranks, fsdp_stage_name(o->stage));
        for (int k = 0; k < MEM_CATEGORIES; k++) printf(" %11s", text_bytes((double)p->step.memory[k]).text);
        printf(" %11s%s\n", text_bytes(p->memory_bytes).text, p->spare_bytes < 0 ? " *" : "");
        too_large |= p->spare_bytes < 0;
    }
    if (too_large) printf("* exceeds the memory of a device: %s\n", text_bytes(s->limit.value).text);
}

static void print_runs(const plan_list *l) {
    printf("\n%7s %-9s %14s %12s %14s %14s %14s\n", "devices", "shard", "time", "dev-hours", "USD", "energy", "carbon");
    for (int i = 0; i < l->count; i++) {
        const plan *p = &l->plans[i];
        const shard_options *o = &l->requests[i].step.o.shard;
        printf("%7d %-9s %14s %12s %14s %14s %14s\n", o->ranks, fsdp_stage_name(o->stage), days(p->wall_s).text,
               text_count(p->device_hours).text, usd(p->usd.total).text, kwh(p->kwh).text, co2(p->kg_co2).text);
    }
}

/* --- what is assumed --- */

static void print_link(const char *what, const plan_link *l, network_link in_use) {
    if (isnan(in_use.bandwidth)) return;
    printf("  %-14s %.1f GB/s per device and direction", what, in_use.bandwidth * 1e-9);
    if (l->own_bandwidth) printf(" (as given)");
    else
        printf(": %s, %.0f GB/s (%s) x %.2f (%s)", l->link.name, l->link.bytes_per_s * 1e-9, l->link.source,
               l->link.reached, l->link.reached_source);
    printf("; %.1f us per hop (%s)\n", in_use.latency * 1e6, l->own_latency ? "as given" : l->link.latency_source);
}

static void print_fact(const char *what, const plan_fact *f, double scale, const char *of) {
    if (f->source) printf("  %-14s %.5g %s (%s)\n", what, f->value * scale, of, f->source);
    else printf("  %-14s %s\n", what, NOT_KNOWN);
}

static void print_owned(const money_owned *m) {
    printf("  %-14s capital %s, %.3g of it left after %.3g years, interest %.3g, %s an hour for operation, in use for "
           "%.3g of "
           "the hours\n",
           "owned", text_usd(m->capex_usd).text, m->salvage, m->years, m->rate, text_usd(m->opex_usd_per_hour).text,
           m->utilisation);
}

void plan_print_assumed(const plan_setting *s) {
    const plan_request *r = &s->base;
    printf("\nassumed for %s\n", s->device);
    print_fact("peak, dense", &s->peak, 1e-12, "TFLOP/s");
    if (s->from)
        printf("  %-14s %s, median of %ld steps: %.5g ms; %s\n", "speed", s->from_run, s->from->steps,
               s->from->step_s * 1e3, r->speed);
    else if (!isnan(s->efficiency))
        printf("  %-14s %.4g: the fraction of the peak that is assumed to be reached (--efficiency)\n", "GEMM",
               s->efficiency);
    else if (!isnan(r->mfu)) printf("  %-14s MFU %.4g, exact-causal (as given)\n", "speed", r->mfu);
    else printf("  %-14s %s tokens/s of all devices (as given)\n", "speed", text_count(r->tokens_per_s).text);
    print_fact("memory", &s->limit, 0x1p-30, "GiB");
    if (s->bandwidth.source) print_fact("", &s->bandwidth, 1e-9, "GB/s");
    print_link("in a node", &s->inside, r->m.net.inside);
    print_link("between nodes", &s->between, r->m.net.between);
    print_fact("price", &s->price, 1, "USD per device-hour");
    if (!isnan(s->terms.owned.capex_usd)) print_owned(&s->terms.owned);
    print_fact("power", &s->watts, 1, "W per device, all of the time");
    if (!isnan(r->host_watts)) printf("  %-14s %.4g W per node (as given)\n", "host", r->host_watts);
    if (!isnan(r->pue)) printf("  %-14s %.4g (as given)\n", "PUE", r->pue);
    if (!isnan(r->kg_co2_per_kwh)) {
        printf("  %-14s %.4g kg CO2 per kWh: %s", "grid", r->kg_co2_per_kwh, s->terms.grid.country);
        if (s->terms.grid.year) printf(" %d (%s)", s->terms.grid.year, s->terms.grid.source);
        putchar('\n');
    }
    if (!isnan(r->device_mtbf_hours))
        printf(
            "  %-14s one device every %.10g hours (as given); a checkpoint stops the run for %.4g s, a restart takes "
            "%.4g s\n",
            "failures", r->device_mtbf_hours, r->checkpoint_s, r->restart_s);
}

static void print_head(const plan_list *l, const plan_setting *s, const plan_options *v) {
    const plan_request *r = &l->requests[0];
    const model_config *c = &r->step.c;
    printf("planned, not run: %s, %s parameters, %s, B=%ld T=%ld", c->name,
           text_count((double)l->plans[0].parameters).text, dtype_name(r->step.o.t), r->step.s.B, r->step.s.T);
    if (r->step.micro_batches > 1) printf(" x %ld", r->step.micro_batches);
    printf(" per device, recompute %s", v->recompute);
    if (l->count == 1)
        printf(", %d x %s, shard %s", r->step.o.shard.ranks, s->device, fsdp_stage_name(r->step.o.shard.stage));
    if (r->step.o.shard.replicas > 1) printf(", %d replicas", r->step.o.shard.replicas);
    printf("%s\n", v->overlap ? "" : ", no overlap");
    printf("shape%s: %ld layers, %ld channels, %ld heads", v->parameters ? ", assumed, of the Llama family" : "", c->L,
           c->C, c->H);
    if (c->K != c->H) printf(" (%ld for keys and values)", c->K);
    printf(" of %ld, feed-forward %ld, vocabulary %ld%s", c->D, c->F, c->V, c->tied ? ", tied" : "");
    if (c->window) printf(", window %ld", c->window);
    printf(", context %ld\n", c->context);
}

void plan_print(const plan_list *l, const plan_setting *s, const plan_options *v) {
    print_head(l, s, v);
    if (l->count == 1) {
        print_one(l->plans, l->requests);
    } else {
        print_steps(l);
        print_memories(l, s);
        if (l->requests[0].tokens) print_runs(l);
    }
    plan_print_assumed(s);
}
