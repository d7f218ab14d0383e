#include "tools/plan_target.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtime/path.h"
#include "runtime/text.h"
#include "tools/command.h"
#include "train/bill/curve.h"

/* what RUN/config.json tells of the curve */
typedef struct {
    double warmup;
    bool decays; /* the learning rate, after the warm-up */
    char schedule[16];
} run_options;

/* all of the run, from its first token */
typedef struct {
    const char *run;
    double loss;
    run_options options;
    curve_run curve;
    curve_fit fit;
    curve_interval floor, tokens, steps, seconds, usd; /* usd: NAN: no price is known */
} target;

static status read_options(run_options *o, const char *run) {
    json_t *json;
    path_text path = path_join(run, "config.json");
    TRY(json_read_file(&json, path.text));
    status_code st = json_get_double(json, path.text, "warmup", &o->warmup);
    if (!st) st = json_get_string(json, path.text, "schedule", o->schedule, sizeof o->schedule);
    json_decref(json);
    o->decays = strcmp(o->schedule, "constant") != 0;
    return st;
}

/* what had been spent at the last step, and `per` each token from there, forwards or back */
static double spent_at(double tokens, const curve_run *c, double spent, double per) {
    return fmax(0, spent + (tokens - c->tokens) * per);
}

static curve_interval of_tokens(const target *t, double spent, double per) {
    return (curve_interval){.low = spent_at(t->tokens.low, &t->curve, spent, per),
                            .best = spent_at(t->tokens.best, &t->curve, spent, per),
                            .high = spent_at(t->tokens.high, &t->curve, spent, per)};
}

static status find(target *t, double price) {
    const curve_run *c = &t->curve;
    TRY(read_options(&t->options, t->run));
    TRY(curve_read(&t->curve, t->run, t->options.warmup));
    TRY(curve_fit_points(&t->fit, c->points, c->count));
    t->floor = curve_floor(&t->fit);
    TRY(curve_target(&t->tokens, &t->fit, t->loss));
    curve_interval steps = of_tokens(t, c->steps, c->steps / c->tokens);
    t->steps = (curve_interval){ceil(steps.low), ceil(steps.best), ceil(steps.high)};
    t->seconds = of_tokens(t, c->wall_s, c->s_per_token);
    double usd_per_token = isnan(price) ? c->usd_per_token : c->s_per_token * price * c->ranks / 3600;
    t->usd = of_tokens(t, c->usd, usd_per_token);
    return STATUS_OK;
}

static bool reached(const target *t) { return t->curve.reached <= t->loss; }

/* --- for people --- */

static void print_row(const char *name, const curve_interval *i, short_text (*show)(double)) {
    printf("  %-10s %12s %12s %12s\n", name, show(i->low).text, show(i->best).text, show(i->high).text);
}

static void print_text(const target *t) {
    const curve_run *c = &t->curve;
    const curve_law *law = &t->fit.law;
    printf("loss %g of %s, from its own curve; nothing is trained\n", t->loss, t->run);
    printf("  law        L = %.4g + %.4g D^-%.4g, D tokens; it approaches %.4g to %.4g\n", law->floor, law->scale,
           law->exponent, t->floor.low, t->floor.high);
    printf("  fitted to  %d %s between %s and %s tokens; they differ from it by %.2g\n", t->fit.points,
           c->held_out ? "means of held-out losses" : "means of training losses", text_count(t->fit.from_tokens).text,
           text_count(t->fit.to_tokens).text, t->fit.rms);
    printf("  so far     %s tokens, %s, %s\n", text_count(c->tokens).text, text_seconds(c->wall_s).text,
           isnan(c->usd) ? "dollars not known" : text_usd(c->usd).text);
    if (reached(t))
        printf("  reached    a held-out loss of %.4f after %s tokens\n", c->reached,
               text_count(c->reached_tokens).text);
    printf("%-12s %12s %12s %12s\n", "since start", "5%", "best", "95%");
    print_row("tokens", &t->tokens, text_count);
    print_row("steps", &t->steps, text_count);
    print_row("time", &t->seconds, text_seconds);
    if (isnan(t->usd.best)) printf("  %-10s %12s\n", "dollars", "not known");
    else print_row("dollars", &t->usd, text_usd);
    printf(
        "It assumes that the curve goes on as it has: by the same law, on data that does not repeat more than so far, "
        "and at\nthe same speed. A curve that bends needs more: runs have exceeded the 95%% by up to 20%% "
        "(tools/PLANNING.md).\n");
    if (t->options.decays)
        printf(
            "The learning rate of this run decays (%s). A longer run has a slower decay, and at first a higher loss.\n",
            t->options.schedule);
}

/* --- for programs --- */

static status add_interval(json_t *o, const char *key, const curve_interval *i) {
    json_t *item = json_add_object(o, key);
    if (!item) FAIL(MEM, "no memory for the result");
    TRY(json_add_number_or_null(item, "low", i->low));
    TRY(json_add_number_or_null(item, "best", i->best));
    return json_add_number_or_null(item, "high", i->high);
}

static status fill(json_t *o, const target *t) {
    const curve_run *c = &t->curve;
    TRY(json_add_string(o, "run", t->run));
    TRY(json_add_double(o, "target_loss", t->loss));
    TRY(json_add_double(o, "floor", t->fit.law.floor));
    TRY(json_add_double(o, "scale", t->fit.law.scale));
    TRY(json_add_double(o, "exponent", t->fit.law.exponent));
    TRY(json_add_double(o, "residual", t->fit.rms));
    TRY(json_add_i64(o, "points", t->fit.points));
    TRY(json_add_string(o, "losses", c->held_out ? "held-out" : "training"));
    TRY(json_add_double(o, "tokens_so_far", c->tokens));
    TRY(json_add_double(o, "seconds_so_far", c->wall_s));
    TRY(json_add_number_or_null(o, "usd_so_far", c->usd));
    TRY(json_add_number_or_null(o, "reached_loss", reached(t) ? c->reached : NAN));
    TRY(json_add_number_or_null(o, "reached_tokens", reached(t) ? c->reached_tokens : NAN));
    TRY(add_interval(o, "floor_interval", &t->floor));
    TRY(add_interval(o, "tokens", &t->tokens));
    TRY(add_interval(o, "steps", &t->steps));
    TRY(add_interval(o, "seconds", &t->seconds));
    return add_interval(o, "usd", &t->usd);
}

status plan_target(const char *run, double loss, double price, bool json) {
    target *t = calloc(1, sizeof *t);
    if (!t) FAIL(MEM, "no memory for the curve of %s", run);
    t->run = run;
    t->loss = loss;
    status_code st = find(t, price);
    if (!st && json) {
        json_t *o = json_object();
        st = command_print_json(o, fill(o, t));
    } else if (!st) {
        print_text(t);
    }
    free(t);
    return st;
}
