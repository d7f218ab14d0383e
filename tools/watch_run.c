#include "tools/watch_run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "runtime/file.h"
#include "train/bill/heartbeat.h"
#include "train/lock_owner.h"

enum { SILENT_S = 15 /* a heartbeat comes every 2 s */, MOST_LINES = 10000 /* in an update: 0.2 s */ };

static const char *const curve_keys[WATCH_CURVES] = {"loss", "val_loss", "tokens_per_s", "mfu"};

static double number(const json_t *o, const char *key) { return json_number_or_nan(json_object_get(o, key)); }

/* ---- steps ---- */

static void forget_steps(watch_run *w) {
    w->n = 0;
    w->width = 1;
    w->steps = w->skipped = w->resumed = 0;
    w->val_loss = w->val_step = w->usual_rate = w->drift_time = w->drift_memory = w->drift_usd = NAN;
    json_decref(w->last);
    w->last = NULL;
}

static void merge(watch_bin *a, const watch_bin *b) {
    a->to = b->to;
    a->count += b->count;
    for (int k = 0; k < WATCH_CURVES; k++) {
        a->sum[k] += b->sum[k];
        a->known[k] += b->known[k];
    }
}

static void widen(watch_run *w) {
    for (int i = 0; i < WATCH_BINS / 2; i++) {
        w->bins[i] = w->bins[2 * i];
        merge(&w->bins[i], &w->bins[2 * i + 1]);
    }
    w->n = WATCH_BINS / 2;
    w->width *= 2;
}

static void add_bin(watch_run *w, const json_t *line, double step) {
    watch_bin one = {.from = step, .to = step, .count = 1};
    for (int k = 0; k < WATCH_CURVES; k++) {
        double v = number(line, curve_keys[k]);
        if (k == WATCH_USE && isnan(v)) v = number(line, "mfu_of_measured_peak");
        if (!(fabs(v) < 1e18)) continue;
        one.sum[k] = v;
        one.known[k] = 1;
    }
    while (w->n && w->bins[w->n - 1].from >= step) w->n--; /* steps that were lost and done again */
    if (w->n && w->bins[w->n - 1].count < w->width) {
        merge(&w->bins[w->n - 1], &one);
        return;
    }
    if (w->n == WATCH_BINS) widen(w);
    w->bins[w->n++] = one;
}

static void add_step(watch_run *w, const metrics_line *line) {
    const json_t *o = line->json;
    if (isnan(line->step)) return;
    add_bin(w, o, line->step);
    w->recent[w->steps++ % WATCH_RECENT] = (watch_step){.step = line->step,
                                                        .wall_s = number(o, "wall_s"),
                                                        .usd = number(o, "usd"),
                                                        .step_ms = number(o, "step_ms"),
                                                        .tokens_per_s = number(o, "tokens_per_s"),
                                                        .exposed_ms = number(o, "exposed_ms"),
                                                        .energy_j = number(o, "energy_j"),
                                                        .skew = number(o, "skew"),
                                                        .slowest_rank = number(o, "slowest_rank")};
    w->skipped += json_is_true(json_object_get(o, "skipped"));
    double val_loss = number(o, "val_loss");
    if (!isnan(val_loss)) w->val_loss = val_loss, w->val_step = line->step;
    if (json_find(o, "drift_time") || json_find(o, "drift_memory")) { /* an evaluation */
        w->drift_time = number(o, "drift_time");
        w->drift_memory = number(o, "drift_memory");
        w->drift_usd = number(o, "drift_usd");
    }
    json_decref(w->last);
    w->last = json_incref((json_t *)o);
}

const watch_step *watch_run_recent(const watch_run *w, i64 back) {
    return back < w->steps && back < WATCH_RECENT ? &w->recent[(w->steps - 1 - back) % WATCH_RECENT] : NULL;
}

/* The oldest recent step of this attempt: within one, wall time and steps increase together. */
static const watch_step *oldest_in_row(const watch_run *w) {
    const watch_step *oldest = watch_run_recent(w, 0);
    for (i64 back = 1;; back++) {
        const watch_step *s = watch_run_recent(w, back);
        if (!s || !(s->step == oldest->step - 1 && s->wall_s <= oldest->wall_s)) return oldest;
        oldest = s;
    }
}

double watch_run_seconds_per_step(const watch_run *w) {
    const watch_step *last = watch_run_recent(w, 0);
    if (!last) return NAN;
    const watch_step *first = oldest_in_row(w);
    return first == last ? last->step_ms * 1e-3 : (last->wall_s - first->wall_s) / (last->step - first->step);
}

double watch_run_usd_per_hour(const watch_run *w) {
    const watch_step *last = watch_run_recent(w, 0);
    if (!last) return NAN;
    const watch_step *first = oldest_in_row(w);
    double seconds = last->wall_s - first->wall_s, usd = last->usd - first->usd;
    if (first == last) seconds = last->step_ms * 1e-3, usd = number(w->last, "usd_step");
    return seconds > 0 ? usd / seconds * 3600 : NAN;
}

static status read_steps(watch_run *w) {
    metrics_line line;
    if (w->in && metrics_reader_replaced(w->in)) {
        metrics_reader_close(w->in);
        w->in = NULL;
        forget_steps(w);
    }
    if (!w->in) {
        path_text metrics = path_join(w->run.text, "metrics.jsonl");
        w->behind = false;
        if (access(metrics.text, F_OK)) return STATUS_OK;
        TRY(metrics_reader_open(&w->in, metrics.text));
        metrics_reader_follow(w->in);
    }
    w->behind = true;
    for (int i = 0; i < MOST_LINES && w->behind; i++) {
        TRY(metrics_reader_next(w->in, &line, &w->behind));
        if (!w->behind) break;
        if (line.event) w->resumed++;
        else add_step(w, &line);
    }
    return STATUS_OK;
}

/* ---- the other files, each optional ---- */

static json_t *read_object(const char *run, const char *name) {
    json_t *o = NULL;
    path_text path = path_join(run, name);
    if (access(path.text, F_OK) || json_read_file(&o, path.text)) return NULL;
    if (json_is_object(o)) return o;
    json_decref(o);
    return NULL;
}

static void read_config(watch_run *w) {
    json_t *config = read_object(w->run.text, "config.json");
    const char *model = json_string_or_null(json_object_get(config, "init"));
    if (!model) model = json_string_or_null(json_object_get(config, "model"));
    w->planned = number(config, "steps");
    snprintf(w->model, sizeof w->model, "%s", model ? path_last(model).text : "");
    json_decref(config);
}

/* Whichever knows the most wall time is the newest. */
static void find_totals(watch_run *w) {
    spent_totals lines = {.usd = number(w->last, "usd"), .joules = number(w->last, "energy_total_j")};
    double line_s = number(w->last, "wall_s"), ledger_s = number(w->ledger, "wall_s");
    if (!heartbeat_read(&w->now, w->run.text)) w->now = (spent_totals){.usd = NAN, .joules = NAN};
    if (line_s < 1e9 && line_s * 1e9 > (double)w->now.ns) {
        w->now = lines;
        w->now.ns = (uint64_t)(line_s * 1e9);
    }
    if (ledger_s < 1e9 && ledger_s * 1e9 > (double)w->now.ns)
        w->now = (spent_totals){
            .ns = (uint64_t)(ledger_s * 1e9), .usd = number(w->ledger, "usd"), .joules = number(w->ledger, "energy_j")};
}

/* Whether the process that locked the run has ended without removing its lock, and this host knows it. */
static bool was_killed(const char *path) {
    char *text;
    size_t bytes;
    lock_owner owner;
    process self = process_self();
    if (file_read_up_to(64 << 10, path, &text, &bytes)) return false;
    bool gone = lock_owner_parse(&owner, text, bytes) && process_gone(&owner.process, &self);
    free(text);
    return gone;
}

static void find_state(watch_run *w) {
    static const char *const signs[] = {"heartbeat", "metrics.jsonl", ".lock"};
    time_t newest = 0, now = time(NULL);
    struct stat info;
    path_text lock = path_join(w->run.text, ".lock");
    bool locked = lstat(lock.text, &info) == 0;
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
        if (lstat(path_join(w->run.text, signs[i]).text, &info) == 0 && info.st_mtime > newest) newest = info.st_mtime;
    w->silent_s = newest && now > newest ? (double)(now - newest) : 0;
    if (locked && was_killed(lock.text)) w->state = WATCH_KILLED;
    else if (locked) w->state = w->silent_s > SILENT_S ? WATCH_SILENT : WATCH_RUNNING;
    else w->state = w->last ? WATCH_ENDED : WATCH_NOT_BEGUN;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_rate(const watch_run *w) {
    double rates[WATCH_BINS];
    int count = 0;
    for (int i = 0; i < w->n; i++)
        if (w->bins[i].known[WATCH_RATE] > 0)
            rates[count++] = w->bins[i].sum[WATCH_RATE] / w->bins[i].known[WATCH_RATE];
    qsort(rates, (size_t)count, sizeof *rates, by_value);
    return count ? rates[count / 2] : NAN;
}

status watch_run_update(watch_run *w) {
    TRY(read_steps(w));
    json_decref(w->ledger);
    w->ledger = read_object(w->run.text, "ledger.json");
    read_config(w);
    find_totals(w);
    find_state(w);
    w->usual_rate = median_rate(w);
    return STATUS_OK;
}

status watch_run_open(watch_run *w, const char *run) {
    static const char *const files[] = {"metrics.jsonl", "heartbeat", ".lock"};
    *w = (watch_run){.width = 1, .planned = NAN};
    w->run = path_add_ending(run, "");
    forget_steps(w);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (access(path_join(run, files[i]).text, F_OK) == 0) return STATUS_OK;
    FAIL(DATA, "%s: found no metrics.jsonl and no sign of a run, expected the folder of a run", run);
}

void watch_run_close(watch_run *w) {
    metrics_reader_close(w->in);
    json_decref(w->last);
    json_decref(w->ledger);
}
