#include "tests/check.h"

#include <unistd.h>

#include "train/bill/energy.h"
#include "train/bill/throttle.h"

#define PCI "0000:3b:00.0"

static char state_path[64], log_path[64];
static int standard_error;

/* sets what tests/gpu/fake_nvml.c reports. A reading is kept for 10 ms: waits for that long. */
static void set(const char *text) {
    usleep(15000);
    FILE *f = fopen(state_path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int setup(void **state) {
    (void)state;
    strcpy(state_path, "/tmp/tally-nvml-XXXXXX");
    strcpy(log_path, "/tmp/tally-log-XXXXXX");
    int a = mkstemp(state_path), b = mkstemp(log_path);
    if (a < 0 || b < 0) return -1;
    close(a);
    fflush(stderr);
    standard_error = dup(2);
    dup2(b, 2);
    close(b);
    return setenv("FAKE_NVML_STATE", state_path, 1);
}

static int teardown(void **state) {
    (void)state;
    dup2(standard_error, 2);
    close(standard_error);
    return unlink(state_path) | unlink(log_path);
}

/* returns the log's text and empties it */
static const char *logged(void) {
    static char text[4096];
    fflush(stderr);
    FILE *f = fopen(log_path, "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    assert_int_equal(ftruncate(2, 0), 0);
    lseek(2, 0, SEEK_SET);
    return text;
}

static void assert_logged(const char *expected) {
    const char *text = logged();
    if (expected[0] ? !strstr(text, expected) : text[0])
        fail_msg("the log has \"%s\", expected \"%s\"", text, expected);
}

static const device gpu = {.kind = DEVICE_CUDA};

static energy_meter *open_meter(const char *library, const char *pci, double watts, bool reads) {
    energy_meter *e;
    const energy_places places = {.powercap = "/nowhere", .nvml = library, .pci = pci};
    OK(energy_open_at(&e, &places, &gpu, watts, reads));
    return e;
}

static void assert_joules(energy_meter *e, double expected) {
    double got = energy_joules(e);
    if (fabs(got - expected) > 1e-6) fail_msg("%.9g J, expected %.9g", got, expected);
}

static void test_energy_is_the_counters_difference(void **state) {
    (void)state;
    set("pci " PCI "\nenergy_mj 5000000000123\npower_mw 300000\n");
    energy_meter *e = open_meter(FAKE_NVML, PCI, 700, true);
    assert_logged("");
    assert_string_equal(energy_source(energy_kind_of(e)), "nvml");
    assert_joules(e, 0);
    set("pci " PCI "\nenergy_mj 5000000002123\n");
    assert_joules(e, 2);
    set("pci " PCI "\n"); /* unreadable: its energy is counted at the next reading */
    assert_joules(e, 2);
    set("pci " PCI "\nenergy_mj 5000000002623\n");
    assert_joules(e, 2.5);
    energy_close(e);
}

static void test_readings_close_together_are_one(void **state) {
    (void)state;
    set("pci " PCI "\nenergy_mj 1000\n");
    energy_meter *e = open_meter(FAKE_NVML, PCI, 700, true);
    set("pci " PCI "\nenergy_mj 3000\n");
    double joules = energy_joules(e);
    uint64_t since = meter_clock_ns();
    for (int i = 0; i < 100; i++) {
        FILE *f = fopen(state_path, "w");
        fprintf(f, "pci " PCI "\nenergy_mj %d\n", 4000 + i);
        fclose(f);
        double now = energy_joules(e);
        if (meter_clock_ns() - since < 9000000 && now != joules) fail_msg("%g J, expected %g", now, joules);
    }
    energy_close(e);
}

static void test_one_rank_of_a_gpu_reads_it(void **state) {
    (void)state;
    set("pci " PCI "\nenergy_mj 1000\nreasons 0\nsm_mhz 1980\n");
    energy_meter *e = open_meter(FAKE_NVML, PCI, 700, false);
    set("pci " PCI "\nenergy_mj 9000\nreasons 0\nsm_mhz 1980\n");
    assert_int_equal(energy_kind_of(e), ENERGY_NVML);
    assert_true(energy_joules(e) == 0);
    assert_false(energy_gpu(e).known);
    energy_close(e);
}

static void test_without_the_counter_power_is_summed_over_time(void **state) {
    (void)state;
    set("pci " PCI "\npower_mw 200000\n");
    uint64_t before = meter_clock_ns();
    energy_meter *e = open_meter(FAKE_NVML, PCI, 700, true);
    uint64_t opened = meter_clock_ns();
    assert_string_equal(energy_source(energy_kind_of(e)), "nvml-power (estimated)");
    set("pci " PCI "\npower_mw 400000\n");
    uint64_t asked = meter_clock_ns();
    double joules = energy_joules(e); /* from 200 to 400 W: 300 times what has passed */
    double least = 300e-9 * (double)(asked - opened), most = 300e-9 * (double)(meter_clock_ns() - before);
    if (joules < least || joules > most) fail_msg("%g J, expected %g to %g", joules, least, most);
    energy_close(e);
}

static void test_what_cannot_be_read_is_said_and_estimated(void **state) {
    (void)state;
    static const struct {
        const char *state, *library, *pci, *line;
    } cases[] = {
        {"pci " PCI "\nenergy_mj 1\n", "/nowhere/libnvidia-ml.so.1", PCI, "energy: NVML: /nowhere/libnvidia-ml.so.1: "},
        {"pci " PCI "\nenergy_mj 1\n", "libc.so.6", PCI, "expected NVIDIA's management library"},
        {"", FAKE_NVML, PCI, "Not Supported"},
        {"pci " PCI "\nenergy_mj 1\n", FAKE_NVML, "0000:af:00.0", "energy: NVML: GPU 0000:af:00.0: Not Found"},
        {"pci " PCI "\nsm_mhz 1980\n", FAKE_NVML, PCI, "GPU " PCI " reports neither energy nor power"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        set(cases[i].state);
        uint64_t before = meter_clock_ns();
        energy_meter *e = open_meter(cases[i].library, cases[i].pci, 700, true);
        assert_logged(cases[i].line);
        assert_string_equal(energy_source(energy_kind_of(e)), "tdp-estimated");
        double joules = energy_joules(e), most = 700e-9 * (double)(meter_clock_ns() - before);
        assert_true(joules > 0 && joules <= most);
        assert_false(energy_gpu(e).known);
        energy_close(e);
    }
    unlink(state_path);
    nvml *n;
    FAILS(DEVICE, "Driver Not Loaded", nvml_open(&n, FAKE_NVML, PCI));
    set("");
}

static void test_clocks_and_temperature(void **state) {
    (void)state;
    const char *text = "pci " PCI "\nenergy_mj 1\nsm_mhz 1410\nsm_max_mhz 1980\nmemory_mhz 2600\nmemory_max_mhz 2619\n"
                       "temperature_c 71\nreasons 0x24\n";
    set(text);
    energy_meter *e = open_meter(FAKE_NVML, PCI, 700, true);
    nvml_state s = energy_gpu(e);
    assert_true(s.known && s.reasons_known);
    assert_int_equal(s.sm_mhz, 1410);
    assert_int_equal(s.sm_max_mhz, 1980);
    assert_int_equal(s.memory_mhz, 2600);
    assert_int_equal(s.memory_max_mhz, 2619);
    assert_int_equal(s.temperature_c, 71);
    assert_string_equal(throttle_names(s.reasons).text, "sw_power_cap,sw_thermal");
    set("pci " PCI "\nenergy_mj 1\n");
    energy_joules(e);
    s = energy_gpu(e);
    assert_true(s.known && !s.reasons_known && s.reasons == 0);
    assert_int_equal(s.sm_mhz, -1);
    assert_int_equal(s.temperature_c, -1);
    energy_close(e);
}

static void test_gpus_are_merged(void **state) {
    (void)state;
    nvml_state all = {0}, none = {0};
    nvml_state a = {
        .known = true, .reasons_known = true, .reasons = 4, .sm_mhz = 1980, .memory_mhz = -1, .temperature_c = 60};
    nvml_state b = {.known = true, .reasons = 0, .sm_mhz = 1410, .memory_mhz = 2600, .temperature_c = 80};
    nvml_merge(&all, &none);
    assert_false(all.known);
    nvml_merge(&all, &a);
    nvml_merge(&all, &none);
    nvml_merge(&all, &b);
    assert_true(all.known && all.reasons_known && all.reasons == 4);
    assert_int_equal(all.sm_mhz, 1410);
    assert_int_equal(all.memory_mhz, 2600);
    assert_int_equal(all.temperature_c, 80);
}

static void test_every_reason_has_a_name_and_fits(void **state) {
    (void)state;
    assert_string_equal(throttle_names(0).text, "none");
    assert_string_equal(throttle_names(0x1200).text, "0x1200");
    const char *all = throttle_names(~0ul).text;
    assert_non_null(strstr(all, "hw_power_brake"));
    assert_non_null(strstr(all, ",0xfffffffffffffe00"));
}

static void test_throttling_is_said_when_it_begins_and_ends(void **state) {
    (void)state;
    throttle_watch w = {0};
    struct {
        double other;
        nvml_state gpu;
    } ranks[3] = {0};
    for (int r = 0; r < 2; r++)
        ranks[r].gpu =
            (nvml_state){.known = true, .reasons_known = true, .sm_mhz = 1980, .sm_max_mhz = 1980, .temperature_c = 60};
#define LOOK() throttle_look(&w, &ranks[0].gpu, sizeof *ranks, 3)
    ranks[0].gpu.reasons = 0x1 | 0x2 | 0x10 | 0x100; /* none of these is throttling */
    LOOK();
    assert_logged("");
    ranks[1].gpu.reasons = 0x4;
    ranks[1].gpu.sm_mhz = 1755;
    LOOK();
    assert_logged("power: the GPU of rank 1 is at its power limit, 1755 of 1980 MHz; this is normal under load and is "
                  "logged once");
    ranks[1].gpu.reasons = 0;
    LOOK();
    ranks[1].gpu.reasons = 0x4;
    LOOK();
    assert_logged("");
    ranks[1].gpu.reasons = 0x44;
    ranks[1].gpu.sm_mhz = 1200;
    ranks[1].gpu.temperature_c = 91;
    LOOK();
    assert_logged("throttling begins: the GPU of rank 1 is slowed by heat (hardware slowdown), 1200 of 1980 MHz, 91 C");
    ranks[0].gpu.reasons = 0x40;
    LOOK();
    ranks[1].gpu.reasons = 0;
    LOOK();
    assert_logged("");
    ranks[0].gpu.reasons = 0x80;
    LOOK();
    const char *text = logged();
    assert_non_null(strstr(text, "throttling ends: no GPU is slowed by heat (hardware slowdown) any more"));
    assert_non_null(strstr(text, "throttling begins: the GPU of rank 0 is slowed by the power brake of its host"));
    ranks[0].gpu.reasons = 0;
    LOOK();
    assert_logged("throttling ends: no GPU is slowed by the power brake of its host any more");
    LOOK();
    assert_logged("");
#undef LOOK
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_energy_is_the_counters_difference),
        TEST(test_readings_close_together_are_one),
        TEST(test_one_rank_of_a_gpu_reads_it),
        TEST(test_without_the_counter_power_is_summed_over_time),
        TEST(test_what_cannot_be_read_is_said_and_estimated),
        TEST(test_clocks_and_temperature),
        TEST(test_gpus_are_merged),
        TEST(test_every_reason_has_a_name_and_fits),
        TEST(test_throttling_is_said_when_it_begins_and_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
