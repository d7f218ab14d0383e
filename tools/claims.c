#include "tools/claims.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tools/plan.h"
#include "train/bill/hardware.h"
#include "train/bill/money.h"
#include "train/model/cost.h"

enum { HOURS_PER_DAY = 24 };

#define REASON(r, ...) snprintf((r)->reason, sizeof(r)->reason, __VA_ARGS__)

/* where the article's method is the right one */
static status agree(claim_result *r, double value) {
    r->again = r->ours = value;
    return STATUS_OK;
}

/* of devices that draw `watts` each; with a price of 1 per kWh the money for power is the kWh */
static double kwh(double device_hours, double watts, double pue) {
    return device_hours * money_power_usd_per_hour(watts, pue, 1);
}

/* what `days` of machines cost that are bought for 4 years, without interest and without a salvage value */
static double amortised(double capex, double days) {
    return money_owned_usd_per_hour(&(money_owned){.capex_usd = capex, .years = 4, .utilisation = 1}) * days *
           HOURS_PER_DAY;
}

/* --- Meta's Segment Anything, 256 A100 --- */

static const double sam_hardware = 4972000 + 500000 + 400000 + 200000, sam_operation = 2470;

static status sam_hw(claim_result *r) {
    REASON(r, "as a sum, of which the article leaves $%.0f a GPU for GPUs, servers and network", 4972000 / 256.0);
    return agree(r, sam_hardware);
}

static status sam_opex(claim_result *r) {
    double energy = kwh(256 * 5 * HOURS_PER_DAY, 400, 1);
    r->again = r->ours = 0.12 * energy;
    REASON(r, "%.0f kWh at $0.12 are $%.0f; the article does not explain the other $%.0f", energy, r->ours,
           sam_operation - r->ours);
    return STATUS_OK;
}

static status sam_total(claim_result *r) {
    r->again = sam_hardware + sam_operation;
    r->ours = amortised(sam_hardware, 5);
    REASON(r,
           "charges all of the capital to 5 days; of machines that last 4 years, 5 days are $%.0f, and $%.0f with the "
           "operation",
           r->ours, r->ours + sam_operation);
    return STATUS_OK;
}

static status sam_paper(claim_result *r) {
    REASON(r, "256 GPUs at 400 W for 68 h");
    return agree(r, kwh(256 * 68, 400, 1));
}

/* --- PaLM (Chowdhery et al. 2022, table 1): SwiGLU, one key/value head, embedding tied to the head --- */

static model_config palm(i64 L, i64 C, i64 H) {
    return (model_config){.L = L,
                          .C = C,
                          .H = H,
                          .K = 1,
                          .D = 256,
                          .F = 4 * C,
                          .V = 256000,
                          .context = 2048,
                          .swiglu = true,
                          .tied = true};
}

static status palm_flops(claim_result *r, const model_config *c, double N) {
    const double T = 2048, tokens = 780e9;
    r->again = plan_flops_palm(N, (double)c->L, (double)(c->H * c->D), T) * tokens;
    r->ours = cost_flops_per_token_palm(c, (i64)T) * tokens;
    REASON(r, "%.4g parameters by the shape; 6ND alone gives %.3g, exact-causal %.3g",
           (double)model_config_parameters(c), plan_flops_6n(N) * tokens, cost_flops_per_token(c, (i64)T) * tokens);
    return STATUS_OK;
}

static status palm_8b(claim_result *r) {
    model_config c = palm(32, 4096, 16);
    return palm_flops(r, &c, 8.63e9);
}

static status palm_540b(claim_result *r) {
    model_config c = palm(118, 18432, 48);
    return palm_flops(r, &c, 540.35e9);
}

static status palm_ratio(claim_result *r) {
    claim_result large, small;
    TRY(palm_540b(&large));
    TRY(palm_8b(&small));
    r->again = 2.56e24 / 4.29e22;
    r->ours = large.ours / small.ours;
    REASON(r, "of the two rows above");
    return STATUS_OK;
}

static status palm_vocab(claim_result *r) {
    model_config c = palm(118, 18432, 48);
    r->ours = 2.56e24 / cost_flops_per_token_palm(&c, 2048);
    REASON(r, "the model's 2.56e24 FLOP are those of %.0fe9 tokens of training; the vocabulary has 256 thousand",
           r->ours * 1e-9);
    return STATUS_OK;
}

static status palm_mfu(claim_result *r) {
    const hardware *tpu;
    TRY(hardware_by_key(&tpu, "tpu-v4"));
    model_config c = palm(118, 18432, 48);
    REASON(r, "dense peak of TPU v4: %.0f TFLOP/s", tpu->peak_bf16 * 1e-12);
    r->again = 100 * plan_utilisation(plan_flops_palm(540.35e9, 118, 48 * 256, 2048), 238.3e3, 6144, 275e12);
    r->ours = 100 * plan_utilisation(cost_flops_per_token_palm(&c, 2048), 238.3e3, 6144, tpu->peak_bf16);
    return STATUS_OK;
}

/* --- MosaicGPT 7B --- */

static const double mpt_hours = 11462, a100_usd = 2.21;

static status mpt_hours_again(claim_result *r) {
    const hardware *a100;
    TRY(hardware_by_key(&a100, "a100-40gb"));
    double rate = 134e9 / (mpt_hours * 3600), flops = plan_flops_palm(6658859008, 32, 4096, 2048);
    REASON(r, "from the cost; implies %.0f tokens/s for a GPU and an MFU of %.1f%% (PaLM's convention)", rate,
           100 * plan_utilisation(flops, rate, 1, a100->peak_bf16));
    return agree(r, 25300 / a100_usd);
}

static status mpt_usd(claim_result *r) {
    double usd = mpt_hours * a100_usd;
    REASON(r, "$%.3f per million tokens", usd / 134e3);
    return agree(r, usd);
}

/* --- Llama 2: the model card's GPU-hours, power and tCO2; all four rows have a PUE of 1.1 and 0.385 kg/kWh --- */

static double llama2_tco2(double hours, double watts) { return kwh(hours, watts, 1.1) * 0.385 / 1000; }

static status llama2_hours(claim_result *r) {
    const hardware *a100;
    model_config c;
    TRY(hardware_by_key(&a100, "a100-80gb"));
    TRY(model_config_load(&c, "llama2-70b"));
    const double hours = 1720320;
    double mfu = plan_utilisation(cost_flops_per_token(&c, 4096), 2e12 / (hours * 3600), 1, a100->peak_bf16);
    REASON(r,
           "from the tCO2 of the model card. \"Exceeds $3.5 M\" holds at $2.21 ($%.2f M), not at $2.00 ($%.2f M). "
           "Implies an MFU of %.1f%% (exact-causal)",
           hours * 2.21e-6, hours * 2e-6, 100 * mfu);
    return agree(r, 291.42 / llama2_tco2(1, 400));
}

static status llama2_co2(claim_result *r, double hours, double watts) {
    REASON(r, "%.0f MWh", kwh(hours, watts, 1.1) / 1000);
    return agree(r, llama2_tco2(hours, watts));
}

static status llama2_7b_co2(claim_result *r) { return llama2_co2(r, 184320, 400); }
static status llama2_13b_co2(claim_result *r) { return llama2_co2(r, 368640, 400); }
static status llama2_34b_co2(claim_result *r) { return llama2_co2(r, 1038336, 350); }
static status llama2_70b_co2(claim_result *r) { return llama2_co2(r, 1720320, 400); }

static status llama2_flops(claim_result *r) {
    model_config c;
    const i64 T = 4096;
    TRY(model_config_load(&c, "llama2-70b"));
    double causal = cost_flops_per_token(&c, T), half = 3 * 2.0 * (double)(c.L * c.H * c.D) * (double)(T - 1);
    r->again = plan_flops_6n(70e9) * 2e12;
    r->ours = causal * 2e12;
    REASON(r, "less by every count: 6ND %.3g, exact-causal %.3g, with full attention %.3g", r->again, r->ours,
           (causal + half) * 2e12);
    return STATUS_OK;
}

static status alpaca(claim_result *r) {
    REASON(r, "it was a full fine-tune, without adapters");
    return agree(r, 3 * 8 * a100_usd);
}

/* --- Llama 3.1 405B --- */

static const double llama31_gpus = 16384, llama31_hours = 30.84e6, llama31_flops_reported = 3.8e25;
static double llama31_days(void) { return llama31_hours / llama31_gpus / HOURS_PER_DAY; }

static status llama31_flops(claim_result *r) {
    double more = plan_flops_6n(405e9) * 15.6e12;
    REASON(r, "with the 15.6e12 tokens of the paper %.3g, against the %.2g that it reports", more,
           llama31_flops_reported);
    return agree(r, plan_flops_6n(405e9) * 15e12);
}

static status llama31_peak(claim_result *r) {
    const hardware *h100;
    TRY(hardware_by_key(&h100, "h100"));
    r->again = 2 * h100->peak_bf16;
    r->ours = h100->peak_bf16;
    REASON(r, "sparse peak: twice the dense %.1f TFLOP/s, which only 2:4-sparse weights could use", r->ours * 1e-12);
    return STATUS_OK;
}

static status llama31_ideal(claim_result *r) {
    const hardware *h100;
    TRY(hardware_by_key(&h100, "h100"));
    const double day = 3600 * HOURS_PER_DAY;
    r->again = llama31_flops_reported / (16e3 * 1979e12) / day;
    r->ours = llama31_flops_reported / (llama31_gpus * h100->peak_bf16) / day;
    REASON(r, "sparse peak; the article's own 1.48e6 s are %.1f days. %.1f is with the dense peak and all 16384 GPUs",
           1.48e6 / day, r->ours);
    return STATUS_OK;
}

static status llama31_actual(claim_result *r) {
    claim_result ideal;
    TRY(llama31_ideal(&ideal));
    r->again = ideal.again / 0.40;
    r->ours = llama31_days();
    REASON(r,
           "54 days are the window in which the paper counts interruptions, not the run: 30.84e6 GPU-hours / 16384 are "
           "%.1f. By its own method the article has %.0f to %.0f",
           r->ours, ideal.again / 0.43, ideal.again / 0.38);
    return STATUS_OK;
}

static status llama31_capex(claim_result *r) {
    double usd = 16e3 * 30000 * 2;
    REASON(r, "as capital; over 4 years the share of %.1f days is $%.1f M", llama31_days(),
           amortised(usd, llama31_days()) * 1e-6);
    return agree(r, usd);
}

static status llama31_power(claim_result *r) {
    REASON(r, "1400 W a GPU, all else included");
    return agree(r, 16e3 * 1400 * 1e-6);
}

static double llama31_energy_usd(double days) {
    return 16e3 * days * HOURS_PER_DAY * money_power_usd_per_hour(1400, 1, 0.083);
}

static status llama31_energy(claim_result *r) {
    REASON(r,
           "for 54 days; 42.5 days are $%.2f M, %.1f days $%.2f M. The price of power is in euro, the sum in dollars",
           llama31_energy_usd(42.5) * 1e-6, llama31_days(), llama31_energy_usd(llama31_days()) * 1e-6);
    return agree(r, llama31_energy_usd(54));
}

/* --- techniques --- */

static status mixed_precision(claim_result *r) {
    const hardware *a100;
    TRY(hardware_by_key(&a100, "a100-80gb"));
    REASON(
        r,
        "no published figure decides it; by an A100's datasheet GEMMs gain at most %.3g times over fp32 and %.3g times "
        "over TF32, other operations at most 2: bytes are halved",
        a100->peak_bf16 / a100->peak_fp32, a100->peak_bf16 / a100->peak_tf32);
    return STATUS_OK;
}

/* Llama 2 7B, sharded over 8 devices, B sequences of 2048 tokens on each */
static status memory_of(double *total, double *activations, i64 B, recompute_policy recompute) {
    step_plan s = {.s = {.B = B, .T = 2048, .recompute = recompute},
                   .o = {.t = BF16,
                         .moments = F32,
                         .master = true,
                         .training = true,
                         .shard = {.ranks = 8, .stage = SHARD_FULL, .replicas = 1}},
                   .micro_batches = 1};
    network_link fast = {.bandwidth = INFINITY};
    machine m = {.flops = INFINITY, .memory = INFINITY, .net = {.per_node = 8, .inside = fast, .between = fast}};
    prediction p;
    TRY(model_config_load(&s.c, "llama2-7b"));
    TRY(plan_step_predict(&p, &s, &m));
    *total = 0, *activations = (double)p.memory[MEM_ACTIVATIONS];
    for (int i = 0; i < MEM_CATEGORIES; i++) *total += (double)p.memory[i];
    return STATUS_OK;
}

static double change(double now, double before) { return 100 * (now / before - 1); }

/* by how many percent --recompute block changes all memory, and that of activations */
static status memory_change(double *total, double *activations, i64 B, recompute_policy block) {
    double total_before, activations_before;
    TRY(memory_of(&total_before, &activations_before, B, (recompute_policy){.kind = RECOMPUTE_NONE}));
    TRY(memory_of(total, activations, B, block));
    *total = change(*total, total_before);
    *activations = change(*activations, activations_before);
    return STATUS_OK;
}

static status checkpointing(claim_result *r) {
    double small, of_small, activations;
    model_config c;
    TRY(model_config_load(&c, "llama2-7b"));
    recompute_policy block = {.kind = RECOMPUTE_BLOCK, .blocks = c.L};
    TRY(memory_change(&small, &of_small, 1, block));
    TRY(memory_change(&r->ours, &activations, 8, block));
    flop_counter f = cost_training_flops(&c, block, 1, 2048);
    REASON(r,
           "it depends on the batch: all memory with 8 sequences of 2048 tokens; %.0f%% with one. Of activations alone "
           "%.0f%%. %.1f%% more FLOPs are executed",
           small, activations, change((double)meter_flops_executed(&f), (double)meter_flops_model(&f)));
    return STATUS_OK;
}

/* Speed-up in percent over PyTorch's FSDP, github.com/yandex/YaFSDP, README.md, 2024: Llama 2 7B (64 and 128 GPUs, 2048 to
 * 8192 tokens each), 13B, 34B, 70B, Llama 3 8B, 70B */
static const double yafsdp_rows[] = {9.92,  3.43,  2.68, 9.57,  2.42, 2.32,  12.10, 3.49,
                                     20.70, 21.99, 8.35, 21.48, 7.17, 10.15, 7.98,  26.60};

static status yafsdp(claim_result *r) {
    enum { ROWS = sizeof yafsdp_rows / sizeof *yafsdp_rows };
    int below = 0;
    r->ours = r->ours_high = yafsdp_rows[0];
    for (int i = 0; i < ROWS; i++) {
        r->ours = fmin(r->ours, yafsdp_rows[i]);
        r->ours_high = fmax(r->ours_high, yafsdp_rows[i]);
        below += yafsdp_rows[i] < 10;
    }
    REASON(r, "its own table has %.1f to %.1f percent, %d of %d rows below 10", r->ours, r->ours_high, below, ROWS);
    return STATUS_OK;
}

/* --- the rows --- */

/* clang-format off */
static const claim rows[] = {
    {.id = "sam-hw", .system = "SAM (Meta) on 256 A100", .claim = "hardware to set up", .value = 6072000,
     .unit = "usd", .tolerance = 0.5,
     .inputs = "GPUs, servers, network 4972000 (the remainder); storage 500000; cooling, power 400000; misc 200000",
     .method = "sum", .compute = sam_hw, .again_expected = true},
    {.id = "sam-opex", .system = "SAM (Meta) on 256 A100", .claim = "operation for 5 days", .value = 2470,
     .unit = "usd", .tolerance = 5, .inputs = "256 x 400 W x 120 h; 0.12 usd/kWh is assumed, the article names none",
     .method = "kWh x usd_per_kWh", .compute = sam_opex, .expected = CLAIM_WRONG},
    {.id = "sam-total", .system = "SAM (Meta) on 256 A100", .claim = "total for 5 days", .value = 6074470,
     .unit = "usd", .tolerance = 0.5, .inputs = "hardware 6072000; operation 2470", .method = "hardware + operation",
     .compute = sam_total, .expected = CLAIM_WRONG, .again_expected = true},
    {.id = "sam-paper", .system = "SAM (Meta) on 256 A100", .claim = "energy in the paper", .value = 6963.2,
     .unit = "kWh", .tolerance = 0.05, .inputs = "256 x 0.4 kW x 68 h", .method = "GPUs x kW x h",
     .compute = sam_paper, .again_expected = true},
    {.id = "palm-8b", .system = "PaLM 8B", .claim = "training FLOPs", .value = 4.29e22, .unit = "FLOP",
     .tolerance = 0.005e22, .inputs = "N=8.63e9; L=32; H x Q=4096; T=2048; 780e9 tokens",
     .method = "(6N + 12 L H Q T) x tokens", .compute = palm_8b, .again_expected = true},
    {.id = "palm-540b", .system = "PaLM 540B", .claim = "training FLOPs", .value = 2.56e24, .unit = "FLOP",
     .tolerance = 0.005e24, .inputs = "N=540.35e9; L=118; heads 48 x 256; T=2048; 780e9 tokens",
     .method = "(6N + 12 L H Q T) x tokens", .compute = palm_540b, .again_expected = true},
    {.id = "palm-ratio", .system = "PaLM 540B / 8B", .claim = "ratio of FLOPs", .value = 60, .unit = "ratio",
     .tolerance = 0.5, .inputs = "2.56e24 and 4.29e22 FLOP, of palm-540b and palm-8b", .method = "FLOPs / FLOPs", .compute = palm_ratio,
     .again_expected = true},
    {.id = "palm-vocab", .system = "PaLM", .claim = "vocabulary of 78 billion tokens", .value = 78e9,
     .unit = "tokens", .tolerance = 0.5e9, .inputs = "2.56e24 FLOP of palm-540b",
     .method = "FLOPs / (6N + 12 L H Q T)", .compute = palm_vocab, .expected = CLAIM_WRONG},
    {.id = "palm-mfu", .system = "PaLM 540B", .claim = "MFU", .value = 46.2, .unit = "percent", .tolerance = 0.05,
     .inputs = "238.3e3 tokens/s on 6144 TPU v4 at 275 TFLOP/s", .method = "(6N + 12 L H Q T) x tokens_per_s / peak",
     .compute = palm_mfu, .again_expected = true},
    {.id = "mpt-7b-a100", .system = "MosaicGPT 7B on 134e9 tokens", .claim = "A100 GPU-hours", .value = 11462,
     .unit = "gpu_hour", .tolerance = 50 / 2.21, .inputs = "25300 usd, rounded to 100; 2.21 usd per GPU-hour",
     .method = "cost / price", .compute = mpt_hours_again, .again_expected = true},
    {.id = "mpt-7b-usd", .system = "MosaicGPT 7B on 134e9 tokens", .claim = "cost", .value = 25300, .unit = "usd",
     .tolerance = 50, .inputs = "11462 h x 2.21 usd", .method = "GPU-hours x price", .compute = mpt_usd,
     .again_expected = true},
    {.id = "llama2-70b", .system = "Llama 2 70B", .claim = "GPU-hours", .value = 1720320, .unit = "gpu_hour",
     .tolerance = 0.005 / 291.42 * 1720320, .inputs = "291.42 tCO2; A100-80GB, 400 W; PUE 1.1; 0.385 kg/kWh",
     .method = "tCO2 / (W x PUE x kg/kWh)", .compute = llama2_hours, .again_expected = true},
    {.id = "llama2-7b-co2", .system = "Llama 2 7B", .claim = "tCO2eq", .value = 31.22, .unit = "tCO2",
     .tolerance = 0.005, .inputs = "184320 h; 400 W; PUE 1.1; 0.385 kg/kWh", .method = "h x W x PUE x kg/kWh",
     .compute = llama2_7b_co2, .again_expected = true},
    {.id = "llama2-13b-co2", .system = "Llama 2 13B", .claim = "tCO2eq", .value = 62.44, .unit = "tCO2",
     .tolerance = 0.01, .inputs = "368640 h; 400 W; PUE 1.1; 0.385 kg/kWh", .method = "h x W x PUE x kg/kWh",
     .compute = llama2_13b_co2, .again_expected = true},
    {.id = "llama2-34b-co2", .system = "Llama 2 34B", .claim = "tCO2eq", .value = 153.90, .unit = "tCO2",
     .tolerance = 0.01, .inputs = "1038336 h; 350 W; PUE 1.1; 0.385 kg/kWh", .method = "h x W x PUE x kg/kWh",
     .compute = llama2_34b_co2, .again_expected = true},
    {.id = "llama2-70b-co2", .system = "Llama 2 70B", .claim = "tCO2eq", .value = 291.42, .unit = "tCO2",
     .tolerance = 0.01, .inputs = "1720320 h; 400 W; PUE 1.1; 0.385 kg/kWh", .method = "h x W x PUE x kg/kWh",
     .compute = llama2_70b_co2, .again_expected = true},
    {.id = "alpaca-7b", .system = "Alpaca 7B fine-tune", .claim = "cost", .value = 100, .unit = "usd",
     .relation = CLAIM_AT_MOST, .inputs = "3 h x 8 A100-80GB x 2.21 usd", .method = "GPU-hours x price",
     .compute = alpaca, .again_expected = true},
    {.id = "llama31-405b-flops", .system = "Llama 3.1 405B", .claim = "training FLOPs", .value = 3.6e25,
     .unit = "FLOP", .tolerance = 0.05e25, .inputs = "N=405e9; 15e12 tokens", .method = "6ND",
     .compute = llama31_flops, .again_expected = true},
    {.id = "llama31-405b-peak", .system = "Llama 3.1 405B", .claim = "peak per H100", .value = 1979e12,
     .unit = "FLOP/s", .tolerance = 0.5e12, .inputs = "dense bf16 peak of H100 SXM in tally's hardware table",
     .method = "2 x dense", .compute = llama31_peak, .expected = CLAIM_WRONG, .again_expected = true},
    {.id = "llama31-405b-ideal", .system = "Llama 3.1 405B", .claim = "ideal days on 16k H100", .value = 14,
     .unit = "days", .tolerance = 0.5, .inputs = "3.8e25 FLOP; 16e3 GPUs; 1979e12 FLOP/s",
     .method = "FLOPs / (GPUs x peak)", .compute = llama31_ideal, .expected = CLAIM_WRONG, .again_expected = true},
    {.id = "llama31-405b-days", .system = "Llama 3.1 405B", .claim = "actual days", .value = 54, .unit = "days",
     .tolerance = 0.5, .inputs = "ideal days; MFU 38 to 43 percent (40 here); 30.84e6 GPU-hours on 16384 GPUs",
     .method = "ideal / MFU", .compute = llama31_actual, .expected = CLAIM_WRONG},
    {.id = "llama31-405b-capex", .system = "Llama 3.1 405B", .claim = "cluster capital", .value = 960e6,
     .unit = "usd", .tolerance = 0.5e6, .inputs = "16e3 x 30000 usd x 2", .method = "GPUs x price x 2",
     .compute = llama31_capex, .again_expected = true},
    {.id = "llama31-405b-power", .system = "Llama 3.1 405B", .claim = "power", .value = 22.4, .unit = "MW",
     .tolerance = 0.05, .inputs = "1400 W x 16e3", .method = "W x GPUs", .compute = llama31_power,
     .again_expected = true},
    {.id = "llama31-405b-energy", .system = "Llama 3.1 405B", .claim = "energy cost", .value = 2.41e6, .unit = "usd",
     .tolerance = 0.005e6, .inputs = "22.4e3 kW x 24 x 54 x 0.083", .method = "kW x h x price",
     .compute = llama31_energy, .again_expected = true},
    {.id = "llama2-70b-flops", .system = "Llama 2 70B", .claim = "at least 1e24 FLOP", .value = 1e24, .unit = "FLOP",
     .relation = CLAIM_AT_LEAST, .inputs = "N=70e9; 2e12 tokens", .method = "6ND", .compute = llama2_flops,
     .expected = CLAIM_WRONG},
    {.id = "mixed-precision", .system = "mixed precision", .claim = "speed-up", .value = 6, .unit = "times",
     .relation = CLAIM_AT_MOST, .inputs = "bf16 against fp32 without TF32", .method = "", .compute = mixed_precision,
     .expected = CLAIM_OPEN},
    {.id = "checkpointing", .system = "activation checkpointing", .claim = "memory", .value = -70, .unit = "percent",
     .tolerance = 5, .inputs = "Llama 2 7B, bf16, sharded over 8 devices, by the layout of memory that tally trains with",
     .method = "--recompute block / --recompute none", .compute = checkpointing},
    {.id = "yafsdp", .system = "YaFSDP over FSDP", .claim = "time", .value = 10, .high = 25, .unit = "percent",
     .tolerance = 0.5, .inputs = "the 16 rows of its README.md", .method = "", .compute = yafsdp,
     .expected = CLAIM_WRONG},
};
/* clang-format on */

const claim *claims_list(int *count) {
    *count = sizeof rows / sizeof *rows;
    return rows;
}

const char *claims_verdict_name(claim_verdict v) {
    switch (v) {
        CLAIM_VERDICT_LIST(CHOICES_RETURN_NAME)
    default: return "?";
    }
}

/* a NAN agrees with nothing */
static bool agrees(const claim *c, double low, double high) {
    if (c->relation == CLAIM_AT_MOST) return low <= c->value;
    if (c->relation == CLAIM_AT_LEAST) return low >= c->value;
    return fabs(low - c->value) <= c->tolerance && (c->high <= 0 || fabs(high - c->high) <= c->tolerance);
}

status claims_compute(claim_result *r, const claim *c) {
    *r = (claim_result){.again = NAN, .ours = NAN, .again_high = NAN, .ours_high = NAN};
    TRY(c->compute(r));
    r->again_agrees = agrees(c, r->again, r->again_high);
    r->verdict = isnan(r->ours) ? CLAIM_OPEN : agrees(c, r->ours, r->ours_high) ? CLAIM_REPRODUCES : CLAIM_WRONG;
    return STATUS_OK;
}

bool claims_as_expected(const claim *c, const claim_result *r) {
    return r->verdict == c->expected && r->again_agrees == c->again_expected;
}

status claims_find(const claim **found, const char *id) {
    char ids[1024] = "";
    for (size_t i = 0, n = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!strcmp(rows[i].id, id)) {
            *found = &rows[i];
            return STATUS_OK;
        }
        n += (size_t)snprintf(ids + n, sizeof ids - n, "%s%s", i ? ", " : "", rows[i].id);
    }
    FAIL(ARG, "--reproduce \"%s\": expected no row, or one of %s", id, ids);
}
