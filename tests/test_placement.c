/* Hosts, local ranks, shared GPUs and shared CPUs, of ranks that are made up here. */
#include "parallel/placement.h"

#include <stdlib.h>

#include "parallel/affinity.h"
#include "tests/check.h"

enum { RANKS = 6 };

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#else
static void __lsan_disable(void) {}
static void __lsan_enable(void) {}
#endif

/* hwloc's plugin for PCI devices keeps some memory until the process ends; that is not a leak of ours. */
static void open_affinity(affinity **a) {
    __lsan_disable();
    status_code st = affinity_open(a);
    __lsan_enable();
    OK(st);
}

static void make(placement **p, const char *const hosts[RANKS], const char *const gpus[RANKS], int rank) {
    OK(placement_open(p, RANKS));
    for (int r = 0; r < RANKS; r++) {
        placement_rank *to = &(*p)->all[r];
        *to = placement_self();
        snprintf(to->process.host, sizeof to->process.host, "%s", hosts[r]);
        snprintf(to->pci, sizeof to->pci, "%s", gpus[r]);
    }
    OK(placement_complete(*p, rank));
}

static void hosts_are_numbered_by_their_first_ranks(void **unused) {
    (void)unused;
    const char *const hosts[] = {"b", "b", "a", "b", "c", "a"}, *const none[] = {"", "", "", "", "", ""};
    const int numbers[] = {0, 0, 1, 0, 2, 1};
    const int local[RANKS][2] = {{0, 3}, {1, 3}, {0, 2}, {2, 3}, {0, 1}, {1, 2}};
    for (int rank = 0; rank < RANKS; rank++) {
        placement *p;
        make(&p, hosts, none, rank);
        assert_int_equal(p->hosts, 3);
        assert_int_equal(p->local_rank, local[rank][0]);
        assert_int_equal(p->local_ranks, local[rank][1]);
        for (int r = 0; r < RANKS; r++) {
            assert_int_equal(p->all[r].host, numbers[r]);
            assert_true(placement_same_host(p, rank, r) == (numbers[rank] == numbers[r]));
            assert_false(placement_same_gpu(p, rank, r)); /* on CPUs */
        }
        placement_close(p);
    }
}

static void a_gpu_is_shared_on_its_host_only(void **unused) {
    (void)unused;
    const char *const hosts[] = {"a", "a", "a", "b", "b", "b"};
    const char *const gpus[] = {"0000:01:00.0", "0000:02:00.0", "0000:01:00.0", "0000:01:00.0", "0000:02:00.0", ""};
    placement *p;
    make(&p, hosts, gpus, 0);
    for (int a = 0; a < RANKS; a++)
        for (int b = 0; b < RANKS; b++)
            assert_true(placement_same_gpu(p, a, b) ==
                        ((a == b && a != 5) || (a == 0 && b == 2) || (a == 2 && b == 0)));
    placement_close(p);
}

static void cpus_are_shared_where_sets_meet_on_a_host(void **unused) {
    (void)unused;
    const char *const hosts[] = {"a", "a", "a", "a", "b", "b"}, *const none[] = {"", "", "", "", "", ""};
    const int first[] = {0, 2, 3, 0, 0, 4}, count[] = {2, 2, 2, 1, 8, 4};
    const int sharing[] = {2, 2, 2, 2, 2, 2}; /* rank 0 with 3, rank 1 with 2, rank 4 with 5 */
    for (int rank = 0; rank < RANKS; rank++) {
        placement *p;
        make(&p, hosts, none, rank);
        for (int r = 0; r < RANKS; r++) {
            CPU_ZERO(&p->all[r].cpus);
            for (int c = first[r]; c < first[r] + count[r]; c++) CPU_SET(c, &p->all[r].cpus);
        }
        assert_int_equal(placement_sharing_cpus(p), sharing[rank]);
        placement_close(p);
    }
}

static cpu_set_t range(int first, int count) {
    cpu_set_t s;
    CPU_ZERO(&s);
    for (int c = first; c < first + count; c++) CPU_SET(c, &s);
    return s;
}

/* what the ranks of one host pick, each by itself; first, count: their CPUs */
static void picks(const int first[RANKS], const int count[RANKS], const cpu_set_t *near, int gpus,
                  const int expected[RANKS]) {
    const char *const hosts[] = {"a", "a", "a", "a", "b", "b"}, *const none[] = {"", "", "", "", "", ""};
    for (int rank = 0; rank < RANKS; rank++) {
        placement *p;
        int gpu;
        make(&p, hosts, none, rank);
        for (int r = 0; r < RANKS; r++) p->all[r].cpus = range(first[r], count[r]);
        OK(placement_pick_gpu(&gpu, p, near, gpus));
        if (gpu != expected[rank]) fail_msg("rank %d picks GPU %d, expected %d", rank, gpu, expected[rank]);
        placement_close(p);
    }
}

static void a_rank_takes_a_gpu_near_its_cpus(void **unused) {
    (void)unused;
    cpu_set_t near[] = {range(8, 8), range(8, 8), range(0, 8), range(0, 8)}; /* GPUs 2 and 3 are at CPUs 0 to 7 */
    const int all[] = {0, 0, 0, 0, 0, 0}, sixteen[] = {16, 16, 16, 16, 16, 16}, four[] = {4, 4, 4, 4, 4, 4};
    const int in_order[] = {0, 1, 2, 3, 0, 1}, modulo[] = {0, 1, 2, 0, 0, 1};
    picks(all, sixteen, near, 4, in_order);
    picks(all, sixteen, near, 3, modulo);
    const int bound[] = {0, 4, 8, 12, 12, 0}, at_theirs[] = {2, 3, 0, 1, 0, 2};
    picks(bound, four, near, 4, at_theirs);
    /* rank 0 is near no GPU and must not take another's; ranks 1 and 2 share the one near them, for no other is free */
    const int apart[] = {16, 8, 8, 0, 16, 16}, shared[] = {1, 2, 2, 0, 0, 1};
    picks(apart, four, (cpu_set_t[]){range(0, 4), range(20, 4), range(8, 4)}, 3, shared);
}

static void hwloc_knows_the_cpus_near_a_gpu(void **unused) {
    (void)unused;
    affinity *a;
    cpu_set_t near;
    setenv("HWLOC_XMLFILE", "tests/fixtures/two_sockets.xml", 1);
    open_affinity(&a);
    assert_true(affinity_near(a, &near, "0000:01:00.0"));
    assert_true(CPU_COUNT(&near) == 1 && CPU_ISSET(1, &near));
    assert_true(affinity_near(a, &near, "0000:02:00.0"));
    assert_true(CPU_COUNT(&near) == 1 && CPU_ISSET(0, &near));
    assert_false(affinity_near(a, &near, "0000:03:00.0"));
    FAILS(DEVICE, "another machine", affinity_bind(a, &near));
    affinity_close(a);
    unsetenv("HWLOC_XMLFILE");
}

static void a_process_is_bound(void **unused) {
    (void)unused;
    affinity *a;
    cpu_set_t before, one, now;
    if (sched_getaffinity(0, sizeof before, &before)) skip();
    int cpu = 0;
    while (!CPU_ISSET(cpu, &before)) cpu++;
    one = range(cpu, 1);
    open_affinity(&a);
    OK(affinity_bind(a, &one));
    assert_int_equal(sched_getaffinity(0, sizeof now, &now), 0);
    assert_true(CPU_EQUAL(&now, &one));
    OK(affinity_bind(a, &before));
    affinity_close(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hosts_are_numbered_by_their_first_ranks),   cmocka_unit_test(a_gpu_is_shared_on_its_host_only),
        cmocka_unit_test(cpus_are_shared_where_sets_meet_on_a_host), cmocka_unit_test(a_rank_takes_a_gpu_near_its_cpus),
        cmocka_unit_test(hwloc_knows_the_cpus_near_a_gpu),           cmocka_unit_test(a_process_is_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
