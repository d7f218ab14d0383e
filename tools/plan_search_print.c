#include <math.h>
#include <stdlib.h>

#include "runtime/durable.h"
#include "runtime/json.h"
#include "runtime/text.h"
#include "tools/command.h"
#include "tools/plan_search.h"

static short_text recompute_text(const step_plan *s) {
    const recompute_policy *r = &s->s.recompute;
    short_text t = {"none"};
    if (r->kind == RECOMPUTE_SELECTIVE) snprintf(t.text, sizeof t.text, "selective");
    else if (r->kind == RECOMPUTE_BLOCK && r->blocks >= s->c.L) snprintf(t.text, sizeof t.text, "block");
    else if (r->kind == RECOMPUTE_BLOCK) snprintf(t.text, sizeof t.text, "block:%ld", r->blocks);
    return t;
}

plan_search_text plan_search_describe(const step_plan *s) {
    plan_search_text t;
    char replicas[40] = "";
    if (s->o.shard.replicas > 1) snprintf(replicas, sizeof replicas, " --replicas %d", s->o.shard.replicas);
    snprintf(t.text, sizeof t.text, "--batch %ld --accumulate %ld --recompute %s --shard %s%s --moments %s", s->s.B,
             s->micro_batches, recompute_text(s).text, fsdp_stage_name(s->o.shard.stage), replicas,
             dtype_name(s->o.moments));
    return t;
}

double plan_search_cost(const plan_search_point *p, const plan_request *base) {
    double per_mtok = p->device_s_per_token * 1e6;
    if (isnan(base->usd_per_device_hour)) return per_mtok;
    return isnan(p->p.usd.total) ? per_mtok / 3600 * base->usd_per_device_hour : p->p.usd.total;
}

const char *plan_search_cost_unit(const plan_search_result *r, const plan_request *base) {
    if (isnan(base->usd_per_device_hour)) return "device-s/Mtok";
    return isnan(r->frontier[0].p.usd.total) ? "USD/Mtok" : "USD";
}

/* --- for people --- */

static const char *fits_text(const plan_search_point *p, const plan_request *base) {
    if (isnan(base->memory_limit)) return "-";
    return plan_search_fits(base, p->p.memory_bytes) ? "yes" : "no";
}

static void print_row(const plan_search_result *r, int i, const plan_request *base) {
    const plan_search_point *p = &r->frontier[i];
    printf("%c %10s %-4s %13.6g", i == r->cheapest ? '*' : ' ', text_bytes(p->p.memory_bytes).text, fits_text(p, base),
           plan_search_cost(p, base));
    printf(" %10.1f %12.1f%%", 1e3 * p->p.step_s.total, 100 * p->p.step_s.communication / p->p.step_s.total);
    if (isnan(p->p.mfu[PLAN_EXACT])) printf(" %6s", "-");
    else printf(" %5.1f%%", 100 * p->p.mfu[PLAN_EXACT]);
    printf("  %s\n", plan_search_describe(&p->step).text);
}

/* Rows that are hardly cheaper than the row before are left out; the last that fits and the very last are always shown. */
static void print_table(const plan_search_result *r, const plan_request *base) {
    const double gain = 0.995;
    double shown = INFINITY;
    int left_out = 0;
    printf("  %10s %-4s %13s %10s %13s %6s  configuration\n", "memory", "fits", plan_search_cost_unit(r, base),
           "step ms", "communication", "MFU");
    for (int i = 0; i < r->count; i++) {
        double cost = r->frontier[i].device_s_per_token;
        if (cost < gain * shown || i == r->cheapest || i + 1 == r->count) print_row(r, i, base), shown = cost;
        else left_out++;
    }
    if (left_out)
        printf("rows less than %.1f%% cheaper than the row above are left out (%d); --json has all\n", 100 * (1 - gain),
               left_out);
}

static void print_text(const plan_search_result *r, const plan_request *base) {
    const step_plan *s = &base->step;
    i64 sequences = s->s.B * s->micro_batches;
    printf(
        "search, not run: %s on %d device%s; every configuration takes the same %s tokens in a step, %ld sequence%s of "
        "%ld on each device\n",
        s->c.name, s->o.shard.ranks, s->o.shard.ranks == 1 ? "" : "s",
        text_count((double)sequences * (double)s->s.T * s->o.shard.ranks).text, sequences, sequences == 1 ? "" : "s",
        s->s.T);
    printf("%ld configurations", r->configurations);
    if (isnan(base->memory_limit)) printf(", the memory of a device is not known");
    else printf(", %ld fit into %s", r->fitting, text_bytes(base->memory_limit).text);
    printf("; %ld simulated, the others cannot be cheaper than one of them that takes less memory\n", r->simulated);
    if (base->from)
        printf("assumed: the speeds that the run of --from measured, of each kind of work where it did\n\n");
    else
        printf(
            "assumed: GEMMs at %.4g TFLOP/s, whatever the micro-batch; norms and activations take no time, recomputed "
            "or not\n\n",
            r->gemm_flops_per_s * 1e-12);
    print_table(r, base);
    if (r->cheapest >= 0)
        printf("\n* the cheapest%s: %s\n", isnan(base->memory_limit) ? "" : " that fits",
               plan_search_describe(&r->frontier[r->cheapest].step).text);
    else
        printf("\nnone fits: the smallest takes %s, a device has %s; expected more devices, or a smaller model or "
               "--seq-len\n",
               text_bytes(r->frontier[0].p.memory_bytes).text, text_bytes(base->memory_limit).text);
}

/* --- for programs --- */

static status fill_point(json_t *o, const plan_search_point *p, const plan_request *base) {
    const step_plan *s = &p->step;
    if (!o) FAIL(MEM, "no memory for the result");
    TRY(json_add_string(o, "options", plan_search_describe(s).text));
    TRY(json_add_i64(o, "batch", s->s.B));
    TRY(json_add_i64(o, "accumulate", s->micro_batches));
    TRY(json_add_string(o, "recompute", recompute_text(s).text));
    TRY(json_add_string(o, "shard", fsdp_stage_name(s->o.shard.stage)));
    TRY(json_add_i64(o, "replicas", s->o.shard.replicas > 1 ? s->o.shard.replicas : 1));
    TRY(json_add_string(o, "moments", dtype_name(s->o.moments)));
    if (isnan(base->memory_limit)) TRY(json_add_number_or_null(o, "fits", NAN));
    else TRY(json_add_bool(o, "fits", plan_search_fits(base, p->p.memory_bytes)));
    TRY(json_add_double(o, "memory_bytes", p->p.memory_bytes));
    TRY(json_add_double(o, "step_s", p->p.step_s.total));
    TRY(json_add_number_or_null(o, "communication_s", p->p.step_s.communication));
    TRY(json_add_double(o, "recompute_s", p->p.step_s.recompute));
    TRY(json_add_double(o, "tokens_per_s", p->p.tokens_per_s));
    TRY(json_add_number_or_null(o, "mfu", p->p.mfu[PLAN_EXACT]));
    TRY(json_add_double(o, "device_s_per_mtok", p->device_s_per_token * 1e6));
    TRY(json_add_number_or_null(o, "usd_per_mtok", p->device_s_per_token * 1e6 / 3600 * base->usd_per_device_hour));
    return json_add_number_or_null(o, "usd", p->p.usd.total);
}

static status fill_result(json_t *o, const plan_search_result *r, const plan_request *base) {
    json_t *list = json_add_array(o, "frontier");
    if (!list) FAIL(MEM, "no memory for the result");
    TRY(json_add_string(o, "model", base->step.c.name));
    TRY(json_add_i64(o, "devices", base->step.o.shard.ranks));
    TRY(json_add_number_or_null(o, "memory_limit_bytes", base->memory_limit));
    TRY(json_add_number_or_null(o, "usd_per_device_hour", base->usd_per_device_hour));
    TRY(json_add_number_or_null(o, "gemm_flops_per_s", r->gemm_flops_per_s));
    TRY(json_add_i64(o, "configurations", r->configurations));
    TRY(json_add_number_or_null(o, "fitting", isnan(base->memory_limit) ? NAN : (double)r->fitting));
    TRY(json_add_i64(o, "simulated", r->simulated));
    for (int i = 0; i < r->count; i++) TRY(fill_point(json_append_object(list), &r->frontier[i], base));
    if (r->cheapest >= 0) return fill_point(json_add_object(o, "cheapest"), &r->frontier[r->cheapest], base);
    if (json_object_set_new(o, "cheapest", json_null())) FAIL(MEM, "no memory for the result");
    return STATUS_OK;
}

static status print_json(const plan_search_result *r, const plan_request *base) {
    json_t *o = json_object();
    return command_print_json(o, fill_result(o, r, base));
}

/* --- the mode of the command --- */

/* bf16 moments always take less memory and less time, so that the cheapest has them: what is the cheapest with fp32 moments? */
static status print_fp32_moments(const plan_search_result *r, const plan_request *base, plan_search_kept kept) {
    plan_search_result all;
    if (kept.moments || base->step.o.moments != F32) return STATUS_OK;
    if (r->cheapest < 0 || r->frontier[r->cheapest].step.o.moments == F32) return STATUS_OK;
    kept.moments = true;
    status_code st = plan_search_run(&all, base, kept);
    if (!st && all.cheapest >= 0) {
        const plan_search_point *p = &all.frontier[all.cheapest];
        double more = p->device_s_per_token / r->frontier[r->cheapest].device_s_per_token - 1;
        printf("  with fp32 moments %.2f%% more: %s\n", 100 * more, plan_search_describe(&p->step).text);
    } else if (!st) printf("  with fp32 moments none fits\n");
    plan_search_free(&all);
    return st;
}

static status write_svg(const char *path, const plan_search_result *r, const plan_request *base) {
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    if (!out) FAIL(MEM, "no memory for %s", path);
    plan_search_svg(out, r, base);
    status_code st = fclose(out) ? ERROR(MEM, "no memory for %s", path) : durable_write_file(path, text, bytes);
    free(text);
    return st;
}

status plan_search(const plan_request *base, const plan_search_options *o) {
    plan_search_result r;
    status_code st = plan_search_run(&r, base, o->kept);
    if (!st && o->svg) st = write_svg(o->svg, &r, base);
    if (!st && o->json) st = print_json(&r, base);
    else if (!st) print_text(&r, base), st = print_fp32_moments(&r, base, o->kept);
    plan_search_free(&r);
    return st;
}
