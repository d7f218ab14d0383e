/* The plan of the run (train/bill/run_plan.h), how far the run has drifted from it, and at the end what came true. On rank 0.
 *
 * The plan is --plan FILE, or that of an earlier attempt, or the run's own: memory from the layout, time at half of the peak that
 * GEMMs reached at start. That half is an assumption; if as many steps are left after the first PLAN_STEPS, the plan is made again from their median. */
#include "train/trainer_parts.h"

#include <math.h>

#include "runtime/contention.h"
#include "runtime/log.h"
#include "runtime/text.h"
#include "train/bill/throttle.h"
#include "train/model/cost.h"

enum { PLAN_STEPS = 20 };
static const double ASSUMED_EFFICIENCY = 0.5;

/* --- the run's own plan --- */

static double steps_left(const trainer *t) { return (double)((uint64_t)t->o->steps - t->p.step); }

/* how many multiples of `every` are above `from` and at most `to` */
static i64 multiples(i64 every, uint64_t from, i64 to) { return every > 0 ? to / every - (i64)from / every : 0; }

static double evaluations_left(const trainer *t) {
    i64 steps = t->o->steps, every = t->o->eval_every;
    bool extra = every <= 0 || steps % every;
    return (double)(multiples(every, t->p.step, steps) + (extra && steps_left(t) > 0));
}

static double saves_left(const trainer *t, double step_s) {
    double by_steps = (double)multiples(t->o->checkpoint_every, t->p.step, t->o->steps);
    double minutes = t->o->checkpoint_minutes;
    double by_time = minutes > 0 ? floor(steps_left(t) * step_s / (60 * minutes)) : 0;
    return fmax(by_steps, by_time) + 1;
}

static double evaluation_s(const trainer *t, double step_s) {
    if (!isnan(t->measures.evaluation_s)) return t->measures.evaluation_s;
    double step_tokens = (double)t->global_batch; /* forward is a third of a step, and so is its time */
    return trainer_evaluation_tokens(t) / step_tokens * step_s / 3;
}

static double save_s(const trainer *t) {
    return isnan(t->measures.checkpoint_s) ? t->mine.save_s : t->measures.checkpoint_s;
}

/* of all devices; NAN: not known */
static double watts(const trainer *t) {
    const trainer_measures *m = &t->measures;
    if (m->summed) return m->joules / m->sum_s;
    return t->bill.energy_of == ENERGY_TDP ? t->bill.watts : NAN;
}

static void plan_time(const trainer *t, run_plan_figures *f, double step_s) {
    double spent_s = ledger_wall_s(&t->bill);
    double left_s =
        steps_left(t) * step_s + evaluations_left(t) * evaluation_s(t, step_s) + saves_left(t, step_s) * save_s(t);
    f->of[RUN_PLAN_STEP_MS] = step_s * 1e3;
    f->of[RUN_PLAN_TOKENS_PER_S] = (double)t->global_batch / step_s;
    f->of[RUN_PLAN_WALL_S] = spent_s + left_s;
    f->of[RUN_PLAN_USD] = ledger_usd(&t->bill) + ledger_usd_per_hour(&t->bill) * left_s / 3600;
    f->of[RUN_PLAN_ENERGY_J] = t->bill.total.joules + watts(t) * left_s;
}

static void plan_memory(const trainer *t, run_plan_figures *f) {
    double sum = 0;
    for (int i = 0; i < MEM_CATEGORIES; i++) sum += f->memory[i] = (double)t->planned[i];
    f->of[RUN_PLAN_MEMORY_BYTES] = sum;
}

static void own_plan(trainer *t) {
    run_plan *p = &t->foretold.plan;
    *p = (run_plan){
        .steps = t->o->steps, .provisional = true, .planned = run_plan_unknown(), .actual = run_plan_unknown()};
    plan_memory(t, &p->planned);
    if (t->peak_assumed > 0) {
        plan_time(t, &p->planned,
                  (double)meter_flops_executed(&t->step_flops) / (t->peak_assumed * ASSUMED_EFFICIENCY));
        snprintf(p->source, sizeof p->source,
                 "memory as laid out; time assumes that steps reach half of the peak measured at start");
    } else {
        snprintf(p->source, sizeof p->source, "memory as laid out; the speed is not known before %d steps", PLAN_STEPS);
    }
}

static void log_plan(const run_plan *p, const char *why) {
    const double *of = p->planned.of;
    char step[48] = "step not known", usd[40] = "";
    if (!isnan(of[RUN_PLAN_STEP_MS])) snprintf(step, sizeof step, "%.4g ms a step", of[RUN_PLAN_STEP_MS]);
    if (!isnan(of[RUN_PLAN_USD])) snprintf(usd, sizeof usd, ", %s", text_usd(of[RUN_PLAN_USD]).text);
    log_line("plan%s: %s, %s in all%s, %s (%s)", why, step, text_seconds(of[RUN_PLAN_WALL_S]).text, usd,
             text_bytes(of[RUN_PLAN_MEMORY_BYTES]).text, p->source);
}

/* --- beginning --- */

status trainer_plan_check(trainer *t) {
    trainer_foretold *f = &t->foretold;
    if (!trainer_is_root(t) || !t->o->plan) return STATUS_OK;
    return run_plan_import(&f->plan, &f->scope, t->o->plan, t->o->steps);
}

static void compare_with_run(const trainer *t) {
    const run_plan_scope *s = &t->foretold.scope;
    i64 weights = t->m.parameters.p.parameters;
    if (s->tokens_per_step && s->tokens_per_step != t->global_batch)
        log_line("warning: --plan %s: is for steps of %ld tokens; this run's have %ld", t->o->plan, s->tokens_per_step,
                 t->global_batch);
    if (s->weights && s->weights != weights)
        log_line("warning: --plan %s: is for a model of %ld parameters; this run's has %ld", t->o->plan, s->weights,
                 weights);
    if (s->devices && s->devices != t->world->ranks)
        log_line("warning: --plan %s: is for %ld devices; this run has %d", t->o->plan, s->devices, t->world->ranks);
}

/* that of an earlier attempt at as many steps; false: there is none, or its speed was assumed */
static bool take_earlier(trainer *t) {
    bool found;
    run_plan *p = &t->foretold.plan;
    if (run_plan_read(p, &found, t->o->out)) {
        log_line("%s; the plan is made again", status_message());
        return false;
    }
    return found && p->steps == t->o->steps && !p->provisional;
}

status trainer_plan_open(trainer *t) {
    trainer_foretold *f = &t->foretold;
    f->began = contention_now();
    f->began_s = ledger_wall_s(&t->bill);
    if (!trainer_is_root(t)) return STATUS_OK;
    if (t->o->plan) compare_with_run(t);
    else if (!t->o->resume || !take_earlier(t)) own_plan(t); /* without --resume, that of another run may be there */
    log_plan(&f->plan, "");
    return run_plan_write(&f->plan, t->o->out);
}

/* A run that has begun does not fail for its plan. */
static void write_again(const trainer *t) {
    if (run_plan_write(&t->foretold.plan, t->o->out))
        log_line("warning: %s; %s/plan.json stays as it was", status_message(), t->o->out);
}

void trainer_plan_step(trainer *t) {
    run_plan *p = &t->foretold.plan;
    double quartiles[3];
    if (!trainer_is_root(t) || !p->provisional || t->measures.steps_seen != PLAN_STEPS) return;
    if (steps_left(t) < PLAN_STEPS || t->mine.folder != FOLDER_FINE || !trainer_measure_quartiles(t, quartiles)) return;
    plan_time(t, &p->planned, quartiles[1]);
    p->provisional = false;
    snprintf(p->source, sizeof p->source, "memory as laid out; time from the first %d steps", PLAN_STEPS);
    log_plan(p, " made again");
    write_again(t);
}

/* --- drift --- */

/* in bytes, of rank 0; NAN: not known */
static double measured_memory(const trainer *t) {
    return t->mine.measured_bytes ? (double)t->mine.measured_bytes : NAN;
}

static double drift(const run_plan *p, run_plan_key k, double expected) {
    return p->planned.of[k] > 0 ? expected / p->planned.of[k] - 1 : NAN;
}

void trainer_plan_drift(const trainer *t, step_record *r) {
    const run_plan *p = &t->foretold.plan;
    double pause_s = t->mine.eval_s, pause_usd = ledger_usd_per_hour(&t->bill) * pause_s / 3600;
    r->drift_time = drift(p, RUN_PLAN_WALL_S, r->wall_s + pause_s + r->left_s);
    r->drift_usd = drift(p, RUN_PLAN_USD, r->usd + pause_usd + r->left_usd);
    /* what a save takes is not taken before the first one */
    double of_saves = isnan(t->measures.checkpoint_s) ? p->planned.memory[MEM_CHECKPOINT] : 0;
    r->drift_memory = drift(p, RUN_PLAN_MEMORY_BYTES, measured_memory(t) + (of_saves > 0 ? of_saves : 0));
}

/* --- the end --- */

static void fill_actual(trainer *t) {
    run_plan *p = &t->foretold.plan;
    run_plan_figures *a = &p->actual;
    double quartiles[3];
    *a = run_plan_unknown();
    if (trainer_measure_quartiles(t, quartiles)) {
        a->of[RUN_PLAN_STEP_MS] = quartiles[1] * 1e3;
        a->of[RUN_PLAN_TOKENS_PER_S] = (double)t->global_batch / quartiles[1];
    }
    a->of[RUN_PLAN_WALL_S] = ledger_wall_s(&t->bill);
    a->of[RUN_PLAN_USD] = ledger_usd(&t->bill);
    a->of[RUN_PLAN_ENERGY_J] = t->bill.total.joules;
    if (t->measures.steps_seen) a->of[RUN_PLAN_MEMORY_BYTES] = measured_memory(t); /* else it holds no step's */
    for (int i = 0; i < MEM_CATEGORIES; i++) a->memory[i] = (double)t->planned[i]; /* as laid out: not measured */
    p->whole = t->p.step == (uint64_t)t->o->steps;
    p->ended = true;
    p->cause_count = 0;
}

static bool is_off(const run_plan *p, run_plan_key k) { return fabs(run_plan_error(p, k)) > RUN_PLAN_TOLERANCE; }

static double share(const trainer *t, booking b) {
    return 100 * (double)t->bill.total.ns[b] * 1e-9 / ledger_wall_s(&t->bill);
}

static void find_contention(const trainer *t, run_plan *p) {
    const trainer_foretold *f = &t->foretold;
    contention now = contention_now();
    double wall_s = ledger_wall_s(&t->bill) - f->began_s, threads = t->dev->kind == DEVICE_CPU ? t->dev->threads : 1;
    double waited = now.waited_s - f->began.waited_s;
    long switches = (long)(now.switches - f->began.switches), faults = (long)(now.major_faults - f->began.major_faults);
    if (waited > 0.03 * wall_s * threads)
        run_plan_cause(p,
                       "other processes: the threads of rank 0 waited %s for a CPU, in a run of %s, with %ld "
                       "involuntary context switches",
                       text_seconds(waited).text, text_seconds(wall_s).text, switches);
    else if (isnan(waited) && (double)switches > 100 * wall_s)
        run_plan_cause(p, "other processes: %ld involuntary context switches in %s", switches,
                       text_seconds(wall_s).text);
    if (now.swapped_bytes > 0)
        run_plan_cause(p, "swap: %s of this process are swapped out; %ld pages were read from a disk",
                       text_bytes(now.swapped_bytes).text, faults);
}

static void find_clocks(const trainer *t, run_plan *p) {
    nvml_state gpu = {.sm_mhz = -1, .sm_max_mhz = -1, .memory_mhz = -1, .memory_max_mhz = -1, .temperature_c = -1};
    for (int r = 0; r < t->world->ranks; r++) nvml_merge(&gpu, &t->all[r].gpu);
    if (gpu.known && gpu.sm_mhz > 0 && gpu.sm_max_mhz > 0 && gpu.sm_mhz < 0.95 * gpu.sm_max_mhz)
        run_plan_cause(p, "clocks: the slowest GPU ended at %d of %d MHz%s%s", gpu.sm_mhz, gpu.sm_max_mhz,
                       gpu.reasons_known ? ": " : "", gpu.reasons_known ? throttle_names(gpu.reasons).text : "");
}

static void find_time_causes(const trainer *t, run_plan *p) {
    double step_error = run_plan_error(p, RUN_PLAN_STEP_MS);
    if (p->provisional && is_off(p, RUN_PLAN_STEP_MS))
        run_plan_cause(p, "assumption: the plan assumed half of the measured peak; steps reached %.0f%% of it",
                       100 * ASSUMED_EFFICIENCY / (1 + step_error));
    if (share(t, BOOK_DATA) > 2) run_plan_cause(p, "data wait: %.1f%% of the time", share(t, BOOK_DATA));
    find_clocks(t, p);
    find_contention(t, p);
    if (share(t, BOOK_COMMUNICATION) > 10)
        run_plan_cause(p, "exposed communication: %.1f%% of the time", share(t, BOOK_COMMUNICATION));
    if (share(t, BOOK_LOST) + share(t, BOOK_STOPPED) > 1)
        run_plan_cause(p, "lost work %.1f%%, stopped %.1f%% of the time", share(t, BOOK_LOST), share(t, BOOK_STOPPED));
    double pauses = share(t, BOOK_STARTUP) + share(t, BOOK_EVALUATION) + share(t, BOOK_CHECKPOINT);
    if (is_off(p, RUN_PLAN_WALL_S) && pauses > 10)
        run_plan_cause(p, "beside the steps: start-up %.0f%%, evaluation %.0f%%, checkpoints %.0f%% of the time",
                       share(t, BOOK_STARTUP), share(t, BOOK_EVALUATION), share(t, BOOK_CHECKPOINT));
}

static void find_causes(const trainer *t, run_plan *p) {
    const double *planned = p->planned.of, *actual = p->actual.of;
    if (is_off(p, RUN_PLAN_STEP_MS) || is_off(p, RUN_PLAN_WALL_S)) find_time_causes(t, p);
    double price = actual[RUN_PLAN_USD] / actual[RUN_PLAN_WALL_S],
           planned_price = planned[RUN_PLAN_USD] / planned[RUN_PLAN_WALL_S];
    if (is_off(p, RUN_PLAN_USD) && planned_price > 0 && fabs(price / planned_price - 1) > 0.01)
        run_plan_cause(p, "price: $%.4g an hour; planned $%.4g", 3600 * price, 3600 * planned_price);
    double more = actual[RUN_PLAN_MEMORY_BYTES] - planned[RUN_PLAN_MEMORY_BYTES];
    if (is_off(p, RUN_PLAN_MEMORY_BYTES))
        run_plan_cause(p,
                       more > 0 ? "memory: %s beyond the layout, in buffers of data and logs and in libraries"
                                : "memory: %s of the layout were not touched, such as the buffers of a checkpoint",
                       text_bytes(fabs(more)).text);
    bool off = false;
    for (int k = 0; k < RUN_PLAN_KEYS; k++) off |= is_off(p, (run_plan_key)k);
    if (off && !p->cause_count) run_plan_cause(p, "no cause found: no data wait, contention, throttling or lost work");
}

void trainer_plan_end(trainer *t) {
    if (!trainer_is_root(t)) return;
    fill_actual(t);
    find_causes(t, &t->foretold.plan);
    write_again(t);
}

static short_text figure(run_plan_key k, double v) {
    short_text s = {"not known"};
    if (isnan(v)) return s;
    if (k == RUN_PLAN_STEP_MS) snprintf(s.text, sizeof s.text, "%.4g ms", v);
    if (k == RUN_PLAN_TOKENS_PER_S) s = text_count(v);
    if (k == RUN_PLAN_WALL_S) s = text_seconds(v);
    if (k == RUN_PLAN_USD) s = text_usd(v);
    if (k == RUN_PLAN_ENERGY_J) snprintf(s.text, sizeof s.text, "%.4g kWh", v / 3.6e6);
    if (k == RUN_PLAN_MEMORY_BYTES) s = text_bytes(v);
    return s;
}

void trainer_plan_log_end(const trainer *t) {
    static const char *const labels[RUN_PLAN_KEYS] = {"step (median)", "tokens/s", "time", "cost", "energy", "memory"};
    const run_plan *p = &t->foretold.plan;
    log_line("%-24s %12s %12s %9s", p->whole ? "plan" : "plan of the whole run", "predicted", "actual", "error");
    for (int i = 0; i < RUN_PLAN_KEYS; i++) {
        run_plan_key k = (run_plan_key)i;
        char error[16] = "";
        double e = run_plan_error(p, k);
        if (!isnan(e)) snprintf(error, sizeof error, "%+.1f%%", 100 * e);
        log_line("  %-22s %12s %12s %9s", labels[i], figure(k, p->planned.of[i]).text, figure(k, p->actual.of[i]).text,
                 error);
    }
    log_line("  predicted: %s", p->source);
    for (int i = 0; i < p->cause_count; i++) log_line("  cause: %s", p->causes[i]);
}
