#include "tools/bench.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include "runtime/gemm.h"
#include "runtime/rng.h"
#include "train/trainer.h"

/* The memory in use; from_here: and the peak begins anew. Else at its peak. 0: not known. On a GPU nothing is freed before the
 * measurement ends. */
static status used_bytes(uint64_t *bytes, device *dev, bool from_here) {
    TRY(dev->ops->used(dev, bytes));
    if (dev->kind != DEVICE_CPU) return STATUS_OK;
    if (from_here) {
        malloc_trim(0); /* memory that an earlier measurement freed must not count */
        if (!host_restart_peak()) {
            *bytes = 0;
            return STATUS_OK;
        }
    }
    host_used u = host_process();
    *bytes = from_here ? u.now : u.peak;
    return STATUS_OK;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

double bench_median(const double *x, i64 n) {
    double *sorted = malloc((size_t)n * sizeof *sorted);
    if (!sorted) return x[0];
    memcpy(sorted, x, (size_t)n * sizeof *sorted);
    qsort(sorted, (size_t)n, sizeof *sorted, ascending);
    double m = n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
    free(sorted);
    return m;
}

/* 0 if the gradients are sharded */
static status crc_of_gradients(uint32_t *crc, const model *m) {
    enum { CHUNK = 1 << 18 };
    const parameters *s = &m->parameters;
    *crc = 0;
    if (!s->grads) return STATUS_OK;
    float *host = malloc(CHUNK * sizeof *host);
    if (!host) FAIL(MEM, "no memory for %zu bytes of gradients", CHUNK * sizeof *host);
    status_code st = STATUS_OK;
    for (i64 from = 0; !st && from < s->p.size; from += CHUNK) {
        size_t bytes = (size_t)(s->p.size - from < CHUNK ? s->p.size - from : CHUNK) * sizeof *host;
        st = m->dev->ops->copy(m->dev, host, s->grads + from, bytes);
        *crc = (uint32_t)crc32_z(*crc, (const unsigned char *)host, bytes);
    }
    free(host);
    return st;
}

static status queue_step(step_state *s, const step_args *a, const int32_t *tokens) {
    model *m = s->m;
    comm *world = m->parameters.o.shard.world;
    i64 n = m->s.B * m->s.T * a->micro_batches * world->ranks;
    TRY(step_begin(s));
    for (i64 i = 0; i < a->micro_batches; i++)
        TRY(model_forward_backward(m, NULL,
                                   (token_batch){.tokens = tokens, .targets = tokens + 1, .B = m->s.B, .T = m->s.T},
                                   (float)(1.0 / (double)n), i == 0, i + 1 == a->micro_batches));
    return step_update_weights(s, a);
}

/* after all communication in flight is complete */
static status elapsed(comm_totals *t, comm *world) {
    TRY(comm_barrier(world));
    TRY(comm_check(world));
    *t = comm_read_totals(world);
    return STATUS_OK;
}

/* Collects the results of queued steps until only `but` are in flight. As in training, a GPU always has one step queued. */
static status collect_steps(bench_run *r, step_state *s, const bench_values *v, uint64_t but) {
    while (step_under_way(s) > but) {
        step_result result;
        TRY(step_collect(s, &result));
        i64 step = (i64)s->collected - 1 - v->warmup;
        if (step >= 0) r->step_s[step] = result.seconds;
        r->loss = result.loss;
    }
    return STATUS_OK;
}

static status run_steps(bench_run *r, step_state *s, const bench_values *v, const int32_t *tokens, bool checksum) {
    model *m = s->m;
    comm *world = m->parameters.o.shard.world;
    device *dev = m->dev;
    comm_totals before = {0}, after;
    step_args a = {.lr = 1e-4,
                   .beta1 = 0.9,
                   .beta2 = 0.95,
                   .eps = 1e-8,
                   .weight_decay = 0.1,
                   .clip = 1,
                   .micro_batches = v->accumulate};
    for (i64 i = 0; i < v->warmup + v->steps; i++) {
        flop_counter flops = dev->flops;
        if (i == v->warmup) {
            TRY(collect_steps(r, s, v, 0));
            TRY(elapsed(&before, world));
        }
        comm_set_step(world, (uint64_t)i + 1);
        TRY(queue_step(s, &a, tokens));
        for (int k = 0; k < WORK_KINDS; k++) r->flops.work[k] = dev->flops.work[k] - flops.work[k];
        TRY(collect_steps(r, s, v, dev->kind == DEVICE_CPU || i == 0 ? 0 : 1));
        if (i == 0 && checksum) TRY(crc_of_gradients(&r->gradient_crc32, m));
    }
    TRY(collect_steps(r, s, v, 0));
    TRY(elapsed(&after, world));
    uint64_t steps = (uint64_t)v->steps;
    r->comm = (comm_totals){.bytes_sent = (after.bytes_sent - before.bytes_sent) / steps,
                            .busy_ns = (after.busy_ns - before.busy_ns) / steps,
                            .waited_ns = (after.waited_ns - before.waited_ns) / steps};
    return STATUS_OK;
}

status bench_measure(bench_run *r, device *dev, const model_config *c, const bench_values *v, const char *recompute,
                     shard_options how, bool checksum) {
    model m = {0};
    step_state steps;
    *r = (bench_run){.count = v->steps};
    status_code st = STATUS_OK;
    i64 n = v->batch * v->seq_len;
    model_shape s = {.B = v->batch, .T = v->seq_len};
    int32_t *tokens = malloc((size_t)(n + 1) * sizeof *tokens);
    r->step_s = malloc((size_t)v->steps * sizeof *r->step_s);
    if (!tokens || !r->step_s) FAIL_DONE(MEM, "no memory for %ld tokens", n);
    TRY_DONE(recompute_parse(&s.recompute, recompute, c->L));
    parameters_options precision = shared_options_training(&v->dtypes);
    precision.shard = how;
    gemm_search(dev, v->gemm_search);
    TRY_DONE(attention_choose(dev, (attention_kind)v->attention));
    uint64_t resident, peak;
    size_t planned[MEM_CATEGORIES];
    TRY_DONE(step_memory(planned, dev, c, s, precision)); /* oneDNN now has its code, which is no memory of the model */
    TRY_DONE(used_bytes(&resident, dev, true));
    TRY_DONE(step_init(&steps, &m, dev, c, s, precision));
    TRY_DONE(parameters_randomize(&m.parameters, 1));
    uint64_t seed = (uint64_t)how.world->rank + 7;
    for (i64 i = 0; i <= n; i++) tokens[i] = (int32_t)rng_below(seed, RNG_ORDER, (uint64_t)i, (uint64_t)c->V);
    TRY_DONE(run_steps(r, &steps, v, tokens, checksum));
    TRY_DONE(used_bytes(&peak, dev, false));
    r->resident_bytes = resident && peak > resident ? peak - resident : 0;
    r->memory_bytes = m.memory.capacity + gemm_memory_bytes(dev) + attention_memory_bytes(dev);
    r->activation_bytes = m.memory.bytes[MEM_ACTIVATIONS];
    for (int i = 0; i < MEM_CATEGORIES; i++) r->bytes[i] = m.memory.bytes[i];
    r->parameters = m.parameters.p.parameters;
done:
    model_free(&m);
    free(tokens);
    if (st) bench_run_free(r);
    return st;
}

uint64_t bench_planned_bytes(const bench_run *r) {
    uint64_t sum = 0;
    for (int i = 0; i < MEM_CATEGORIES; i++) sum += r->bytes[i];
    return sum;
}

void bench_run_free(bench_run *r) {
    free(r->step_s);
    r->step_s = NULL;
}
