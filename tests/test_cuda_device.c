#include "tests/cuda_pair.h"

#include "runtime/arena.h"

static void memory_starts_zeroed_and_copies_both_ways(void **state) {
    (void)state;
    enum { N = 1003 };
    device *dev = both.cuda;
    float host[N], back[N];
    void *a, *b;
    OK(dev->ops->alloc(dev, &a, sizeof host));
    OK(dev->ops->alloc(dev, &b, sizeof host));
    from_cuda(back, a, sizeof back);
    for (int i = 0; i < N; i++) assert_true(back[i] == 0);
    random_tensor(host, NULL, F32, N, 1, 1);
    OK(dev->ops->copy(dev, a, host, sizeof host));
    OK(dev->ops->copy(dev, b, a, sizeof host));
    from_cuda(back, b, sizeof back);
    assert_memory_equal(host, back, sizeof host);
    OK(dev->ops->zero(dev, (float *)b + 1, 8));
    from_cuda(back, b, sizeof back);
    assert_true(back[0] == host[0] && back[1] == 0 && back[2] == 0 && back[3] == host[3]);
    cuda_release(a, sizeof host);
    cuda_release(b, sizeof host);
}

/* more than the staging buffer holds: each piece is used again once its copy is done */
static void an_upload_may_be_overwritten_when_it_returns(void **state) {
    (void)state;
    enum { N = 11 << 18 };
    device *dev = both.cuda;
    int32_t *host = malloc(N * sizeof *host), *back = malloc(N * sizeof *back);
    void *p = cuda_unwritten(N * sizeof *host);
    for (int i = 0; i < N; i++) host[i] = i;
    OK(dev->ops->upload(dev, p, host, N * sizeof *host));
    memset(host, 0, N * sizeof *host);
    OK(dev->ops->upload(dev, (int32_t *)p + 5, host, 8));
    from_cuda(back, p, N * sizeof *back);
    for (int i = 0; i < N; i++) assert_int_equal(back[i], i == 5 || i == 6 ? 0 : i);
    cuda_release(p, N * sizeof *host);
    free(host);
    free(back);
}

static void rows_are_copied_with_strides(void **state) {
    (void)state;
    int32_t host[4][7], back[4][3];
    for (int i = 0; i < 28; i++) host[i / 7][i % 7] = i;
    void *from = to_cuda(host, sizeof host), *to = cuda_unwritten(sizeof back);
    OK(both.cuda->ops->copy_rows(both.cuda, to, sizeof *back, (int32_t *)from + 2, sizeof *host, sizeof *back, 4));
    from_cuda(back, to, sizeof back);
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 3; j++) assert_int_equal(back[i][j], 7 * i + j + 2);
    cuda_release(from, sizeof host);
    cuda_release(to, sizeof back);
}

/* on both devices: a post reads the values of that moment, and two can be in flight */
static void posted_values_are_read_later(void **state) {
    (void)state;
    device *devices[] = {both.cpu, both.cuda};
    for (int d = 0; d < 2; d++) {
        device *dev = devices[d];
        uint64_t value = 1, read = 0, ns;
        void *p;
        OK(dev->ops->alloc(dev, &p, sizeof value));
        OK(dev->ops->begin(dev));
        for (uint64_t step = 0; step < 6; step++) {
            value = 100 + step;
            OK(dev->ops->upload(dev, p, &value, sizeof value));
            OK(dev->ops->post(dev, p, sizeof value));
            OK(dev->ops->zero(dev, p, sizeof value));
            if (step == 0) continue;
            OK(dev->ops->collect(dev, &read, sizeof read, &ns));
            assert_int_equal(read, 99 + step);
            assert_true(ns < 60 * 1000000000ull);
        }
        OK(dev->ops->collect(dev, &read, sizeof read, &ns));
        dev->ops->free(dev, p, sizeof value);
    }
}

/* more spans than the ring holds; they are moved from useful compute, so that the sum stays */
static void spans_are_booked_when_collected(void **state) {
    (void)state;
    device *dev = both.cuda;
    meter clock = {0};
    enum { BYTES = 1 << 20 };
    void *p;
    uint64_t value;
    OK(dev->ops->alloc(dev, &p, BYTES));
    meter_start(&clock, BOOK_USEFUL);
    dev->clock = &clock;
    for (int i = 0; i < 1500; i++) {
        OK(device_recompute(dev, true));
        if (i % 100 == 0) OK(dev->ops->zero(dev, p, BYTES));
        OK(device_recompute(dev, false));
    }
    uint64_t ns;
    OK(dev->ops->begin(dev));
    OK(dev->ops->post(dev, p, sizeof value));
    OK(dev->ops->collect(dev, &value, sizeof value, &ns));
    dev->clock = NULL;
    assert_true(clock.booked_ns[BOOK_RECOMPUTE] > 0);
    assert_true(meter_total_ns(&clock) == clock.booked_ns[BOOK_RECOMPUTE] + clock.booked_ns[BOOK_USEFUL]);
    dev->ops->free(dev, p, BYTES);
}

static void a_device_that_is_not_there_is_an_error(void **state) {
    (void)state;
    device *dev;
    FAILS(ARG, "expected auto, cpu, cuda or cuda:N", device_open(&dev, "cuda:x", 0, 0));
    FAILS(ARG, "expected auto, cpu, cuda or cuda:N", device_open(&dev, "gpu", 0, 0));
    assert_int_not_equal(device_open(&dev, "cuda:4711", 0, 0), STATUS_OK);
    assert_non_null(strstr(status_message(), "--device cuda:4711"));
}

static void memory_that_is_not_there_is_an_error(void **state) {
    (void)state;
    void *p;
    FAILS(MEM, "cannot allocate", both.cuda->ops->alloc(both.cuda, &p, (size_t)1 << 46));
    OK(both.cuda->ops->alloc(both.cuda, &p, 4)); /* the error does not stay */
    cuda_release(p, 4);
}

static void an_arena_lies_on_the_device(void **state) {
    (void)state;
    arena a = {0};
    float host[3] = {1, 2, 3}, back[3];
    arena_take(&a, MEM_WEIGHTS, sizeof host);
    OK(arena_commit(&a, both.cuda));
    void *p = arena_take(&a, MEM_WEIGHTS, sizeof host);
    assert_int_equal((uintptr_t)p % 256, 0);
    OK(both.cuda->ops->copy(both.cuda, p, host, sizeof host));
    from_cuda(back, p, sizeof back);
    assert_memory_equal(host, back, sizeof host);
    arena_free(&a);
}

static void an_arena_that_does_not_fit_is_refused(void **state) {
    (void)state;
    arena a = {0};
    host_room room;
    OK(both.cuda->ops->room(both.cuda, &room));
    assert_true(room.left > 0 && room.left <= room.limit);
    arena_take(&a, MEM_WEIGHTS, room.limit + 1);
    FAILS(ARG, "memory: this model needs", arena_commit(&a, both.cuda));
    assert_null(a.base);
}

int main(void) {
    NEEDS_CUDA("test_cuda_device");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_starts_zeroed_and_copies_both_ways),
        cmocka_unit_test(an_upload_may_be_overwritten_when_it_returns),
        cmocka_unit_test(rows_are_copied_with_strides),
        cmocka_unit_test(posted_values_are_read_later),
        cmocka_unit_test(spans_are_booked_when_collected),
        cmocka_unit_test(a_device_that_is_not_there_is_an_error),
        cmocka_unit_test(memory_that_is_not_there_is_an_error),
        cmocka_unit_test(an_arena_lies_on_the_device),
        cmocka_unit_test(an_arena_that_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, pair_open, pair_close);
}
