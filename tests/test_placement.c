/* Hosts, local ranks, shared GPUs and shared CPUs, of ranks that are made up here. */
#include "parallel/placement.h"

#include "tests/check.h"

enum { RANKS = 6 };

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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hosts_are_numbered_by_their_first_ranks),
        cmocka_unit_test(a_gpu_is_shared_on_its_host_only),
        cmocka_unit_test(cpus_are_shared_where_sets_meet_on_a_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
