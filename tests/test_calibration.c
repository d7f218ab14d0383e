/* RUN/calibration.json is read back as it was written, with what is not known as null; damaged files are refused. */
#include "train/bill/calibration.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "check.h"
#include "runtime/path.h"

static char folder[] = "/tmp/test_calibration.XXXXXX";

static void put(const char *name, const char *text) {
    FILE *f = fopen(path_join(folder, name).text, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static calibration example(void) {
    calibration c = {.model = "gpt2-124m",
                     .device = "a CPU",
                     .isa = "avx2",
                     .precision = "bf16",
                     .recompute = "block:3",
                     .shard = "full",
                     .energy_source = "unknown",
                     .ranks = 2,
                     .threads = 4,
                     .batch = 3,
                     .seq_len = 128,
                     .micro_batches = 1,
                     .tokens_per_step = 768,
                     .vocabulary = 50257,
                     .steps = 17,
                     .step_s = 0.1,
                     .step_low_s = 0.09,
                     .step_high_s = 0.12,
                     .tokens_per_s = 7680,
                     .flops_model_per_s = 1e11,
                     .flops_executed_per_s = 1.1e11,
                     .peak_datasheet = NAN,
                     .peak_measured = 2e11,
                     .evaluation_s = NAN,
                     .checkpoint_s = 0.5,
                     .startup_s = 1.25,
                     .watts = NAN,
                     .memory_bytes = 123456789,
                     .usd_per_hour = 0,
                     .gemm_count = 1};
    c.gemms[0] = (calibration_gemm){
        .M = 384, .N = 768, .K = 3072, .calls = 12, .trans_b = true, .accumulate = true, .seconds = 0.05};
    for (int i = 0; i < CALIBRATION_WORKS; i++) c.works[i] = i ? 0.001 * i : NAN;
    return c;
}

static void test_round_trip(void **state) {
    (void)state;
    calibration a = example(), b;
    put("metrics.jsonl", "");
    OK(calibration_write(&a, folder));
    OK(calibration_read(&b, folder));
    assert_string_equal(b.model, a.model);
    assert_string_equal(b.recompute, a.recompute);
    assert_int_equal(b.ranks, 2);
    assert_int_equal(b.tokens_per_step, 768);
    assert_int_equal(b.vocabulary, 50257);
    assert_true(b.step_s == a.step_s && b.step_high_s == a.step_high_s && b.memory_bytes == a.memory_bytes);
    assert_true(b.usd_per_hour == 0);
    assert_true(isnan(b.watts) && isnan(b.peak_datasheet) && isnan(b.works[0]));
    for (int i = 1; i < CALIBRATION_WORKS; i++) assert_true(b.works[i] == a.works[i]);
    assert_int_equal(b.gemm_count, 1);
    assert_memory_equal(&b.gemms[0], &a.gemms[0], sizeof b.gemms[0]);
}

static void refused(const char *text, const char *message) {
    calibration c;
    put("calibration.json", text);
    FAILS(DATA, message, calibration_read(&c, folder));
}

static void test_damage(void **state) {
    (void)state;
    calibration c;
    unlink(path_join(folder, "calibration.json").text);
    unlink(path_join(folder, "metrics.jsonl").text);
    FAILS(DATA, "expected the folder of a run", calibration_read(&c, folder));
    put("metrics.jsonl", "");
    FAILS(DATA, "once it has done 8 steps", calibration_read(&c, folder));
    refused("[]", "expected a JSON object");
    refused("{", "calibration.json:1:2");
    refused("{\"model\": 3}", "\"model\"");
}

/* one damaged value in a file that is otherwise complete */
static void test_values(void **state) {
    (void)state;
    static const struct {
        const char *from, *to, *message;
    } cases[] = {{"\"step_s\": 0.1", "\"step_s\": null", "\"step_s\" is not above 0"},
                 {"\"step_s\": 0.1", "\"step_s\": -1", "\"step_s\" is -1"},
                 {"\"ranks\": 2", "\"ranks\": 0", "\"ranks\" is 0"},
                 {"\"ranks\": 2", "\"ranks\": 4294967296", "\"tokens_per_step\" is 768, not batch"},
                 {"\"batch\": 3", "\"batch\": 9223372036854775807", "\"tokens_per_step\" is 768, not batch"},
                 {"\"tokens_per_s\": 7680", "\"tokens_per_s\": null", "\"tokens_per_s\" is not above 0"},
                 {"\"M\": 384", "\"M\": -84", "\"M\" is -84"},
                 {"\"seconds\": 0.05", "\"seconds\": 0.00", "\"seconds\" of a GEMM"}};
    calibration a = example(), b;
    path_text path = path_join(folder, "calibration.json");
    put("metrics.jsonl", "");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[8192] = {0};
        OK(calibration_write(&a, folder));
        FILE *f = fopen(path.text, "r");
        assert_non_null(f);
        assert_true(fread(text, 1, sizeof text - 1, f) > 0);
        fclose(f);
        char *at = strstr(text, cases[i].from);
        assert_non_null(at);
        char changed[8192 + 64];
        snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - text), text, cases[i].to, at + strlen(cases[i].from));
        refused(changed, cases[i].message);
    }
    OK(calibration_write(&a, folder));
    OK(calibration_read(&b, folder));
    a.works[CALIBRATION_GEMM] = 1, a.works[CALIBRATION_LOSS] = NAN;
    OK(calibration_write(&a, folder));
    FAILS(DATA, "\"loss\" is not known", calibration_read(&b, folder));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trip), cmocka_unit_test(test_damage),
                                       cmocka_unit_test(test_values)};
    if (!mkdtemp(folder)) return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path_join(folder, "calibration.json").text);
    unlink(path_join(folder, "metrics.jsonl").text);
    rmdir(folder);
    return failed;
}
