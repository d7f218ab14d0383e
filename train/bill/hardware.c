#include "train/bill/hardware.h"

#include <ctype.h>

#define NVLINK_REACHED "NCCL's maintainers, github.com/NVIDIA/nccl-tests/issues/212: 370 of 450 GB/s"
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

/* Dense peaks of the tensor cores in bf16 with fp32 sums; half of the figure where a datasheet only prints the one with 2:4
 * sparsity. fp32 without tensor cores. V100 and T4 have no bf16. */
/* clang-format off */
static const hardware gpus[] = {
    {.match = "GB200", .name = "GB200",
     .peak_bf16 = 2500e12, .peak_fp32 = 90e12,
     .peak_source = "NVIDIA Blackwell Architecture Technical Brief, 2024: one GPU of GB200, 5,000 with sparsity",
     .tdp_watts = 1200, .tdp_source = "NVIDIA Blackwell Architecture Technical Brief, 2024"},
    {.match = "B200", .name = "B200",
     .peak_bf16 = 2250e12, .peak_fp32 = 80e12,
     .peak_source = "NVIDIA Blackwell Architecture Technical Brief, 2024: HGX B200, 4,500 with sparsity",
     .tdp_watts = 1000, .tdp_source = "NVIDIA Blackwell Architecture Technical Brief, 2024",
     .usd_per_hour = 6.69, .price_source = LAMBDA_8},
    {.match = "H200 NVL", .name = "H200 NVL",
     .peak_bf16 = 835.5e12, .peak_fp32 = 60e12,
     .peak_source = "NVIDIA H200 datasheet, 2024: 1,671 with sparsity",
     .tdp_watts = 600, .tdp_source = "NVIDIA H200 datasheet, 2024"},
    {.match = "H200", .name = "H200 SXM",
     .peak_bf16 = 989.4e12, .peak_fp32 = 67e12,
     .peak_source = "NVIDIA H200 datasheet, 2024 (1,979 with sparsity); the chip of H100 SXM",
     .memory_bytes = 141e9, .memory_bytes_per_s = 4800e9, .memory_source = "NVIDIA H200 datasheet, 2024",
     LINKS(HARDWARE_NVLINK_H100, HARDWARE_IB_NDR400),
     .tdp_watts = 700, .tdp_source = "NVIDIA H200 datasheet, 2024",
     .usd_per_hour = 4.59, .price_source = RUNPOD},
    {.match = "H100 PCIe", .name = "H100 PCIe",
     .peak_bf16 = 756e12, .peak_fp32 = 51.2e12,
     .peak_source = "NVIDIA H100 Tensor Core GPU Architecture whitepaper, v1.04, 2023",
     .tdp_watts = 350, .tdp_source = "NVIDIA H100 datasheet, 2023",
     .usd_per_hour = 3.29, .price_source = LAMBDA_1},
    {.match = "H100 NVL", .name = "H100 NVL",
     .peak_bf16 = 835.5e12, .peak_fp32 = 60e12,
     .peak_source = "NVIDIA H100 datasheet, 2024: 1,671 with sparsity",
     .tdp_watts = 400, .tdp_source = "NVIDIA H100 datasheet, 2024: 350 to 400 W",
     .usd_per_hour = 3.19, .price_source = RUNPOD},
    {.match = "H100 80GB HBM3", .name = "H100 SXM 80GB",
     .peak_bf16 = 989.4e12, .peak_fp32 = 66.9e12,
     .peak_source = "NVIDIA H100 Tensor Core GPU Architecture whitepaper, v1.04, 2023",
     .memory_bytes = 80e9, .memory_bytes_per_s = 3350e9, .memory_source = "NVIDIA H100 datasheet, 2023",
     LINKS(HARDWARE_NVLINK_H100, HARDWARE_IB_NDR400),
     .tdp_watts = 700, .tdp_source = "NVIDIA H100 datasheet, 2023",
     .usd_per_hour = 3.99, .price_source = LAMBDA_8},
    {.match = "A100-SXM4-80GB", .name = "A100 SXM 80GB",
     .peak_bf16 = 312e12, .peak_fp32 = 19.5e12, .peak_source = "NVIDIA A100 datasheet, 2021",
     .memory_bytes = 80e9, .memory_bytes_per_s = 2039e9, .memory_source = "NVIDIA A100 datasheet, 2021",
     LINKS(HARDWARE_NVLINK_A100, HARDWARE_IB_HDR200),
     .tdp_watts = 400, .tdp_source = "NVIDIA A100 datasheet, 2021",
     .usd_per_hour = 2.79, .price_source = LAMBDA_8},
    {.match = "A100-SXM4-40GB", .name = "A100 SXM 40GB",
     .peak_bf16 = 312e12, .peak_fp32 = 19.5e12, .peak_source = "NVIDIA A100 datasheet, 2020",
     .tdp_watts = 400, .tdp_source = "NVIDIA A100 datasheet, 2020",
     .usd_per_hour = 1.99, .price_source = LAMBDA_8},
    {.match = "A100 80GB PCIe", .name = "A100 PCIe 80GB",
     .peak_bf16 = 312e12, .peak_fp32 = 19.5e12, .peak_source = "NVIDIA A100 datasheet, 2021",
     .tdp_watts = 300, .tdp_source = "NVIDIA A100 datasheet, 2021",
     .usd_per_hour = 1.59, .price_source = RUNPOD},
    {.match = "A100-PCIE-40GB", .name = "A100 PCIe 40GB",
     .peak_bf16 = 312e12, .peak_fp32 = 19.5e12, .peak_source = "NVIDIA A100 datasheet, 2020",
     .tdp_watts = 250, .tdp_source = "NVIDIA A100 40GB PCIe product brief, PB-10137, 2020"},
    {.match = "L40S", .name = "L40S",
     .peak_bf16 = 362.05e12, .peak_fp32 = 91.6e12, .peak_source = "NVIDIA L40S datasheet, 2023",
     .tdp_watts = 350, .tdp_source = "NVIDIA L40S datasheet, 2023",
     .usd_per_hour = 1.09, .price_source = RUNPOD},
    {.match = "L4", .name = "L4",
     .peak_bf16 = 121e12, .peak_fp32 = 30.3e12, .peak_source = "NVIDIA L4 datasheet, 2023: 242 with sparsity",
     .tdp_watts = 72, .tdp_source = "NVIDIA L4 datasheet, 2023",
     .usd_per_hour = 0.8048, .price_source = AWS("g6.xlarge")},
    {.match = "A10", .name = "A10",
     .peak_bf16 = 125e12, .peak_fp32 = 31.2e12, .peak_source = "NVIDIA A10 datasheet, 2021",
     .tdp_watts = 150, .tdp_source = "NVIDIA A10 datasheet, 2021",
     .usd_per_hour = 1.29, .price_source = LAMBDA_1},
    {.match = "RTX 4090", .name = "GeForce RTX 4090",
     .peak_bf16 = 165.2e12, .peak_fp32 = 82.6e12,
     .peak_source = "NVIDIA Ada GPU Architecture whitepaper, v2.02, 2023: with fp32 sums",
     .tdp_watts = 450, .tdp_source = "NVIDIA Ada GPU Architecture whitepaper, v2.02, 2023",
     .usd_per_hour = 0.74, .price_source = RUNPOD},
    {.match = "RTX 3090", .name = "GeForce RTX 3090",
     .peak_bf16 = 71e12, .peak_fp32 = 35.6e12,
     .peak_source = "NVIDIA Ampere GA102 GPU Architecture whitepaper, v2.1, 2021: with fp32 sums",
     .tdp_watts = 350, .tdp_source = "NVIDIA Ampere GA102 GPU Architecture whitepaper, v2.1, 2021"},
    {.match = "V100-SXM2", .name = "V100 SXM2",
     .peak_fp32 = 15.7e12, .peak_source = "NVIDIA V100 datasheet, 2020; no bf16",
     .tdp_watts = 300, .tdp_source = "NVIDIA V100 datasheet, 2020",
     .usd_per_hour = 0.79, .price_source = LAMBDA_8},
    {.match = "V100-PCIE", .name = "V100 PCIe",
     .peak_fp32 = 14e12, .peak_source = "NVIDIA V100 datasheet, 2020; no bf16",
     .tdp_watts = 250, .tdp_source = "NVIDIA V100 datasheet, 2020"},
    {.match = "T4", .name = "T4",
     .peak_fp32 = 8.1e12, .peak_source = "NVIDIA T4 datasheet, 2019; no bf16",
     .tdp_watts = 70, .tdp_source = "NVIDIA T4 datasheet, 2019",
     .usd_per_hour = 0.526, .price_source = AWS("g4dn.xlarge")},
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
        if (has_word(name, list[i].match)) return &list[i];
    return NULL;
}

const hardware *hardware_find(device_kind kind, const char *name) {
    if (kind == DEVICE_CPU) return find(cpus, sizeof cpus / sizeof *cpus, name);
    return is_variant(name) ? NULL : find(gpus, sizeof gpus / sizeof *gpus, name);
}
