/* Dated table of devices: dense peaks (never the doubled 2:4-sparse figures), memory, links, power and prices, each with its
 * source. What is not in the table is unknown: no peak is assumed. */
#ifndef TALLY_HARDWARE_H
#define TALLY_HARDWARE_H

#include "runtime/device.h"
#include "runtime/json.h"

/* A link of one GPU, in each direction: the line rate, and the share of it that NCCL reaches with large messages. */
typedef struct {
    const char *name;
    double bytes_per_s, reached;
    const char *source, *reached_source;
    double latency_s; /* of a hop */
    const char *latency_source;
} hardware_link;

enum {
    HARDWARE_NVLINK_A100,
    HARDWARE_NVLINK_H100,
    HARDWARE_NVLINK_B200,
    HARDWARE_PCIE4,
    HARDWARE_PCIE5,
    HARDWARE_XGMI_MI300X,
    HARDWARE_NODE_LINKS
};
enum { HARDWARE_IB_HDR200, HARDWARE_IB_NDR400, HARDWARE_NETWORKS };
extern const hardware_link hardware_node_links[HARDWARE_NODE_LINKS]; /* between the GPUs of a node */
extern const hardware_link hardware_networks[HARDWARE_NETWORKS];     /* between nodes */

typedef struct {
    const char *key;   /* as options take it: "h100"; NULL: a CPU */
    const char *match; /* a word of the device's own name; NULL: a device that tally cannot run on */
    const char *name;
    /* Dense FLOP/s; 0: unknown, or the device has no such format. fp32 on GPUs: without tensor cores. bf16, tf32 and fp8: with
     * sums in fp32. */
    double peak_bf16, peak_fp32, peak_tf32, peak_fp8;
    const char *peak_source;
    double memory_bytes, memory_bytes_per_s; /* 0: not in the table */
    const char *memory_source;
    const hardware_link *node_link, *network; /* what is usual with it; NULL: not in the table, or none is usual */
    double tdp_watts;                         /* of one device; for CPUs of one hardware thread; 0: unknown */
    const char *tdp_source;
    double usd_per_hour;      /* of one device; for CPUs of one hardware thread; 0: unknown */
    const char *price_source; /* with its date */
} hardware;

/* The entry that matches a device's own name, or NULL. For a CPU that no entry names: the generic CPU entry, which has no
 * peak. */
const hardware *hardware_find(device_kind kind, const char *name);

/* --- to plan for a device that is not in this machine --- */

const hardware *hardware_list(int *count);                   /* all entries that have a key */
status hardware_by_key(const hardware **h, const char *key); /* upper case or lower; ARG: the message lists the keys */

/* One device as a JSON file describes it. Keys, all but the name optional; what is missing is not known:
 *   name                                       text
 *   source                                     where the figures come from; by default the file's name
 *   peak_bf16_tflops, peak_fp32_tflops, peak_tf32_tflops, peak_fp8_tflops      dense
 *   memory_gb, memory_bandwidth_gb_per_s       10^9 bytes; both or neither
 *   tdp_watts, usd_per_hour                    of one device
 *   node_link, network                         {"gb_per_s", "reached" (a fraction; by default 1), "latency_us" (0)}
 * A price of 0 is refused: it would read as not known. */
typedef struct {
    hardware hardware;
    hardware_link node_link, network;
    json_t *json; /* owns the texts */
} hardware_file;

/* ARG or DATA: what is wrong with which key. */
status hardware_read(hardware_file *f, const char *path);
void hardware_read_free(hardware_file *f);

/* Refuses a peak that cannot be dense. `dense` is the table's figure; 0, where there is none, accepts all. A figure near twice
 * the dense one is the datasheet's figure for 2:4 sparsity, the commonest mistake of the field: the message says so. `what`
 * names the option or the key, and `name` the device. ARG. */
status hardware_check_dense(const char *what, const char *name, double flops, double dense);

#endif
