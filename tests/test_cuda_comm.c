/* Collectives on GPU memory, over NCCL and staged through host memory, against the host's communicator: bit by bit, except
 * for sums, which are in NCCL's order. Runs alone and on any number of ranks (test_cuda_ranks.sh). Arguments: KIND tests that
 * kind only (else both where each rank has its own GPU); KIND die kill|stop; open prints the kind that `auto` gives. */
#include <math.h>
#include <signal.h>
#include <stdio.h>

#include "parallel/comm.h"
#include "tests/ranks.h"

#ifdef TALLY_CUDA
#include "parallel/comm_staged.h"
#ifdef TALLY_NCCL
#include "parallel/comm_nccl.h"
#endif

/* the larger buffers here take several pieces, the last one short */
enum { STAGING_BYTES = 64 << 10, LARGE = 37003 };

static comm *world, *peers;
static device *dev;
static bool exact;       /* f32 sums are in the order of ranks */
static const char *only; /* kind, or NULL: both */

/* --- buffers: on the GPU, of exactly this size, NaN until the queued operation has written them --- */

static void *unwritten(size_t bytes) {
    void *p, *nan = malloc(bytes + 1);
    memset(nan, 0xff, bytes);
    OK(dev->ops->alloc(dev, &p, bytes));
    if (bytes) OK(dev->ops->copy(dev, p, nan, bytes));
    free(nan);
    return p;
}

static void put(void *to, const void *from, size_t bytes) {
    if (bytes) OK(dev->ops->upload(dev, to, from, bytes));
}

static void *put_new(const void *from, size_t bytes) {
    void *p = unwritten(bytes);
    put(p, from, bytes);
    return p;
}

static void *get(const void *from, size_t bytes) {
    void *p = malloc(bytes + 1);
    if (bytes) OK(dev->ops->copy(dev, p, from, bytes));
    return p;
}

static void release(void *p) { dev->ops->free(dev, p, 0); }

static void same(const char *what, const void *a, const void *b, i64 n, size_t bytes) {
    for (i64 i = 0; i < n; i++)
        if (memcmp((const char *)a + (size_t)i * bytes, (const char *)b + (size_t)i * bytes, bytes))
            fail_msg("%s, rank %d: %s: element %ld of %ld differs", peers->name, world->rank, what, i, n);
}

/* sums of `terms` terms whose absolute values add up to `size`: each addition rounds by at most that much */
static void same_sum(const char *what, const float *a, const float *b, const float *size, int terms, i64 n) {
    for (i64 i = 0; i < n; i++)
        if (!(fabs((double)a[i] - b[i]) <= (exact ? 0 : 2.0 * terms * F32_ROUNDOFF * size[i])))
            fail_msg("%s, rank %d: %s: element %ld of %ld is %g, expected %g", peers->name, world->rank, what, i, n,
                     a[i], b[i]);
}

static float *absolute(const float *x, i64 n) {
    float *size = malloc((size_t)(n + 1) * 4);
    for (i64 i = 0; i < n; i++) size[i] = fabsf(x[i]);
    return size;
}

static uint64_t sent(void) { return comm_read_totals(peers).bytes_sent; }

/* The stream of collectives runs as far as it can before the stream of computation does. */
static void let_it_run(void) {
    for (int i = 0; i < 20; i++) OK(comm_check(peers));
}

/* --- each collective --- */

static void check_gather(i64 count, dtype t, dtype wire, bool in_place) {
    size_t bytes = dtype_bytes(t), piece = (size_t)count * bytes, whole = piece * (size_t)world->ranks;
    float *x = data_of(world->rank, count, 7, F32);
    void *mine = malloc(piece + 1), *want = malloc(whole + 1);
    for (i64 i = 0; i < count; i++) {
        if (t == BF16) ((bf16 *)mine)[i] = bf16_from_f32(x[i]);
        else ((float *)mine)[i] = x[i];
    }
    comm_event mark, done;
    OK(comm_all_gather(world, want, mine, count, t, wire, NULL, &done));
    OK(comm_wait(world, &done));
    char *to = unwritten(whole), *own = to + (size_t)world->rank * piece, *from = in_place ? own : unwritten(piece);
    put(from, mine, piece);
    uint64_t before = sent();
    OK(comm_mark(peers, &mark));
    OK(comm_all_gather(peers, to, from, count, t, wire, &mark, &done));
    assert_int_equal(sent() - before, (uint64_t)(world->ranks - 1) * (uint64_t)count * dtype_bytes(wire));
    let_it_run();
    OK(comm_wait(peers, &done));
    void *got = get(to, whole);
    same("all-gather", got, want, count * world->ranks, bytes);
    if (!in_place) release(from);
    release(to);
    free(x), free(mine), free(want), free(got);
}

static const i64 counts[] = {0, 1, 7, 1009, 1024, LARGE, LARGE + 5};
enum { COUNTS = sizeof counts / sizeof *counts };

static void test_all_gather(void **state) {
    (void)state;
    for (int k = 0; k < COUNTS; k++) {
        check_gather(counts[k], F32, F32, false);
        check_gather(counts[k], F32, F32, true);
        check_gather(counts[k], BF16, BF16, false);
        check_gather(counts[k], BF16, BF16, true);
        check_gather(counts[k], F32, BF16, false);
    }
}

/* the host's sums of the same data */
static float *host_sum(const float *from, i64 count, dtype wire, const float *on_top) {
    float *copy = malloc((size_t)(count * world->ranks + 1) * 4), *sum = malloc((size_t)(count + 1) * 4);
    memcpy(copy, from, (size_t)(count * world->ranks) * 4);
    if (on_top) memcpy(sum, on_top, (size_t)count * 4);
    comm_event done;
    OK(comm_reduce_scatter(world, sum, copy, count, wire, on_top, NULL, &done));
    OK(comm_wait(world, &done));
    free(copy);
    return sum;
}

static void check_reduce_scatter(i64 count, dtype wire, bool accumulate, bool in_place) {
    int n = world->ranks;
    i64 whole = count * n, own = count * world->rank;
    float *x = data_of(world->rank, whole, 8, F32), *top = data_of(0, count, 9, F32);
    float *sizes = absolute(x, whole), *top_size = absolute(top, count);
    float *want = host_sum(x, count, wire, accumulate ? top : NULL);
    float *size = host_sum(sizes, count, F32, accumulate ? top_size : NULL);
    float *from = unwritten((size_t)whole * 4), *to = in_place ? from + own : put_new(top, (size_t)count * 4);
    comm_event mark, done;
    put(from, x, (size_t)whole * 4);
    uint64_t before = sent();
    OK(comm_mark(peers, &mark));
    OK(comm_reduce_scatter(peers, to, from, count, wire, accumulate, &mark, &done));
    assert_int_equal(sent() - before, (uint64_t)(n - 1) * (uint64_t)count * dtype_bytes(wire));
    let_it_run();
    OK(comm_wait(peers, &done));
    float *got = get(to, (size_t)count * 4), *left = get(from, (size_t)whole * 4);
    if (wire == BF16) same("reduce-scatter", got, want, count, 4);
    else same_sum("reduce-scatter", got, want, size, n + accumulate, count);
    same("reduce-scatter: below", left, x, own, 4);
    same("reduce-scatter: above", left + own + count, x + own + count, whole - own - count, 4);
    if (!in_place && !accumulate) same("reduce-scatter: own", left + own, x + own, count, 4);
    if (!in_place) release(to);
    release(from);
    free(x), free(top), free(sizes), free(top_size), free(want), free(size), free(got), free(left);
}

static void test_reduce_scatter(void **state) {
    (void)state;
    for (int k = 0; k < COUNTS; k++)
        for (int wire = F32; wire <= BF16; wire++) {
            check_reduce_scatter(counts[k], (dtype)wire, false, false);
            check_reduce_scatter(counts[k], (dtype)wire, true, false);
            check_reduce_scatter(counts[k], (dtype)wire, false, true);
        }
}

static void check_all_reduce(i64 n, dtype wire) {
    float *x = data_of(world->rank, n, 10, F32), *size = absolute(x, n);
    float *gpu = put_new(x, (size_t)n * 4);
    comm_event mark, done;
    OK(comm_all_reduce(world, x, n, wire, NULL, &done));
    OK(comm_all_reduce(world, size, n, F32, NULL, &done));
    OK(comm_wait(world, &done));
    uint64_t before = sent();
    OK(comm_mark(peers, &mark));
    OK(comm_all_reduce(peers, gpu, n, wire, &mark, &done));
    double all = (double)(sent() - before);
    let_it_run();
    OK(comm_wait(peers, &done));
    float *got = get(gpu, (size_t)n * 4);
    if (wire == BF16) same("all-reduce", got, x, n, 4);
    else same_sum("all-reduce", got, x, size, world->ranks, n);
    OK(comm_sum_f64(peers, &all, 1));
    assert_true(all == 2.0 * (world->ranks - 1) * (double)n * (double)dtype_bytes(wire));
    release(gpu);
    free(x), free(size), free(got);
}

static void test_all_reduce(void **state) {
    (void)state;
    const i64 sizes[] = {0, 1, 2, 3, 5, 12, 1009, 1020, 3 * LARGE + 1};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        check_all_reduce(sizes[k], F32);
        check_all_reduce(sizes[k], BF16);
    }
}

static void test_broadcast(void **state) {
    (void)state;
    const i64 sizes[] = {0, 1, 1009, LARGE};
    for (int root = 0; root < world->ranks; root++)
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
            size_t bytes = (size_t)sizes[k] * 4;
            float *x = data_of(world->rank, sizes[k], 11, F32), *want = data_of(root, sizes[k], 11, F32),
                  *gpu = put_new(x, bytes);
            comm_event mark, done;
            OK(comm_mark(peers, &mark));
            OK(comm_broadcast(peers, gpu, bytes, root, &mark, &done));
            OK(comm_wait(peers, &done));
            float *got = get(gpu, bytes);
            same("broadcast", got, want, sizes[k], 4);
            release(gpu);
            free(x), free(want), free(got);
        }
}

/* --- their order --- */

/* more than any ring holds at a time, and the host waits for none of them */
static void test_many_queued(void **state) {
    (void)state;
    enum { MANY = 700, N = 5 };
    int n = world->ranks;
    float *x = data_of(world->rank, MANY * N, 12, F32), *from = put_new(x, MANY * N * 4);
    float *to = unwritten((size_t)(MANY * N * n) * 4);
    comm_event mark = {0}, done = {0};
    for (int k = 0; k < MANY; k++) {
        OK(comm_mark(peers, &mark));
        OK(comm_all_gather(peers, to + k * N * n, from + k * N, N, F32, F32, &mark, &done));
        OK(comm_wait(peers, &done));
    }
    float *got = get(to, (size_t)(MANY * N * n) * 4);
    for (int r = 0; r < n; r++) {
        float *want = data_of(r, MANY * N, 12, F32);
        for (int k = 0; k < MANY; k++) same("queued", got + (k * n + r) * N, want + k * N, N, 4);
        free(want);
    }
    release(from), release(to);
    free(x), free(got);
}

/* A copy of an event still belongs to its collective when the original is used again. */
static void test_events_are_values(void **state) {
    (void)state;
    int n = world->ranks;
    float *x = data_of(world->rank, LARGE, 13, F32), *want = data_of(n - 1, LARGE, 13, F32),
          *from = put_new(x, LARGE * 4);
    float *first = unwritten((size_t)(LARGE * n) * 4), *second = unwritten((size_t)(LARGE * n) * 4);
    comm_event mark, done, copy, none = {0};
    OK(comm_wait(peers, &none));
    OK(comm_mark(peers, &mark));
    OK(comm_all_gather(peers, first, from, LARGE, F32, F32, &mark, &done));
    copy = done;
    OK(comm_all_gather(peers, second, from, LARGE, F32, F32, &mark, &done));
    OK(comm_wait(peers, &copy));
    float *got = get(first + (n - 1) * LARGE, LARGE * 4);
    same("first", got, want, LARGE, 4);
    free(got);
    OK(comm_wait(peers, &done));
    got = get(second + (n - 1) * LARGE, LARGE * 4);
    same("second", got, want, LARGE, 4);
    release(from), release(first), release(second);
    free(got), free(x), free(want);
}

/* A gather starts when the computation has reached the mark; the computation continues when the gather is done. */
static void test_overtaking(void **state) {
    (void)state;
    int n = world->ranks;
    i64 rounds = 20;
    float *from = unwritten(LARGE * 4), *to = unwritten((size_t)(LARGE * n) * 4);
    comm_event mark, done = {0};
    for (i64 k = 0; k < rounds; k++) {
        float *x = data_of(world->rank, LARGE, 20 + (uint64_t)k, F32),
              *want = data_of((int)(k % n), LARGE, 20 + (uint64_t)k, F32);
        put(from, x, LARGE * 4); /* runs after the previous gather, for which the computation waited */
        OK(comm_mark(peers, &mark));
        OK(comm_all_gather(peers, to, from, LARGE, F32, F32, &mark, &done));
        if (k % 3 == 0) let_it_run();
        OK(comm_wait(peers, &done));
        if (k % 4 == 0) {
            float *got = get(to + (k % n) * LARGE, LARGE * 4);
            same("in turn", got, want, LARGE, 4);
            free(got);
        }
        free(x), free(want);
    }
    release(from), release(to);
}

/* --- groups, host memory, bookings --- */

/* ranks first, first + stride, ... have come together in part */
static void check_part(comm *part, int first, int stride, int ranks, int rank) {
    assert_int_equal(part->ranks, ranks);
    assert_int_equal(part->rank, rank);
    int members[64];
    OK(comm_allgather_host(part, members, &world->rank, sizeof *members));
    for (int r = 0; r < ranks; r++) assert_int_equal(members[r], first + r * stride);
    float *x = data_of(world->rank, LARGE, 14, F32), *from = put_new(x, LARGE * 4),
          *to = unwritten((size_t)(LARGE * ranks) * 4);
    comm_event mark, done;
    OK(comm_mark(part, &mark));
    OK(comm_all_gather(part, to, from, LARGE, F32, F32, &mark, &done));
    OK(comm_wait(part, &done));
    float *got = get(to, (size_t)(LARGE * ranks) * 4);
    for (int r = 0; r < ranks; r++) {
        float *want = data_of(first + r * stride, LARGE, 14, F32);
        same("gather of a part", got + r * LARGE, want, LARGE, 4);
        free(want);
    }
    release(from), release(to);
    free(x), free(got);
}

static void test_split(void **state) {
    (void)state;
    int n = world->ranks, me = world->rank;
    for (int again = 0; again < 3; again++) {
        comm *row, *column;
        OK(comm_split(peers, &row, me / 2));
        OK(comm_split(peers, &column, 100 - me % 2));
        check_part(row, me / 2 * 2, 1, me / 2 * 2 + 1 < n ? 2 : 1, me % 2);
        check_part(column, me % 2, 2, (n - me % 2 + 1) / 2, me / 2);
        check_part(peers, 0, 1, n, me);
        comm_set_step(column, 40);
        assert_int_equal(peers->step, 40);
        assert_int_equal(world->step, 40);
        comm_close(column), comm_close(row);
    }
}

static void test_host_values(void **state) {
    (void)state;
    double x = 1.0 / (1 + world->rank), want = 1;
    for (int r = 1; r < world->ranks; r++) want += 1.0 / (1 + r);
    int told = world->rank + 40;
    OK(comm_check(peers));
    uint64_t waited_ns = comm_read_totals(peers).waited_ns;
    OK(comm_broadcast_host(peers, &told, sizeof told));
    assert_int_equal(told, 40);
    OK(comm_barrier(peers));
    OK(comm_sum_f64(peers, &x, 1));
    assert_true(x == want);
    OK(comm_agree(peers, STATUS_OK));
    status_code st = world->rank == world->ranks - 1 ? ERROR(DATA, "no such thing") : STATUS_OK;
    FAILS(DATA, "no such thing", comm_agree(peers, st));
    assert_true(comm_read_totals(peers).waited_ns == waited_ns);
    assert_false(peers->broken);
}

static void test_clock(void **state) {
    (void)state;
    meter m = {0};
    meter_start(&m, BOOK_USEFUL);
    dev->clock = &m;
    comm_set_meter(peers, &m);
    OK(comm_check(peers));
    uint64_t before = comm_read_totals(peers).busy_ns, ns;
    float *from = unwritten(LARGE * 4), *to = unwritten((size_t)(LARGE * world->ranks) * 4), got[2];
    for (int i = 0; i < 20; i++) {
        comm_event mark, done;
        OK(comm_mark(peers, &mark));
        OK(comm_all_gather(peers, to, from, LARGE, F32, F32, &mark, &done));
        OK(comm_wait(peers, &done));
    }
    OK(dev->ops->begin(dev));
    OK(dev->ops->post(dev, to, sizeof got));
    OK(dev->ops->collect(dev, got, sizeof got, &ns));
    OK(comm_check(peers));
    comm_set_meter(peers, NULL);
    dev->clock = NULL;
    meter_settle(&m);
    assert_int_equal(m.current, BOOK_USEFUL);
    if (!exact || world->ranks > 1) assert_true(comm_read_totals(peers).busy_ns > before);
    release(from), release(to);
}

static void test_bad_arguments(void **state) {
    (void)state;
    comm *c;
    device *cpu;
    OK(device_open(&cpu, "cpu", 1, 0));
    FAILS(ARG, "--comm nccl: needs GPUs", comm_open_device(&c, world, cpu, COMM_NCCL));
    OK(comm_open_device(&c, world, cpu, COMM_AUTO));
    assert_ptr_equal(c, world);
    comm_close(c);
    OK(comm_barrier(world));
    device_close(cpu);
}

/* --- running --- */

static int fail_here(void) {
    fprintf(stderr, "rank %d: %s\n", comm_launch_rank(), status_message());
    return 1;
}

static status open_peers(const char *kind) {
    if ((exact = strcmp(kind, "staged") == 0)) return comm_staged_open(&peers, world, dev, STAGING_BYTES);
#ifdef TALLY_NCCL
    return comm_nccl_open(&peers, world, dev, STAGING_BYTES);
#else
    FAIL(ARG, "no NCCL in this build");
#endif
}

/* The last rank does not come to the second gather. */
static int die(const char *how) {
    int n = world->ranks;
    float *from = unwritten(LARGE * 4), *to = unwritten((size_t)(LARGE * n) * 4), got[2];
    comm_event mark, done;
    comm_set_step(peers, 12);
    if (comm_mark(peers, &mark) || comm_all_gather(peers, to, from, LARGE, F32, F32, &mark, &done) ||
        comm_wait(peers, &done) || dev->ops->copy(dev, got, to, sizeof got) || comm_barrier(peers))
        return fail_here();
    if (world->rank == n - 1) raise(strcmp(how, "kill") ? SIGSTOP : SIGKILL);
    status_code st = comm_all_gather(peers, to, from, LARGE, F32, F32, &mark, &done);
    if (!st) st = comm_wait(peers, &done);
    if (!st) st = dev->ops->copy(dev, got, to, sizeof got); /* must return; the data has no meaning */
    if (!st) st = comm_check(peers);
    if (!st) return 0;
    fail_here();
    char text[1024];
    snprintf(text, sizeof text, "%s", status_message());
    if (comm_barrier(peers) != STATUS_COMM || strcmp(text, status_message()) || !peers->broken)
        fprintf(stderr, "rank %d: a call after the failure ended as \"%s\"\n", world->rank, status_message());
    comm_close(peers); /* closes without the other ranks */
    comm_abort(world, 3);
    return 1;
}

static int check_kind(const char *kind) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bad_arguments),
                                       cmocka_unit_test(test_all_gather),
                                       cmocka_unit_test(test_reduce_scatter),
                                       cmocka_unit_test(test_all_reduce),
                                       cmocka_unit_test(test_broadcast),
                                       cmocka_unit_test(test_many_queued),
                                       cmocka_unit_test(test_events_are_values),
                                       cmocka_unit_test(test_overtaking),
                                       cmocka_unit_test(test_split),
                                       cmocka_unit_test(test_host_values),
                                       cmocka_unit_test(test_clock)};
    if (open_peers(kind)) return fail_here();
    int failed = cmocka_run_group_tests_name(kind, tests, NULL, NULL);
    if (failed && world->ranks > 1) comm_abort(world, 1);
    comm_close(peers);
    return failed;
}

static int open_auto(void) {
    if (comm_open_device(&peers, world, dev, COMM_AUTO)) return fail_here();
    printf("%s %d/%d\n", peers->name, peers->rank, peers->ranks);
    comm_close(peers);
    return comm_barrier(world) ? fail_here() : 0;
}

static int check_kinds(void) {
    if (only) return check_kind(only);
    int failed = check_kind("staged");
#ifdef TALLY_NCCL
    failed += check_kind("nccl");
#endif
    return failed;
}

static int run(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "open") == 0) return open_auto();
    if (argc == 4 && strcmp(argv[2], "die") == 0) return open_peers(argv[1]) ? fail_here() : die(argv[3]);
    only = argc == 2 ? argv[1] : NULL;
    return run_ranked(world->rank, check_kinds);
}

int main(int argc, char **argv) {
    const char *seconds = getenv("TIMEOUT_S"), *kind = getenv("DEVICE");
    status_code st = comm_open(&world, seconds ? atof(seconds) : 100);
    if (st) return fail_here(), status_exit_code(st);
    if (device_open(&dev, kind ? kind : "cuda", 0, world->placement->local_rank)) {
        printf("1..1\nok 1 - test_cuda_comm # SKIP %s\n", status_message());
        comm_close(world);
        return 0;
    }
    int code = run(argc, argv);
    device_close(dev), comm_close(world);
    return code;
}
#else
int main(void) {
    puts("1..1\nok 1 - test_cuda_comm # SKIP a build without CUDA");
    return 0;
}
#endif
