#include "tools/plan_budget.h"

#include <math.h>
#include <stdlib.h>

#include "train/model/presets.h"

enum { MOST_PRESETS = 128 };

/* --- presets --- */

typedef struct {
    const plan_request *base;
    const plan_budget_options *o;
    double mfu; /* NAN: each preset's speed is simulated */
    int count;
    model_config c[MOST_PRESETS]; /* those whose context holds a sequence */
    double N[MOST_PRESETS];
    plan_budget_preset made[MOST_PRESETS];
    bool is_made[MOST_PRESETS];
} presets;

static status list_presets(presets *l) {
    i64 T = l->base->step.s.T;
    for (int i = 0; i < presets_count() && l->count < MOST_PRESETS; i++) {
        model_config *c = &l->c[l->count];
        presets_get(c, i);
        if (c->context < T) continue;
        l->N[l->count++] = (double)model_config_parameters(c);
    }
    if (!l->count) FAIL(ARG, "--seq-len %ld: no preset has such a context", T);
    return STATUS_OK;
}

static status make_preset(presets *l, int i) {
    plan_budget_preset *m = &l->made[i];
    plan_request r = *l->base;
    if (l->is_made[i]) return STATUS_OK;
    r.step.c = l->c[i];
    recompute_policy *recompute = &r.step.s.recompute; /* block:K of all blocks stays that of all blocks */
    bool all = recompute->blocks >= l->base->step.c.L;
    recompute->blocks = all || recompute->blocks > r.step.c.L ? r.step.c.L : recompute->blocks;
    r.tokens = 0;
    r.tokens_per_s = NAN;
    r.mfu = l->mfu;
    m->step = r.step;
    if (!isnan(l->mfu)) {
        TRY(plan_make(&m->p, &r));
        m->fits = plan_search_fits(&r, m->p.memory_bytes);
    } else {
        plan_search_result found;
        status_code st = plan_search_run(&found, &r, l->o->kept);
        if (!st && found.cheapest >= 0) {
            m->step = found.frontier[found.cheapest].step;
            m->p = found.frontier[found.cheapest].p;
            m->fits = true;
        }
        plan_search_free(&found);
        TRY(st);
    }
    l->is_made[i] = true;
    return STATUS_OK;
}

/* the preset at place `rank` in order of the distance of its size to N, among those that fit where fits is asked for; -1: none */
static status nearest(int *found, presets *l, double N, int rank, bool must_fit) {
    bool seen[MOST_PRESETS] = {false};
    *found = -1;
    for (int k = 0; k < l->count; k++) {
        int best = -1;
        for (int i = 0; i < l->count; i++)
            if (!seen[i] && (best < 0 || fabs(log(l->N[i] / N)) < fabs(log(l->N[best] / N)))) best = i;
        seen[best] = true;
        TRY(make_preset(l, best));
        if ((!must_fit || l->made[best].fits) && rank-- == 0) {
            *found = best;
            return STATUS_OK;
        }
    }
    return STATUS_OK;
}

static double flops_per_s_of(const presets *l, int i) {
    return 6 * l->N[i] * l->made[i].p.tokens_per_s / l->base->step.o.shard.ranks;
}

/* --- the answer --- */

static double goodput_of(const plan *p) { return isnan(p->goodput) ? 1 : p->goodput; }

static status check(const plan_request *base, const plan_budget_options *o) {
    if (!(o->usd > 0) || isinf(o->usd)) FAIL(ARG, "--budget %g: expected a positive number of USD", o->usd);
    if (!(o->tokens_at_most > 0)) FAIL(ARG, "--tokens-at-most %g: expected a positive number", o->tokens_at_most);
    if (isnan(base->usd_per_device_hour))
        FAIL(ARG, "--budget: the price of a device-hour is not known; expected --price or --capex");
    if (!(base->usd_per_device_hour > 0))
        FAIL(ARG, "--budget: at a price of 0 it buys any model; expected a price above 0");
    return STATUS_OK;
}

/* The speed depends on the model and the model on the speed: repeated until the nearest preset stays the same. */
static status find_answer(plan_budget_result *r, presets *l, double tokens_at_most) {
    const scaling_law *law = &scaling_laws[r->answer];
    double device_s = r->device_hours * 3600, guess = isnan(l->mfu) ? l->base->m.flops : l->mfu * l->base->peak;
    int at = -1;
    scaling_point p;
    if (!(guess > 0) || isinf(guess))
        FAIL(ARG, "--budget: the FLOP/s of a device are not known; expected --peak-tflops");
    TRY(scaling_optimum(&p, law, device_s * guess, tokens_at_most));
    for (int i = 0; i < 8; i++) {
        int next;
        TRY(nearest(&next, l, p.N, 0, isnan(l->mfu)));
        if (next < 0)
            FAIL(ARG, "--budget: no preset fits into the memory of %d devices; expected more devices or another --gpu",
                 l->base->step.o.shard.ranks);
        if (next == at) break;
        at = next;
        r->goodput = goodput_of(&l->made[at].p);
        r->flops_per_s = flops_per_s_of(l, at);
        r->flops = device_s * r->goodput * r->flops_per_s;
        TRY(scaling_optimum(&p, law, r->flops, tokens_at_most));
    }
    snprintf(r->rate_of, sizeof r->rate_of, "%s", l->made[at].step.c.name);
    return STATUS_OK;
}

static status find_presets(plan_budget_result *r, presets *l, double tokens_at_most) {
    const scaling_law *law = &scaling_laws[r->answer];
    for (int k = 0; k < PLAN_BUDGET_PRESETS; k++) {
        int i;
        TRY(nearest(&i, l, r->by_law[r->answer].N, k, false));
        if (i < 0) break;
        plan_budget_preset *m = &r->presets[r->preset_count++];
        *m = l->made[i];
        double D = m->p.tokens_per_s * r->wall_s * goodput_of(&m->p);
        m->at = m->p.tokens_per_s > 0 ? scaling_at(law, l->N[i], D, tokens_at_most)
                                      : (scaling_point){l->N[i], NAN, NAN, NAN, NAN, NAN};
    }
    return STATUS_OK;
}

static status find_changes(plan_budget_result *r, double tokens_at_most) {
    static const struct {
        const char *change;
        double factor;
    } of[PLAN_BUDGET_CHANGES] = {
        {"price 20% lower", 1 / 0.8}, {"price 20% higher", 1 / 1.2}, {"MFU 20% lower", 0.8}, {"MFU 20% higher", 1.2}};
    for (int i = 0; i < PLAN_BUDGET_CHANGES; i++) {
        plan_budget_change *c = &r->changes[i];
        *c = (plan_budget_change){.change = of[i].change, .flops = r->flops * of[i].factor};
        TRY(scaling_optimum(&c->at, &scaling_laws[r->answer], c->flops, tokens_at_most));
    }
    return STATUS_OK;
}

static status find_enough(plan_budget_result *r, const plan_budget_options *o) {
    const scaling_law *law = &scaling_laws[r->answer];
    double least = 1e-9, most = 1, loss = 1.001 * r->by_law[r->answer].loss; /* fractions of the FLOPs */
    r->enough_usd = NAN;
    if (isinf(o->tokens_at_most)) return STATUS_OK;
    r->enough = r->by_law[r->answer];
    while (most / least > 1.001) {
        double middle = sqrt(least * most);
        scaling_point p;
        TRY(scaling_optimum(&p, law, r->flops * middle, o->tokens_at_most));
        if (p.loss > loss) least = middle;
        else most = middle, r->enough = p;
    }
    r->enough_usd = most * o->usd;
    return STATUS_OK;
}

static status run(plan_budget_result *r, presets *l, const plan_request *base, const plan_budget_options *o) {
    l->mfu = base->mfu;
    if (!isnan(base->tokens_per_s)) {
        plan p;
        TRY(plan_make(&p, base));
        l->mfu = p.mfu[PLAN_EXACT];
        if (isnan(l->mfu))
            FAIL(ARG, "--budget with a rate: the peak of the device is not known; expected --peak-tflops");
    }
    r->answer = isinf(o->tokens_at_most) ? SCALING_BESIROGLU : SCALING_MUENNIGHOFF;
    r->device_hours = o->usd / base->usd_per_device_hour;
    r->wall_s = r->device_hours / base->step.o.shard.ranks * 3600;
    TRY(list_presets(l));
    TRY(find_answer(r, l, o->tokens_at_most));
    for (int i = 0; i < SCALING_LAWS; i++)
        TRY(scaling_optimum(&r->by_law[i], &scaling_laws[i], r->flops, o->tokens_at_most));
    TRY(find_presets(r, l, o->tokens_at_most));
    TRY(find_changes(r, o->tokens_at_most));
    return find_enough(r, o);
}

status plan_budget_run(plan_budget_result *r, const plan_request *base, const plan_budget_options *o) {
    *r = (plan_budget_result){0};
    TRY(check(base, o));
    presets *l = calloc(1, sizeof *l);
    if (!l) FAIL(MEM, "no memory for the presets");
    l->base = base;
    l->o = o;
    status_code st = run(r, l, base, o);
    free(l);
    return st;
}
