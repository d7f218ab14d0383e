/* What the walk calls and when, with the gradients that are = and those that are +=. That the engine's part is right shows in
 * test_fsdp and test_cuda_fsdp: a model of several ranks ends in the weights of one. */
#include "tests/tiny_model.h"

static device *dev;

typedef struct {
    char calls
        [128]; /* a letter for each callback; a block's layer; '+' where gradients go on top, '*' those of the matrix */
    char fail_at;
} trace;

static status note(trace *t, char letter, const walk_unit *u) {
    size_t n = strlen(t->calls);
    assert_true(n + 4 < sizeof t->calls);
    t->calls[n++] = letter;
    if (letter == 'f' || letter == 'b') t->calls[n++] = (char)('0' + u->layer);
    if (u && u->accumulate) t->calls[n++] = '+';
    if (u && u->accumulate_matrix) t->calls[n++] = '*';
    if (letter == t->fail_at) FAIL(STOPPED, "at %c", letter);
    return STATUS_OK;
}

static status begin(void *t) { return note(t, '(', NULL); }
static status before_unit(void *t) { return note(t, '.', NULL); }

static status forward_embedding(void *t, const walk_unit *u) {
    assert_non_null(u->v.w[P_WTE]);
    return note(t, 'e', u);
}

static status forward_block(void *t, const walk_unit *u) {
    assert_non_null(u->v.w[P_QKV_W]);
    assert_null(u->v.dw[P_QKV_W]);
    return note(t, 'f', u);
}

static status forward_head(void *t, const walk_unit *u) {
    assert_non_null(u->v.w[P_HEAD_W]);
    assert_null(u->v.dw[P_HEAD_W]);
    return note(t, 'n', u);
}

static status head_loss(void *t, const walk_unit *u) {
    assert_true(!u->v.dw[P_HEAD_W] == !u->v.dw[P_NORM_G]);
    return note(t, u->v.dw[P_HEAD_W] ? 'h' : 'l', u);
}

static status backward_block(void *t, const walk_unit *u) {
    assert_non_null(u->v.w[P_QKV_W]);
    assert_non_null(u->v.dw[P_QKV_W]);
    return note(t, 'b', u);
}

static status backward_embedding(void *t, const walk_unit *u) {
    assert_non_null(u->v.dw[P_WTE]);
    return note(t, 'g', u);
}

static const walk_ops ops = {begin,        before_unit, forward_embedding, forward_block,
                             forward_head, head_loss,   backward_block,    backward_embedding};

typedef struct {
    parameters s;
    arena memory;
} opened;

static void open_parameters(opened *o, const model_config *c) {
    *o = (opened){0};
    OK(parameters_init(&o->s, dev, c, tiny_options(F32)));
    parameters_layout(&o->s, &o->memory);
    OK(arena_commit(&o->memory, dev));
    parameters_layout(&o->s, &o->memory);
}

static void close_parameters(opened *o) {
    arena_free(&o->memory);
    parameters_free(&o->s);
}

static void units_come_in_their_order(void **unused) {
    (void)unused;
    static const struct {
        bool tied;
        const char *first, *second;
    } expected[] = {{true, "(.e.f0.f1.f2nh.b2.b1.b0g*", "(.e.f0.f1.f2nh+*.b2+.b1+.b0+g+*"},
                    {false, "(.e.f0.f1.f2nh.b2.b1.b0g", "(.e.f0.f1.f2nh+*.b2+.b1+.b0+g+*"}};
    for (int i = 0; i < 2; i++) {
        model_config c = expected[i].tied ? tiny_gpt2() : tiny_llama();
        opened o;
        trace first = {0}, second = {0}, evaluation = {0};
        open_parameters(&o, &c);
        OK(walk_train(&(walk){&o.s, &ops, &first}, true, false));
        OK(walk_train(&(walk){&o.s, &ops, &second}, false, true));
        OK(walk_evaluate(&(walk){&o.s, &ops, &evaluation}));
        assert_string_equal(first.calls, expected[i].first);
        assert_string_equal(second.calls, expected[i].second);
        assert_string_equal(evaluation.calls, "(.e.f0.f1.f2nl");
        close_parameters(&o);
    }
}

static void an_error_ends_it_there(void **unused) {
    (void)unused;
    model_config c = tiny_llama();
    opened o;
    open_parameters(&o, &c);
    static const char *const ends[] = {
        "(", "(.", "(.e", "(.e.f0", "(.e.f0.f1.f2n", "(.e.f0.f1.f2nh", "(.e.f0.f1.f2nh.b2", "(.e.f0.f1.f2nh.b2.b1.b0g"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        const char *end = ends[i];
        size_t n = strlen(end);
        trace t = {.fail_at = end[n - 1] >= '0' && end[n - 1] <= '9' ? end[n - 2] : end[n - 1]};
        FAILS(STOPPED, "at ", walk_train(&(walk){&o.s, &ops, &t}, true, true));
        assert_string_equal(t.calls, end);
    }
    close_parameters(&o);
}

/* --- a step's end --- */

static status sum_squares(void *t) { return note(t, 's', NULL); }

static status update(void *t, const step_sums *all) {
    assert_true(all->nats == 7);
    return note(t, 'u', NULL);
}

static void the_end_sums_then_updates(void **unused) {
    (void)unused;
    model_config c = tiny_gpt2();
    opened o;
    trace t = {0};
    step_sums mine = {.nats = 7};
    open_parameters(&o, &c);
    OK(walk_end_step(&o.s, &(walk_sums){.mine = &mine}, &(walk_end_ops){sum_squares, update}, &t));
    assert_string_equal(t.calls, "su");
    close_parameters(&o);
}

int main(void) {
    OK(device_open(&dev, "cpu", 1, 0));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(units_come_in_their_order),
        cmocka_unit_test(an_error_ends_it_there),
        cmocka_unit_test(the_end_sums_then_updates),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    device_close(dev);
    return failed;
}
