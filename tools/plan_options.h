/* From the options of `tally plan` to a request (plan.h), with the source of every figure in it. */
#ifndef TALLY_PLAN_OPTIONS_H
#define TALLY_PLAN_OPTIONS_H

#include "tools/plan.h"
#include "tools/plan_from.h"
#include "tools/shared_options.h"
#include "train/bill/hardware.h"

/* as typed; plan_options_read says which were given */
typedef struct {
    char *model, *recompute, *devices, *shard, *gpu, *hardware, *from, *node_link, *network;
    i64 parameters, layers, width, vocabulary, batch, seq_len, accumulate, tokens, per_node, threads;
    dtype_options dtypes;
    sharding_options sharding;
    double peak_tflops, efficiency, mfu, rate, memory_bandwidth, node_bandwidth, node_latency, network_bandwidth,
        network_latency, memory_gib;
    double price, watts, mtbf_hours, checkpoint_s, restart_s;
    bill_options bill;
    bool overlap;
} plan_options;

/* One figure of the machine and where it comes from. source NULL: not known; the value is then NAN. */
typedef struct {
    double value;
    const char *source;
} plan_fact;

typedef struct {
    hardware_link link; /* what the collectives reach: bytes_per_s times reached */
    bool own_bandwidth, own_latency;
} plan_link;

typedef struct {
    plan_request base; /* with the first of --devices and of --shard */
    const char *device;
    plan_fact peak, bandwidth, limit, price, watts;
    plan_link inside, between;
    double efficiency; /* the assumed fraction of the peak that GEMMs reach; NAN where a rate or MFU is given */
    ledger_terms
        terms; /* price and power as given, as `tally train` takes them; owned: price.value is computed from it */
    calibration *from; /* of --from; NULL without it */
    const char *from_run;
    char from_devices[16], from_source[256];
    hardware_file file; /* of --hardware */
    bool shared_memory; /* limit is that of the machine, whose ranks share it */
    device *cpu;        /* with --gpu cpu: this machine's, which base.m.cpu is too; else NULL */
} plan_setting;

/* With --from RUN: reads the run and puts its shapes, device and sharding in place of those options that are not given. Call it
 * before plan_options_read. v's texts then belong to s or to the options. */
status plan_options_from(plan_setting *s, plan_options *v, const options *o);

/* ARG and DATA name the option. Call plan_options_free whether it succeeds or fails. */
status plan_options_read(plan_setting *s, const plan_options *v, const options *o);
void plan_options_free(plan_setting *s);

/* The requests of every number of --devices with every stage of --shard. *rows is malloc'ed. */
status plan_options_rows(plan_request **rows, int *count, const plan_options *v, const plan_setting *s);

#endif
