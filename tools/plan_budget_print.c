#include <math.h>

#include "runtime/json.h"
#include "runtime/text.h"
#include "tools/command.h"
#include "tools/plan_budget.h"

/* --- for people --- */

static void print_loss(const scaling_point *p, int width) {
    char text[48];
    if (isnan(p->loss)) snprintf(text, sizeof text, "-");
    else if (isnan(p->low)) snprintf(text, sizeof text, "%.3f", p->loss);
    else snprintf(text, sizeof text, "%.3f (%.3f to %.3f)", p->loss, p->low, p->high);
    printf(" %-*s", width, text);
}

enum { LOSS_WIDTH = 24 };

static void print_point(const scaling_point *p, int loss_width) {
    printf(" %10s %10s %8.1f %7.1f", text_count(p->N).text, text_count(p->D).text, p->D / p->N, p->D / p->U);
    print_loss(p, loss_width);
}

static const char *speed_source(const plan_request *base) {
    if (!isnan(base->mfu) || !isnan(base->tokens_per_s)) return "at the MFU that is given or measured";
    if (isnan(base->memory_limit)) return "its cheapest configuration, simulated";
    return "its cheapest configuration that fits, simulated";
}

static void print_money(const plan_budget_result *r, const plan_request *base, const plan_budget_options *o) {
    int devices = base->step.o.shard.ranks;
    printf("budget, not run: %s at %s per device-hour buys %.5g device-hours, %s on %d device%s", text_usd(o->usd).text,
           text_usd(base->usd_per_device_hour).text, r->device_hours, text_seconds(r->wall_s).text, devices,
           devices == 1 ? "" : "s");
    if (r->goodput < 1) printf(", of which failures and checkpoints take %.2g%%", 100 * (1 - r->goodput));
    printf("\n%.3g training FLOPs as 6 N D, at %.4g TFLOP/s of a device, the speed of %s (%s)\n\n", r->flops,
           r->flops_per_s * 1e-12, r->rate_of, speed_source(base));
}

static void print_laws(const plan_budget_result *r, const plan_budget_options *o) {
    printf("  %-22s %10s %10s %8s %7s %s\n", "best model by", "parameters", "tokens", "tok/par", "epochs",
           "loss (95% of the fit)");
    for (int i = 0; i < SCALING_LAWS; i++) {
        const scaling_law *l = &scaling_laws[i];
        printf("%c %-22s", i == r->answer ? '*' : ' ', l->name);
        bool beyond = !scaling_within_fit(l, &r->by_law[i]),
             short_of = !(l->repeats_tokens > 0) && r->by_law[i].D > o->tokens_at_most;
        print_point(&r->by_law[i], beyond || short_of ? LOSS_WIDTH : 0);
        if (beyond) printf(" outside the runs of the fit%s", short_of ? "," : "");
        if (short_of) printf(" more tokens than there are");
        putchar('\n');
    }
    printf("* the answer; ");
    if (isinf(o->tokens_at_most)) puts("the others for comparison");
    else printf("of %s different tokens, repeated where that helps\n", text_count(o->tokens_at_most).text);
    if (r->enough_usd < 0.5 * o->usd)
        printf("  the data is the limit: %s reach this loss within 0.1%%, with %s parameters and %s tokens\n",
               text_usd(r->enough_usd).text, text_count(r->enough.N).text, text_count(r->enough.D).text);
}

static void print_presets(const plan_budget_result *r, const plan_request *base) {
    printf("\n  %-22s %10s %10s %8s %7s %-24s %6s %10s  configuration\n", "nearest presets", "parameters", "tokens",
           "tok/par", "epochs", "loss", "MFU", "memory");
    for (int i = 0; i < r->preset_count; i++) {
        const plan_budget_preset *m = &r->presets[i];
        printf("  %-22s", m->step.c.name);
        if (isnan(m->at.D)) {
            printf(" %10s does not fit into %s, whatever the configuration\n", text_count(m->at.N).text,
                   text_bytes(base->memory_limit).text);
            continue;
        }
        print_point(&m->at, LOSS_WIDTH);
        if (isnan(m->p.mfu[PLAN_EXACT])) printf(" %6s", "-");
        else printf(" %5.1f%%", 100 * m->p.mfu[PLAN_EXACT]);
        printf(" %10s  %s%s\n", text_bytes(m->p.memory_bytes).text, plan_search_describe(&m->step).text,
               m->fits ? "" : " (does not fit)");
    }
}

static void print_changes(const plan_budget_result *r) {
    printf("\n  %-22s %10s %10s %8s %7s %-24s %10s\n", "if", "parameters", "tokens", "tok/par", "epochs", "loss",
           "FLOPs");
    for (int i = 0; i < PLAN_BUDGET_CHANGES; i++) {
        const plan_budget_change *c = &r->changes[i];
        printf("  %-22s", c->change);
        print_point(&c->at, LOSS_WIDTH);
        printf(" %10.3g\n", c->flops);
    }
}

static void print_sources(void) {
    puts("\nassumed: losses are nats per token of the papers' own data and tokenizers; compare them with each other "
         "only.\n"
         "  6 N D counts all parameters, embeddings included, whose lookups take no time: a preset with a large "
         "vocabulary\n"
         "  trains on more tokens than its size suggests, and its loss may be below that of the answer");
    for (int i = 0; i < SCALING_LAWS; i++) {
        const scaling_law *l = &scaling_laws[i];
        printf("  %-22s %s", l->name, l->source);
        if (l->covariance_source) printf("; interval: %s", l->covariance_source);
        printf("; models of %s to %s parameters\n", text_count(l->least_N).text, text_count(l->most_N).text);
    }
}

static void print_text(const plan_budget_result *r, const plan_request *base, const plan_budget_options *o) {
    print_money(r, base, o);
    print_laws(r, o);
    print_presets(r, base);
    print_changes(r);
    print_sources();
}

/* --- for programs --- */

static status fill_point(json_t *o, const scaling_point *p) {
    if (!o) FAIL(MEM, "no memory for the result");
    TRY(json_add_double(o, "parameters", p->N));
    TRY(json_add_number_or_null(o, "tokens", p->D));
    TRY(json_add_number_or_null(o, "different_tokens", p->U));
    TRY(json_add_number_or_null(o, "epochs", p->D / p->U));
    TRY(json_add_number_or_null(o, "loss", p->loss));
    TRY(json_add_number_or_null(o, "loss_low", p->low));
    return json_add_number_or_null(o, "loss_high", p->high);
}

static status fill_laws(json_t *list, const plan_budget_result *r) {
    for (int i = 0; i < SCALING_LAWS; i++) {
        json_t *o = json_append_object(list);
        TRY(fill_point(o, &r->by_law[i]));
        TRY(json_add_string(o, "law", scaling_laws[i].key));
        TRY(json_add_string(o, "source", scaling_laws[i].source));
        TRY(json_add_bool(o, "within_fit", scaling_within_fit(&scaling_laws[i], &r->by_law[i])));
    }
    return STATUS_OK;
}

static status fill_presets(json_t *list, const plan_budget_result *r, const plan_request *base) {
    for (int i = 0; i < r->preset_count; i++) {
        const plan_budget_preset *m = &r->presets[i];
        json_t *o = json_append_object(list);
        TRY(fill_point(o, &m->at));
        TRY(json_add_string(o, "model", m->step.c.name));
        if (isnan(base->memory_limit)) TRY(json_add_number_or_null(o, "fits", NAN));
        else TRY(json_add_bool(o, "fits", m->fits));
        bool made = !isnan(m->at.D);
        TRY(json_add_number_or_null(o, "memory_bytes", made ? m->p.memory_bytes : NAN));
        TRY(json_add_number_or_null(o, "tokens_per_s", made ? m->p.tokens_per_s : NAN));
        TRY(json_add_number_or_null(o, "mfu", made ? m->p.mfu[PLAN_EXACT] : NAN));
        TRY(json_add_string(o, "options", made ? plan_search_describe(&m->step).text : ""));
    }
    return STATUS_OK;
}

static status fill_changes(json_t *list, const plan_budget_result *r) {
    for (int i = 0; i < PLAN_BUDGET_CHANGES; i++) {
        json_t *o = json_append_object(list);
        TRY(fill_point(o, &r->changes[i].at));
        TRY(json_add_string(o, "change", r->changes[i].change));
        TRY(json_add_double(o, "flops", r->changes[i].flops));
    }
    return STATUS_OK;
}

static status fill_result(json_t *o, const plan_budget_result *r, const plan_request *base,
                          const plan_budget_options *given) {
    TRY(json_add_double(o, "budget_usd", given->usd));
    TRY(json_add_double(o, "usd_per_device_hour", base->usd_per_device_hour));
    TRY(json_add_number_or_null(o, "tokens_at_most", given->tokens_at_most));
    TRY(json_add_i64(o, "devices", base->step.o.shard.ranks));
    TRY(json_add_double(o, "device_hours", r->device_hours));
    TRY(json_add_double(o, "wall_s", r->wall_s));
    TRY(json_add_double(o, "goodput", r->goodput));
    TRY(json_add_double(o, "flops", r->flops));
    TRY(json_add_double(o, "flops_per_s_of_a_device", r->flops_per_s));
    TRY(json_add_string(o, "speed_of", r->rate_of));
    TRY(json_add_number_or_null(o, "usd_within_a_thousandth_of_the_loss", r->enough_usd));
    TRY(json_add_string(o, "answer", scaling_laws[r->answer].key));
    json_t *laws = json_add_array(o, "laws"), *list = json_add_array(o, "presets"),
           *changes = json_add_array(o, "changes");
    if (!laws || !list || !changes) FAIL(MEM, "no memory for the result");
    TRY(fill_laws(laws, r));
    TRY(fill_presets(list, r, base));
    return fill_changes(changes, r);
}

status plan_budget(const plan_request *base, const plan_budget_options *o) {
    plan_budget_result r;
    TRY(plan_budget_run(&r, base, o));
    if (o->json) {
        json_t *json = json_object();
        return command_print_json(json, fill_result(json, &r, base, o));
    }
    print_text(&r, base, o);
    return STATUS_OK;
}
