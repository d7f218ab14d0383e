#include "tests/check.h"

#include <ftw.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "runtime/arena.h"
#include "runtime/host.h"

static char root[64]; /* in the place of "/" */

static void put(const char *path, const char *text) {
    char full[1024];
    snprintf(full, sizeof full, "%s/%s", root, path);
    for (char *slash = strchr(full + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        mkdir(full, 0700);
        *slash = '/';
    }
    FILE *f = fopen(full, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int setup(void **state) {
    (void)state;
    strcpy(root, "/tmp/tally-host-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int drop(const char *path, const struct stat *info, int kind, struct FTW *at) {
    (void)info, (void)kind, (void)at;
    return remove(path);
}

static int teardown(void **state) {
    (void)state;
    return nftw(root, drop, 8, FTW_DEPTH | FTW_PHYS);
}

#define V2_MOUNT "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
#define GIB (1ull << 30)

static void no_cgroup_is_no_limit(void **state) {
    (void)state;
    assert_true(isinf(host_cpu_quota_at(root).cpus));
    put("proc/self/cgroup", "0::/\n");
    put("proc/self/mountinfo", V2_MOUNT);
    put("sys/fs/cgroup/cpu.max", "max 100000\n");
    put("sys/fs/cgroup/memory.max", "max\n");
    put("proc/meminfo", "MemTotal:       1048576 kB\nMemAvailable:    524288 kB\nSwapTotal:       1048576 kB\n");
    assert_true(isinf(host_cpu_quota_at(root).cpus));
    host_room r = host_memory_at(root);
    assert_true(r.left == 2 * GIB && r.limit == 2 * GIB);
    assert_string_equal(r.what, "this machine");
    assert_true(host_available_at(root) == GIB / 2);
}

/* the parent group's limit is lower than the process's own */
static void version_2_takes_the_tightest_of_nested_groups(void **state) {
    (void)state;
    put("proc/self/cgroup", "0::/job/step/task\n");
    put("proc/self/mountinfo", "22 1 8:1 / / rw - ext4 /dev/sda rw\n" V2_MOUNT);
    put("sys/fs/cgroup/job/cpu.max", "150000 100000\n");
    put("sys/fs/cgroup/job/step/cpu.max", "max 100000\n");
    put("sys/fs/cgroup/job/step/task/cpu.max", "400000 100000\n");
    host_quota q = host_cpu_quota_at(root);
    assert_true(q.cpus == 1.5);
    assert_non_null(strstr(q.group, "/sys/fs/cgroup/job"));
    assert_null(strstr(q.group, "step"));

    put("sys/fs/cgroup/job/memory.max", "1073741824\n");
    put("sys/fs/cgroup/job/memory.current", "805306368\n");
    put("sys/fs/cgroup/job/memory.stat",
        "anon 536870912\nfile 268435456\ninactive_file 134217728\nactive_file 134217728\n");
    put("sys/fs/cgroup/job/step/memory.max", "max\n");
    put("sys/fs/cgroup/job/step/task/memory.max", "4294967296\n");
    put("sys/fs/cgroup/job/step/task/memory.current", "0\n");
    host_room r = host_memory_at(root);
    assert_true(r.limit == GIB && r.left == GIB / 2); /* the file cache can be freed */
    assert_non_null(strstr(r.what, "cgroup "));
    FAILS(ARG, "this run needs 513.0 MiB, but cgroup ", arena_fits("this run", 513 << 20, &r));
    FAILS(ARG, "leaves 512.0 MiB of 1.00 GiB", arena_fits("this run", 513 << 20, &r));
    OK(arena_fits("this run", 512 << 20, &r));
}

static void version_1_has_a_hierarchy_for_each_controller(void **state) {
    (void)state;
    put("proc/self/cgroup", "5:cpuset:/\n4:memory:/m/a\n3:cpu,cpuacct:/c/b\n1:name=systemd:/x\n0::/\n");
    put("proc/self/mountinfo", "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
                               "32 31 0:29 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
                               "33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
                               "34 31 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
                               "35 31 0:32 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
    put("sys/fs/cgroup/cpu,cpuacct/c/b/cpu.cfs_quota_us", "-1\n");
    put("sys/fs/cgroup/cpu,cpuacct/c/b/cpu.cfs_period_us", "100000\n");
    put("sys/fs/cgroup/cpu,cpuacct/c/cpu.cfs_quota_us", "25000\n");
    put("sys/fs/cgroup/cpu,cpuacct/c/cpu.cfs_period_us", "50000\n");
    assert_true(host_cpu_quota_at(root).cpus == 0.5);
    put("sys/fs/cgroup/memory/m/a/memory.limit_in_bytes", "400000000\n");
    put("sys/fs/cgroup/memory/m/a/memory.usage_in_bytes", "150000000\n");
    put("sys/fs/cgroup/memory/m/a/memory.stat",
        "active_file 1\ninactive_file 1\ntotal_active_file 40000000\ntotal_inactive_file 10000000\n");
    put("sys/fs/cgroup/memory/m/memory.limit_in_bytes", "9223372036854771712\n"); /* no limit */
    host_room r = host_memory_at(root);
    assert_true(r.limit == 400000000 && r.left == 300000000);
}

/* Docker with version 1: the path is the host's, the mount's root is the container's own group */
static void a_container_sees_its_own_group_as_the_top(void **state) {
    (void)state;
    put("proc/self/cgroup", "3:cpu,cpuacct:/docker/4f5e\n");
    put("proc/self/mountinfo", "33 31 0:30 /docker/4f5e /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu,cpuacct\n");
    put("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "200000\n");
    put("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    assert_true(host_cpu_quota_at(root).cpus == 2);
    /* a cgroup namespace: the path leads above the mount */
    put("proc/self/cgroup", "3:cpu,cpuacct:/../other\n");
    assert_true(host_cpu_quota_at(root).cpus == 2);
    /* a longer name with the mounted one's prefix */
    put("proc/self/cgroup", "3:cpu,cpuacct:/docker/4f5e00\n");
    assert_true(host_cpu_quota_at(root).cpus == 2);
    /* below it, in a folder with a space */
    put("proc/self/cgroup", "3:cpu,cpuacct:/docker/4f5e/a b\n");
    put("sys/fs/cgroup/cpu/a b/cpu.cfs_quota_us", "100000\n");
    put("sys/fs/cgroup/cpu/a b/cpu.cfs_period_us", "100000\n");
    assert_true(host_cpu_quota_at(root).cpus == 1);
    put("proc/self/mountinfo", "33 31 0:30 / /sys/fs/c\\040g rw - cgroup cgroup rw,cpu\n");
    put("sys/fs/c g/docker/cpu.cfs_quota_us", "300000\n");
    put("sys/fs/c g/docker/cpu.cfs_period_us", "100000\n");
    assert_true(host_cpu_quota_at(root).cpus == 3);
}

static void damaged_files_are_no_limit(void **state) {
    (void)state;
    static const char *const texts[] = {"",       "\n",       "x",        "max",     "-5 100000",
                                        "100000", "100000 0", "0 100000", "nan nan", "inf 1"};
    put("proc/self/mountinfo", "\n - \n1 2 - cgroup2\n" V2_MOUNT);
    put("proc/self/cgroup", "\n:\n::\n0::/g\n");
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        put("sys/fs/cgroup/g/cpu.max", texts[i]);
        double cpus = host_cpu_quota_at(root).cpus;
        if (!isinf(cpus)) fail_msg("cpu.max \"%s\" gives %g CPUs", texts[i], cpus);
    }
    put("sys/fs/cgroup/g/memory.max", "x\n");
    put("sys/fs/cgroup/g/memory.current", "100\n");
    assert_null(strstr(host_memory_at(root).what, "cgroup"));
}

/* Only anonymous memory counts; damaged or missing figures are no memory. */
static void memory_of_the_process_is_without_files(void **state) {
    (void)state;
    assert_true(host_process_at(root).now == 0 && host_process_at(root).peak == 0);
    put("proc/self/status",
        "VmHWM:\t 5000 kB\nVmRSS:\t 3000 kB\nRssAnon:\t 1000 kB\nRssFile:\t 1500 kB\nRssShmem:\t 500 kB\n");
    host_used u = host_process_at(root);
    assert_true(u.now == 1000 * 1024 && u.peak == 3000 * 1024);
    put("proc/self/status", "VmHWM:\t 3000 kB\nRssAnon:\t 1000 kB\nRssFile:\t 2500 kB\nRssShmem:\t 0 kB\n");
    assert_true(host_process_at(root).peak == 1000 * 1024);
    assert_false(host_restart_peak_at(root));
    put("proc/self/clear_refs", "");
    assert_true(host_restart_peak_at(root));
}

static void a_quota_is_rounded_to_threads(void **state) {
    (void)state;
    static const struct {
        double cpus;
        int threads;
    } cases[] = {{0.1, 1}, {1, 1}, {1.4, 1}, {1.5, 2}, {2, 2}, {3.7, 4}, {64, 64}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(host_whole_cpus(cases[i].cpus), cases[i].threads);
    assert_true(host_whole_cpus(INFINITY) > 1 << 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(no_cgroup_is_no_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(version_2_takes_the_tightest_of_nested_groups, setup, teardown),
        cmocka_unit_test_setup_teardown(version_1_has_a_hierarchy_for_each_controller, setup, teardown),
        cmocka_unit_test_setup_teardown(a_container_sees_its_own_group_as_the_top, setup, teardown),
        cmocka_unit_test_setup_teardown(damaged_files_are_no_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_of_the_process_is_without_files, setup, teardown),
        cmocka_unit_test(a_quota_is_rounded_to_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
