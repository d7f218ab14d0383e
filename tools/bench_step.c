#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtime/gemm.h"
#include "runtime/text.h"
#include "tools/bench.h"
#include "tools/command.h"
#include "train/bill/hardware.h"
#include "train/model/cost.h"

typedef struct {
    double step_s, tokens_per_s, flops_per_s, executed_per_s, peak, datasheet;
} figures;

static void print_table(const bench_values *v, const device *dev, const model_config *c, const bench_run *r,
                        const figures *f) {
    printf("%s, %ld parameters, %s, B=%ld T=%ld", c->name, r->parameters, dtype_name((dtype)v->dtypes.precision),
           v->batch, v->seq_len);
    if (v->accumulate > 1) printf(" x %ld", v->accumulate);
    printf(", recompute %s%s, on %s, ", v->recompute, v->attention ? ", cuDNN's attention" : "", dev->name);
    if (dev->kind == DEVICE_CPU) printf("%d threads, ", dev->threads);
    printf("%s\n", dev->isa);
    if (v->dtypes.precision == BF16 && !dev->bf16_products)
        printf("  this CPU has no bf16 GEMM: GEMMs and the peak run in f32 on widened operands\n");
    printf("  step              %10.1f ms (median of %ld)\n", f->step_s * 1e3, r->count);
    printf("  tokens            %10.0f per second\n", f->tokens_per_s);
    printf("  model FLOPs       %10.1f GFLOP/s\n", f->flops_per_s * 1e-9);
    printf("  executed FLOPs    %10.1f GFLOP/s\n", f->executed_per_s * 1e-9);
    if (v->peak_seconds > 0) {
        printf("  measured peak     %10.1f GFLOP/s (best large GEMM in this run)\n", f->peak * 1e-9);
        printf("  fraction_of_peak  %10.3f\n", f->flops_per_s / f->peak);
    }
    if (f->datasheet > 0)
        printf("  MFU               %10.3f of %.4g TFLOP/s\n", f->flops_per_s / f->datasheet, f->datasheet * 1e-12);
    printf("  memory            %10s (activations %s)\n", text_bytes((double)r->memory_bytes).text,
           text_bytes((double)r->activation_bytes).text);
    if (r->resident_bytes)
        printf("  measured memory   %10s (peak of the resident memory, less what was there before the model)\n",
               text_bytes((double)r->resident_bytes).text);
}

static status fill_json(json_t *o, const bench_values *v, const device *dev, const model_config *c, const bench_run *r,
                        const figures *f) {
    TRY(json_add_string(o, "model", c->name));
    TRY(json_add_i64(o, "parameters", r->parameters));
    TRY(json_add_string(o, "precision", dtype_name((dtype)v->dtypes.precision)));
    TRY(json_add_string(o, "recompute", v->recompute));
    TRY(json_add_string(o, "attention", attention_kind_name((attention_kind)v->attention)));
    TRY(json_add_i64(o, "batch", v->batch));
    TRY(json_add_i64(o, "seq_len", v->seq_len));
    TRY(json_add_i64(o, "accumulate", v->accumulate));
    TRY(json_add_string(o, "device", dev->name));
    TRY(json_add_string(o, "isa", dev->isa));
    TRY(json_add_i64(o, "threads", dev->threads));
    TRY(json_add_bool(o, "bf16_products", dev->bf16_products));
    TRY(json_add_double(o, "step_ms", f->step_s * 1e3));
    TRY(json_add_double(o, "tokens_per_s", f->tokens_per_s));
    TRY(json_add_u128(o, "flops_model", meter_flops_model(&r->flops)));
    TRY(json_add_u128(o, "flops_executed", meter_flops_executed(&r->flops)));
    TRY(json_add_double(o, "flops_per_s", f->flops_per_s));
    TRY(json_add_number_or_null(o, "peak_measured_flops", f->peak));
    TRY(json_add_number_or_null(o, "fraction_of_peak", f->flops_per_s / f->peak));
    TRY(json_add_number_or_null(o, "mfu", f->datasheet > 0 ? f->flops_per_s / f->datasheet : NAN));
    TRY(json_add_u64(o, "memory_bytes", r->memory_bytes));
    TRY(json_add_u64(o, "activation_bytes", r->activation_bytes));
    TRY(json_add_u64(o, "planned_bytes", bench_planned_bytes(r)));
    TRY(json_add_number_or_null(o, "measured_bytes", r->resident_bytes ? (double)r->resident_bytes : NAN));
    return json_add_number_or_null(o, "loss", r->loss);
}

static status print_json(const bench_values *v, const device *dev, const model_config *c, const bench_run *r,
                         const figures *f) {
    json_t *o = json_object();
    return command_print_json(o, fill_json(o, v, dev, c, r, f));
}

status bench_step(const bench_values *v) {
    model_config c;
    comm *world = NULL;
    device *dev = NULL;
    bench_run r = {0};
    status_code st = STATUS_OK;
    dtype t = (dtype)v->dtypes.precision;
    TRY_DONE(model_config_load(&c, v->model));
    TRY_DONE(comm_open_self(&world));
    TRY_DONE(device_open(&dev, v->device, (int)v->threads, 0));
    TRY_DONE(bench_measure(&r, dev, &c, v, v->recompute, (shard_options){.world = world}, false));
    const hardware *h = hardware_find(dev->kind, dev->name);
    figures f = {.step_s = bench_median(r.step_s, r.count), .peak = NAN};
    if (v->peak_seconds > 0) TRY_DONE(gemm_measure_peak(dev, t, v->peak_seconds, &f.peak));
    f.tokens_per_s = (double)(v->batch * v->seq_len * v->accumulate) / f.step_s;
    f.flops_per_s = (double)meter_flops_model(&r.flops) / f.step_s;
    f.executed_per_s = (double)meter_flops_executed(&r.flops) / f.step_s;
    f.datasheet = !h ? 0 : t == F32 ? h->peak_fp32 : h->peak_bf16;
    if (v->json) TRY_DONE(print_json(v, dev, &c, &r, &f));
    else print_table(v, dev, &c, &r, &f);
done:
    bench_run_free(&r);
    comm_close(world);
    device_close(dev);
    return st;
}
