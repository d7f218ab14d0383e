#include "train/bill/run_plan.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "runtime/json.h"
#include "runtime/path.h"

static const char *const keys[] = {
#define X(code, key) key,
    RUN_PLAN_LIST(X)
#undef X
};

run_plan_figures run_plan_unknown(void) {
    run_plan_figures f;
    for (int i = 0; i < RUN_PLAN_KEYS; i++) f.of[i] = NAN;
    for (int i = 0; i < MEM_CATEGORIES; i++) f.memory[i] = NAN;
    return f;
}

double run_plan_error(const run_plan *p, run_plan_key k) {
    bool of_the_run = k == RUN_PLAN_WALL_S || k == RUN_PLAN_USD || k == RUN_PLAN_ENERGY_J;
    if (of_the_run && !p->whole) return NAN;
    return p->planned.of[k] > 0 ? p->actual.of[k] / p->planned.of[k] - 1 : NAN;
}

void run_plan_cause(run_plan *p, const char *format, ...) {
    va_list arguments;
    if (p->cause_count == RUN_PLAN_CAUSES) return;
    va_start(arguments, format);
    vsnprintf(p->causes[p->cause_count++], RUN_PLAN_CAUSE, format, arguments);
    va_end(arguments);
}

/* --- writing --- */

static status add_figures(json_t *o, const run_plan_figures *f) {
    if (!o) FAIL(MEM, "no memory for plan.json");
    for (int i = 0; i < RUN_PLAN_KEYS; i++) TRY(json_add_number_or_null(o, keys[i], f->of[i]));
    json_t *memory = json_add_object(o, "memory");
    if (!memory) FAIL(MEM, "no memory for plan.json");
    for (int i = 0; i < MEM_CATEGORIES; i++)
        TRY(json_add_number_or_null(memory, arena_category_name((mem_category)i), f->memory[i]));
    return STATUS_OK;
}

static status add_ending(json_t *o, const run_plan *p) {
    TRY(add_figures(json_add_object(o, "actual"), &p->actual));
    json_t *error = json_add_object(o, "error"), *causes = json_add_array(o, "causes");
    if (!error || !causes) FAIL(MEM, "no memory for plan.json");
    for (int i = 0; i < RUN_PLAN_KEYS; i++)
        TRY(json_add_number_or_null(error, keys[i], run_plan_error(p, (run_plan_key)i)));
    for (int i = 0; i < p->cause_count; i++)
        if (json_array_append_new(causes, json_string(p->causes[i]))) FAIL(MEM, "no memory for plan.json");
    return STATUS_OK;
}

static status fill(json_t *o, const run_plan *p) {
    TRY(json_add_string(o, "source", p->source));
    TRY(json_add_i64(o, "steps", p->steps));
    TRY(json_add_bool(o, "provisional", p->provisional));
    TRY(add_figures(o, &p->planned));
    return p->ended ? add_ending(o, p) : STATUS_OK;
}

status run_plan_write(const run_plan *p, const char *run) {
    json_t *o = json_object();
    if (!o) FAIL(MEM, "no memory for %s/plan.json", run);
    return json_write_file(o, fill(o, p), path_join(run, "plan.json").text);
}

/* --- reading --- */

static status read_figure(double *v, const json_t *o, const char *path, const char *key) {
    *v = NAN;
    if (!json_find(o, key)) return STATUS_OK;
    TRY(json_get_double(o, path, key, v));
    if (*v < 0) FAIL(DATA, "%s: \"%s\" is %.6g, expected 0 or more", path, key, *v);
    return STATUS_OK;
}

static status read_figures(run_plan_figures *f, const json_t *o, const char *path) {
    json_t *memory;
    *f = run_plan_unknown();
    for (int i = 0; i < RUN_PLAN_KEYS; i++) TRY(read_figure(&f->of[i], o, path, keys[i]));
    if (!json_find(o, "memory")) return STATUS_OK;
    TRY(json_get_object(o, path, "memory", &memory));
    for (int i = 0; i < MEM_CATEGORIES; i++)
        TRY(read_figure(&f->memory[i], memory, path, arena_category_name((mem_category)i)));
    return STATUS_OK;
}

static status read_object(json_t **o, const char *path) {
    TRY(json_read_file(o, path));
    if (json_is_object(*o)) return STATUS_OK;
    json_decref(*o);
    FAIL(DATA, "%s: expected a JSON object", path);
}

static status parse(run_plan *p, const json_t *o, const char *path) {
    TRY(json_get_string(o, path, "source", p->source, sizeof p->source));
    TRY(json_get_i64(o, path, "steps", &p->steps));
    TRY(json_get_bool(o, path, "provisional", &p->provisional));
    return read_figures(&p->planned, o, path);
}

status run_plan_read(run_plan *p, bool *found, const char *run) {
    path_text path = path_join(run, "plan.json");
    json_t *o;
    *p = (run_plan){.planned = run_plan_unknown(), .actual = run_plan_unknown()};
    *found = access(path.text, F_OK) == 0;
    if (!*found) return STATUS_OK;
    TRY(read_object(&o, path.text));
    status_code st = parse(p, o, path.text);
    json_decref(o);
    return st;
}

/* --- what `tally plan --json` printed --- */

static status read_integer(i64 *v, const json_t *o, const char *path, const char *key) {
    *v = 0;
    return json_find(o, key) ? json_get_i64(o, path, key, v) : STATUS_OK;
}

/* the price of all devices, USD per hour; NAN: not known */
static double price_of(const json_t *o, const json_t *one) {
    const json_t *price = json_object_get(json_object_get(o, "assumed"), "usd_per_device_hour");
    return json_number_or_nan(json_object_get(price, "value")) * json_number_or_nan(json_object_get(one, "devices"));
}

static void fill_open(run_plan *p, const json_t *o, const json_t *one) {
    double *of = p->planned.of;
    if (isnan(of[RUN_PLAN_WALL_S])) of[RUN_PLAN_WALL_S] = of[RUN_PLAN_STEP_MS] * 1e-3 * (double)p->steps;
    if (isnan(of[RUN_PLAN_USD])) of[RUN_PLAN_USD] = of[RUN_PLAN_WALL_S] / 3600 * price_of(o, one);
}

static void name_source(run_plan *p, const json_t *o, const char *path) {
    const char *name = json_string_value(json_object_get(json_object_get(o, "assumed"), "device"));
    snprintf(p->source, sizeof p->source, "--plan %s%s%s", path, name ? ", for " : "", name ? name : "");
}

static status import(run_plan *p, run_plan_scope *scope, const json_t *o, const char *path) {
    json_t *plans;
    if (!json_find(o, "plans")) FAIL(DATA, "%s: has no \"plans\"; expected what `tally plan --json` prints", path);
    TRY(json_get_array(o, path, "plans", &plans));
    if (json_array_size(plans) != 1)
        FAIL(DATA, "%s: holds %zu plans, expected one: give `tally plan` one number of --devices and one --shard", path,
             json_array_size(plans));
    const json_t *one = json_array_get(plans, 0);
    TRY(read_integer(&scope->weights, o, path, "parameters"));
    TRY(read_integer(&scope->tokens_per_step, one, path, "tokens_per_step"));
    TRY(read_integer(&scope->devices, one, path, "devices"));
    TRY(read_figures(&p->planned, one, path));
    p->planned.of[RUN_PLAN_ENERGY_J] =
        3.6e6 * json_number_or_nan(json_object_get(json_object_get(one, "kwh"), "devices"));
    if (isnan(p->planned.of[RUN_PLAN_STEP_MS])) FAIL(DATA, "%s: holds no \"step_ms\"", path);
    fill_open(p, o, one);
    name_source(p, o, path);
    return STATUS_OK;
}

status run_plan_import(run_plan *p, run_plan_scope *scope, const char *path, i64 steps) {
    json_t *o;
    *p = (run_plan){.steps = steps, .planned = run_plan_unknown(), .actual = run_plan_unknown()};
    TRY(read_object(&o, path));
    status_code st = import(p, scope, o, path);
    json_decref(o);
    return st;
}
