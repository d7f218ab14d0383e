#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtime/text.h"
#include "tools/bench.h"
#include "tools/command.h"
#include "parallel/job.h"
#include "parallel/job_same.h"

enum { STAGES = SHARD_FULL + 1 };

/* of one stage: of this rank, and after `combine` of all ranks */
typedef struct {
    double memory[MEM_CATEGORIES], staging, resident; /* bytes: the largest rank's */
    double bytes_sent;                                /* a step, the largest rank's */
    double waited_s, busy_s;                          /* a step, mean over ranks */
    double loss;
} stage_figures;

typedef struct {
    double *step_s; /* [rounds * steps] by rank 0's clock: the ranks run in step */
    double median_s;
    i64 parameters;
    stage_figures f;
} stage_result;

static status sharding(shard_options *o, comm *world, const bench_values *v, shard_stage stage) {
    TRY(shared_options_sharding(o, &v->sharding, stage, (dtype)v->dtypes.precision));
    o->world = world;
    return STATUS_OK;
}

/* Bytes that a rank sends in a step, by the table in fsdp.h. It does not subtract gathers that a filled slot saves. */
static double formula_bytes(const bench_values *v, shard_stage stage, double P, int ranks) {
    double R = stage == SHARD_NONE ? ranks : (double)v->sharding.replicas, S = ranks / R, M = (double)v->accumulate;
    bool wide = v->dtypes.precision == F32 && v->sharding.gather_dtype != GATHER_BF16;
    double sums = (double)dtype_bytes((dtype)v->sharding.reduce_dtype), weights = wide ? 4 : 2;
    double reductions = stage >= SHARD_GRADIENTS && v->sharding.reduce_every_microbatch ? M : 1;
    double gathers = stage == SHARD_FULL ? 2 * M : 1;
    double between = (sums * reductions + weights * gathers) * (S - 1) / S;
    return P * (between + 2 * sums / S * (R - 1) / R);
}

static status combine(stage_figures *f, comm *world) {
    stage_figures *all = malloc((size_t)world->ranks * sizeof *all), mine = *f;
    if (!all) FAIL(MEM, "no memory for the figures of %d ranks", world->ranks);
    status_code st = comm_allgather_host(world, all, &mine, sizeof mine);
    for (int r = 0; !st && r < world->ranks; r++) {
        if (r == 0) f->waited_s = f->busy_s = 0;
        for (int i = 0; i < MEM_CATEGORIES; i++) f->memory[i] = fmax(f->memory[i], all[r].memory[i]);
        f->resident = fmax(f->resident, all[r].resident);
        f->staging = fmax(f->staging, all[r].staging);
        f->bytes_sent = fmax(f->bytes_sent, all[r].bytes_sent);
        f->waited_s += all[r].waited_s / world->ranks;
        f->busy_s += all[r].busy_s / world->ranks;
    }
    free(all);
    return st;
}

/* Opens its own device, so that no stage finds workspaces of another. */
static status measure_one(stage_result *to, i64 round, const model_config *c, const bench_values *v, const job *j,
                          shard_stage stage) {
    int gpu;
    comm *peers = NULL;
    device *dev = NULL;
    bench_run r = {0};
    shard_options how;
    status_code st = STATUS_OK;
    TRY_DONE(placement_choose_gpu(j->world->placement, v->device, &gpu));
    st = device_open(&dev, v->device, v->threads ? (int)v->threads : j->threads, gpu);
    TRY_DONE(comm_agree(j->world, st));
    TRY_DONE(comm_open_device(&peers, j->world, dev, (comm_kind)v->comm));
    TRY_DONE(sharding(&how, peers, v, stage));
    TRY_DONE(bench_measure(&r, dev, c, v, v->recompute, how, true));
    memcpy(to->step_s + round * v->steps, r.step_s, (size_t)v->steps * sizeof(double));
    to->parameters = r.parameters;
    double weight = 1 / (double)v->rounds;
    stage_figures before = to->f;
    to->f = (stage_figures){.resident = fmax(before.resident, (double)r.resident_bytes),
                            .staging = (double)peers->memory_bytes,
                            .bytes_sent = (double)r.comm.bytes_sent,
                            .waited_s = before.waited_s + weight * (double)r.comm.waited_ns * 1e-9,
                            .busy_s = before.busy_s + weight * (double)r.comm.busy_ns * 1e-9,
                            .loss = r.loss};
    for (int i = 0; i < MEM_CATEGORIES; i++) to->f.memory[i] = (double)r.bytes[i];
done:
    bench_run_free(&r);
    comm_close(peers);
    device_close(dev);
    return st;
}

static status measure(stage_result results[STAGES], const model_config *c, const bench_values *v, const job *j) {
    int pieces;
    for (int s = 0; s < STAGES; s++) { /* refuse bad options before anything is measured */
        shard_options o;
        TRY(sharding(&o, j->world, v, (shard_stage)s));
        TRY(fsdp_pieces(&pieces, &o));
    }
    for (i64 round = 0; round < v->rounds; round++)
        for (int s = 0; s < STAGES; s++) TRY(measure_one(&results[s], round, c, v, j, (shard_stage)s));
    for (int s = 0; s < STAGES; s++) {
        results[s].median_s = bench_median(results[s].step_s, v->rounds * v->steps);
        TRY(combine(&results[s].f, j->world));
    }
    return STATUS_OK;
}

static double total(const stage_figures *f) {
    double sum = 0;
    for (int i = 0; i < MEM_CATEGORIES; i++) sum += f->memory[i];
    return sum;
}

static void print_table(const stage_result results[STAGES], const model_config *c, const bench_values *v,
                        const comm *world) {
    printf("%s, %ld parameters, %s, %d ranks, B=%ld T=%ld", c->name, results[0].parameters,
           dtype_name((dtype)v->dtypes.precision), world->ranks, v->batch, v->seq_len);
    if (v->accumulate > 1) printf(" x %ld", v->accumulate);
    printf(" on each, recompute %s; median of %ld steps in %ld rounds\n", v->recompute, v->steps * v->rounds,
           v->rounds);
    printf("  %-10s", "bytes/rank");
    for (int i = 0; i <= MEM_SLOTS; i++) printf(" %11s", arena_category_name((mem_category)i));
    printf(" %11s %11s %11s %11s\n", "other", "GEMM", "planned", "measured");
    for (int s = 0; s < STAGES; s++) {
        const stage_figures *f = &results[s].f;
        double other = total(f) - f->memory[MEM_GEMM];
        printf("  %-10s", fsdp_stage_name((shard_stage)s));
        for (int i = 0; i <= MEM_SLOTS; i++) {
            printf(" %11s", text_bytes(f->memory[i]).text);
            other -= f->memory[i];
        }
        printf(" %11s %11s %11s %11s\n", text_bytes(other).text, text_bytes(f->memory[MEM_GEMM]).text,
               text_bytes(total(f)).text, text_bytes(f->resident).text);
    }
    printf("  %-10s %11s %11s %9s %10s %11s %11s\n", "per step", "sent/rank", "formula", "step ms", "exposed ms",
           "of the step", "transfer ms");
    for (int s = 0; s < STAGES; s++) {
        const stage_figures *f = &results[s].f;
        printf("  %-10s %11s %11s %9.1f %10.1f %10.1f%% %11.1f\n", fsdp_stage_name((shard_stage)s),
               text_bytes(f->bytes_sent).text,
               text_bytes(formula_bytes(v, (shard_stage)s, (double)results[s].parameters, world->ranks)).text,
               results[s].median_s * 1e3, f->waited_s * 1e3, 100 * f->waited_s / results[s].median_s, f->busy_s * 1e3);
    }
    printf("  GEMM: packed weights and workspaces of GEMMs. measured: growth of the process's memory, without %s of "
           "communication buffers\n",
           text_bytes(results[0].f.staging).text);
}

static status fill_row(json_t *row, const stage_result *r, const bench_values *v, int stage, int ranks) {
    TRY(json_add_string(row, "shard", fsdp_stage_name((shard_stage)stage)));
    for (int i = 0; i < MEM_CATEGORIES; i++) {
        char key[64];
        snprintf(key, sizeof key, "%s_bytes", arena_category_name((mem_category)i));
        TRY(json_add_double(row, key, r->f.memory[i]));
    }
    TRY(json_add_double(row, "memory_bytes", total(&r->f)));
    TRY(json_add_double(row, "staging_bytes", r->f.staging));
    TRY(json_add_number_or_null(row, "resident_bytes", r->f.resident > 0 ? r->f.resident : NAN));
    TRY(json_add_double(row, "bytes_sent", r->f.bytes_sent));
    TRY(json_add_double(row, "bytes_sent_formula", formula_bytes(v, (shard_stage)stage, (double)r->parameters, ranks)));
    TRY(json_add_double(row, "step_ms", r->median_s * 1e3));
    TRY(json_add_double(row, "exposed_ms", r->f.waited_s * 1e3));
    TRY(json_add_double(row, "communication_ms", r->f.busy_s * 1e3));
    return json_add_number_or_null(row, "loss", r->f.loss);
}

static status fill_json(json_t *o, const stage_result results[STAGES], const model_config *c, const bench_values *v,
                        const comm *world) {
    json_t *list = json_add_array(o, "stages");
    if (!list) FAIL(MEM, "no memory for the result");
    TRY(json_add_string(o, "model", c->name));
    TRY(json_add_i64(o, "parameters", results[0].parameters));
    TRY(json_add_i64(o, "ranks", world->ranks));
    TRY(json_add_i64(o, "replicas", v->sharding.replicas));
    TRY(json_add_i64(o, "batch", v->batch));
    TRY(json_add_i64(o, "seq_len", v->seq_len));
    TRY(json_add_i64(o, "accumulate", v->accumulate));
    TRY(json_add_string(o, "precision", dtype_name((dtype)v->dtypes.precision)));
    for (int s = 0; s < STAGES; s++) {
        json_t *row = json_append_object(list);
        if (!row) FAIL(MEM, "no memory for the result");
        TRY(fill_row(row, &results[s], v, s, world->ranks));
    }
    return STATUS_OK;
}

static status print_json(const stage_result results[STAGES], const model_config *c, const bench_values *v,
                         const comm *world) {
    json_t *o = json_object();
    return command_print_json(o, fill_json(o, results, c, v, world));
}

static status same_text(char **text, const options *o) {
    static const char *const own[] = {"device", "threads"};
    size_t size;
    FILE *f = open_memstream(text, &size);
    if (!f) FAIL(MEM, "no memory to compare ranks");
    job_same_program(f);
    status_code st = job_same_options(f, o, own, sizeof own / sizeof *own);
    if (fclose(f) && !st) st = ERROR(MEM, "no memory to compare ranks");
    return st;
}

status bench_shard(const options *o, const bench_values *v) {
    model_config c;
    job j = {0};
    stage_result results[STAGES] = {0};
    char *same = NULL;
    status_code st = STATUS_OK;
    TRY_DONE(same_text(&same, o));
    TRY_DONE(job_open(&j, v->comm_timeout, same));
    TRY_DONE(model_config_load(&c, v->model));
    for (int s = 0; s < STAGES; s++) {
        results[s].step_s = malloc((size_t)(v->rounds * v->steps) * sizeof(double));
        if (!results[s].step_s) FAIL_DONE(MEM, "no memory for the times of %ld steps", v->rounds * v->steps);
    }
    TRY_DONE(measure(results, &c, v, &j));
    if (j.world->rank > 0) goto done;
    if (v->json) TRY_DONE(print_json(results, &c, v, j.world));
    else print_table(results, &c, v, j.world);
done:
    for (int s = 0; s < STAGES; s++) free(results[s].step_s);
    if (st) job_fail(&j, st);
    job_close(&j);
    free(same);
    return st;
}
