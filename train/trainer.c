#include "train/trainer.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "runtime/gemm.h"
#include "runtime/json.h"
#include "runtime/log.h"
#include "train/blockfile.h"
#include "train/checkpoint.h"
#include "train/hardware.h"
#include "train/metrics.h"
#include "train/report.h"
#include "train/step.h"

typedef struct {
    const train_options *o;
    device *dev;
    model_config c;
    corpus data;
    loader *loader;
    model m;
    ledger bill;
    progress p;
    i64 global_batch; /* tokens */
    FILE *metrics;
    path_text metrics_path;
    double peak_datasheet, peak_measured;
    flop_counter step_flops; /* closed form */
    double val_loss;         /* the last one measured; NaN */
    double save_s, eval_s;   /* what the last checkpoint and evaluation took; before the first, an estimate */
    uint64_t first_step;     /* of this attempt */
    double first_wall_s;
    i64 skipped_in_row;
} trainer;

status recompute_parse(recompute_policy *r, const char *text, i64 L) {
    long blocks;
    char rest;
    if (strcmp(text, "none") == 0) *r = (recompute_policy){RECOMPUTE_NONE, 0};
    else if (strcmp(text, "selective") == 0) *r = (recompute_policy){RECOMPUTE_SELECTIVE, L};
    else if (strcmp(text, "block") == 0) *r = (recompute_policy){RECOMPUTE_BLOCK, L};
    else if (sscanf(text, "block:%ld%c", &blocks, &rest) == 1 && blocks >= 0 && blocks <= L)
        *r = (recompute_policy){RECOMPUTE_BLOCK, blocks};
    else FAIL(ARG, "--recompute %s: expected none, selective, block or block:K with K from 0 to %ld", text, L);
    return STATUS_OK;
}

static uint64_t memory_bytes(const trainer *t) { return t->m.memory.capacity + gemm_memory_bytes(t->dev); }

static status check_options(trainer *t) {
    const train_options *o = t->o;
    i64 micro = o->batch * o->seq_len;
    t->global_batch = o->global_batch ? o->global_batch : micro;
    if (t->global_batch % micro)
        FAIL(ARG, "--global-batch %ld: expected a multiple of --batch %ld times --seq-len %ld = %ld tokens",
             t->global_batch, o->batch, o->seq_len, micro);
    return STATUS_OK;
}

static status open_model(trainer *t) {
    const train_options *o = t->o;
    TRY(model_config_load(&t->c, o->model));
    if (t->c.V != BYTE_VOCABULARY)
        log_line("vocabulary: %d, bytes and end-of-text, from the data (%s has %ld)", BYTE_VOCABULARY, t->c.name,
                 t->c.V);
    t->c.V = BYTE_VOCABULARY;
    model_shape s = {.B = o->batch, .T = o->seq_len};
    TRY(recompute_parse(&s.recompute, o->recompute, t->c.L));
    TRY(model_init(&t->m, t->dev, &t->c, s, o->precision));
    t->step_flops = cost_training_flops(&t->c, s.recompute, t->global_batch / o->seq_len, o->seq_len);
    return STATUS_OK;
}

static void describe_run(const trainer *t) {
    const train_options *o = t->o;
    const size_t *bytes = t->m.memory.bytes;
    log_line("device: %s, %d threads, %s%s", t->dev->name, t->dev->threads, t->dev->isa,
             o->precision.t == BF16 && !t->dev->bf16_products
                 ? "; no bf16 products: they run in f32 on widened operands"
                 : "");
    log_line("model: %s, %ld parameters, %s, recompute %s", t->c.name, t->m.state.p.parameters,
             dtype_name(o->precision.t), o->recompute);
    log_line("data: %s of text, %ld documents, %ld tokens to train on, %ld held out",
             text_bytes((double)t->data.bytes).text, t->data.documents, t->data.train_count,
             t->data.count - t->data.train_count);
    log_line("memory: %s", text_bytes((double)t->m.memory.capacity).text);
    for (int i = 0; i < MEM_CATEGORIES; i++)
        if (bytes[i]) log_line("  %-12s %s", memory_name((mem_category)i), text_bytes((double)bytes[i]).text);
    log_line("step: %ld tokens, %.4g model GFLOP, %.4g executed", t->global_batch,
             (double)flops_model(&t->step_flops) * 1e-9, (double)flops_executed(&t->step_flops) * 1e-9);
    if (t->peak_datasheet > 0) log_line("peak: %.4g TFLOP/s by datasheet", t->peak_datasheet * 1e-12);
    else log_line("peak: no datasheet figure for this device, so no MFU");
    if (t->peak_measured > 0)
        log_line("peak: %.4g GFLOP/s measured with large products at start", t->peak_measured * 1e-9);
    if (isnan(t->bill.usd_per_hour)) log_line("price: not known for this device; --price USD gives one");
    else log_line("price: %s an hour (%s)", text_usd(t->bill.usd_per_hour).text, t->bill.price_source);
    const char *source = energy_source(t->bill.energy);
    if (!strstr(source, "estimated")) log_line("energy: %s", source);
    else
        log_line("energy: no counter to read; estimated as %.3g W times time (%s)", t->bill.watts,
                 t->bill.watts_source);
}

static status check_same(const char *folder, const char *what, uint64_t then, uint64_t now) {
    if (then != now) FAIL(DATA, "%s: %s was %lu, is now %lu; a resumed run keeps it", folder, what, then, now);
    return STATUS_OK;
}

static status check_same_text(const char *folder, const char *what, const char *then, const char *now) {
    if (strcmp(then, now) != 0) FAIL(DATA, "%s: %s was %s, is now %s; a resumed run keeps it", folder, what, then, now);
    return STATUS_OK;
}

/* everything that Hugging Face's keys tell of a model, not only what shows in the shapes of tensors */
static status check_same_model(const trainer *t, const char *folder) {
    model_config then;
    TRY(model_config_load(&then, folder));
    cJSON *a = model_config_to_json(&then), *b = model_config_to_json(&t->c);
    bool same = a && b && cJSON_Compare(a, b, true);
    cJSON_Delete(a);
    cJSON_Delete(b);
    if (!same) FAIL(DATA, "%s/config.json: another model than --model %s; a resumed run keeps it", folder, t->o->model);
    return STATUS_OK;
}

static void fill_fixed(trainer *t) {
    const state_options *s = &t->m.state.o;
    t->p.seed = t->o->seed;
    t->p.data_crc32 = t->data.crc32;
    t->p.train_tokens = (uint64_t)t->data.train_count;
    t->p.seq_len = (uint64_t)t->o->seq_len;
    t->p.global_batch = (uint64_t)t->global_batch;
    t->p.threads = (uint64_t)t->dev->threads;
    strcpy(t->p.precision, dtype_name(s->t));
    strcpy(t->p.moments, dtype_name(s->moments));
    strcpy(t->p.master, s->t == F32 ? "weights" : s->master ? "fp32" : "none");
}

static status resume(trainer *t, const char *folder) {
    progress then;
    TRY(checkpoint_progress(folder, &then));
    TRY(check_same(folder, "--seed", then.seed, t->p.seed));
    TRY(check_same(folder, "--seq-len", then.seq_len, t->p.seq_len));
    TRY(check_same(folder, "--global-batch", then.global_batch, t->p.global_batch));
    TRY(check_same(folder, "the crc32 of the data", then.data_crc32, t->p.data_crc32));
    TRY(check_same(folder, "--val-fraction: the number of tokens to train on", then.train_tokens, t->p.train_tokens));
    TRY(check_same_model(t, folder));
    TRY(check_same_text(folder, "--precision", then.precision, t->p.precision));
    TRY(check_same_text(folder, "--moments", then.moments, t->p.moments));
    TRY(check_same_text(folder, "--master", then.master, t->p.master));
    if (then.threads != t->p.threads)
        log_line("threads: %lu before, %lu now: the run goes on, but not bitwise as it would have", then.threads,
                 t->p.threads);
    TRY(checkpoint_load(folder, &t->m.state, &t->c));
    then.threads = t->p.threads;
    t->p = then;
    t->m.state.step = then.updates;
    log_line("resumed from %s", folder);
    return STATUS_OK;
}

/* from the newest checkpoint, or from scratch; writes nothing */
static status start_or_resume(trainer *t) {
    const train_options *o = t->o;
    int found;
    path_text folder;
    fill_fixed(t);
    TRY(checkpoint_newest(NULL, o->out, &found, &folder));
    if (found && !o->resume)
        FAIL(ARG, "--out %s: already holds a run; --resume continues it, or name another folder", o->out);
    if (found) return resume(t, folder.text);
    if (o->resume) log_line("no checkpoint in %s yet: starting from the beginning", o->out);
    return state_randomize(&t->m.state, o->seed);
}

/* the run's files, once nothing is left that could refuse it */
static status open_files(trainer *t) {
    const train_options *o = t->o;
    path_text config;
    snprintf(config.text, sizeof config.text, "%.4000s/config.json", o->out);
    snprintf(t->metrics_path.text, sizeof t->metrics_path.text, "%.4000s/metrics.jsonl", o->out);
    TRY(make_folders(o->out));
    if (o->resume) {
        double last_wall_s, last_energy_j;
        TRY(metrics_rewind(t->metrics_path.text, t->p.step, &last_wall_s, &last_energy_j));
        TRY(ledger_resume(&t->bill, o->out, &t->p, last_wall_s, last_energy_j));
    }
    t->metrics = fopen(t->metrics_path.text, o->resume ? "a" : "w");
    if (!t->metrics) FAIL(IO, "%s: %s", t->metrics_path.text, strerror(errno));
    return write_file_atomic(config.text, o->config_json, strlen(o->config_json));
}

static bool due(i64 every, uint64_t step) { return every > 0 && step % (uint64_t)every == 0; }

/* A checkpoint at 200 MB/s; an evaluation as forward passes at half of the measured peak. */
static void estimate_pauses(trainer *t) {
    const size_t *bytes = t->m.memory.bytes;
    t->save_s = (double)(bytes[MEM_WEIGHTS] + bytes[MEM_MASTER] + bytes[MEM_MOMENTS]) / 200e6;
    double tokens = (double)(t->data.count - t->data.train_count);
    double most = (double)(t->o->eval_batches * t->o->batch) * (double)t->o->seq_len;
    if (t->o->eval_batches && tokens > most) tokens = most;
    if (t->peak_measured > 0)
        t->eval_s = tokens * cost_flops_per_token(&t->c, t->o->seq_len) / 3 / (t->peak_measured / 2);
}

static status open_run(trainer *t) {
    const train_options *o = t->o;
    TRY(check_options(t));
    TRY(device_open(&t->dev, o->device, o->threads));
    TRY(ledger_open(&t->bill, t->dev, o->price, o->tdp_watts));
    if (!isnan(o->budget) && isnan(t->bill.usd_per_hour))
        FAIL(ARG, "--budget %g: no price is known for %s; expected --price with it", o->budget, t->dev->name);
    TRY(corpus_load(&t->data, o->data, o->data_count, o->val_fraction, o->seed));
    TRY(open_model(t));
    TRY(start_or_resume(t));
    TRY(loader_open(&t->loader, &t->data, o->batch, o->seq_len, o->seed, (i64)t->p.windows));
    TRY(open_files(t));
    if (o->peak_seconds > 0) TRY(gemm_measure_peak(t->dev, o->precision.t, o->peak_seconds, &t->peak_measured));
    estimate_pauses(t);
    const hardware *h = hardware_find(t->dev);
    if (h) t->peak_datasheet = o->precision.t == BF16 ? h->peak_bf16 : h->peak_fp32;
    t->dev->clock = &t->bill.time;
    t->first_step = t->p.step;
    t->val_loss = NAN;
    describe_run(t);
    meter_settle(&t->bill.time);
    t->first_wall_s = ledger_wall_s(&t->bill);
    return STATUS_OK;
}

static status save(trainer *t) {
    booking before = meter_book(&t->bill.time, BOOK_CHECKPOINT);
    uint64_t since = clock_ns();
    memcpy(t->p.booked_ns, t->bill.time.booked_ns, sizeof t->p.booked_ns);
    t->p.energy_j = ledger_energy_j(&t->bill);
    TRY(checkpoint_save(t->o->out, &t->m.state, &t->c, &t->p));
    TRY(checkpoint_prune(NULL, t->o->out, t->p.step, t->o->keep));
    meter_book(&t->bill.time, before);
    t->save_s = (double)(clock_ns() - since) * 1e-9;
    return ledger_write(&t->bill, t->o->out, &t->p);
}

static status evaluate_now(trainer *t) {
    booking before = meter_book(&t->bill.time, BOOK_EVALUATION);
    uint64_t since = clock_ns();
    TRY(evaluate(&t->m, &t->data, t->o->eval_batches, &t->val_loss));
    t->eval_s = (double)(clock_ns() - since) * 1e-9;
    meter_book(&t->bill.time, before);
    return STATUS_OK;
}

/* What the next step and a checkpoint after it would bring the bill to. Before the first step its time is not known: then
 * it is taken to run at the measured peak. */
static bool next_step_exceeds_budget(const trainer *t) {
    if (isnan(t->o->budget)) return false;
    double done = (double)(t->p.step - t->first_step);
    double next_s = 2 * t->save_s; /* how long a sync takes varies */
    bool last = t->p.step + 1 == (uint64_t)t->o->steps;
    if (due(t->o->eval_every, t->p.step + 1) || last) next_s += t->eval_s;
    if (done > 0) next_s += (ledger_wall_s(&t->bill) - t->first_wall_s) / done;
    else if (t->peak_measured > 0) next_s += (double)flops_executed(&t->step_flops) / t->peak_measured;
    return ledger_usd(&t->bill) + t->bill.usd_per_hour * next_s / 3600 > t->o->budget;
}

static step_args arguments(const trainer *t) {
    const train_options *o = t->o;
    return (step_args){.lr = schedule_lr(&o->lr, (int64_t)t->p.step),
                       .beta1 = o->beta1,
                       .beta2 = o->beta2,
                       .eps = o->eps,
                       .weight_decay = o->weight_decay,
                       .clip = o->clip,
                       .seed = o->seed,
                       .micro_batches = t->global_batch / (o->batch * o->seq_len)};
}

static status account_skip(trainer *t, const step_result *r) {
    t->skipped_in_row = r->skipped ? t->skipped_in_row + 1 : 0;
    if (!r->skipped) return STATUS_OK;
    t->p.skipped++;
    log_line("step %lu skipped: loss %g, gradient norm %g; the weights stay as they were", t->p.step, r->loss,
             r->grad_norm);
    if (t->skipped_in_row > t->o->max_skipped)
        FAIL(NUMERIC, "%ld steps in a row had a loss or gradient that is not finite; --max-skipped is %ld",
             t->skipped_in_row, t->o->max_skipped);
    return STATUS_OK;
}

static step_record record_of(trainer *t, const step_args *a, const step_result *r, double seconds, double joules,
                             uint64_t executed) {
    double tokens = (double)t->global_batch, usd_step = t->bill.usd_per_hour * seconds / 3600;
    double wall_s = ledger_wall_s(&t->bill), done = (double)(t->p.step - t->first_step);
    double left_s = (wall_s - t->first_wall_s) / done * ((double)t->o->steps - (double)t->p.step);
    return (step_record){
        .step = t->p.step,
        .steps = (uint64_t)t->o->steps,
        .tokens = t->p.tokens,
        .loss = r->loss,
        .val_loss = NAN,
        .lr = a->lr,
        .grad_norm = r->grad_norm,
        .skipped = r->skipped,
        .step_s = seconds,
        .tokens_per_s = tokens / seconds,
        .flops_model = flops_model(&t->step_flops),
        .flops_executed = executed,
        .flops_palm = cost_flops_per_token_palm(&t->c, t->o->seq_len) * tokens,
        .peak_datasheet = t->peak_datasheet,
        .peak_measured = t->peak_measured,
        .memory_bytes = memory_bytes(t),
        .energy_j = joules,
        .energy_total_j = ledger_energy_j(&t->bill),
        .energy_source = energy_source(t->bill.energy),
        .usd_step = usd_step,
        .usd = ledger_usd(&t->bill),
        .usd_per_mtok = usd_step / tokens * 1e6,
        .wall_s = wall_s,
        .left_s = left_s,
        .left_usd = t->bill.usd_per_hour * left_s / 3600,
    };
}

/* A step cannot outrun the peak: then other work had slowed its measurement, and it is taken again. */
static status check_peak(trainer *t, double rate) {
    if (t->peak_measured <= 0 || rate <= t->peak_measured) return STATUS_OK;
    double again;
    booking before = meter_book(&t->bill.time, BOOK_STARTUP);
    TRY(gemm_measure_peak(t->dev, t->o->precision.t, t->o->peak_seconds, &again));
    meter_book(&t->bill.time, before);
    log_line("peak: a step reached %.4g GFLOP/s, above the %.4g measured; measured again: %.4g", rate * 1e-9,
             t->peak_measured * 1e-9, again * 1e-9);
    t->peak_measured = again > rate ? again : rate;
    return STATUS_OK;
}

static status one_step(trainer *t) {
    step_args a = arguments(t);
    step_result r;
    uint64_t since = clock_ns(), executed = flops_executed(&t->dev->flops);
    double joules = ledger_energy_j(&t->bill);
    TRY(train_step(&t->m, t->loader, &a, &r));
    meter_settle(&t->bill.time);
    double seconds = (double)(clock_ns() - since) * 1e-9;
    executed = flops_executed(&t->dev->flops) - executed;
    joules = ledger_energy_j(&t->bill) - joules;
    TRY(check_peak(t, (double)executed / seconds));
    t->p.step++;
    t->p.tokens += (uint64_t)t->global_batch;
    t->p.windows = (uint64_t)loader_position(t->loader);
    t->p.updates = t->m.state.step;
    step_record record = record_of(t, &a, &r, seconds, joules, executed);
    bool last = t->p.step == (uint64_t)t->o->steps;
    if (due(t->o->eval_every, t->p.step) || last) {
        TRY(evaluate_now(t));
        record.val_loss = t->val_loss;
    }
    TRY(metrics_append(t->metrics, t->metrics_path.text, &record));
    char line[512];
    metrics_progress_line(line, sizeof line, &record);
    if (isnan(record.val_loss)) log_progress(line, (double)t->p.step / (double)t->o->steps);
    else log_line("%s", line);
    TRY(account_skip(t, &r));
    return due(t->o->checkpoint_every, t->p.step) && !last ? save(t) : STATUS_OK;
}

/* the weights are still the last good ones */
static status save_and_fail(trainer *t) {
    char message[1024];
    snprintf(message, sizeof message, "%s", status_message());
    TRY(save(t));
    FAIL(NUMERIC, "%s", message);
}

static status run(trainer *t, const volatile sig_atomic_t *stop, train_outcome *outcome) {
    *outcome = TRAIN_DONE;
    meter_book(&t->bill.time, BOOK_USEFUL);
    while (t->p.step < (uint64_t)t->o->steps) {
        if (*stop) *outcome = TRAIN_STOPPED;
        else if (next_step_exceeds_budget(t)) *outcome = TRAIN_OUT_OF_BUDGET;
        if (*outcome != TRAIN_DONE) break;
        status_code st = one_step(t);
        if (st == STATUS_NUMERIC) return save_and_fail(t);
        TRY(st);
    }
    log_progress_end();
    return save(t);
}

static void describe_end(trainer *t, train_outcome outcome) {
    double wall_s = ledger_wall_s(&t->bill), usd = ledger_usd(&t->bill);
    if (outcome == TRAIN_STOPPED) log_line("stopped after step %lu; --resume goes on from there", t->p.step);
    if (outcome == TRAIN_OUT_OF_BUDGET)
        log_line("stopped after step %lu: one more would exceed --budget %s", t->p.step, text_usd(t->o->budget).text);
    log_line("%-24s %10s %7s %10s", "where the time went", "seconds", "share", "usd");
    for (int b = 0; b < BOOKINGS; b++) {
        double seconds = (double)t->bill.time.booked_ns[b] * 1e-9;
        if (seconds > 0)
            log_line("  %-22s %10.2f %6.1f%% %10.6f", booking_label((booking)b), seconds, 100 * seconds / wall_s,
                     t->bill.usd_per_hour * seconds / 3600);
    }
    log_line("  %-22s %10.2f %6.1f%% %10.6f", "total", wall_s, 100.0, usd);
    if (t->p.skipped) log_line("steps skipped because not finite: %lu", t->p.skipped);
    log_line("energy: %.5f kWh (%s)", ledger_energy_j(&t->bill) / 3.6e6, energy_source(t->bill.energy));
    log_line("the run is in %s: checkpoints, metrics.jsonl, ledger.json, report.html", t->o->out);
}

static void close_run(trainer *t) {
    loader_close(t->loader);
    model_free(&t->m);
    corpus_free(&t->data);
    ledger_close(&t->bill);
    if (t->metrics) fclose(t->metrics);
    device_close(t->dev);
}

status train_run(const train_options *o, const volatile sig_atomic_t *stop, train_outcome *outcome) {
    trainer t = {.o = o};
    status_code st = open_run(&t);
    if (!st) st = run(&t, stop, outcome);
    log_progress_end();
    if (!st) st = report_write(o->out);
    if (!st) describe_end(&t, *outcome);
    close_run(&t);
    return st;
}
