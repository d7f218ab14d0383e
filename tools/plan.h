/* What a training run will need: the one engine behind every mode of `tally plan`. It joins the simulated step (plan_step.h), the
 * closed forms of FLOPs (train/model/cost.h) and prices. A figure that is not known is NAN, both in the request and in the plan, and
 * never an assumed value.
 *
 *   time      step_s: simulated, or, where tokens_per_s or mfu is given, tokens of a step / tokens_per_s. Then the rate of GEMMs at
 *             which the simulated step takes this time is solved for, so that its parts are known too.
 *   MFU       FLOPs per token x tokens/s / (devices x dense peak); FLOPs by three conventions:
 *             exact   model FLOPs, matmul weights only, causal attention     (cost.h)
 *             palm    6N + 12 L q T, N all parameters      (PaLM, Chowdhery et al. 2022, appendix B)
 *             6n      6N                                   (Kaplan et al. 2020, section 2.1)
 *   HFU       the same with the executed FLOPs, recomputation included
 *   failures  M = device_mtbf_hours / devices. goodput(tau) = 1 - d/tau - tau/2M - R/M, best at tau = sqrt(2dM)
 *             (Young 1974; d: checkpoint_s, R: restart_s). wall_s = run_s / goodput.
 *   money     devices x hours x usd_per_device_hour, split in proportion to the seconds
 *   energy    devices x device_watts, nodes x host_watts, and (pue - 1) x both, over wall_s at full power
 *   carbon    kWh x kg_co2_per_kwh */
#ifndef TALLY_PLAN_H
#define TALLY_PLAN_H

#include "tools/plan_step.h"
#include "train/bill/calibration.h"

#define PLAN_CONVENTION_LIST(X) X(PLAN_EXACT, "exact") X(PLAN_PALM, "palm") X(PLAN_6N, "6n")
typedef enum { PLAN_CONVENTION_LIST(CHOICES_VALUE) PLAN_CONVENTIONS } plan_convention;

typedef struct {
    step_plan step;      /* model, shape, dtypes, recompute, sharding; step.o.shard.ranks is the number of devices */
    i64 tokens;          /* that the run trains on; 0 if unknown */
    machine m;           /* m.flops is not used where tokens_per_s or mfu is given */
    double tokens_per_s; /* of all devices together; NAN: simulate */
    const calibration *from; /* of the run whose speed is taken (plan_from.h); else NULL */
    const char *speed;       /* how the speed was found from it, for people; else NULL */
    double mfu;              /* by the exact convention; NAN: simulate; not together with tokens_per_s */
    double peak;             /* dense FLOP/s of a device at the dtype of the weights */
    double memory_limit;     /* bytes of a device */
    double usd_per_device_hour;
    double device_watts, host_watts; /* of a device; of a node beside its devices */
    double pue;                      /* power of the building / power of the machines */
    double kg_co2_per_kwh;
    double device_mtbf_hours, checkpoint_s, restart_s;
} plan_request;

/* seconds of one step, or dollars of the run. failures (checkpoints, lost work, restarts) is NAN in a step. */
typedef struct {
    double useful, recompute, communication, failures, total;
} plan_parts;

typedef struct {
    prediction step; /* with the solved rate of GEMMs where the time was given */
    double gemm_flops_per_s;
    i64 parameters;
    double flops_per_token[PLAN_CONVENTIONS], executed_per_token;
    double mfu[PLAN_CONVENTIONS], hfu;
    i64 tokens_per_step; /* of all devices */
    double tokens_per_s;
    plan_parts step_s;                /* communication: only what is exposed */
    double memory_bytes, spare_bytes; /* of a device; memory_limit - memory_bytes: negative where it does not fit */
    double flops[PLAN_CONVENTIONS];   /* of the run */
    double steps, run_s, wall_s;      /* run_s: without failures; wall_s: with them, where they are known */
    double device_hours, goodput;     /* by wall_s */
    double checkpoint_every_s;        /* the best interval */
    double usd_per_mtok;              /* with failures, where they are known */
    plan_parts usd;                   /* total: without failures where they are not known */
    double kwh_devices, kwh_host, kwh_overhead; /* overhead: cooling and conversion, (pue - 1) */
    double kwh, kg_co2;                         /* kwh: the sum of those that are known; NAN without kwh_devices */
} plan;

/* ARG where the step cannot be simulated (plan_step.h), the model has no such shape, a given speed is above the peak, or 64 bits do not hold the result. */
status plan_make(plan *p, const plan_request *r);

/* The conventions from published figures. N: all parameters; q: heads x head size of a layer. */
double plan_flops_palm(double N, double layers, double q, double T); /* per token, training */
double plan_flops_6n(double N);
double plan_utilisation(double flops_per_token, double tokens_per_s, double devices, double peak);

#endif
