#include <stdio.h>
#include <stdlib.h>

#include "runtime/text.h"
#include "tools/bench.h"
#include "tools/command.h"

enum { POLICIES = 3 };
static const char *const policies[POLICIES] = {"none", "selective", "block"};

typedef struct {
    double *step_s; /* [rounds * steps] */
    double median_s;
    bench_run last;
} policy_result;

/* Each policy opens its own device, so that none finds workspaces of another. */
static status measure_one(bench_run *r, const model_config *c, const bench_values *v, const char *policy) {
    comm *world = NULL;
    device *dev = NULL;
    status_code st = STATUS_OK;
    TRY_DONE(comm_open_self(&world));
    TRY_DONE(device_open(&dev, v->device, (int)v->threads, 0));
    st = bench_measure(r, dev, c, v, policy, (shard_options){.world = world}, true);
done:
    comm_close(world);
    device_close(dev);
    return st;
}

static status measure(policy_result results[POLICIES], const model_config *c, const bench_values *v) {
    for (i64 round = 0; round < v->rounds; round++)
        for (int p = 0; p < POLICIES; p++) {
            bench_run r;
            TRY(measure_one(&r, c, v, policies[p]));
            memcpy(results[p].step_s + round * v->steps, r.step_s, (size_t)v->steps * sizeof(double));
            bench_run_free(&r);
            results[p].last = r;
        }
    for (int p = 0; p < POLICIES; p++) results[p].median_s = bench_median(results[p].step_s, v->rounds * v->steps);
    return STATUS_OK;
}

static void print_table(const policy_result results[POLICIES], const model_config *c, const bench_values *v) {
    const policy_result *none = &results[0];
    printf("%s, %ld layers, %s, B=%ld T=%ld, median of %ld steps in %ld rounds\n", c->name, c->L,
           dtype_name((dtype)v->dtypes.precision), v->batch, v->seq_len, v->steps * v->rounds, v->rounds);
    printf("  %-10s %12s %9s %10s %9s  %s\n", "recompute", "activations", "saved", "step ms", "slower", "gradients");
    for (int p = 0; p < POLICIES; p++) {
        const policy_result *r = &results[p];
        printf("  %-10s %12s %8.1f%% %10.1f %8.1f%%  %s\n", policies[p],
               text_bytes((double)r->last.activation_bytes).text,
               100 * (1 - (double)r->last.activation_bytes / (double)none->last.activation_bytes), r->median_s * 1e3,
               100 * (r->median_s / none->median_s - 1),
               r->last.gradient_crc32 == none->last.gradient_crc32 ? "bitwise those of none" : "DIFFER from none");
    }
}

static status fill_json(json_t *o, const policy_result results[POLICIES], const model_config *c,
                        const bench_values *v) {
    json_t *list = json_add_array(o, "policies");
    if (!list) FAIL(MEM, "no memory for the result");
    TRY(json_add_string(o, "model", c->name));
    TRY(json_add_i64(o, "batch", v->batch));
    TRY(json_add_i64(o, "seq_len", v->seq_len));
    for (int p = 0; p < POLICIES; p++) {
        json_t *row = json_append_object(list);
        if (!row) FAIL(MEM, "no memory for the result");
        TRY(json_add_string(row, "recompute", policies[p]));
        TRY(json_add_u64(row, "activation_bytes", results[p].last.activation_bytes));
        TRY(json_add_double(row, "step_ms", results[p].median_s * 1e3));
        TRY(json_add_bool(row, "gradients_bitwise_equal",
                          results[p].last.gradient_crc32 == results[0].last.gradient_crc32));
    }
    return STATUS_OK;
}

static status print_json(const policy_result results[POLICIES], const model_config *c, const bench_values *v) {
    json_t *o = json_object();
    return command_print_json(o, fill_json(o, results, c, v));
}

status bench_recompute(const bench_values *v) {
    model_config c;
    policy_result results[POLICIES] = {0};
    status_code st = STATUS_OK;
    TRY_DONE(model_config_load(&c, v->model));
    for (int p = 0; p < POLICIES; p++) {
        results[p].step_s = malloc((size_t)(v->rounds * v->steps) * sizeof(double));
        if (!results[p].step_s) FAIL_DONE(MEM, "no memory for the times of %ld steps", v->rounds * v->steps);
    }
    TRY_DONE(measure(results, &c, v));
    if (v->json) TRY_DONE(print_json(results, &c, v));
    else print_table(results, &c, v);
done:
    for (int p = 0; p < POLICIES; p++) free(results[p].step_s);
    return st;
}
