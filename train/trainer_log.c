#include "runtime/text.h"
#include "train/trainer_parts.h"

#include <math.h>
#include <time.h>

#include "runtime/log.h"
#include "train/model/cost.h"

static void log_ranks(const trainer *t) {
    const shard_options *s = &t->m.parameters.o.shard;
    if (t->world->ranks == 1) return;
    log_line("ranks: %d on %d host%s; shard %s; over %s", t->world->ranks, t->world->placement->hosts,
             t->world->placement->hosts > 1 ? "s" : "", fsdp_stage_name(s->stage), t->peers->name);
    if (s->replicas > 1 && s->stage != SHARD_NONE)
        log_line("replicas: %d, of %d ranks each", s->replicas, t->m.parameters.f.pieces);
}

static void log_price_and_energy(const trainer *t) {
    char of_ranks[48] = "";
    if (t->world->ranks > 1) snprintf(of_ranks, sizeof of_ranks, " for %d ranks", t->world->ranks);
    if (isnan(t->bill.usd_per_hour)) log_line("price: not known for this device; set it with --price USD");
    else log_line("price: %s an hour%s (%s)", text_usd(t->bill.usd_per_hour).text, of_ranks, t->bill.price_source);
    if (t->bill.energy_of == ENERGY_UNKNOWN)
        log_line(
            "energy: unknown: no counter can be read, and the power of the device is not known; --tdp-watts W gives "
            "an estimate");
    else if (!t->bill.estimating) log_line("energy: %s", ledger_energy_source(&t->bill));
    else if (t->bill.estimating < t->world->ranks)
        log_line("energy: no counter can be read on %d of %d ranks; estimated for these as %.3g W times time",
                 t->bill.estimating, t->world->ranks, t->bill.watts);
    else
        log_line("energy: no counter can be read; estimated as %.3g W%s times time (%s)", t->bill.watts, of_ranks,
                 t->bill.watts_source);
    if (t->bill.grid.country) log_line("grid: %s", grid_describe(&t->bill.grid).text);
}

static size_t planned_bytes(const trainer *t) {
    size_t sum = 0;
    for (int i = 0; i < MEM_CATEGORIES; i++) sum += t->planned[i];
    return sum;
}

void trainer_log_start(const trainer *t) {
    const train_options *o = t->o;
    const size_t *bytes = t->planned;
    char threads[32] = "";
    if (t->dev->kind == DEVICE_CPU) snprintf(threads, sizeof threads, "%d threads, ", t->dev->threads);
    log_line("device: %s, %s%s%s", t->dev->name, threads, t->dev->isa,
             o->precision.t == BF16 && !t->dev->bf16_products ? "; no bf16 GEMM: bf16 operands are widened to f32"
                                                              : "");
    log_ranks(t);
    log_line("model: %s, %ld parameters, %s, recompute %s", t->c.name, t->m.parameters.p.parameters,
             dtype_name(o->precision.t), o->recompute);
    model_config_log(&t->c, true);
    dataset_log(&t->data);
    log_line("memory: %s%s", text_bytes((double)planned_bytes(t)).text, t->world->ranks > 1 ? " per rank" : "");
    for (int i = 0; i < MEM_CATEGORIES; i++)
        if (bytes[i]) log_line("  %-12s %s", arena_category_name((mem_category)i), text_bytes((double)bytes[i]).text);
    log_line("step: %ld tokens, %s%.4g GFLOP of the model, %.4g GFLOP executed", t->global_batch,
             o->mask_documents ? "at most " : "", (double)meter_flops_model(&t->step_flops) * 1e-9,
             (double)meter_flops_executed(&t->step_flops) * 1e-9);
    if (o->lr.warmup > o->steps)
        log_line("warning: --warmup %ld is longer than --steps %ld: the learning rate does not reach --lr %g, only %g",
                 o->lr.warmup, o->steps, o->lr.lr, schedule_lr(&o->lr, o->steps - 1));
    if (t->peak_datasheet > 0) log_line("peak: %.4g TFLOP/s by datasheet", t->peak_datasheet * 1e-12);
    else log_line("peak: no datasheet gives the peak of this device, so there is no MFU");
    if (t->peak_measured > 0)
        log_line("peak: %.4g GFLOP/s measured with large GEMMs at start%s", t->peak_measured * 1e-9,
                 t->world->ranks > 1 ? ", on all ranks at the same time" : "");
    log_price_and_energy(t);
}

/* the fields that are computed from the figures of all ranks */
static void add_ranks(step_record *s, const rank_report *all, int ranks) {
    double computed = 0, longest = -1;
    s->ranks = ranks;
    s->energy_window_s = INFINITY;
    for (int r = 0; r < ranks; r++) {
        double own = all[r].step_s - all[r].waited_s;
        if (own > longest) longest = own, s->slowest_rank = r;
        computed += own / ranks;
        s->step_s += all[r].step_s / ranks;
        s->exposed_s += all[r].waited_s / ranks;
        s->flops_model += all[r].flops_model;
        s->flops_executed += all[r].flops_executed;
        s->bytes_sent += all[r].bytes_sent;
        s->energy_j += all[r].energy_j;
        s->energy_window_s = fmin(s->energy_window_s, all[r].energy_window_s);
        nvml_merge(&s->gpu, &all[r].gpu);
        if (all[r].memory_bytes > s->memory_bytes) s->memory_bytes = all[r].memory_bytes;
    }
    s->skew = computed > 0 ? longest / computed - 1 : NAN;
}

static double unix_time_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

step_record trainer_log_record(const trainer *t, const step_args *a, const step_result *r) {
    double tokens = (double)t->global_batch, wall_s = ledger_wall_s(&t->bill);
    double done = (double)(t->p.step - t->first_step);
    double left_s = (wall_s - t->first_wall_s) / done * ((double)t->o->steps - (double)t->p.step);
    step_record s = {
        .step = t->p.step,
        .steps = (uint64_t)t->o->steps,
        .tokens = t->p.tokens,
        .unix_time_s = unix_time_s(),
        .loss = r->loss,
        .val_loss = NAN,
        .lr = a->lr,
        .grad_norm = r->grad_norm,
        .skipped = r->skipped,
        .flops_palm = cost_flops_per_token_palm(&t->c, t->o->seq_len) * tokens,
        .peak_datasheet = t->peak_datasheet,
        .peak_measured = t->peak_measured,
        .energy_total_j = t->bill.total.joules,
        .energy_source = ledger_energy_source(&t->bill),
        .usd = ledger_usd(&t->bill),
        .wall_s = wall_s,
        .left_s = left_s,
        .drift_time = NAN,
        .drift_memory = NAN,
        .drift_usd = NAN,
        .left_usd = ledger_usd_per_hour(&t->bill) * left_s / 3600,
    };
    memcpy(s.usd_by_booking, t->bill.total.usd, sizeof s.usd_by_booking);
    add_ranks(&s, t->all, t->world->ranks);
    s.tokens_per_s = tokens / s.step_s;
    s.usd_step = ledger_usd_per_hour(&t->bill) * s.step_s / 3600;
    s.usd_per_mtok = s.usd_step / tokens * 1e6;
    return s;
}

/* the devices, and what is known of the rest of the machines */
static void log_energy(const ledger *l) {
    const double *power = l->total.power, joules = l->total.joules;
    bool host = !isnan(power[POWER_HOST_J]), overhead = !isnan(power[POWER_OVERHEAD_J]);
    if (isnan(joules)) log_line("energy: unknown");
    else log_line("energy: %.5f kWh (%s)", joules / 3.6e6, ledger_energy_source(l));
    if (host) log_line("  and of the host: %.5f kWh (--host-watts)", power[POWER_HOST_J] / 3.6e6);
    if (overhead) log_line("  and of cooling and conversion: %.5f kWh (--pue)", power[POWER_OVERHEAD_J] / 3.6e6);
    if (!host) log_line("  and of the host: not known (--host-watts)");
    if (!overhead) log_line("  and of cooling and conversion: not known (--pue)");
    if (!isnan(power[POWER_USD])) log_line("  power has cost %s of the bill", text_usd(power[POWER_USD]).text);
    if (!isnan(power[POWER_KG_CO2]))
        log_line("carbon: %.5f kg CO2 (%s)", power[POWER_KG_CO2], grid_describe(&l->grid).text);
    else if (l->grid.country) log_line("carbon: unknown");
}

void trainer_log_end(const trainer *t, train_outcome outcome) {
    double wall_s = ledger_wall_s(&t->bill), usd = ledger_usd(&t->bill);
    uint64_t steps = t->p.step - t->first_step;
    if (outcome == TRAIN_STOPPED && !steps)
        log_line("stopped before a step was complete: there is nothing new to save");
    else if (outcome == TRAIN_STOPPED) log_line("stopped after step %lu; continue with --resume", t->p.step);
    if (outcome == TRAIN_OUT_OF_BUDGET && !steps)
        log_line("no step was done: the run has cost $%.3g, and a step with its checkpoint would cost $%.3g or more; "
                 "--budget $%.3g",
                 usd, t->next_usd, t->o->budget);
    else if (outcome == TRAIN_OUT_OF_BUDGET)
        log_line("stopped after step %lu: one more would exceed --budget %s", t->p.step, text_usd(t->o->budget).text);
    if (outcome == TRAIN_REACHED_LOSS)
        log_line("stopped after step %lu: the held-out loss %.4f has reached --stop-at-loss %g, with %s tokens",
                 t->p.step, t->p.val_loss, t->o->stop_at_loss, text_count((double)t->p.tokens).text);
    else if (outcome == TRAIN_DONE && t->o->stop_at_loss > 0)
        log_line("--stop-at-loss %g was not reached: the held-out loss is %.4f after all steps", t->o->stop_at_loss,
                 t->p.val_loss);
    log_line("%-24s %10s %7s %10s", "where the time went", "seconds", "share", "usd");
    for (int b = 0; b < BOOKINGS; b++) {
        double seconds = (double)t->bill.total.ns[b] * 1e-9;
        if (seconds > 0)
            log_line("  %-22s %10.2f %6.1f%% %10.6f", meter_booking_label((booking)b), seconds, 100 * seconds / wall_s,
                     t->bill.total.usd[b]);
    }
    log_line("  %-22s %10.2f %6.1f%% %10.6f", "total", wall_s, 100.0, usd);
    if (t->world->ranks > 1 && steps)
        log_line("sent: %s per step and rank",
                 text_bytes((double)t->bytes_sent / (double)steps / t->world->ranks).text);
    if (trainer_is_root(t)) trainer_plan_log_end(t);
    trainer_log_epochs(t);
    if (t->p.skipped) log_line("steps skipped because the loss or gradient was not finite: %lu", t->p.skipped);
    log_energy(&t->bill);
    log_line("the run is in %s: checkpoints, metrics.jsonl, ledger.json, report.html", t->o->out);
}
