#include "runtime/durable.h"
#include "runtime/path.h"
#include "train/trainer_parts.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/gemm.h"
#include "runtime/json.h"
#include "runtime/log.h"
#include "runtime/stop.h"
#include "train/bill/hardware.h"
#include "train/bill/metrics_rewind.h"
#include "train/checkpoint/weights.h"
#include "train/memory_check.h"
#include "train/model/cost.h"

/* --- figures of all ranks --- */

void trainer_measure_memory(trainer *t) {
    host_used u = host_process();
    if (!t->memory_before || u.peak <= t->memory_before + t->mine.measured_bytes) return;
    t->mine.measured_bytes = u.peak - t->memory_before;
}

status trainer_gather(trainer *t) {
    t->mine.bill = ledger_mine(&t->bill);
    t->mine.memory_bytes =
        t->m.memory.capacity + gemm_memory_bytes(t->dev) + attention_memory_bytes(t->dev) + t->peers->memory_bytes;
    t->mine.threads = (uint64_t)t->dev->threads;
    t->mine.stop = (uint64_t)stop_signal();
    double minutes = t->o->checkpoint_minutes;
    t->mine.save_is_due = minutes > 0 && t->saved_ns && (double)(meter_clock_ns() - t->saved_ns) >= minutes * 60e9;
    TRY(comm_allgather_host(t->world, t->all, &t->mine, sizeof t->mine));
    ledger_sum(&t->bill, &t->all->bill, sizeof *t->all);
    if (trainer_is_root(t) && t->begun) ledger_heartbeat(&t->bill, t->mine.bill.joules);
    return STATUS_OK;
}

/* The measurement needs memory of its own. If a model leaves none on some device, the run continues without a peak. */
status trainer_measure_peak(trainer *t, double seconds, double *flops_per_s) {
    double sums[2] = {0};
    TRY(comm_barrier(t->world)); /* measure at the same time: ranks of a host share its memory, and perhaps its cores */
    status_code st = gemm_measure_peak(t->dev, t->o->precision.t, seconds, &sums[0]);
    if (st == STATUS_MEM) log_line("peak not measured: %s", status_message());
    else TRY(st);
    sums[1] = st == STATUS_OK;
    TRY(comm_sum_f64(t->world, sums, 2));
    *flops_per_s = sums[1] == t->world->ranks ? sums[0] : 0;
    return STATUS_OK;
}

static status find_datasheet_peak(trainer *t) {
    const hardware *h = hardware_find(t->dev->kind, t->dev->name);
    double peak = !h ? 0 : t->o->precision.t == BF16 ? h->peak_bf16 : h->peak_fp32;
    double sums[] = {t->bill.gpu_counted ? 0 : peak, peak > 0};
    TRY(comm_sum_f64(t->world, sums, 2));
    t->peak_datasheet = sums[1] == t->world->ranks ? sums[0] : 0;
    return STATUS_OK;
}

/* --- the global batch --- */

/* the largest --batch up to the given one that divides the global batch; 0: none does with this number of ranks */
static i64 fitting_batch(const trainer *t) {
    i64 row = t->o->seq_len * t->world->ranks, batch = t->o->batch;
    if (t->global_batch % row) return 0;
    while (t->global_batch / row % batch) batch--;
    return batch;
}

/* folder: the checkpoint that the global batch comes from, or NULL */
static status check_global_batch(const trainer *t, const char *folder) {
    const train_options *o = t->o;
    int n = t->world->ranks;
    i64 micro = o->batch * o->seq_len * n, fits = fitting_batch(t);
    if (t->global_batch % micro == 0) return STATUS_OK;
    char of[80] = "", advice[160];
    if (n > 1) snprintf(of, sizeof of, " times %d ranks", n);
    if (fits) snprintf(advice, sizeof advice, "--batch %ld fits", fits);
    else if (folder && n > 1)
        snprintf(advice, sizeof advice, "its %ld sequences per step cannot be divided among %d ranks",
                 t->global_batch / o->seq_len, n);
    else snprintf(advice, sizeof advice, "--global-batch %ld fits", (t->global_batch / micro + 1) * micro);
    FAIL(ARG, "--global-batch %ld%s%s: expected a multiple of --batch %ld times --seq-len %ld%s = %ld tokens; %s",
         t->global_batch, folder ? " of " : "", folder ? folder : "", o->batch, o->seq_len, of, micro, advice);
}

static status choose_global_batch(trainer *t, const progress *then, const char *folder) {
    i64 asked = t->o->global_batch, kept = then ? (i64)then->global_batch : 0;
    t->global_batch = kept ? kept : asked ? asked : t->o->batch * t->o->seq_len * t->world->ranks;
    if (kept && asked && asked != kept)
        FAIL(DATA,
             "%s: --global-batch was %ld, is now %ld, but a resumed run cannot change it; expected --global-batch %ld, "
             "or 0",
             folder, kept, asked, kept);
    i64 tokens;
    if (__builtin_mul_overflow(t->global_batch, t->o->steps, &tokens))
        FAIL(ARG, "--steps %ld of %ld tokens each: the run would have more than 2^63 tokens; expected fewer steps",
             t->o->steps, t->global_batch);
    return check_global_batch(t, kept ? folder : NULL);
}

/* --- what a resumed run keeps --- */

static void fill_sharding(trainer *t) {
    const parameters_options *s = &t->o->precision;
    const shard_options *h = &s->shard;
    if (t->world->ranks == 1) strcpy(t->p.sharding, "alone");
    else
        snprintf(t->p.sharding, sizeof t->p.sharding, "%s/%d/%s/%s/%s", fsdp_stage_name(h->stage), h->replicas,
                 dtype_name(h->reduce_bf16 ? BF16 : F32), dtype_name(h->gather_bf16 ? BF16 : s->t),
                 h->accumulate_locally ? "once" : "every");
}

static void fill_fixed(trainer *t) {
    const parameters_options *s = &t->o->precision;
    t->p.seed = t->o->seed;
    t->p.finite = 1;
    if (t->o->init) {
        path_text name = path_last(t->o->init);
        size_t length = strlen(name.text), most = sizeof t->p.init - 1;
        snprintf(t->p.init, most + 1, "%s", length > most ? name.text + length - most : name.text);
    }
    t->p.loss = t->p.val_loss = NAN;
    t->p.data_crc32 = t->data.crc32;
    t->p.train_tokens = (uint64_t)t->data.train_tokens;
    snprintf(t->p.tokenizer, sizeof t->p.tokenizer, "%s",
             t->data.fingerprint[0] ? t->data.fingerprint : TOKENIZER_NOT_KNOWN);
    t->p.seq_len = (uint64_t)t->o->seq_len;
    t->p.threads = (uint64_t)t->dev->threads;
    t->p.ranks = (uint64_t)t->world->ranks;
    t->p.batch = (uint64_t)t->o->batch;
    fill_sharding(t);
    snprintf(t->p.device, sizeof t->p.device, "%s, %s%s%s", t->dev->name, t->dev->isa, t->world->ranks > 1 ? ", " : "",
             t->world->ranks > 1 ? t->peers->name : "");
    strcpy(t->p.precision, dtype_name(s->t));
    strcpy(t->p.moments, dtype_name(s->moments));
    strcpy(t->p.master, s->t == F32 ? "weights" : s->master ? "fp32" : "none");
}

static status check_same(const char *folder, const char *what, uint64_t then, uint64_t now) {
    if (then != now)
        FAIL(DATA, "%s: %s was %lu, is now %lu, but a resumed run cannot change it", folder, what, then, now);
    return STATUS_OK;
}

static status check_same_text(const char *folder, const char *what, const char *then, const char *now) {
    if (strcmp(then, now) != 0)
        FAIL(DATA, "%s: %s was %s, is now %s, but a resumed run cannot change it", folder, what, then, now);
    return STATUS_OK;
}

static status check_fixed(const trainer *t, const char *folder, const progress *then) {
    const progress *now = &t->p;
    TRY(check_same(folder, "--seq-len", then->seq_len, now->seq_len));
    TRY(check_same_text(folder, "the tokenizer of the data", then->tokenizer, now->tokenizer));
    TRY(check_same(folder, "the crc32 of the data", then->data_crc32, now->data_crc32));
    TRY(check_same(folder, "--val-fraction: the number of tokens to train on", then->train_tokens, now->train_tokens));
    TRY(check_same_text(folder, "--precision", then->precision, now->precision));
    TRY(check_same_text(folder, "--moments", then->moments, now->moments));
    return check_same_text(folder, "--master", then->master, now->master);
}

/* compares all keys of the configuration, not only those that decide the shapes of tensors */
static status check_same_model(const trainer *t, const char *folder) {
    model_config then;
    TRY(model_config_load(&then, folder));
    json_t *a = model_config_to_json(&then), *b = model_config_to_json(&t->c);
    bool same = a && b && json_equal(a, b);
    json_decref(a);
    json_decref(b);
    if (!same)
        FAIL(DATA, "%s/config.json: is not the model of --model %s, but a resumed run cannot change its model", folder,
             t->o->model);
    return STATUS_OK;
}

static void log_other_order(const progress *then, const progress *now) {
    if (then->ranks != now->ranks)
        log_line("ranks: %lu before, %lu now: the resumed run is equal within rounding, not bitwise", then->ranks,
                 now->ranks);
    else if (then->threads != now->threads)
        log_line("threads: %lu before, %lu now: the resumed run is equal within rounding, not bitwise", then->threads,
                 now->threads);
    else if (then->batch && then->batch != now->batch)
        log_line("batch: %lu before, %lu now: the resumed run is equal within rounding, not bitwise", then->batch,
                 now->batch);
    else if (then->sharding[0] && strcmp(then->sharding, now->sharding) != 0)
        log_line("sharding: %s before, %s now: the resumed run is equal within rounding, not bitwise", then->sharding,
                 now->sharding);
    if (then->device[0] && strcmp(then->device, now->device) != 0)
        log_line("device: %s before, %s now: the resumed run is equal within rounding, not bitwise", then->device,
                 now->device);
}

static status resume(trainer *t, const char *folder, progress then) {
    TRY(comm_agree(t->world, check_same_model(t, folder)));
    log_other_order(&then, &t->p);
    TRY(checkpoint_load(folder, &t->m.parameters, &t->c));
    then.threads = t->p.threads;
    then.ranks = t->p.ranks;
    then.batch = t->p.batch;
    memcpy(then.sharding, t->p.sharding, sizeof then.sharding);
    memcpy(then.device, t->p.device, sizeof then.device);
    if (isnan(then.model_flops)) /* saved by an earlier version */
        then.model_flops = (double)then.tokens * cost_flops_per_token(&t->c, t->o->seq_len);
    t->p = then;
    t->saved_step = then.step;
    TRY(step_set_updates(&t->step_state, then.updates));
    log_line("resumed from %s", folder);
    trainer_log_changes(t);
    return STATUS_OK;
}

/* --- opening --- */

static status check_room(trainer *t, model_shape s, parameters_options precision) {
    size_t bytes = 0;
    TRY(step_memory(t->planned, t->dev, &t->c, s, precision));
    for (int i = 0; i < MEM_CATEGORIES; i++) bytes += t->planned[i];
    return memory_check_job(&t->job, t->dev,
                            bytes - gemm_memory_bytes(t->dev)); /* a GPU's workspace is taken already */
}

static status measure_peak_at_start(trainer *t) {
    const train_options *o = t->o;
    if (o->peak_seconds > 0) TRY(trainer_measure_peak(t, o->peak_seconds, &t->peak_measured));
    t->peak_assumed = t->peak_measured;
    if (!isnan(o->budget) && o->peak_seconds == 0) TRY(trainer_measure_peak(t, 0.05, &t->peak_assumed));
    return STATUS_OK;
}

static status open_model(trainer *t) {
    const train_options *o = t->o;
    TRY(comm_agree(t->world, model_config_load(&t->c, o->model)));
    TRY(comm_agree(t->world, trainer_choose_vocabulary(t)));
    model_shape s = {.B = o->batch, .T = o->seq_len, .documents = o->mask_documents};
    TRY(recompute_parse(&s.recompute, o->recompute, t->c.L));
    parameters_options precision = o->precision;
    precision.shard.world = t->peers;
    TRY(check_room(t, s, precision));
    TRY(measure_peak_at_start(t)); /* before the model takes memory, since the measurement needs some too */
    if (t->dev->kind == DEVICE_CPU && host_restart_peak()) t->memory_before = host_process().now;
    TRY(step_init(&t->step_state, &t->m, t->dev, &t->c, s, precision));
    t->m.look = trainer_look;
    t->m.look_context = t;
    t->step_flops = cost_training_flops(&t->c, s.recompute, t->global_batch / o->seq_len, o->seq_len);
    return STATUS_OK;
}

/* The newest checkpoint, and what cannot be resumed from it. It comes before the data, because text may take hours to become tokens,
 * which another seed or tokenizer would replace. */
static status find_newest(trainer *t) {
    const train_options *o = t->o;
    const progress *then = &t->then;
    int found;
    TRY(checkpoint_newest(t->world, o->out, &found, &t->newest));
    if (!found) {
        t->newest.text[0] = 0;
        return STATUS_OK;
    }
    const char *folder = t->newest.text;
    if (!o->resume)
        FAIL(ARG, "--out %s: already holds a run; continue it with --resume, or name another folder", o->out);
    TRY(comm_agree(t->world, checkpoint_progress(folder, &t->then)));
    TRY(trainer_check_steps(t, folder, then));
    TRY(check_same(folder, "--seed", then->seed, o->seed));
    if (t->tokenizer && strcmp(then->tokenizer, TOKENIZER_NOT_KNOWN) != 0)
        TRY(check_same_text(folder, "the tokenizer of the data", then->tokenizer, tokenizer_fingerprint(t->tokenizer)));
    return STATUS_OK;
}

/* The model, from the newest checkpoint, from --init or with random weights. Writes nothing. */
static status start_or_resume(trainer *t) {
    const train_options *o = t->o;
    const char *folder = t->newest.text;
    const progress *then = folder[0] ? &t->then : NULL;
    fill_fixed(t);
    if (then) TRY(check_fixed(t, folder, then));
    TRY(choose_global_batch(t, then, folder));
    t->p.global_batch = (uint64_t)t->global_batch;
    TRY(open_model(t));
    if (then) return resume(t, folder, *then);
    if (o->resume) log_line("%s has no checkpoint yet: starting from the beginning", o->out);
    if (!o->init) return parameters_randomize(&t->m.parameters, o->seed);
    TRY(weights_read(&t->m.parameters, &t->c, o->init));
    log_line("weights: from %s", o->init);
    return STATUS_OK;
}

/* From here on RUN/heartbeat records the time of this attempt, even if it is killed. */
static status begin_heartbeat(trainer *t) {
    const char *out = t->o->out;
    bool fresh = access(path_join(out, "metrics.jsonl").text, F_OK) && access(path_join(out, "checkpoints").text, F_OK);
    return heartbeat_begin(out, fresh, &t->earlier);
}

/* the files that rank 0 writes, once nothing can refuse the run any more */
static status open_files(trainer *t) {
    const train_options *o = t->o;
    path_text config = path_join(o->out, "config.json");
    t->metrics_path = path_join(o->out, "metrics.jsonl");
    spent_totals last = t->earlier;
    struct stat lines;
    bool again = o->resume || last.ns || (lstat(t->metrics_path.text, &lines) == 0 && S_ISREG(lines.st_mode));
    if (again) {        /* an earlier attempt that saved nothing still has to be billed */
        if (!last.ns) { /* no heartbeat: lines of metrics hold no power */
            last.usd = NAN;
            for (int i = 0; i < POWER_ENTRIES; i++) last.power[i] = NAN;
        }
        TRY(metrics_rewind(t->metrics_path.text, t->p.step, &last));
        TRY(ledger_resume(&t->bill, o->out, t->p.step, &t->p.spent, &last));
    }
    TRY(metrics_open(&t->metrics, t->metrics_path.text, again));
    TRY(trainer_exports_open(t));
    return durable_write_file(config.text, o->config_json, strlen(o->config_json));
}

double trainer_evaluation_tokens(const trainer *t) {
    double tokens = (double)(t->data.tokens - t->data.train_tokens);
    double most = (double)(t->o->eval_batches * t->o->batch * t->data.count) * (double)t->o->seq_len;
    return t->o->eval_batches && tokens > most ? most : tokens;
}

/* until they are measured: a checkpoint at 200 MB/s, an evaluation at half of the peak */
static void estimate_pauses(trainer *t) {
    const size_t *bytes = t->m.memory.bytes;
    t->mine.save_s = (double)(bytes[MEM_WEIGHTS] + bytes[MEM_MASTER] + bytes[MEM_MOMENTS]) / 200e6;
    if (t->peak_assumed > 0)
        t->mine.eval_s =
            trainer_evaluation_tokens(t) * cost_flops_per_token(&t->c, t->o->seq_len) / 3 / (t->peak_assumed / 2);
}

status trainer_open(trainer *t) {
    const train_options *o = t->o;
    int gpu;
    TRY(heartbeat_open());
    meter_start_at_birth(&t->bill.time, BOOK_STARTUP);
    t->saved_step = UINT64_MAX;
    TRY(job_open(&t->job, o->comm_timeout, o->same));
    t->world = t->job.world;
    t->all = calloc((size_t)t->world->ranks, sizeof *t->all);
    t->asked = calloc((size_t)t->world->ranks, sizeof *t->asked);
    if (!t->all || !t->asked) FAIL(MEM, "no memory for %d ranks", t->world->ranks);
    TRY(trainer_lock(t));
    TRY(comm_agree(t->world, trainer_exports_check(t)));
    TRY(comm_agree(t->world, trainer_plan_check(t)));
    TRY(comm_agree(t->world, trainer_is_root(t) ? begin_heartbeat(t) : STATUS_OK));
    TRY(placement_choose_gpu(t->world->placement, o->device, &gpu));
    TRY(comm_agree(t->world, device_open(&t->dev, o->device, o->threads ? o->threads : t->job.threads, gpu)));
    gemm_search(t->dev, o->gemm_search);
    TRY(comm_agree(t->world, attention_choose(t->dev, o->attention)));
    TRY(comm_open_device(&t->peers, t->world, t->dev, o->comm));
    TRY(ledger_open(&t->bill, t->dev, t->world, &o->terms));
    if (!isnan(o->budget) && isnan(t->bill.usd_per_hour))
        FAIL(ARG, "--budget %g: the price of %s is not known; expected --price as well", o->budget, t->dev->name);
    TRY(comm_agree(t->world, trainer_open_tokenizer(t)));
    TRY(find_newest(t));
    TRY(trainer_open_data(t));
    if (o->stop_at_loss > 0 && !trainer_holds_out(t))
        FAIL(ARG,
             "--stop-at-loss %g: no tokens are held out to evaluate; expected more data or a larger --val-fraction",
             o->stop_at_loss);
    TRY(start_or_resume(t));
    const char *from = o->tokenizer ? NULL : o->init;
    TRY(comm_agree(t->world, trainer_is_root(t) ? model_files_read(&t->files, t->tokenizer, from) : STATUS_OK));
    TRY(trainer_open_loader(t));
    TRY(comm_agree(t->world, trainer_is_root(t) ? open_files(t) : STATUS_OK));
    t->begun = true;
    TRY(find_datasheet_peak(t));
    estimate_pauses(t);
    t->dev->clock = &t->bill.time;
    comm_set_meter(t->peers, &t->bill.time);
    t->first_step = t->p.step;
    t->val_loss = NAN;
    TRY(trainer_gather(t));
    t->saved_ns = meter_clock_ns();
    TRY(trainer_measure_open(t));
    trainer_log_start(t);
    t->first_wall_s = ledger_wall_s(&t->bill);
    t->measures.startup_s = (double)t->mine.bill.ns[BOOK_STARTUP] * 1e-9;
    return comm_agree(t->world, trainer_plan_open(t));
}

void trainer_close(trainer *t) {
    trainer_exports_close(t);
    trainer_measure_close(t);
    loader_close(t->loader);
    model_free(&t->m);
    model_files_free(&t->files);
    dataset_close(&t->data);
    tokenizer_close(t->tokenizer);
    if (t->peers) comm_set_meter(t->peers, NULL);
    ledger_close(&t->bill);
    if (t->metrics) fclose(t->metrics);
    run_lock_release(t->lock);
    comm_close(t->peers);
    device_close(t->dev);
    free(t->all);
    free(t->asked);
    job_close(&t->job);
}
