/* Every collective against what this rank computes alone from the data of all ranks, bit by bit. Runs alone (the backend
 * `self`) and on any number of ranks (test_comm_ranks.sh). With arguments: `die kill|stop COLLECTIVE`, `differ`, `open`. */
#include "parallel/comm.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "tests/ranks.h"

static comm *world;

enum { LARGE = 600011 }; /* elements: several chunks of either dtype, the last one short */

/* sums [n] over the ranks first, first + stride, ... of n elements, in their order */
static float *sum_of(int first, int stride, int ranks, i64 n, uint64_t seed, dtype wire) {
    float *sum = data_of(first, n, seed, wire);
    for (int k = 1; k < ranks; k++) {
        float *x = data_of(first + k * stride, n, seed, wire);
        for (i64 i = 0; i < n; i++) sum[i] += x[i];
        free(x);
    }
    return sum;
}

static void same(const char *what, const void *a, const void *b, i64 n, size_t bytes) {
    for (i64 i = 0; i < n; i++)
        if (memcmp((const char *)a + (size_t)i * bytes, (const char *)b + (size_t)i * bytes, bytes))
            fail_msg("rank %d: %s: element %ld of %ld differs", world->rank, what, i, n);
}

static uint64_t sent(void) { return comm_read_totals(world).bytes_sent; }

static void check_gather(i64 count, dtype t, dtype wire, bool in_place) {
    int n = world->ranks;
    size_t bytes = dtype_bytes(t), whole = (size_t)count * (size_t)n;
    char *to = malloc(whole * bytes + 1), *want = malloc(whole * bytes + 1);
    float *mine = data_of(world->rank, count, 7, t);
    for (int r = 0; r < n; r++) {
        float *x = data_of(r, count, 7, wire);
        for (i64 i = 0; i < count; i++) {
            void *w = want + ((size_t)(r * count) + (size_t)i) * bytes;
            if (t == BF16) memcpy(w, &(bf16){bf16_from_f32(x[i])}, 2);
            else memcpy(w, &x[i], 4);
        }
        free(x);
    }
    char *own = in_place ? to + (size_t)(world->rank * count) * bytes : malloc((size_t)count * bytes + 1);
    for (i64 i = 0; i < count; i++) {
        if (t == BF16) memcpy(own + i * 2, &(bf16){bf16_from_f32(mine[i])}, 2);
        else memcpy(own + i * 4, &mine[i], 4);
    }
    uint64_t before = sent();
    comm_event done;
    OK(comm_all_gather(world, to, own, count, t, wire, NULL, &done));
    OK(comm_wait(world, &done));
    assert_int_equal(sent() - before, (uint64_t)(n - 1) * (uint64_t)count * dtype_bytes(wire));
    same("all-gather", to, want, (i64)whole, bytes);
    if (!in_place) free(own);
    free(to), free(want), free(mine);
}

static const i64 counts[] = {0, 1, 2, 7, 1009, LARGE};
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

static void check_reduce_scatter(i64 count, dtype wire, bool accumulate, bool in_place) {
    int n = world->ranks;
    i64 whole = count * n, own = count * world->rank;
    float *from = data_of(world->rank, whole, 8, F32), *untouched = data_of(world->rank, whole, 8, F32);
    float *to = in_place ? from + own : data_of(0, count, 9, F32), *before = data_of(0, count, 9, F32);
    float *want = sum_of(0, 1, n, whole, 8, wire);
    uint64_t sent_before = sent();
    comm_event done;
    OK(comm_reduce_scatter(world, to, from, count, wire, accumulate, NULL, &done));
    OK(comm_wait(world, &done));
    assert_int_equal(sent() - sent_before, (uint64_t)(n - 1) * (uint64_t)count * dtype_bytes(wire));
    for (i64 i = 0; i < count && accumulate; i++) want[own + i] = before[i] + want[own + i];
    same("reduce-scatter", to, want + own, count, 4);
    same("reduce-scatter: below", from, untouched, own, 4);
    same("reduce-scatter: above", from + own + count, untouched + own + count, whole - own - count, 4);
    if (!in_place) same("reduce-scatter: own", from + own, untouched + own, count, 4), free(to);
    free(from), free(untouched), free(before), free(want);
}

static void test_reduce_scatter(void **state) {
    (void)state;
    for (int k = 0; k < COUNTS; k++)
        for (int wire = F32; wire <= BF16; wire++) {
            check_reduce_scatter(counts[k], wire, false, false);
            check_reduce_scatter(counts[k], wire, true, false);
            check_reduce_scatter(counts[k], wire, false, true);
        }
}

static void test_all_reduce(void **state) {
    (void)state;
    const i64 sizes[] = {0, 1, 2, 3, 5, 12, 1009, 1020, 3 * LARGE + 1};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
        for (int wire = F32; wire <= BF16; wire++) {
            i64 n = sizes[k];
            float *x = data_of(world->rank, n, 10, F32), *want = sum_of(0, 1, world->ranks, n, 10, wire);
            for (i64 i = 0; i < n && wire == BF16; i++) want[i] = bf16_to_f32(bf16_from_f32(want[i]));
            uint64_t before = sent();
            comm_event done;
            OK(comm_all_reduce(world, x, n, wire, NULL, &done));
            OK(comm_wait(world, &done));
            same("all-reduce", x, want, n, 4);
            double bytes = (double)(sent() - before), all = bytes;
            OK(comm_sum_f64(world, &all, 1));
            assert_true(all == 2.0 * (world->ranks - 1) * (double)n * (double)dtype_bytes(wire));
            if (n % world->ranks == 0) assert_true(bytes * world->ranks == all);
            free(x), free(want);
        }
}

static void test_broadcast(void **state) {
    (void)state;
    const i64 sizes[] = {0, 1, 1009, LARGE};
    for (int root = 0; root < world->ranks; root++)
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
            float *x = data_of(world->rank, sizes[k], 11, F32), *want = data_of(root, sizes[k], 11, F32);
            uint64_t before = sent();
            comm_event done;
            OK(comm_broadcast(world, x, (size_t)sizes[k] * 4, root, NULL, &done));
            OK(comm_wait(world, &done));
            same("broadcast", x, want, sizes[k], 4);
            i64 to = root == world->rank ? world->ranks - 1 : 0;
            assert_int_equal(sent() - before, to * sizes[k] * 4);
            free(x), free(want);
        }
}

static void test_host_values(void **state) {
    (void)state;
    int n = world->ranks;
    char mine[5], all[5 * 64];
    snprintf(mine, sizeof mine, "%04d", world->rank);
    OK(comm_allgather_host(world, all, mine, sizeof mine));
    for (int r = 0; r < n; r++) assert_int_equal(atoi(all + 5 * r), r);
    int told = world->rank + 40;
    OK(comm_broadcast_host(world, &told, sizeof told));
    assert_int_equal(told, 40);
    OK(comm_barrier(world));
    double x[2] = {1.0 / (1 + world->rank), world->rank == 0 ? 1e300 : -1e284}, want[2] = {1, 1e300};
    for (int r = 1; r < n; r++) want[0] += 1.0 / (1 + r), want[1] += -1e284;
    OK(comm_sum_f64(world, x, 2));
    assert_memory_equal(x, want, sizeof x);
}

static void test_agree(void **state) {
    (void)state;
    OK(comm_agree(world, STATUS_OK));
    int last = world->ranks - 1;
    status_code st = world->rank == last ? ERROR(DATA, "no such thing as %d", last) : STATUS_OK;
    FAILS(DATA, "no such thing as", comm_agree(world, st));
    if (world->ranks == 1) return;
    char text[64];
    snprintf(text, sizeof text, "rank %d: no such thing as %d", last, last);
    assert_string_equal(status_message(), text);
    st = ERROR(IO, "mine is %d", world->rank);
    FAILS(IO, "rank 0: mine is 0", comm_agree(world, st));
    OK(comm_agree(world, STATUS_OK));
}

/* more than the queue holds at a time, waited for in any order; events used again */
static void test_many_queued(void **state) {
    (void)state;
    enum { MANY = 700, N = 37 };
    int n = world->ranks;
    comm_event *done = calloc(MANY, sizeof *done), fresh = {0}, mark;
    float *to = calloc((size_t)MANY * N * (size_t)n, 4), *from = data_of(world->rank, MANY * N, 12, F32);
    float *sums = data_of(world->rank, MANY * N, 13, F32), *want_sums = sum_of(0, 1, n, MANY * N, 13, F32);
    OK(comm_wait(world, &fresh));
    for (int k = 0; k < MANY; k++) {
        OK(comm_mark(world, &mark));
        if (k % 2) OK(comm_all_reduce(world, sums + k * N, N, F32, &mark, &done[k]));
        else OK(comm_all_gather(world, to + k * N * n, from + k * N, N, F32, F32, &mark, k % 4 ? NULL : &done[k]));
    }
    OK(comm_wait(world, &done[MANY - 1])); /* those queued before it are complete: they run in order */
    float **of = calloc((size_t)n, sizeof *of);
    for (int r = 0; r < n; r++) of[r] = data_of(r, MANY * N, 12, F32);
    for (int k = 0; k < MANY; k++) {
        int i = (int)((k * 389LL + world->rank * 31) % MANY); /* another order on each rank */
        OK(comm_wait(world, &done[i]));
        if (i % 2) same("queued sum", sums + i * N, want_sums + i * N, N, 4);
        for (int r = 0; r < n && i % 2 == 0; r++) same("queued", to + (i * n + r) * N, of[r] + i * N, N, 4);
    }
    for (int r = 0; r < n; r++) free(of[r]);
    free(of), free(done), free(to), free(from), free(sums), free(want_sums);
}

/* the communicator `part` has the ranks first, first + stride, ... */
static void check_part(comm *part, int first, int stride, int ranks, int rank) {
    assert_int_equal(part->ranks, ranks);
    assert_int_equal(part->rank, rank);
    float *x = data_of(world->rank, LARGE, 14, F32), *want = sum_of(first, stride, ranks, LARGE, 14, F32);
    int members[64];
    OK(comm_allgather_host(part, members, &world->rank, sizeof *members));
    for (int r = 0; r < ranks; r++) assert_int_equal(members[r], first + r * stride);
    comm_event done;
    OK(comm_all_reduce(part, x, LARGE, F32, NULL, &done));
    OK(comm_wait(part, &done));
    same("sum of a part", x, want, LARGE, 4);
    free(x), free(want);
}

/* the two dimensions of a grid at a time: rows of two neighbours, columns of every other rank */
static void test_split(void **state) {
    (void)state;
    int n = world->ranks, me = world->rank;
    for (int again = 0; again < 5; again++) { /* closed parts can be opened again */
        comm *row, *column, *whole;
        OK(comm_split(world, &row, me / 2));
        OK(comm_split(world, &column, 100 - me % 2));
        check_part(row, me / 2 * 2, 1, me / 2 * 2 + 1 < n ? 2 : 1, me % 2);
        check_part(column, me % 2, 2, (n - me % 2 + 1) / 2, me / 2);
        OK(comm_split(row, &whole, 3)); /* a part of a part */
        check_part(whole, me / 2 * 2, 1, row->ranks, me % 2);
        check_part(world, 0, 1, n, me);
        uint64_t before = sent();
        comm_set_step(column, 40);
        assert_int_equal(world->step, 40);
        OK(comm_barrier(column));
        assert_int_equal(sent() - before, column->ranks - 1);
        assert_int_equal(comm_read_totals(row).bytes_sent, sent());
        if (n > 1) {
            comm *one_more;
            FAILS(ARG, "already in 3 parts", comm_split(world, &one_more, 0));
        }
        comm_close(whole), comm_close(column), comm_close(row);
    }
    comm_close(NULL);
}

/* It arrives while this thread only polls plain memory. */
static void test_beside_the_computation(void **state) {
    (void)state;
    int n = world->ranks;
    float *to = calloc((size_t)LARGE * (size_t)n, 4), *from = data_of(world->rank, LARGE, 15, F32);
    from[LARGE - 1] = 1;
    comm_event done;
    OK(comm_all_gather(world, to, from, LARGE, F32, F32, NULL, &done));
    time_t end = time(NULL) + 100;
    for (int r = 0; r < n; r++) {
        const uint32_t *last = (const uint32_t *)(const void *)(to + (i64)(r + 1) * LARGE - 1);
        while (!__atomic_load_n(last, __ATOMIC_ACQUIRE))
            if (time(NULL) > end) fail_msg("rank %d: the piece of rank %d has not come", world->rank, r);
    }
    OK(comm_wait(world, &done));
    free(to), free(from);
}

static void test_clock(void **state) {
    (void)state;
    meter m = {0};
    meter_start(&m, BOOK_USEFUL);
    world->clock = &m;
    uint64_t before = comm_read_totals(world).waited_ns;
    for (int i = 0; i < 20; i++) OK(comm_barrier(world));
    world->clock = NULL;
    meter_settle(&m);
    assert_int_equal(m.current, BOOK_USEFUL);
    assert_int_equal(m.booked_ns[BOOK_COMMUNICATION] > 0, comm_read_totals(world).waited_ns > before);
    if (world->ranks == 1) assert_int_equal(m.booked_ns[BOOK_COMMUNICATION], 0);
    else assert_true(comm_read_totals(world).busy_ns > 0);
}

static void test_bad_arguments(void **state) {
    (void)state;
    float x[64] = {0};
    comm *c;
    FAILS(ARG, "all-gather: -1 elements", comm_all_gather(world, x, x, -1, F32, F32, NULL, NULL));
    FAILS(ARG, "bf16 elements cannot be sent as fp32", comm_all_gather(world, x, x, 1, BF16, F32, NULL, NULL));
    FAILS(ARG, "reduce-scatter: no buffer", comm_reduce_scatter(world, NULL, x, 1, F32, false, NULL, NULL));
    FAILS(ARG, "all-reduce: no buffer", comm_all_reduce(world, NULL, 3, F32, NULL, NULL));
    FAILS(ARG, "broadcast: from rank", comm_broadcast(world, x, 4, world->ranks, NULL, NULL));
    FAILS(ARG, "exchange: no buffer", comm_allgather_host(world, x, NULL, 4));
    FAILS(ARG, "time-out 0 s", comm_open(&c, 0));
    assert_null(c);
    OK(comm_barrier(world)); /* none of them broke it */
    assert_false(world->broken);
}

static void test_launchers(void **state) {
    (void)state;
    if (world->ranks > 1) return; /* MPI may read the environment now */
    const char *const all[] = {"SLURM_PROCID", "SLURM_NTASKS",         "SLURM_STEP_NUM_TASKS", "PMI_RANK",
                               "PMI_SIZE",     "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) unsetenv(all[i]);
    assert_int_equal(comm_launch_ranks(), 1);
    setenv("SLURM_PROCID", "3", 1), setenv("SLURM_NTASKS", "4", 1);
    assert_int_equal(comm_launch_ranks(), 1);
    setenv("SLURM_STEP_NUM_TASKS", "4", 1);
    assert_int_equal(comm_launch_ranks(), 4), assert_int_equal(comm_launch_rank(), 3);
    setenv("PMI_RANK", "5", 1), setenv("PMI_SIZE", "6", 1);
    assert_int_equal(comm_launch_ranks(), 6), assert_int_equal(comm_launch_rank(), 5);
    setenv("OMPI_COMM_WORLD_RANK", "1x", 1), setenv("OMPI_COMM_WORLD_SIZE", "2", 1);
    assert_int_equal(comm_launch_ranks(), 6);
    setenv("OMPI_COMM_WORLD_RANK", "1", 1);
    assert_int_equal(comm_launch_ranks(), 2), assert_int_equal(comm_launch_rank(), 1);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) unsetenv(all[i]);
    assert_int_equal(comm_launch_ranks(), 1), assert_int_equal(comm_launch_rank(), 0);
}

static int fail_here(void) {
    fprintf(stderr, "rank %d: %s\n", comm_launch_rank(), status_message());
    return 1;
}

/* The last rank is killed or stopped when the first data of the others has reached it. */
static int die(const char *how, const char *what) {
    enum { N = 8 << 20 };
    bool gather = strcmp(what, "all-gather") == 0;
    i64 whole = (i64)N * world->ranks, own = (i64)N * world->rank;
    float *x = calloc((size_t)whole, 4), *y = calloc(N, 4);
    for (i64 i = 0; i < whole; i++) x[i] = gather && (i < own || i >= own + N) ? 0 : 1;
    comm_set_step(world, 12);
    if (comm_barrier(world)) return fail_here();
    comm_event done;
    status_code st = gather ? comm_all_gather(world, x, x + own, N, F32, F32, NULL, &done)
                            : comm_reduce_scatter(world, y, x, N, F32, false, NULL, &done);
    if (st) return fail_here();
    const uint32_t *first = (const uint32_t *)(const void *)(gather ? x : y);
    while (world->rank == world->ranks - 1)
        if (__atomic_load_n(first, __ATOMIC_ACQUIRE)) raise(strcmp(how, "kill") ? SIGSTOP : SIGKILL);
    if (!comm_wait(world, &done)) return 0;
    fail_here();
    char text[1024];
    snprintf(text, sizeof text, "%s", status_message());
    if (comm_barrier(world) != STATUS_COMM || strcmp(text, status_message()) || !world->broken)
        fprintf(stderr, "rank %d: a call after the failure ended as \"%s\"\n", world->rank, status_message());
    comm_abort(world, 3);
    return 1;
}

/* ranks that queue different collectives get an error */
static int differ(void) {
    float x[64] = {0}, y[8 * 64];
    comm_event done;
    i64 count = world->rank ? 5 : 6;
    if (comm_all_gather(world, y, x, count, F32, F32, NULL, &done) || comm_wait(world, &done)) {
        fail_here();
        comm_abort(world, 3);
    }
    return 0;
}

static int check_all(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_launchers),
                                       cmocka_unit_test(test_bad_arguments),
                                       cmocka_unit_test(test_all_gather),
                                       cmocka_unit_test(test_reduce_scatter),
                                       cmocka_unit_test(test_all_reduce),
                                       cmocka_unit_test(test_broadcast),
                                       cmocka_unit_test(test_host_values),
                                       cmocka_unit_test(test_agree),
                                       cmocka_unit_test(test_many_queued),
                                       cmocka_unit_test(test_split),
                                       cmocka_unit_test(test_beside_the_computation),
                                       cmocka_unit_test(test_clock)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv) {
    const char *seconds = getenv("TIMEOUT_S");
    status_code st = comm_open(&world, seconds ? atof(seconds) : 100);
    if (st) return fail_here(), status_exit_code(st);
    int code = argc == 4 && strcmp(argv[1], "die") == 0      ? die(argv[2], argv[3])
               : argc == 2 && strcmp(argv[1], "differ") == 0 ? differ()
               : argc == 2 && strcmp(argv[1], "open") == 0
                   ? printf("%s %d/%d %d/%d\n", world->name, world->rank, world->ranks, world->placement->local_rank,
                            world->placement->local_ranks) < 0
                   : run_ranked(world->rank, check_all);
    comm_close(world);
    return code;
}
