#include "tests/check.h"

#include <string.h>

#include "train/bill/hardware.h"

/* names as the driver gives them; dense bf16 and plain fp32 in TFLOP/s, watts */
static const struct {
    const char *name;
    double bf16, fp32, watts;
} known[] = {
    {"NVIDIA H100 80GB HBM3", 989.4, 66.9, 700},
    {"NVIDIA H100 PCIe", 756, 51.2, 350},
    {"NVIDIA H100 NVL", 835.5, 60, 400},
    {"NVIDIA H200", 989.4, 67, 700},
    {"NVIDIA H200 NVL", 835.5, 60, 600},
    {"NVIDIA A100-SXM4-40GB", 312, 19.5, 400},
    {"NVIDIA A100-SXM4-80GB", 312, 19.5, 400},
    {"NVIDIA A100 80GB PCIe", 312, 19.5, 300},
    {"NVIDIA A100-PCIE-40GB", 312, 19.5, 250},
    {"NVIDIA L40S", 362.05, 91.6, 350},
    {"NVIDIA L4", 121, 30.3, 72},
    {"NVIDIA A10", 125, 31.2, 150},
    {"NVIDIA GeForce RTX 4090", 165.2, 82.6, 450},
    {"NVIDIA GeForce RTX 3090", 71, 35.6, 350},
    {"Tesla V100-SXM2-16GB", 0, 15.7, 300},
    {"Tesla T4", 0, 8.1, 70},
    {"NVIDIA B200", 2250, 80, 1000},
    {"NVIDIA GB200", 2500, 90, 1200},
};

static void check_sources(const hardware *h) {
    assert_true(!(h->peak_bf16 > 0 || h->peak_fp32 > 0) || h->peak_source);
    assert_true(h->tdp_watts > 0 && h->tdp_source && *h->tdp_source);
    assert_int_equal(h->memory_bytes > 0, h->memory_source != NULL);
    assert_int_equal(h->memory_bytes > 0, h->memory_bytes_per_s > 0);
    assert_int_equal(h->usd_per_hour > 0, h->price_source != NULL);
    if (h->price_source) assert_non_null(strstr(h->price_source, " of 2026-")); /* dated */
}

static void test_known_devices(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const hardware *h = hardware_find(DEVICE_CUDA, known[i].name);
        if (!h) fail_msg("%s is not found", known[i].name);
        /* "989.4e12" and 989.4 * 1e12 may differ by a rounding */
        if (fabs(h->peak_bf16 - known[i].bf16 * 1e12) > 1 || fabs(h->peak_fp32 - known[i].fp32 * 1e12) > 1 ||
            h->tdp_watts != known[i].watts)
            fail_msg("%s is found as %s: %g, %g, %g", known[i].name, h->name, h->peak_bf16, h->peak_fp32, h->tdp_watts);
        check_sources(h);
    }
}

static void test_what_only_looks_like_a_known_device_is_unknown(void **state) {
    (void)state;
    const char *const names[] = {
        "NVIDIA A10G",
        "NVIDIA A100-SXM-64GB",
        "NVIDIA L40",
        "NVIDIA T400",
        "NVIDIA T4G",
        "NVIDIA GH200 480GB",
        "NVIDIA H100 80GB HBM3 MIG 1g.10gb",
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "NVIDIA GeForce RTX 4090 D",
        "NVIDIA GeForce RTX 3090 Ti",
        "NVIDIA H100",
        "AMD Instinct MI300X",
        "",
        "AMD EPYC 7763 64-Core Processor",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (hardware_find(DEVICE_CUDA, names[i]))
            fail_msg("%s is found as %s", names[i], hardware_find(DEVICE_CUDA, names[i])->name);
}

static void test_cpus_have_power_and_price_a_thread_and_no_peak(void **state) {
    (void)state;
    const char *const names[][2] = {
        {"AMD EPYC 7763 64-Core Processor", "EPYC 7763"},
        {"AMD EPYC 9654 96-Core Processor", "EPYC 9654"},
        {"AMD EPYC 9R14", "EPYC 9R14"},
        {"AMD EPYC 7R13 Processor", "EPYC 7R13"},
        {"Intel(R) Xeon(R) Platinum 8480+", "Xeon Platinum 8480+"},
        {"Intel(R) Xeon(R) Platinum 8488C", "Xeon Platinum 8488C"},
        {"AMD EPYC", "any CPU"},
        {"Neoverse-V2", "any CPU"},
        {"", "any CPU"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const hardware *h = hardware_find(DEVICE_CPU, names[i][0]);
        assert_non_null(h);
        assert_string_equal(h->name, names[i][1]);
        assert_true(h->peak_bf16 == 0 && h->peak_fp32 == 0);
        assert_true(h->tdp_watts > 1 && h->tdp_watts < 10); /* a thread, not a package */
        assert_true(h->usd_per_hour > 0.01 && h->usd_per_hour < 0.1);
        check_sources(h);
    }
    assert_non_null(strstr(hardware_find(DEVICE_CPU, "AMD EPYC")->tdp_source, "estimate"));
    assert_non_null(strstr(hardware_find(DEVICE_CPU, "AMD EPYC")->price_source, "generic"));
}

static void test_links_are_in_bytes_and_have_sources(void **state) {
    (void)state;
    for (int i = 0; i < HARDWARE_NODE_LINKS + HARDWARE_NETWORKS; i++) {
        bool inside = i < HARDWARE_NODE_LINKS;
        const hardware_link *l = inside ? &hardware_node_links[i] : &hardware_networks[i - HARDWARE_NODE_LINKS];
        assert_true(l->bytes_per_s >= (inside ? 30e9 : 10e9) && l->bytes_per_s < 1e12);
        assert_true(l->reached > 0.5 && l->reached < 1 && l->latency_s > 0 && l->latency_s < 1e-3);
        assert_true(*l->name && *l->source && *l->reached_source && *l->latency_source);
    }
    const hardware *h100 = hardware_find(DEVICE_CUDA, "NVIDIA H100 80GB HBM3");
    assert_string_equal(h100->node_link->name, "nvlink-h100");
    assert_string_equal(h100->network->name, "ib-ndr400");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_devices),
        cmocka_unit_test(test_what_only_looks_like_a_known_device_is_unknown),
        cmocka_unit_test(test_links_are_in_bytes_and_have_sources),
        cmocka_unit_test(test_cpus_have_power_and_price_a_thread_and_no_peak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
