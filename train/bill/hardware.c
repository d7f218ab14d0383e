#include "train/bill/hardware.h"

#include <ctype.h>

#define NVLINK_REACHED "NCCL's maintainers, github.com/NVIDIA/nccl-tests/issues/212: 370 of 450 GB/s"
#define PCIE_REACHED (20.0 / 31.5)
#define PCIE_MEASURED "github.com/NVIDIA/nccl-tests/issues/178: A100s reach 20 GB/s over PCIe 4.0"
#define NCCL_RING "NCCL's own model of a ring, src/graph/tuning.cc"

/* clang-format off */
const hardware_link hardware_node_links[] = {
    [HARDWARE_NVLINK_A100] = {
        .name = "nvlink-a100",
        .bytes_per_s = 300e9, .source = "NVIDIA A100 datasheet, 2021: 600 GB/s both ways",
        .reached = 370.0 / 450, .reached_source = NVLINK_REACHED,
        .latency_s = 3.4e-6, .latency_source = NCCL_RING},
    [HARDWARE_NVLINK_H100] = {
        .name = "nvlink-h100",
        .bytes_per_s = 450e9, .source = "NVIDIA H100 datasheet, 2023: 900 GB/s both ways",
        .reached = 370.0 / 450, .reached_source = NVLINK_REACHED,
        .latency_s = 3.4e-6, .latency_source = NCCL_RING},
    [HARDWARE_NVLINK_B200] = {
        .name = "nvlink-b200",
        .bytes_per_s = 900e9, .source = "NVIDIA Blackwell Architecture Technical Brief, 2024: 1.8 TB/s both ways",
        .reached = 370.0 / 450, .reached_source = "estimate: the share of NVLink 4; " NVLINK_REACHED,
        .latency_s = 3.4e-6, .latency_source = "estimate: as NVLink 4; " NCCL_RING},
    [HARDWARE_PCIE4] = {
        .name = "pcie4",
        .bytes_per_s = 31.5e9, .source = "PCI Express 4.0, 16 lanes: 16 GT/s a lane, 128b/130b",
        .reached = PCIE_REACHED, .reached_source = PCIE_MEASURED,
        .latency_s = 5.7e-6, .latency_source = NCCL_RING},
    [HARDWARE_PCIE5] = {
        .name = "pcie5",
        .bytes_per_s = 63e9, .source = "PCI Express 5.0, 16 lanes: 32 GT/s a lane, 128b/130b",
        .reached = PCIE_REACHED, .reached_source = "estimate: the share of PCIe 4.0; " PCIE_MEASURED,
        .latency_s = 5.7e-6, .latency_source = NCCL_RING},
    [HARDWARE_XGMI_MI300X] = {
        .name = "xgmi-mi300x",
        .bytes_per_s = 448e9, .source = "AMD Instinct MI300X datasheet, 2023: 7 links of 128 GB/s both ways",
        .reached = 48.0 / 64,
        .reached_source = "AMD, Understanding RCCL Bandwidth and xGMI Performance on MI300X, 2025: 48 of 64 GB/s a link",
        .latency_s = 3.4e-6, .latency_source = "estimate: as NVLink; " NCCL_RING},
};
const hardware_link hardware_networks[] = {
    [HARDWARE_IB_HDR200] = {
        .name = "ib-hdr200",
        .bytes_per_s = 25e9, .source = "HDR InfiniBand, 200 Gb/s, one adapter per GPU",
        .reached = 24.0 / 25, .reached_source = "NCCL's maintainers, github.com/NVIDIA/nccl/issues/412: 24 of 25 GB/s",
        .latency_s = 14e-6, .latency_source = NCCL_RING},
    [HARDWARE_IB_NDR400] = {
        .name = "ib-ndr400",
        .bytes_per_s = 50e9, .source = "NDR InfiniBand, 400 Gb/s, one adapter per GPU",
        .reached = 47.0 / 50,
        .reached_source = "NCCL's maintainers, github.com/NVIDIA/nccl-tests/issues/290: 46 to 48 of 50 GB/s",
        .latency_s = 14e-6, .latency_source = NCCL_RING},
};
/* clang-format on */

#define LINKS(node, net) .node_link = &hardware_node_links[node], .network = &hardware_networks[net]

/* Prices are on-demand list prices in US dollars. They change; each has the date on which it was read. */
#define LAMBDA_8 "Lambda, per GPU of an 8-GPU instance, list prices of 2026-09-20 (lambda.ai/instances)"
#define LAMBDA_1 "Lambda, 1-GPU instance, list prices of 2026-09-20 (lambda.ai/instances)"
#define RUNPOD "RunPod Secure Cloud, list prices of 2026-09-25 (runpod.io/pricing)"
#define AWS(instance) "AWS EC2 " instance ", us-east-1, list price of 2026-01-19"

/* Dense peaks: half of the figure where a datasheet only prints the one with 2:4 sparsity. fp32 without tensor cores; V100 and
 * T4 have no bf16. Cards have no usual network between nodes. */
/* clang-format off */
static const hardware gpus[] = {
    {.key = "gb200", .match = "GB200", .name = "GB200",
     .peak_bf16 = 2500e12, .peak_fp32 = 90e12, .peak_tf32 = 1250e12, .peak_fp8 = 5000e12,
     .peak_source = "NVIDIA Blackwell Architecture Technical Brief, 2024: one GPU of GB200, 5,000 with sparsity",
     .memory_bytes = 186e9, .memory_bytes_per_s = 8000e9,
     .memory_source = "NVIDIA GB200 NVL72 datasheet, 2024: 13.4 TB and 576 TB/s for 72 GPUs",
     LINKS(HARDWARE_NVLINK_B200, HARDWARE_IB_NDR400),
     .tdp_watts = 1200, .tdp_source = "NVIDIA Blackwell Architecture Technical Brief, 2024"},
    {.key = "b200", .match = "B200", .name = "B200",
     .peak_bf16 = 2250e12, .peak_fp32 = 80e12, .peak_tf32 = 1100e12, .peak_fp8 = 4500e12,
     .peak_source = "NVIDIA Blackwell Architecture Technical Brief, 2024: HGX B200, 4,500 with sparsity",
     .memory_bytes = 180e9, .memory_bytes_per_s = 7700e9,
     .memory_source = "NVIDIA HGX platform specifications, 2025: HGX B200, 1.4 TB and 62 TB/s for 8 GPUs",
     LINKS(HARDWARE_NVLINK_B200, HARDWARE_IB_NDR400),
     .tdp_watts = 1000, .tdp_source = "NVIDIA Blackwell Architecture Technical Brief, 2024",
     .usd_per_hour = 6.69, .price_source = LAMBDA_8},
    {.key = "h200-nvl", .match = "H200 NVL", .name = "H200 NVL",
     .peak_bf16 = 835.5e12, .peak_fp32 = 60e12, .peak_tf32 = 417.5e12, .peak_fp8 = 1670.5e12,
     .peak_source = "NVIDIA H200 datasheet, 2024: 1,671 with sparsity",
     .memory_bytes = 141e9, .memory_bytes_per_s = 4800e9, .memory_source = "NVIDIA H200 datasheet, 2024",
     .node_link = &hardware_node_links[HARDWARE_PCIE5],
     .tdp_watts = 600, .tdp_source = "NVIDIA H200 datasheet, 2024"},
    {.key = "h200", .match = "H200", .name = "H200 SXM",
     .peak_bf16 = 989.4e12, .peak_fp32 = 67e12, .peak_tf32 = 494.7e12, .peak_fp8 = 1978.9e12,
     .peak_source = "NVIDIA H200 datasheet, 2024 (1,979 with sparsity); the chip of H100 SXM",
     .memory_bytes = 141e9, .memory_bytes_per_s = 4800e9, .memory_source = "NVIDIA H200 datasheet, 2024",
     LINKS(HARDWARE_NVLINK_H100, HARDWARE_IB_NDR400),
     .tdp_watts = 700, .tdp_source = "NVIDIA H200 datasheet, 2024",
     .usd_per_hour = 4.59, .price_source = RUNPOD},
    {.key = "h100-pcie", .match = "H100 PCIe", .name = "H100 PCIe",
     .peak_bf16 = 756e12, .peak_fp32 = 51.2e12, .peak_tf32 = 378e12, .peak_fp8 = 1513e12,
     .peak_source = "NVIDIA H100 Tensor Core GPU Architecture whitepaper, v1.04, 2023",
     .memory_bytes = 80e9, .memory_bytes_per_s = 2000e9, .memory_source = "NVIDIA H100 datasheet, 2023",
     .node_link = &hardware_node_links[HARDWARE_PCIE5],
     .tdp_watts = 350, .tdp_source = "NVIDIA H100 datasheet, 2023",
     .usd_per_hour = 3.29, .price_source = LAMBDA_1},
    {.key = "h100-nvl", .match = "H100 NVL", .name = "H100 NVL",
     .peak_bf16 = 835.5e12, .peak_fp32 = 60e12, .peak_tf32 = 417.5e12, .peak_fp8 = 1670.5e12,
     .peak_source = "NVIDIA H100 datasheet, 2024: 1,671 with sparsity",
     .memory_bytes = 94e9, .memory_bytes_per_s = 3900e9, .memory_source = "NVIDIA H100 datasheet, 2024",
     .node_link = &hardware_node_links[HARDWARE_PCIE5],
     .tdp_watts = 400, .tdp_source = "NVIDIA H100 datasheet, 2024: 350 to 400 W",
     .usd_per_hour = 3.19, .price_source = RUNPOD},
    {.key = "h100", .match = "H100 80GB HBM3", .name = "H100 SXM 80GB",
     .peak_bf16 = 989.4e12, .peak_fp32 = 66.9e12, .peak_tf32 = 494.7e12, .peak_fp8 = 1978.9e12,
     .peak_source = "NVIDIA H100 Tensor Core GPU Architecture whitepaper, v1.04, 2023",
     .memory_bytes = 80e9, .memory_bytes_per_s = 3350e9, .memory_source = "NVIDIA H100 datasheet, 2023",
     LINKS(HARDWARE_NVLINK_H100, HARDWARE_IB_NDR400),
     .tdp_watts = 700, .tdp_source = "NVIDIA H100 datasheet, 2023",
     .usd_per_hour = 3.99, .price_source = LAMBDA_8},
    {.key = "a100-80gb", .match = "A100-SXM4-80GB", .name = "A100 SXM 80GB",
     .peak_bf16 = 312e12, .peak_fp32 = 19.5e12, .peak_tf32 = 156e12,
     .peak_source = "NVIDIA A100 datasheet, 2021",
     .memory_bytes = 80e9, .memory_bytes_per_s = 2039e9, .memory_source = "NVIDIA A100 datasheet, 2021",
     LINKS(HARDWARE_NVLINK_A100, HARDWARE_IB_HDR200),
     .tdp_watts = 400, .tdp_source = "NVIDIA A100 datasheet, 2021",
     .usd_per_hour = 2.79, .price_source = LAMBDA_8},
    {.key = "a100-40gb", .match = "A100-SXM4-40GB", .name = "A100 SXM 40GB",
     .peak_bf16 = 312e12, .peak_fp32 = 19.5e12, .peak_tf32 = 156e12,
     .peak_source = "NVIDIA A100 datasheet, 2020",
     .memory_bytes = 40e9, .memory_bytes_per_s = 1555e9, .memory_source = "NVIDIA A100 datasheet, 2020",
     LINKS(HARDWARE_NVLINK_A100, HARDWARE_IB_HDR200),
     .tdp_watts = 400, .tdp_source = "NVIDIA A100 datasheet, 2020",
     .usd_per_hour = 1.99, .price_source = LAMBDA_8},
    {.key = "a100-pcie-80gb", .match = "A100 80GB PCIe", .name = "A100 PCIe 80GB",
     .peak_bf16 = 312e12, .peak_fp32 = 19.5e12, .peak_tf32 = 156e12,
     .peak_source = "NVIDIA A100 datasheet, 2021",
     .memory_bytes = 80e9, .memory_bytes_per_s = 1935e9, .memory_source = "NVIDIA A100 datasheet, 2021",
     .node_link = &hardware_node_links[HARDWARE_PCIE4],
     .tdp_watts = 300, .tdp_source = "NVIDIA A100 datasheet, 2021",
     .usd_per_hour = 1.59, .price_source = RUNPOD},
    {.key = "a100-pcie-40gb", .match = "A100-PCIE-40GB", .name = "A100 PCIe 40GB",
     .peak_bf16 = 312e12, .peak_fp32 = 19.5e12, .peak_tf32 = 156e12,
     .peak_source = "NVIDIA A100 datasheet, 2020",
     .memory_bytes = 40e9, .memory_bytes_per_s = 1555e9, .memory_source = "NVIDIA A100 datasheet, 2020",
     .node_link = &hardware_node_links[HARDWARE_PCIE4],
     .tdp_watts = 250, .tdp_source = "NVIDIA A100 40GB PCIe product brief, PB-10137, 2020"},
    {.key = "l40s", .match = "L40S", .name = "L40S",
     .peak_bf16 = 362.05e12, .peak_fp32 = 91.6e12, .peak_tf32 = 183e12, .peak_fp8 = 733e12,
     .peak_source = "NVIDIA L40S datasheet, 2023",
     .memory_bytes = 48e9, .memory_bytes_per_s = 864e9, .memory_source = "NVIDIA L40S datasheet, 2023",
     .node_link = &hardware_node_links[HARDWARE_PCIE4],
     .tdp_watts = 350, .tdp_source = "NVIDIA L40S datasheet, 2023",
     .usd_per_hour = 1.09, .price_source = RUNPOD},
    {.key = "l4", .match = "L4", .name = "L4",
     .peak_bf16 = 121e12, .peak_fp32 = 30.3e12, .peak_tf32 = 60e12, .peak_fp8 = 242.5e12,
     .peak_source = "NVIDIA L4 datasheet, 2023: 242 with sparsity (fp8: 485)",
     .memory_bytes = 24e9, .memory_bytes_per_s = 300e9, .memory_source = "NVIDIA L4 datasheet, 2023",
     .node_link = &hardware_node_links[HARDWARE_PCIE4],
     .tdp_watts = 72, .tdp_source = "NVIDIA L4 datasheet, 2023",
     .usd_per_hour = 0.8048, .price_source = AWS("g6.xlarge")},
    {.key = "a10", .match = "A10", .name = "A10",
     .peak_bf16 = 125e12, .peak_fp32 = 31.2e12, .peak_tf32 = 62.5e12,
     .peak_source = "NVIDIA A10 datasheet, 2021",
     .memory_bytes = 24e9, .memory_bytes_per_s = 600e9, .memory_source = "NVIDIA A10 datasheet, 2021",
     .node_link = &hardware_node_links[HARDWARE_PCIE4],
     .tdp_watts = 150, .tdp_source = "NVIDIA A10 datasheet, 2021",
     .usd_per_hour = 1.29, .price_source = LAMBDA_1},
    {.key = "rtx4090", .match = "RTX 4090", .name = "GeForce RTX 4090",
     .peak_bf16 = 165.2e12, .peak_fp32 = 82.6e12, .peak_tf32 = 82.6e12, .peak_fp8 = 330.3e12,
     .peak_source = "NVIDIA Ada GPU Architecture whitepaper, v2.02, 2023: with fp32 sums",
     .memory_bytes = 24e9, .memory_bytes_per_s = 1008e9,
     .memory_source = "NVIDIA Ada GPU Architecture whitepaper, v2.02, 2023",
     .node_link = &hardware_node_links[HARDWARE_PCIE4],
     .tdp_watts = 450, .tdp_source = "NVIDIA Ada GPU Architecture whitepaper, v2.02, 2023",
     .usd_per_hour = 0.74, .price_source = RUNPOD},
    {.key = "rtx5090", .match = "RTX 5090", .name = "GeForce RTX 5090",
     .peak_bf16 = 209.5e12, .peak_fp32 = 104.8e12, .peak_tf32 = 104.8e12, .peak_fp8 = 419e12,
     .peak_source = "NVIDIA RTX Blackwell GPU Architecture whitepaper, v1.1, 2025: with fp32 sums",
     .memory_bytes = 32e9, .memory_bytes_per_s = 1792e9,
     .memory_source = "NVIDIA RTX Blackwell GPU Architecture whitepaper, v1.1, 2025",
     .node_link = &hardware_node_links[HARDWARE_PCIE5],
     .tdp_watts = 575, .tdp_source = "NVIDIA RTX Blackwell GPU Architecture whitepaper, v1.1, 2025"},
    {.key = "rtx3090", .match = "RTX 3090", .name = "GeForce RTX 3090",
     .peak_bf16 = 71e12, .peak_fp32 = 35.6e12, .peak_tf32 = 35.6e12,
     .peak_source = "NVIDIA Ampere GA102 GPU Architecture whitepaper, v2.1, 2021: with fp32 sums",
     .memory_bytes = 24e9, .memory_bytes_per_s = 936e9,
     .memory_source = "NVIDIA Ampere GA102 GPU Architecture whitepaper, v2.1, 2021",
     .node_link = &hardware_node_links[HARDWARE_PCIE4],
     .tdp_watts = 350, .tdp_source = "NVIDIA Ampere GA102 GPU Architecture whitepaper, v2.1, 2021"},
    {.key = "v100-sxm2", .match = "V100-SXM2", .name = "V100 SXM2",
     .peak_fp32 = 15.7e12, .peak_source = "NVIDIA V100 datasheet, 2020; no bf16",
     .tdp_watts = 300, .tdp_source = "NVIDIA V100 datasheet, 2020",
     .usd_per_hour = 0.79, .price_source = LAMBDA_8},
    {.key = "v100-pcie", .match = "V100-PCIE", .name = "V100 PCIe",
     .peak_fp32 = 14e12, .peak_source = "NVIDIA V100 datasheet, 2020; no bf16",
     .tdp_watts = 250, .tdp_source = "NVIDIA V100 datasheet, 2020"},
    {.key = "t4", .match = "T4", .name = "T4",
     .peak_fp32 = 8.1e12, .peak_source = "NVIDIA T4 datasheet, 2019; no bf16",
     .memory_bytes = 16e9, .memory_bytes_per_s = 300e9, .memory_source = "NVIDIA T4 datasheet, 2019",
     .tdp_watts = 70, .tdp_source = "NVIDIA T4 datasheet, 2019",
     .usd_per_hour = 0.526, .price_source = AWS("g4dn.xlarge")},
    {.key = "mi300x", .name = "Instinct MI300X",
     .peak_bf16 = 1307.4e12, .peak_fp32 = 163.4e12, .peak_tf32 = 653.7e12, .peak_fp8 = 2614.9e12,
     .peak_source = "AMD Instinct MI300X datasheet, 2023: without sparsity",
     .memory_bytes = 192e9, .memory_bytes_per_s = 5300e9, .memory_source = "AMD Instinct MI300X datasheet, 2023",
     LINKS(HARDWARE_XGMI_MI300X, HARDWARE_IB_NDR400),
     .tdp_watts = 750, .tdp_source = "AMD Instinct MI300X datasheet, 2023"},
    {.key = "tpu-v4", .name = "TPU v4",
     .peak_bf16 = 275e12, .peak_source = "Jouppi et al., TPU v4, 2023 (arXiv:2304.01433), table 4",
     .memory_bytes = 32 * 1073741824.0, .memory_bytes_per_s = 1200e9,
     .memory_source = "Jouppi et al., TPU v4, 2023 (arXiv:2304.01433), table 4",
     .tdp_watts = 192, .tdp_source = "Jouppi et al., TPU v4, 2023 (arXiv:2304.01433), table 4: the most that was measured"},
};
/* clang-format on */

#define ANY_CPU_WATTS (280.0 / 128)
#define ANY_CPU_USD (0.1785 / 4)
#define ANY_CPU_PRICE AWS("c7i.xlarge") ", divided by its 4 hardware threads; a generic CPU"

/* Per hardware thread. There are no peaks: the peak of a CPU depends on its clock under vector load, which no datasheet states.
 * The last entry matches any CPU. */
/* clang-format off */
static const hardware cpus[] = {
    {.match = "EPYC 7763", .name = "EPYC 7763",
     .tdp_watts = 280.0 / 128, .tdp_source = "AMD EPYC 7003 datasheet, 2021: 280 W, 128 threads",
     .usd_per_hour = ANY_CPU_USD, .price_source = ANY_CPU_PRICE},
    {.match = "EPYC 9654", .name = "EPYC 9654",
     .tdp_watts = 360.0 / 192, .tdp_source = "AMD EPYC 9004 datasheet, 2022: 360 W, 192 threads",
     .usd_per_hour = ANY_CPU_USD, .price_source = ANY_CPU_PRICE},
    {.match = "Platinum 8480+", .name = "Xeon Platinum 8480+",
     .tdp_watts = 350.0 / 112, .tdp_source = "Intel ARK, Xeon Platinum 8480+, 2023: 350 W, 112 threads",
     .usd_per_hour = ANY_CPU_USD, .price_source = ANY_CPU_PRICE},
    {.match = "EPYC 7R13", .name = "EPYC 7R13",
     .tdp_watts = ANY_CPU_WATTS, .tdp_source = "estimate: as EPYC 7763 of the same generation",
     .usd_per_hour = 0.153 / 4, .price_source = AWS("c6a.xlarge") ", divided by its 4 hardware threads"},
    {.match = "EPYC 9R14", .name = "EPYC 9R14",
     .tdp_watts = 360.0 / 96, .tdp_source = "estimate: as EPYC 9654, one thread per core",
     .usd_per_hour = 0.20528 / 4, .price_source = AWS("c7a.xlarge") ", divided by its 4 cores"},
    {.match = "Platinum 8488C", .name = "Xeon Platinum 8488C",
     .tdp_watts = 350.0 / 112, .tdp_source = "estimate: as Xeon Platinum 8480+ of the same generation",
     .usd_per_hour = 0.1785 / 4, .price_source = AWS("c7i.xlarge") ", divided by its 4 hardware threads"},
    {.match = "", .name = "any CPU",
     .tdp_watts = ANY_CPU_WATTS, .tdp_source = "estimate: a generic server thread, EPYC 7763's 280 W / 128 threads",
     .usd_per_hour = ANY_CPU_USD, .price_source = ANY_CPU_PRICE},
};
/* clang-format on */

/* `text` contains `word` with no letter or digit directly before or after it: neither A100 nor A10G contains A10. */
static bool has_word(const char *text, const char *word) {
    size_t length = strlen(word);
    for (const char *p = text; (p = strstr(p, word)); p++) {
        bool starts = p == text || !isalnum((unsigned char)p[-1]);
        if (!length || (starts && !isalnum((unsigned char)p[length]))) return true;
    }
    return false;
}

/* another chip, or part of one, that is sold under the same number */
static bool is_variant(const char *name) {
    static const char *const words[] = {"MIG", "Laptop", "Max-Q", "Ti", "D", "SUPER", "Mobile"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (has_word(name, words[i])) return true;
    return false;
}

static const hardware *find(const hardware *list, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++)
        if (list[i].match && has_word(name, list[i].match)) return &list[i];
    return NULL;
}

const hardware *hardware_find(device_kind kind, const char *name) {
    if (kind == DEVICE_CPU) return find(cpus, sizeof cpus / sizeof *cpus, name);
    return is_variant(name) ? NULL : find(gpus, sizeof gpus / sizeof *gpus, name);
}

const hardware *hardware_list(int *count) {
    *count = (int)(sizeof gpus / sizeof *gpus);
    return gpus;
}
