/* Limits that hold exactly. */
#include "tests/check.h"
#include "tools/plan_step.h"
#include "train/model/cost.h"

static prediction predicted(const step_plan *plan, const machine *m) {
    prediction p;
    OK(plan_step_predict(&p, plan, m));
    if (p.step_ns != p.compute_ns + p.exposed_ns)
        fail_msg("%lu ns are not %lu + %lu", p.step_ns, p.compute_ns, p.exposed_ns);
    return p;
}

static step_plan large_plan(const char *name, int ranks, shard_stage stage, int replicas, i64 micro_batches) {
    step_plan p = {.s = {.B = 1, .T = 256},
                   .o = {.t = BF16,
                         .master = true,
                         .training = true,
                         .shard = {.ranks = ranks, .stage = stage, .replicas = replicas}},
                   .micro_batches = micro_batches};
    OK(model_config_load(&p.c, name));
    return p;
}

static const machine usual = {
    .flops = 1e14, .memory = 1e12, .net = {.per_node = 8, .inside = {2e11, 3e-6}, .between = {2e10, 1e-5}}};

static void for_all_plans(void (*check)(const step_plan *plan)) {
    static const char *const names[] = {"gpt2-124m", "llama2-7b"};
    for (int i = 0; i < 2; i++)
        for (shard_stage stage = SHARD_NONE; stage <= SHARD_FULL; stage++)
            for (int replicas = 1; replicas <= (stage == SHARD_NONE ? 1 : 2); replicas++)
                for (int micro = 1; micro <= 2; micro++) {
                    step_plan plan = large_plan(names[i], 16, stage, replicas, micro);
                    check(&plan);
                }
}

static void free_links(const step_plan *plan) {
    machine m = usual;
    m.net.inside = m.net.between = (network_link){INFINITY, 0};
    prediction p = predicted(plan, &m), alone;
    assert_int_equal(p.exposed_ns, 0);
    assert_int_equal(p.communication_ns, 0);
    assert_int_equal(p.step_ns, p.compute_ns);
    step_plan one = *plan; /* but for the optimizer, which here works on a piece, what a device computes alone */
    one.o.shard = (shard_options){.ranks = 1};
    alone = predicted(&one, &m);
    m.memory = INFINITY;
    assert_int_equal(predicted(plan, &m).step_ns, predicted(&one, &m).step_ns);
    assert_true(p.compute_ns <= alone.compute_ns * 101 / 100); /* 1% more, for the zeroing of slots */
}

static void free_computation(const step_plan *plan) {
    machine m = usual;
    m.flops = m.memory = INFINITY;
    prediction p = predicted(plan, &m);
    assert_int_equal(p.compute_ns, 0);
    assert_int_equal(p.step_ns, p.communication_ns);
    m.blocking = true;
    assert_int_equal(predicted(plan, &m).step_ns, p.step_ns);
}

/* overlapped: never less than the longer, never more than both; blocking: both */
static void between_the_bounds(const step_plan *plan) {
    machine m = usual;
    prediction p = predicted(plan, &m);
    assert_true(p.step_ns >= p.compute_ns && p.step_ns >= p.communication_ns);
    assert_true(p.step_ns <= p.compute_ns + p.communication_ns);
    m.blocking = true;
    prediction b = predicted(plan, &m);
    assert_int_equal(b.step_ns, p.compute_ns + p.communication_ns);
    assert_int_equal(b.bytes_sent, p.bytes_sent);
}

static void slower_on_slower_links(const step_plan *plan) {
    machine m = usual;
    uint64_t before = 0;
    for (double slower = 1; slower <= 64; slower *= 2) {
        m.net.inside.bandwidth = usual.net.inside.bandwidth / slower;
        m.net.between.bandwidth = usual.net.between.bandwidth / slower;
        uint64_t step = predicted(plan, &m).step_ns;
        if (step < before) fail_msg("%s: %lu ns, on faster links %lu", plan->c.name, step, before);
        before = step;
    }
}

static void free_links_leave_the_computation(void **unused) { (void)unused, for_all_plans(free_links); }
static void free_computation_leaves_the_links(void **unused) { (void)unused, for_all_plans(free_computation); }
static void overlap_is_between_the_bounds(void **unused) { (void)unused, for_all_plans(between_the_bounds); }
static void slower_links_are_no_gain(void **unused) { (void)unused, for_all_plans(slower_on_slower_links); }

static void one_device_sends_nothing(void **unused) {
    (void)unused;
    for (shard_stage stage = SHARD_NONE; stage <= SHARD_FULL; stage++) {
        step_plan plan = large_plan("llama2-7b", 1, stage, 1, 2);
        prediction p = predicted(&plan, &usual);
        assert_int_equal(p.bytes_sent, 0);
        assert_int_equal(p.communication_ns, 0);
        assert_int_equal(p.step_ns, p.compute_ns);
    }
}

/* The table of fsdp.h, of padded units, less what still lies in slots: of a model that is not tied and one micro-batch
 * the last two blocks when backward begins, and the head. */
static void bytes_sent_are_the_formula(void **unused) {
    (void)unused;
    for (shard_stage stage = SHARD_NONE; stage <= SHARD_FULL; stage++)
        for (int replicas = 1; replicas <= (stage == SHARD_NONE ? 1 : 4); replicas *= 2) {
            step_plan plan = large_plan("llama2-7b", 16, stage, replicas, 1);
            int W = 16, R = stage == SHARD_NONE ? W : replicas, S = W / R, L = (int)plan.c.L;
            param_table p;
            OK(param_table_init(&p, &plan.c, S));
            i64 gathered = p.size;
            for (int u = 1; stage == SHARD_FULL && u <= L - 2; u++) gathered += p.units[u].size;
            uint64_t sums = (uint64_t)(W - 1) * 16; /* of loss and norm */
            uint64_t expected = (uint64_t)(p.size * 4 + gathered * 2) / (uint64_t)S * (uint64_t)(S - 1) + sums;
            if (S == 1) expected = sums;
            expected += (uint64_t)(p.size / S * 4 * 2) / (uint64_t)R * (uint64_t)(R - 1);
            param_table_free(&p);
            uint64_t got = predicted(&plan, &usual).bytes_sent;
            if (got != expected)
                fail_msg("stage %d, %d replicas: %lu bytes, the formula says %lu", (int)stage, R, got, expected);
        }
}

/* ring: 8 ranks, 4 on each of 2 nodes: 6 hops inside, 1 between; between nodes there are as many adapters as ranks of the
 * group on a node, so that here the links inside are the narrowest, and of the replicas the adapters */
static void durations_are_the_formula(void **unused) {
    (void)unused;
    network net = {.per_node = 4, .inside = {25e9, 1e-6}, .between = {10e9, 2e-6}};
    virtual_clock k = {0};
    comm *c, *part;
    comm_event done = {0};
    char x[8];
    OK(simulated_comm_open(&c, &k, &net, 8, 2));
    i64 piece = 1 << 28;
    OK(comm_all_gather(c, x, x, piece, F32, F32, NULL, &done));
    OK(comm_wait(c, &done));
    assert_int_equal(k.now_ns, llround(1e9 * (6e-6 + 2e-6 + 7.0 * 4 * (double)piece / 25e9)));
    assert_int_equal(comm_read_totals(c).bytes_sent, 7 * 4 * piece);
    /* few bytes: staged, 1 hop between nodes and 2 inside */
    uint64_t since = k.now_ns;
    OK(comm_allgather_host(c, (char[8]){0}, x, 1));
    assert_int_equal(k.now_ns - since, llround(1e9 * (2e-6 + 2e-6 + 8 * 0.5 / 40e9 + 8 * 0.75 / 25e9)));
    /* 2 neighbours, then every second rank: 2 on each node */
    OK(comm_split(c, &part, 0));
    assert_int_equal(part->ranks, 2);
    since = k.now_ns;
    OK(comm_reduce_scatter(part, (float *)x, (float *)x, piece, BF16, false, NULL, &done));
    assert_int_equal(k.now_ns, since);
    assert_int_equal(done.ticket - since, llround(1e9 * (1e-6 + 2.0 * (double)piece / 25e9)));
    comm_close(part);
    OK(comm_split(c, &part, 0));
    assert_int_equal(part->ranks, 4);
    since = k.queue_ns; /* it stands behind the other */
    OK(comm_all_reduce(part, (float *)x, piece, F32, NULL, &done));
    assert_int_equal(done.ticket - since, llround(1e9 * 2 * (2e-6 + 2e-6 + 3.0 * (double)piece / 20e9)));
    FAILS(ARG, "split 3 times", comm_split(c, &(comm *){0}, 0));
    comm_close(part);
    comm_close(c);
    FAILS(ARG, "--devices 9", simulated_comm_open(&c, &k, &net, 9, 9));
    FAILS(ARG, "3 ranks share", simulated_comm_open(&c, &k, &net, 12, 3));
}

static void what_64_bits_do_not_hold_is_an_error(void **unused) {
    (void)unused;
    step_plan plan = {.s = {.B = 1, .T = 8192},
                      .o = {.t = BF16, .training = true, .shard = {.ranks = 1, .replicas = 1}},
                      .micro_batches = 1};
    machine slow = {.flops = 1, .memory = 1, .net = {.per_node = 1, .inside = {1, 0}, .between = {1, 0}}};
    prediction p;
    OK(model_config_load(&plan.c, "llama3.1-8b"));
    FAILS(ARG, "predicted time", plan_step_predict(&p, &plan, &slow));
    plan.s = (model_shape){.B = (i64)1 << 50, .T = 8192};
    FAILS(ARG, "activations of 1125899906842624 sequences of 8192 tokens", plan_step_predict(&p, &plan, &slow));
}

static void a_collective_waits_for_its_event(void **unused) {
    (void)unused;
    network net = {.per_node = 8, .inside = {1e9, 0}, .between = {1e9, 0}};
    virtual_clock k = {0};
    comm *c;
    comm_event passed = {0}, done = {0};
    char x[1];
    OK(simulated_comm_open(&c, &k, &net, 2, 2));
    simulated_comm_work(&k, 1);
    OK(comm_mark(c, &passed));
    OK(comm_all_gather(c, x, x, 500000000, BF16, BF16, &passed, &done));
    simulated_comm_work(&k, 0.25);
    OK(comm_wait(c, &done));
    assert_int_equal(k.now_ns, 2000000000);
    assert_int_equal(comm_read_totals(c).waited_ns, 750000000);
    comm_close(c);
}

/* On one rank without traffic the step takes the FLOPs of the closed form, layer by layer; each unit is rounded to 1 ns. */
static void layers_with_a_window(void **state) {
    (void)state;
    machine m = usual;
    m.flops = 1e9, m.memory = INFINITY;
    step_plan plan = large_plan("gpt2-124m", 1, SHARD_NONE, 1, 1);
    uint64_t full = predicted(&plan, &m).step_ns;
    plan.c.window = 32, plan.c.full_layers[0] = 8;
    flop_counter f = cost_training_flops(&plan.c, plan.s.recompute, plan.s.B, plan.s.T);
    prediction p = predicted(&plan, &m);
    assert_true(fabs((double)p.step_ns - (double)meter_flops_executed(&f)) <= 2 * (double)plan.c.L + 3);
    assert_true(p.step_ns < full);
}

/* Up to 16 micro-batches are simulated: there every second one already adds the same, and beyond it is multiplied. */
static void adds_the_same(const step_plan *plan) {
    step_plan p = *plan;
    for (int slow = 0; slow < 2; slow++) {
        machine m = usual;
        if (slow) m.net.inside.bandwidth /= 20, m.net.between.bandwidth /= 20;
        prediction at[4], beyond;
        i64 last = 16 - plan->micro_batches % 2, times = 492;
        for (int i = 0; i < 4; i++) {
            p.micro_batches = last - 6 + 2 * i;
            at[i] = predicted(&p, &m);
        }
        p.micro_batches = last + 2 * times;
        beyond = predicted(&p, &m);
        for (int i = 1; i < 3; i++) {
            assert_int_equal(at[i + 1].step_ns - at[i].step_ns, at[i].step_ns - at[i - 1].step_ns);
            assert_int_equal(at[i + 1].bytes_sent - at[i].bytes_sent, at[i].bytes_sent - at[i - 1].bytes_sent);
        }
        assert_int_equal(beyond.step_ns, at[3].step_ns + (uint64_t)times * (at[3].step_ns - at[2].step_ns));
        assert_int_equal(beyond.communication_ns,
                         at[3].communication_ns + (uint64_t)times * (at[3].communication_ns - at[2].communication_ns));
        assert_int_equal(beyond.bytes_sent, at[3].bytes_sent + (uint64_t)times * (at[3].bytes_sent - at[2].bytes_sent));
    }
}

static void many_micro_batches_add_the_same(void **state) {
    (void)state;
    for_all_plans(adds_the_same);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_64_bits_do_not_hold_is_an_error),
        cmocka_unit_test(free_links_leave_the_computation),
        cmocka_unit_test(free_computation_leaves_the_links),
        cmocka_unit_test(overlap_is_between_the_bounds),
        cmocka_unit_test(slower_links_are_no_gain),
        cmocka_unit_test(one_device_sends_nothing),
        cmocka_unit_test(bytes_sent_are_the_formula),
        cmocka_unit_test(durations_are_the_formula),
        cmocka_unit_test(a_collective_waits_for_its_event),
        cmocka_unit_test(layers_with_a_window),
        cmocka_unit_test(many_micro_batches_add_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
