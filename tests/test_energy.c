#include "tests/check.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "train/bill/energy.h"

/* a folder like /sys/class/powercap */
typedef struct {
    char root[32];
} powercap;

static void put(const powercap *p, const char *zone, const char *file, const char *text) {
    char path[160];
    snprintf(path, sizeof path, "%s/%s", p->root, zone);
    assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
    snprintf(path, sizeof path, "%s/%s/%s", p->root, zone, file);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "%s\n", text);
    fclose(f);
}

static void zone(const powercap *p, const char *folder, const char *name, const char *range, const char *energy) {
    put(p, folder, "name", name);
    put(p, folder, "max_energy_range_uj", range);
    put(p, folder, "energy_uj", energy);
}

static int setup(void **state) {
    static powercap p;
    strcpy(p.root, "/tmp/tally-energy-XXXXXX");
    *state = &p;
    return mkdtemp(p.root) ? 0 : -1;
}

static int teardown(void **state) {
    static const char *const zones[] = {"intel-rapl:0", "intel-rapl:1", "intel-rapl:0:0", "intel-rapl-mmio:0",
                                        "intel-rapl:2"};
    static const char *const files[] = {"name", "max_energy_range_uj", "energy_uj"};
    const powercap *p = *state;
    char path[160];
    for (size_t z = 0; z < sizeof zones / sizeof *zones; z++) {
        for (int f = 0; f < 3; f++) {
            snprintf(path, sizeof path, "%s/%s/%s", p->root, zones[z], files[f]);
            unlink(path);
        }
        snprintf(path, sizeof path, "%s/%s", p->root, zones[z]);
        rmdir(path);
    }
    return rmdir(p->root);
}

static const device cpu = {.kind = DEVICE_CPU};

/* ignores the GPU library of this machine */
static status open_at(energy_meter **e, const char *root, const device *dev, double watts, bool reads) {
    const energy_places places = {.powercap = root, .nvml = "/nowhere/libnvidia-ml.so.1", .pci = "0000:3b:00.0"};
    return energy_open_at(e, &places, dev, watts, reads);
}

/* microjoules below 2^53 times 1e-6, then summed: a rounding each */
static void assert_joules(energy_meter *e, double expected) {
    double got = energy_joules(e);
    if (fabs(got - expected) > 8 * 0x1p-53 * expected) fail_msg("%.17g J, expected %.17g", got, expected);
}

static void test_packages_are_summed_and_wrap(void **state) {
    const powercap *p = *state;
    zone(p, "intel-rapl:0", "package-0", "262143328850", "262143000000");
    zone(p, "intel-rapl:1", "package-1", "262143328850", "5000000");
    zone(p, "intel-rapl:0:0", "core", "262143328850", "1");         /* part of package-0: not counted again */
    zone(p, "intel-rapl-mmio:0", "package-0", "262143328850", "1"); /* the same package again */
    zone(p, "intel-rapl:2", "psys", "262143328850", "1");           /* the whole board */
    energy_meter *e;
    OK(open_at(&e, p->root, &cpu, 100, true));
    assert_int_equal(energy_kind_of(e), ENERGY_RAPL);
    assert_joules(e, 0); /* since it was opened */
    put(p, "intel-rapl:1", "energy_uj", "7500000");
    put(p, "intel-rapl:0:0", "energy_uj", "900000000");
    put(p, "intel-rapl-mmio:0", "energy_uj", "900000000");
    put(p, "intel-rapl:2", "energy_uj", "900000000");
    assert_joules(e, 2.5);
    put(p, "intel-rapl:0", "energy_uj", "671150"); /* 328850 to the end of the range, then 671150 */
    assert_joules(e, 3.5);
    assert_joules(e, 3.5);
    put(p, "intel-rapl:0", "energy_uj", "671149"); /* almost once around would be too much energy: a reset */
    assert_joules(e, 3.5 + 0.671149);
    put(p, "intel-rapl:1", "energy_uj", ""); /* unreadable: its energy is counted at the next reading */
    assert_joules(e, 3.5 + 0.671149);
    put(p, "intel-rapl:1", "energy_uj", "8500000");
    assert_joules(e, 4.5 + 0.671149);
    energy_close(e);
}

static void test_a_reset_is_no_wrap(void **state) {
    const powercap *p = *state;
    zone(p, "intel-rapl:0", "package-0", "262143328850", "5000000");
    energy_meter *e;
    OK(open_at(&e, p->root, &cpu, 100, true));
    put(p, "intel-rapl:0", "energy_uj", "6000000");
    assert_joules(e, 1);
    put(p, "intel-rapl:0", "energy_uj", "0");
    assert_joules(e, 1);
    put(p, "intel-rapl:0", "energy_uj", "2000000");
    assert_joules(e, 3);
    put(p, "intel-rapl:0", "energy_uj", "200000000000"); /* ahead by more than any package uses */
    assert_joules(e, 3);
    put(p, "intel-rapl:0", "energy_uj", "150000000000"); /* back, far from 0 and from the end */
    assert_joules(e, 3);
    put(p, "intel-rapl:0", "energy_uj", "150000500000");
    assert_joules(e, 3.5);
    energy_close(e);
}

static void test_dies_that_show_one_counter_count_once(void **state) {
    const powercap *p = *state;
    zone(p, "intel-rapl:0", "package-0-die-0", "262143328850", "262143328800");
    zone(p, "intel-rapl:1", "package-0-die-1", "262143328850", "12"); /* read a moment later, past the wrap */
    zone(p, "intel-rapl:2", "package-1", "262143328850", "7");        /* a different package */
    energy_meter *e;
    OK(open_at(&e, p->root, &cpu, 100, true));
    put(p, "intel-rapl:0", "energy_uj", "2000000");
    put(p, "intel-rapl:1", "energy_uj", "2000000");
    double joules = energy_joules(e);
    assert_true(joules > 1.99 && joules < 2.01);
    put(p, "intel-rapl:2", "energy_uj", "1000007");
    joules = energy_joules(e);
    assert_true(joules > 2.99 && joules < 3.01);
    energy_close(e);
    zone(p, "intel-rapl:1", "package-0-die-1", "262143328850", "90000000000"); /* a counter of the die alone */
    OK(open_at(&e, p->root, &cpu, 100, true));
    put(p, "intel-rapl:0", "energy_uj", "3000000");
    put(p, "intel-rapl:1", "energy_uj", "90002000000");
    assert_joules(e, 3);
    energy_close(e);
}

static void test_one_rank_of_a_host_reads_its_counters(void **state) {
    const powercap *p = *state;
    zone(p, "intel-rapl:0", "package-0", "262143328850", "5");
    energy_meter *e;
    OK(open_at(&e, p->root, &cpu, 100, false));
    put(p, "intel-rapl:0", "energy_uj", "900000000");
    assert_int_equal(energy_kind_of(e), ENERGY_RAPL);
    assert_true(energy_joules(e) == 0);
    energy_close(e);
}

static void test_one_unreadable_package_makes_it_an_estimate(void **state) {
    const powercap *p = *state;
    zone(p, "intel-rapl:0", "package-0", "262143328850", "5");
    zone(p, "intel-rapl:1", "package-1", "262143328850", "");
    energy_meter *e;
    OK(open_at(&e, p->root, &cpu, 0, true));
    assert_int_equal(energy_kind_of(e), ENERGY_UNKNOWN);
    energy_close(e);
}

static void test_without_counters_it_is_power_times_time(void **state) {
    const powercap *p = *state;
    energy_meter *e;
    OK(open_at(&e, p->root, &cpu, 0, true));             /* an empty folder */
    assert_int_equal(energy_kind_of(e), ENERGY_UNKNOWN); /* no power is known either */
    assert_true(isnan(energy_joules(e)));
    assert_string_equal(energy_source(ENERGY_UNKNOWN), "unknown");
    energy_close(e);

    uint64_t before = meter_clock_ns();
    OK(open_at(&e, "/nowhere/powercap", &cpu, 250, true));
    double first = energy_joules(e), second = energy_joules(e);
    double most = 250 * 1e-9 * (double)(meter_clock_ns() - before);
    assert_true(first >= 0 && second >= first && second <= most);
    energy_close(e);
    energy_close(NULL);
}

static void test_the_cpus_counters_are_not_a_gpus(void **state) {
    const powercap *p = *state;
    zone(p, "intel-rapl:0", "package-0", "262143328850", "5");
    const device gpu = {.kind = DEVICE_CUDA};
    energy_meter *e;
    OK(open_at(&e, p->root, &gpu, 700, true));
    assert_int_equal(energy_kind_of(e), ENERGY_TDP);
    energy_close(e);
    OK(energy_open(&e, &cpu, 1, true)); /* this machine's own */
    assert_true(energy_joules(e) >= 0);
    energy_close(e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_packages_are_summed_and_wrap, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_reset_is_no_wrap, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dies_that_show_one_counter_count_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_rank_of_a_host_reads_its_counters, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_unreadable_package_makes_it_an_estimate, setup, teardown),
        cmocka_unit_test_setup_teardown(test_without_counters_it_is_power_times_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_cpus_counters_are_not_a_gpus, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
