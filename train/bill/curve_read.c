#include <math.h>
#include <stdlib.h>

#include "runtime/path.h"
#include "train/bill/curve.h"
#include "train/bill/metrics_reader.h"

/* sums of the lines of a bin */
typedef struct {
    double count, tokens, loss;
} sums;

typedef struct {
    sums training[CURVE_MOST], held_out[CURVE_MOST];
} bins;

static void add(sums *list, double tokens, double loss) {
    int at = (int)(log10(tokens) * CURVE_BINS_PER_DECADE);
    if (!isfinite(loss) || at < 0 || at >= CURVE_MOST) return;
    list[at].count++;
    list[at].tokens += tokens;
    list[at].loss += loss;
}

typedef struct {
    double step, ranks, tokens, wall_s, usd, usd_per_s;
} moment;

static double number(const json_t *line, const char *key) { return json_number_or_nan(json_object_get(line, key)); }

static moment moment_of(const json_t *line) {
    return (moment){.step = number(line, "step"),
                    .ranks = number(line, "ranks"),
                    .tokens = number(line, "tokens"),
                    .wall_s = number(line, "wall_s"),
                    .usd = number(line, "usd"),
                    .usd_per_s = number(line, "usd_step") / number(line, "step_ms") * 1e3};
}

static void take(curve_run *r, const sums *list, double from) {
    r->count = 0;
    for (int i = 0; i < CURVE_MOST; i++)
        if (list[i].count > 0 && list[i].tokens / list[i].count >= from)
            r->points[r->count++] =
                (curve_point){list[i].tokens / list[i].count, list[i].loss / list[i].count, list[i].count};
}

static void add_line(curve_run *r, bins *b, const json_t *line, const moment *m) {
    double loss = number(line, "val_loss");
    add(b->training, m->tokens, number(line, "loss"));
    add(b->held_out, m->tokens, loss);
    if (isnan(r->reached) || loss < r->reached) r->reached = loss, r->reached_tokens = m->tokens;
}

static status read_lines(curve_run *r, bins *b, const char *path, double skip_steps) {
    metrics_reader *in;
    metrics_line line;
    moment first = {.step = NAN}, last = first;
    double from = 0;
    bool more;
    TRY(metrics_reader_open(&in, path));
    status_code st = STATUS_OK;
    for (;;) {
        TRY_DONE(metrics_reader_next(in, &line, &more));
        if (!more) break;
        if (line.event) continue;
        moment m = moment_of(line.json);
        if (!(m.step >= 1 && m.tokens >= 1 && m.wall_s >= 0)) continue; /* damaged, or written by another program */
        if (isnan(first.step)) first = m;
        if (m.step <= skip_steps) from = m.tokens;
        add_line(r, b, line.json, &m);
        last = m;
    }
    if (!(last.tokens > first.tokens)) FAIL_DONE(DATA, "%s: has fewer than two steps", path);
    r->steps = last.step, r->ranks = last.ranks;
    r->tokens = last.tokens, r->wall_s = last.wall_s, r->usd = last.usd;
    r->s_per_token = (last.wall_s - first.wall_s) / (last.tokens - first.tokens);
    r->usd_per_token = r->s_per_token * last.usd_per_s;
    from = fmax(from, last.tokens / 10);
    take(r, b->held_out, from);
    r->held_out = r->count >= CURVE_FEWEST;
    if (!r->held_out) take(r, b->training, from);
done:
    metrics_reader_close(in);
    return st;
}

status curve_read(curve_run *r, const char *run, double skip_steps) {
    *r = (curve_run){.reached = NAN, .reached_tokens = NAN};
    bins *b = calloc(1, sizeof *b);
    if (!b) FAIL(MEM, "no memory for the curve of %s", run);
    status_code st = read_lines(r, b, path_join(run, "metrics.jsonl").text, skip_steps);
    free(b);
    return st;
}
