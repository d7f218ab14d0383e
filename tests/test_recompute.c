#include "tests/check.h"
#include "train/model/recompute.h"

static void texts_name_policies(void **unused) {
    (void)unused;
    static const struct {
        const char *text;
        recompute_policy r;
    } cases[] = {{"none", {RECOMPUTE_NONE, 0}},
                 {"selective", {RECOMPUTE_SELECTIVE, 12}},
                 {"block", {RECOMPUTE_BLOCK, 12}},
                 {"block:0", {RECOMPUTE_BLOCK, 0}},
                 {"block:12", {RECOMPUTE_BLOCK, 12}}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        recompute_policy r = {RECOMPUTE_NONE, -1};
        OK(recompute_parse(&r, cases[i].text, 12));
        assert_int_equal(r.kind, cases[i].r.kind);
        assert_int_equal(r.blocks, cases[i].r.blocks);
    }
    static const char *const wrong[] = {"", "all", "block:", "block:13", "block:-1", "block:1x", "selective:2", "None"};
    recompute_policy r;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        FAILS(ARG, "none, selective, block or block:K with K from 0 to 12", recompute_parse(&r, wrong[i], 12));
}

static void block_k_means_the_first_k(void **unused) {
    (void)unused;
    recompute_policy two = {RECOMPUTE_BLOCK, 2}, selective = {RECOMPUTE_SELECTIVE, 3};
    assert_int_equal(recompute_of_block(two, 0), RECOMPUTE_BLOCK);
    assert_int_equal(recompute_of_block(two, 1), RECOMPUTE_BLOCK);
    assert_int_equal(recompute_of_block(two, 2), RECOMPUTE_NONE);
    for (i64 l = 0; l < 3; l++) assert_int_equal(recompute_of_block(selective, l), RECOMPUTE_SELECTIVE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_name_policies),
        cmocka_unit_test(block_k_means_the_first_k),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
