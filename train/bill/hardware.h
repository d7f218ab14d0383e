/* Dated table of devices: dense peaks (never the doubled 2:4-sparse figures), memory, links, power and prices, each with its
 * source. What is not in the table is unknown: no peak is assumed. */
#ifndef TALLY_HARDWARE_H
#define TALLY_HARDWARE_H

#include "runtime/device.h"

/* A link of one GPU, in each direction: the line rate, and the share of it that NCCL reaches with large messages. */
typedef struct {
    const char *name;
    double bytes_per_s, reached;
    const char *source, *reached_source;
    double latency_s; /* of a hop */
    const char *latency_source;
} hardware_link;

enum { HARDWARE_NVLINK_A100, HARDWARE_NVLINK_H100, HARDWARE_NODE_LINKS };
enum { HARDWARE_IB_HDR200, HARDWARE_IB_NDR400, HARDWARE_NETWORKS };
extern const hardware_link hardware_node_links[HARDWARE_NODE_LINKS]; /* between the GPUs of a node */
extern const hardware_link hardware_networks[HARDWARE_NETWORKS];     /* between nodes */

typedef struct {
    const char *match; /* substring of the device's own name */
    const char *name;
    double peak_bf16, peak_fp32; /* dense FLOP/s; 0: unknown. fp32 on GPUs: without tensor cores */
    const char *peak_source;
    double memory_bytes, memory_bytes_per_s; /* 0: not in the table */
    const char *memory_source;
    const hardware_link *node_link, *network; /* what is usual with it; NULL: not in the table */
    double tdp_watts;                         /* of one device; for CPUs of one hardware thread */
    const char *tdp_source;
    double usd_per_hour;      /* of one device; for CPUs of one hardware thread; 0: unknown */
    const char *price_source; /* with its date */
} hardware;

/* The entry that matches a device's own name, or NULL. For a CPU that no entry names: the generic CPU entry, which has no
 * peak. */
const hardware *hardware_find(device_kind kind, const char *name);

#endif
