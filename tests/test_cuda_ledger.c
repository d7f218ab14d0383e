/* A GPU shared by several ranks is billed once, and its joules are counted once. */
#include "tests/cuda_pair.h"
#include "train/bill/ledger.h"

/* every rank sends what this one does; both are on one host, on this device */
static status echo(comm *c, void *all, const void *mine, size_t bytes) {
    for (int r = 0; r < c->ranks; r++) memcpy((char *)all + (size_t)r * bytes, mine, bytes);
    return STATUS_OK;
}

static const comm_ops echoing = {.allgather_host = echo};

static void open_as(ledger *l, const device *dev, int rank, double price, double watts) {
    static comm world;
    static placement_rank all[2];
    static placement where;
    for (int r = 0; r < 2; r++) {
        all[r] = (placement_rank){.kind = (int)dev->kind};
        snprintf(all[r].pci, sizeof all[r].pci, "%s", device_pci(dev));
    }
    where = (placement){.rank = rank, .ranks = 2, .hosts = 1, .local_rank = rank, .local_ranks = 2, .all = all};
    world = (comm){.ops = &echoing, .rank = rank, .ranks = 2, .placement = &where};
    world.root = &world;
    *l = (ledger){0};
    OK(ledger_open(l, dev, &world,
                   &(ledger_terms){.usd_per_hour = price,
                                   .owned.capex_usd = NAN,
                                   .watts = watts,
                                   .host_watts = 150,
                                   .pue = NAN,
                                   .usd_per_kwh = NAN}));
}

static void test_the_first_rank_of_a_gpu_has_it_on_its_bill(void **unused) {
    (void)unused;
    assert_true(strlen(device_pci(both.cuda)) > 0);
    ledger l;
    open_as(&l, both.cuda, 0, 3, 700);
    assert_false(l.gpu_counted);
    assert_true(l.usd_per_hour == 2 * 3); /* the sum of two ranks' prices */
    assert_true(l.rates.host_watts == 2 * 150);
    if (l.energy_of == ENERGY_TDP) assert_true(l.watts == 2 * 700 && ledger_energy_now_j(&l) > 0);
    ledger_close(&l);

    open_as(&l, both.cuda, 1, 3, 700);
    assert_true(l.gpu_counted);
    assert_true(l.usd_per_hour == 0);
    assert_true(l.rates.host_watts == 0); /* the first rank of the host counts it */
    assert_true(ledger_energy_now_j(&l) == 0);
    assert_false(energy_gpu(l.energy).known);
    ledger_close(&l);

    open_as(&l, both.cuda, 1, NAN, 700);
    assert_true(l.usd_per_hour == 0 || isnan(l.usd_per_hour)); /* where the table knows this GPU, or not */
    ledger_close(&l);
}

static void test_every_rank_of_a_host_pays_for_its_threads(void **unused) {
    (void)unused;
    ledger l;
    open_as(&l, both.cpu, 1, 3, 100);
    assert_string_equal(device_pci(both.cpu), "");
    assert_false(l.gpu_counted);
    assert_true(l.usd_per_hour == 2 * 3);
    ledger_close(&l);
}

int main(void) {
    NEEDS_CUDA("test_cuda_ledger");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_first_rank_of_a_gpu_has_it_on_its_bill),
        cmocka_unit_test(test_every_rank_of_a_host_pays_for_its_threads),
    };
    return cmocka_run_group_tests(tests, pair_open, pair_close);
}
