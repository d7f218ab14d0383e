#include "tests/check.h"

#include <string.h>
#include <unistd.h>

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
    {"NVIDIA GeForce RTX 5090", 209.5, 104.8, 575},
    {"Tesla V100-SXM2-16GB", 0, 15.7, 300},
    {"Tesla T4", 0, 8.1, 70},
    {"NVIDIA B200", 2250, 80, 1000},
    {"NVIDIA GB200", 2500, 90, 1200},
};

static void check_sources(const hardware *h) {
    assert_true(!(h->peak_bf16 > 0 || h->peak_fp32 > 0) || h->peak_source);
    assert_true(h->tdp_watts > 0 && h->tdp_source && *h->tdp_source);
    assert_true(!h->node_link || h->memory_bytes > 0);
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

/* tensor cores: tf32 is half of bf16 on data-centre GPUs and half of it or less on cards; fp8 is twice bf16 */
static void test_each_key_has_one_entry_whose_formats_agree(void **state) {
    (void)state;
    int count;
    const hardware *list = hardware_list(&count), *h;
    for (int i = 0; i < count; i++) {
        OK(hardware_by_key(&h, list[i].key));
        assert_ptr_equal(h, &list[i]); /* no key twice */
        check_sources(h);
        if (h->peak_tf32 > 0 && fabs(h->peak_tf32 / h->peak_bf16 - 0.5) > 0.015) fail_msg("%s: tf32", h->key);
        if (h->peak_fp8 > 0 && fabs(h->peak_fp8 / h->peak_bf16 - 2) > 0.03) fail_msg("%s: fp8", h->key);
        if (h->match) assert_ptr_equal(h, hardware_find(DEVICE_CUDA, h->match));
    }
    const char *const keys[] = {"a100-40gb", "a100-80gb", "h100",    "h100-pcie", "h200",   "b200",
                                "l40s",      "l4",        "rtx4090", "rtx5090",   "mi300x", "TPU-v4"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        OK(hardware_by_key(&h, keys[i]));
        assert_true(h->peak_bf16 > 0 && h->memory_bytes > 0);
    }
    FAILS(ARG, "'h1000' is not a device of the hardware table; expected one of gb200, b200",
          hardware_by_key(&h, "h1000"));
    FAILS(ARG, "tpu-v4", hardware_by_key(&h, "")); /* the list is whole */
}

static void test_a_sparse_peak_is_refused(void **state) {
    (void)state;
    const hardware *h;
    OK(hardware_by_key(&h, "h100"));
    OK(hardware_check_dense("--peak-tflops", h->name, 989.4e12, h->peak_bf16));
    OK(hardware_check_dense("--peak-tflops", h->name, 1e12, h->peak_bf16));
    OK(hardware_check_dense("--peak-tflops", h->name, 1e18, 0));
    FAILS(ARG, "--peak-tflops is 1979 TFLOP/s: that is the figure of H100 SXM 80GB with 2:4 sparsity",
          hardware_check_dense("--peak-tflops", h->name, 1979e12, h->peak_bf16));
    FAILS(ARG, "--peak-tflops is 1500 TFLOP/s; the dense peak of H100 SXM 80GB is 989.4",
          hardware_check_dense("--peak-tflops", h->name, 1500e12, h->peak_bf16));
}

static status_code read_text(hardware_file *f, const char *text) {
    char path[] = "/tmp/test_hardware_XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    status_code st = hardware_read(f, path);
    unlink(path);
    return st;
}

static void test_a_device_of_ones_own(void **state) {
    (void)state;
    hardware_file f;
    OK(read_text(
        &f, "{\"name\": \"Chip 9\", \"source\": \"its maker, 2026\", \"peak_bf16_tflops\": 500, \"memory_gb\": 64, "
            "\"memory_bandwidth_gb_per_s\": 2000, \"tdp_watts\": 300, \"usd_per_hour\": 1.5, "
            "\"node_link\": {\"gb_per_s\": 100, \"reached\": 0.8, \"latency_us\": 5}, \"network\": {\"gb_per_s\": 25, "
            "\"latency_us\": 0}}"));
    const hardware *h = &f.hardware;
    assert_string_equal(h->name, "Chip 9");
    assert_string_equal(h->price_source, "its maker, 2026");
    assert_true(h->peak_bf16 == 500e12 && h->peak_fp8 == 0 && h->memory_bytes == 64e9 && h->memory_bytes_per_s == 2e12);
    assert_true(h->tdp_watts == 300 && h->usd_per_hour == 1.5 && h->network->bytes_per_s == 25e9);
    assert_true(h->node_link->bytes_per_s == 100e9 && h->node_link->reached == 0.8 && h->network->reached == 1);
    assert_true(fabs(h->node_link->latency_s - 5e-6) < 1e-20 && h->network->latency_s == 0);
    hardware_read_free(&f);
    OK(read_text(&f, "{\"name\": \"Chip 9\"}")); /* what is missing is not known */
    assert_true(f.hardware.peak_bf16 == 0 && f.hardware.usd_per_hour == 0 && !f.hardware.node_link);
    assert_non_null(strstr(f.hardware.peak_source, "/tmp/test_hardware_"));
    hardware_read_free(&f);
    const char *const bad[][2] = {
        {"[]", "expected a JSON object"},
        {"{}", "\"name\" is missing"},
        {"{\"name\": 5}", "\"name\": expected a text"},
        {"{\"name\": \"x\\u001b[31m\"}", "without control characters"},
        {"{\"name\": \"x\", \"network\": {\"gb_per_s\": 1, \"latency_us\": -1}}",
         "\"latency_us\" is -1; expected 0 to"},
        {"{\"name\": \"x\", \"peak_bf16\": 5}", "unknown key \"peak_bf16\""},
        {"{\"name\": \"x\", \"tdp_watts\": -5}", "\"tdp_watts\" is -5; expected more than 0"},
        {"{\"name\": \"x\", \"usd_per_hour\": 0}", "\"usd_per_hour\" is 0; expected more than 0"},
        {"{\"name\": \"x\", \"peak_fp32_tflops\": \"9\"}", "peak_fp32_tflops"},
        {"{\"name\": \"x\", \"peak_fp32_tflops\": 1e30}", "at most 1e9"},
        {"{\"name\": \"x\", \"memory_gb\": 64}", "or neither"},
        {"{\"name\": \"x\", \"network\": 5}", "network"},
        {"{\"name\": \"x\", \"network\": {}}", "\"network\" has no \"gb_per_s\""},
        {"{\"name\": \"x\", \"network\": {\"gb_per_s\": 1, \"reached\": 2}}", "expected at most 1"},
        {"{\"name\": \"x\", \"network\": {\"gbps\": 1}}", "unknown key \"gbps\""},
        {"{\"name\": \"NVIDIA H100 80GB HBM3\", \"peak_bf16_tflops\": 1979}", "with 2:4 sparsity"},
        {"{\"name\": \"h100\", \"peak_fp8_tflops\": 3958}", "with 2:4 sparsity"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        status_code st = read_text(&f, bad[i][0]);
        if (status_exit_code(st) != 2 || !strstr(status_message(), bad[i][1]))
            fail_msg("%s: %d %s", bad[i][0], st, status_message());
        assert_null(f.json);
    }
    FAILS(DATA, "/nowhere: No such file", hardware_read(&f, "/nowhere"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_devices),
        cmocka_unit_test(test_what_only_looks_like_a_known_device_is_unknown),
        cmocka_unit_test(test_links_are_in_bytes_and_have_sources),
        cmocka_unit_test(test_each_key_has_one_entry_whose_formats_agree),
        cmocka_unit_test(test_a_sparse_peak_is_refused),
        cmocka_unit_test(test_a_device_of_ones_own),
        cmocka_unit_test(test_cpus_have_power_and_price_a_thread_and_no_peak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
