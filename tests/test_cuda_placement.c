/* Which GPU a rank takes, and the CPUs near it, on the machine of tests/fixtures/two_sockets.xml with two emulated GPUs. */
#include "parallel/placement.h"

#include <stdlib.h>
#include <unistd.h>

#include "runtime/device_cuda.h"
#include "tests/check.h"

static cpu_set_t cpu(int number) {
    cpu_set_t s;
    CPU_ZERO(&s);
    CPU_SET(number, &s);
    return s;
}

static placement *of_this_host(int ranks, int rank) {
    placement *p;
    OK(placement_open(&p, ranks));
    for (int r = 0; r < ranks; r++) p->all[r] = placement_self();
    OK(placement_complete(p, rank));
    return p;
}

static void the_gpu_near_the_cpus_of_a_rank(void **unused) {
    (void)unused;
    placement *p = of_this_host(2, 0);
    int gpu;
    for (int c = 0; c <= 1; c++) {
        p->all[0].cpus = p->all[1].cpus = cpu(c);
        OK(placement_choose_gpu(p, "cuda", &gpu));
        assert_int_equal(gpu, 1 - c); /* 0000:01:00.0, which is number 0, is at CPU 1 */
        OK(placement_choose_gpu(p, "cpu", &gpu));
        assert_int_equal(gpu, 0);
        OK(placement_choose_gpu(p, "cuda:1", &gpu)); /* which device_open takes anyway */
        assert_int_equal(gpu, 0);
    }
    placement_close(p);
}

static void unknown_gpus_are_taken_in_order(void **unused) {
    (void)unused;
    placement *p = of_this_host(2, 1);
    int gpu;
    unsetenv("HWLOC_XMLFILE"); /* this machine has no device with such a bus id, or none near any CPU */
    setenv("HWLOC_SYNTHETIC", "package:2 pu:1", 1);
    p->all[0].cpus = p->all[1].cpus = cpu(0);
    OK(placement_choose_gpu(p, "cuda", &gpu));
    assert_int_equal(gpu, 1);
    unsetenv("HWLOC_SYNTHETIC");
    setenv("HWLOC_XMLFILE", "tests/fixtures/two_sockets.xml", 1);
    placement_close(p);
}

static void ranks_that_nobody_has_bound_are_bound_near_their_gpus(void **unused) {
    (void)unused;
    placement *p = of_this_host(2, 1);
    cpu_set_t before = p->all[1].cpus, expected = cpu(0), now;
    int gpu;
    bool bound = CPU_COUNT(&before) != placement_unbound_cpus(p) || !CPU_ISSET(0, &before) || CPU_COUNT(&before) == 1;
    if (!bound) {
        setenv("HWLOC_THISSYSTEM", "1", 1);
        OK(placement_choose_gpu(p, "cuda", &gpu));
        unsetenv("HWLOC_THISSYSTEM");
        assert_int_equal(gpu, 1); /* 0000:02:00.0 */
        assert_int_equal(sched_getaffinity(0, sizeof now, &now), 0);
        assert_true(CPU_EQUAL(&now, &expected));
        (void)sched_setaffinity(0, sizeof before, &before);
    }
    placement_close(p);
    if (bound) skip(); /* this process may use CPU 0 only, or not even that, or a part of the machine */
}

int main(int argc, char **argv) {
    const char *gpus = getenv("SIMT_DEVICES");
    (void)argc;
    if (!gpus || strcmp(gpus, "2") != 0) { /* the emulation reads it before main */
        setenv("SIMT_DEVICES", "2", 1);
        execv("/proc/self/exe", argv);
    }
    setenv("HWLOC_XMLFILE", "tests/fixtures/two_sockets.xml", 1);
#ifdef TALLY_CUDA
    if (device_cuda_emulated()) {
        const struct CMUnitTest tests[] = {
            cmocka_unit_test(the_gpu_near_the_cpus_of_a_rank),
            cmocka_unit_test(unknown_gpus_are_taken_in_order),
            cmocka_unit_test(ranks_that_nobody_has_bound_are_bound_near_their_gpus),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
    }
#endif
    (void)the_gpu_near_the_cpus_of_a_rank, (void)unknown_gpus_are_taken_in_order;
    (void)ranks_that_nobody_has_bound_are_bound_near_their_gpus;
    printf("1..1\nok 1 - test_cuda_placement # SKIP no emulated GPUs in this build\n");
    return 0;
}
