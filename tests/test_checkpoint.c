#include <math.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "runtime/durable.h"
#include "runtime/file.h"
#include "runtime/path.h"
#include "tests/tiny_model.h"
#include "train/checkpoint/checkpoint.h"
#include "train/checkpoint/manifest.h"
#include "train/step.h"

static device *dev;
static model_files files; /* of the byte tokenizer */
static char run[] = "/tmp/tally-checkpoint-XXXXXX";

static const char *const file_names[] = {
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
    "README.md",   "model.safetensors",      "progress.json",  "optimizer.safetensors",
    "MANIFEST"};
enum { FILES = sizeof file_names / sizeof *file_names };

static void open_trained(model *m, model_config *c, parameters_options o) {
    int32_t tokens[TINY_N], targets[TINY_N];
    double loss;
    step_state steps;
    *c = tiny_llama();
    tiny_batch(tokens, targets, 3);
    tiny_open_steps(&steps, m, dev, c, (recompute_policy){RECOMPUTE_NONE, 0}, o);
    step_args a = {.lr = 1e-2,
                   .beta1 = 0.9,
                   .beta2 = 0.95,
                   .eps = 1e-8,
                   .weight_decay = 0.1,
                   .clip = 1,
                   .seed = 4,
                   .micro_batches = 1};
    for (int i = 0; i < 2; i++) {
        OK(model_forward_backward(m, &loss, tiny_batch_of(tokens, targets), 1.0f / TINY_N, true, true));
        step_result r;
        OK(step_update_weights(&steps, &a));
        OK(step_collect(&steps, &r));
    }
}

static progress progress_of(uint64_t step) {
    progress p = {.step = step,
                  .updates = 2,
                  .tokens = UINT64_MAX - 5,
                  .windows = 77,
                  .seed = 9007199254740993u,
                  .data_crc32 = 0xfedcba98,
                  .keyed_order = 1,
                  .tokenizer = "bpe-50257-1a2b3c4d",
                  .source_count = 2,
                  .sources = {{"a", 44, 0.7}, {"b", 33, 1e6}},
                  .seq_len = TINY_T,
                  .global_batch = TINY_N,
                  .threads = 2,
                  .ranks = 3,
                  .batch = 4,
                  .spent.joules = 0.1,
                  .finite = 1,
                  .precision = "bf16",
                  .moments = "fp32",
                  .master = "fp32",
                  .sharding = "full/1/f32/bf16/every"};
    for (int b = 0; b < BOOKINGS; b++) {
        p.spent.ns[b] = 1234567890123u + (uint64_t)b;
        p.spent.usd[b] = 0.1 * b;
    }
    return p;
}

static path_text file_of(uint64_t step, const char *name) {
    path_text p;
    snprintf(p.text, sizeof p.text, "%s/%s", checkpoint_path(run, step).text, name);
    return p;
}

static void a_file_older_than_ranks_is_of_one(void **unused) {
    (void)unused;
    progress written = progress_of(5), read;
    char *text, *ranks;
    path_text path = path_join(run, "progress.json");
    OK(progress_text(&text, &written));
    assert_non_null(ranks = strstr(text, "\"ranks\": 3,"));
    memset(ranks, ' ', strlen("\"ranks\": 3,"));
    OK(durable_write_file(path.text, text, strlen(text)));
    OK(progress_read(&read, path.text));
    written.ranks = 1;
    assert_memory_equal(&written, &read, sizeof read);
    free(text);
}

static int start_clean(void **unused) {
    (void)unused;
    path_text folder;
    snprintf(folder.text, sizeof folder.text, "%s/checkpoints", run);
    return durable_remove_folder(folder.text) != STATUS_OK;
}

static void what_is_saved_comes_back(void **unused) {
    (void)unused;
    const parameters_options options[] = {
        {.t = BF16, .master = true, .moments = F32, .training = true, .shard = {.world = tiny_world()}},
        {.t = BF16, .master = false, .moments = BF16, .training = true, .shard = {.world = tiny_world()}},
        {.t = F32, .master = false, .moments = F32, .training = true, .shard = {.world = tiny_world()}},
    };
    for (uint64_t i = 0; i < 3; i++) {
        model a, b;
        model_config c;
        progress written = progress_of(i), read;
        open_trained(&a, &c, options[i]);
        OK(checkpoint_save(run, &a.parameters, &(checkpoint_contents){&c, &written, &files}));
        OK(checkpoint_verify(checkpoint_path(run, i).text));
        OK(checkpoint_progress(checkpoint_path(run, i).text, &read));
        assert_memory_equal(&written, &read, sizeof read);
        tiny_open(&b, dev, &c, (recompute_policy){RECOMPUTE_NONE, 0}, options[i]);
        OK(checkpoint_load(checkpoint_path(run, i).text, &b.parameters, &c));
        const parameters *s = &a.parameters, *l = &b.parameters;
        size_t n = (size_t)s->p.size, w = dtype_bytes(s->o.t), m = dtype_bytes(s->o.moments);
        assert_memory_equal(s->weights, l->weights, n * w);
        if (s->master) assert_memory_equal(s->master, l->master, n * 4);
        assert_memory_equal(s->m, l->m, n * m);
        assert_memory_equal(s->v, l->v, n * m);
        model_free(&a);
        model_free(&b);
    }
}

static void save_as(progress p) {
    model m;
    model_config c;
    open_trained(&m, &c, tiny_options(BF16));
    OK(checkpoint_save(run, &m.parameters, &(checkpoint_contents){&c, &p, &files}));
    model_free(&m);
}

static void save_at(uint64_t step) { save_as(progress_of(step)); }

/* Flips byte `at` of the file (or cuts it there); returns the old content for repair. */
static void damage(const char *path, const char *whole, size_t size, size_t at, bool cut) {
    char *copy = malloc(size);
    memcpy(copy, whole, size);
    copy[at] ^= 0x10;
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(copy, 1, cut ? at : size, f), cut ? at : size);
    assert_int_equal(fclose(f), 0);
    free(copy);
}

static void every_damage_is_refused_and_the_one_before_is_used(void **unused) {
    (void)unused;
    save_at(5);
    save_at(8);
    for (int i = 0; i < FILES; i++) {
        path_text path = file_of(8, file_names[i]);
        char *whole;
        size_t size;
        OK(file_read(path.text, &whole, &size));
        for (int j = 0; j < 24; j++) {
            size_t at = j == 0 ? 0 : j == 1 ? size - 1 : (size_t)rng_below(6, 97, (uint64_t)(i * 100 + j), size);
            int found;
            path_text folder;
            damage(path.text, whole, size, at, j % 3 == 2);
            FAILS(DATA, file_names[i], checkpoint_verify(checkpoint_path(run, 8).text));
            OK(checkpoint_newest(tiny_world(), run, &found, &folder));
            assert_true(found);
            assert_string_equal(folder.text, checkpoint_path(run, 5).text);
        }
        assert_int_equal(unlink(path.text), 0);
        FAILS(DATA, file_names[i], checkpoint_verify(checkpoint_path(run, 8).text));
        FILE *f = fopen(path.text, "wb");
        fwrite(whole, 1, size, f);
        fclose(f);
        OK(checkpoint_verify(checkpoint_path(run, 8).text));
        free(whole);
    }
    /* no whole checkpoint is an error, not a fresh start */
    assert_int_equal(unlink(file_of(5, "MANIFEST").text), 0);
    assert_int_equal(unlink(file_of(8, "MANIFEST").text), 0);
    int found;
    path_text folder;
    FAILS(DATA, "checkpoints is complete", checkpoint_newest(tiny_world(), run, &found, &folder));
}

static void a_broken_one_of_the_same_step_is_replaced(void **unused) {
    (void)unused;
    save_at(5);
    char *whole;
    size_t size;
    OK(file_read(file_of(5, "progress.json").text, &whole, &size));
    damage(file_of(5, "progress.json").text, whole, size, 3, true);
    free(whole);
    save_at(5);
    OK(checkpoint_verify(checkpoint_path(run, 5).text));
    progress p = progress_of(5), read; /* and so is a whole one that a resume passed over */
    p.tokens = 12;
    save_as(p);
    OK(checkpoint_verify(checkpoint_path(run, 5).text));
    OK(checkpoint_progress(checkpoint_path(run, 5).text, &read));
    assert_int_equal(read.tokens, 12);
}

/* --- values that are not finite --- */

static void save_marked(uint64_t step, uint64_t updates, int64_t finite) {
    progress p = progress_of(step);
    p.updates = updates;
    p.finite = finite;
    save_as(p);
}

static void expect_newest(uint64_t step) {
    int found;
    path_text folder;
    OK(checkpoint_newest(tiny_world(), run, &found, &folder));
    assert_true(found);
    assert_string_equal(folder.text, checkpoint_path(run, step).text);
}

static bool is_there(uint64_t step) {
    struct stat info;
    return stat(checkpoint_path(run, step).text, &info) == 0;
}

static void one_of_a_bad_loss_is_passed_over_and_takes_no_place(void **unused) {
    (void)unused;
    save_marked(2, 2, 1);
    save_marked(4, 4, 1);
    save_marked(6, 5, 1); /* its update broke the weights, so every later step was skipped */
    save_marked(8, 5, 0);
    expect_newest(4);
    OK(checkpoint_prune(tiny_world(), run, 8, 2));
    assert_true(!is_there(2) && is_there(4) && is_there(6) && is_there(8));
    save_marked(10, 5, 0);
    OK(checkpoint_prune(tiny_world(), run, 10, 2));
    assert_true(is_there(4) && is_there(6) && !is_there(8) && is_there(10));
    expect_newest(4);
    save_marked(5, 5, 1); /* resumed from 4 */
    OK(checkpoint_prune(tiny_world(), run, 5, 2));
    assert_true(is_there(4) && is_there(5) && !is_there(6) && !is_there(10));
    expect_newest(5);
}

static void where_all_are_bad_the_newest_is_taken(void **unused) {
    (void)unused;
    save_marked(6, 5, 1);
    save_marked(8, 5, 0);
    expect_newest(8);
}

/* Makes one bf16 value of the weights a NaN and updates the manifest. */
static void break_weights(uint64_t step) {
    manifest m;
    char *bytes, *lines = NULL;
    size_t size;
    path_text folder = checkpoint_path(run, step), path = path_join(folder.text, "model.safetensors");
    OK(file_read(path.text, &bytes, &size));
    bytes[size - 1] = 0x7f, bytes[size - 2] = (char)0xc0;
    OK(durable_write_file(path.text, bytes, size));
    OK(manifest_read(&m, folder.text));
    int i = 0;
    while (strcmp(m.files[i].name, "model.safetensors") != 0) i++;
    m.files[i].crc[0] = (uint32_t)crc32(0, (unsigned char *)bytes, (uInt)size);
    FILE *f = open_memstream(&lines, &size);
    for (i = 0; i < m.count; i++) manifest_line(f, &m.files[i]);
    fclose(f);
    OK(manifest_write(folder.text, MANIFEST_FREE, lines));
    manifest_free(&m);
    free(bytes);
    free(lines);
}

static void weights_of_an_older_version_are_looked_at(void **unused) {
    (void)unused;
    save_marked(3, 3, PROGRESS_FINITE_UNKNOWN);
    save_marked(5, 5, PROGRESS_FINITE_UNKNOWN);
    expect_newest(5);
    break_weights(5);
    OK(checkpoint_verify(checkpoint_path(run, 5).text));
    expect_newest(3);
}

static void what_is_not_finite_is_not_saved(void **unused) {
    (void)unused;
    model m;
    model_config c;
    progress p = progress_of(6);
    const float bad[] = {NAN, INFINITY, -INFINITY};
    save_at(5);
    open_trained(&m, &c, tiny_options(BF16));
    parameters *s = &m.parameters;
    for (int i = 0; i < 3; i++) {
        float *places[] = {&s->master[77], (float *)s->m + 5, (float *)s->v + 1};
        bf16 *w = (bf16 *)s->weights + 19, good = *w;
        *w = bf16_from_f32(bad[i]);
        FAILS(NUMERIC, "step 6 is not saved: \"model.embed_tokens.weight\" holds values that are not finite",
              checkpoint_save(run, s, &(checkpoint_contents){&c, &p, &files}));
        *w = good;
        for (int j = 0; j < 3; j++) {
            float kept = *places[j];
            *places[j] = bad[i];
            FAILS(NUMERIC, "holds values that are not finite",
                  checkpoint_save(run, s, &(checkpoint_contents){&c, &p, &files}));
            *places[j] = kept;
        }
    }
    assert_true(is_there(5) && !is_there(6));
    OK(checkpoint_save(run, s, &(checkpoint_contents){&c, &p, &files}));
    model_free(&m);
}

/* as earlier versions saved with one rank: with neither tokenizer nor card, and the oldest without generation_config.json */
static void format_1_has_its_files_and_no_others(void **unused) {
    (void)unused;
    static const char *const of_format_1[] = {"config.json", "generation_config.json", "model.safetensors",
                                              "optimizer.safetensors", "progress.json"};
    save_at(5);
    path_text folder = checkpoint_path(run, 5);
    manifest m;
    OK(manifest_read(&m, folder.text));
    for (int missing = -1; missing < 5; missing++) {
        char *lines = NULL;
        size_t size;
        FILE *f = open_memstream(&lines, &size);
        for (int i = 0; i < 5; i++)
            for (int j = 0; i != missing && j < m.count; j++)
                if (strcmp(m.files[j].name, of_format_1[i]) == 0) manifest_line(f, &m.files[j]);
        fclose(f);
        OK(manifest_write(folder.text, MANIFEST_FIXED, lines));
        if (missing < 0 || missing == 1) OK(checkpoint_verify(folder.text));
        else FAILS(DATA, "expected exactly the files of format 1", checkpoint_verify(folder.text));
        free(lines);
    }
    manifest_free(&m);
}

/* The model card holds what progress.json says. */
static void the_card_tells_what_training_cost(void **unused) {
    (void)unused;
    progress p = progress_of(7);
    model_config c = tiny_llama();
    char *text;
    p.tokens = 4096;
    p.model_flops = 1.25e9;
    p.spent.joules = 7.2e6;
    p.val_loss = NAN;
    strcpy(p.energy_source, "rapl");
    strcpy(p.init, "SmolLM2-135M");
    p.source_count = 2;
    strcpy(p.sources[0].data, "/home/me/web|text/");
    strcpy(p.sources[1].data, "books");
    p.sources[1].epochs = 1.5;
    OK(model_files_card(&text, &c, &p));
    static const char *const parts[] = {"\n  tokens: 4096\n",
                                        "\n  model_flops: 1.250000e+09\n",
                                        "\n  energy_kwh: 2.000000e+00\n",
                                        "\n  energy_source: \"rapl\"\n",
                                        "\n  cost_usd: 3.600000e+00\n",
                                        "\n  held_out_loss: null\n",
                                        "| 4096 in 7 steps of 32, in sequences of 16 |",
                                        "| data | web/text, 0.7 epochs |\n| data | books, 1.5 epochs |",
                                        "| initial weights | SmolLM2-135M |",
                                        "| 2 kWh (source: rapl) |",
                                        "| cost | $3.6 |"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!strstr(text, parts[i])) fail_msg("no %s in %s", parts[i], text);
    assert_null(strstr(text, "held-out loss"));
    assert_null(strstr(text, "nan"));
    free(text);
    c.arch = ARCH_MISTRAL; /* the last of the families */
    OK(model_files_card(&text, &c, &p));
    assert_non_null(strstr(text, "\n# Mistral, "));
    free(text);
}

/* The run went back to 5 because 9 is broken: pruning must keep 5, not 9. */
static void broken_later_ones_take_no_place(void **unused) {
    (void)unused;
    for (uint64_t step = 5; step <= 9; step += 2) save_at(step);
    assert_int_equal(unlink(file_of(9, "MANIFEST").text), 0);
    OK(checkpoint_prune(tiny_world(), run, 7, 1));
    int found;
    path_text folder;
    OK(checkpoint_newest(tiny_world(), run, &found, &folder));
    assert_true(found);
    assert_string_equal(folder.text, checkpoint_path(run, 7).text);
    struct stat info;
    assert_int_not_equal(stat(checkpoint_path(run, 5).text, &info), 0);
    assert_int_not_equal(stat(checkpoint_path(run, 9).text, &info), 0);
}

static void another_model_is_refused(void **unused) {
    (void)unused;
    save_at(5);
    model m;
    model_config c = tiny_llama();
    c.F = 48;
    tiny_open(&m, dev, &c, (recompute_policy){RECOMPUTE_NONE, 0}, tiny_options(BF16));
    FAILS(DATA, "expected [48,24]", checkpoint_load(checkpoint_path(run, 5).text, &m.parameters, &c));
    model_free(&m);
    c = tiny_gpt2();
    tiny_open(&m, dev, &c, (recompute_policy){RECOMPUTE_NONE, 0}, tiny_options(BF16));
    FAILS(DATA, "no tensor \"transformer.wte.weight\"",
          checkpoint_load(checkpoint_path(run, 5).text, &m.parameters, &c));
    model_free(&m);
    c = tiny_llama();
    parameters_options o = tiny_options(BF16);
    o.moments = BF16;
    tiny_open(&m, dev, &c, (recompute_policy){RECOMPUTE_NONE, 0}, o);
    FAILS(DATA, "optimizer.safetensors", checkpoint_load(checkpoint_path(run, 5).text, &m.parameters, &c));
    model_free(&m);
}

static void the_newest_are_kept_and_leftovers_go(void **unused) {
    (void)unused;
    for (uint64_t step = 1; step <= 12; step += step < 9 ? 8 : 3)
        save_at(step); /* 1, 9, 12: alphabetical order would differ */
    char leftover[128];
    snprintf(leftover, sizeof leftover, "%s/checkpoints/.step-13.tmp", run);
    assert_int_equal(mkdir(leftover, 0755), 0);
    OK(checkpoint_prune(tiny_world(), run, 12, 2));
    struct stat info;
    assert_int_not_equal(stat(checkpoint_path(run, 1).text, &info), 0);
    assert_int_equal(stat(checkpoint_path(run, 9).text, &info), 0);
    assert_int_equal(stat(checkpoint_path(run, 12).text, &info), 0);
    assert_int_not_equal(stat(leftover, &info), 0);
}

int main(void) {
    OK(device_open(&dev, "cpu", 2, 0));
    assert_non_null(mkdtemp(run));
    tokenizer *bytes;
    OK(tokenizer_open(&bytes, NULL));
    OK(model_files_read(&files, bytes, NULL));
    tokenizer_close(bytes);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(what_is_saved_comes_back, start_clean),
        cmocka_unit_test_setup(a_file_older_than_ranks_is_of_one, start_clean),
        cmocka_unit_test_setup(every_damage_is_refused_and_the_one_before_is_used, start_clean),
        cmocka_unit_test_setup(a_broken_one_of_the_same_step_is_replaced, start_clean),
        cmocka_unit_test_setup(one_of_a_bad_loss_is_passed_over_and_takes_no_place, start_clean),
        cmocka_unit_test_setup(where_all_are_bad_the_newest_is_taken, start_clean),
        cmocka_unit_test_setup(weights_of_an_older_version_are_looked_at, start_clean),
        cmocka_unit_test_setup(what_is_not_finite_is_not_saved, start_clean),
        cmocka_unit_test_setup(format_1_has_its_files_and_no_others, start_clean),
        cmocka_unit_test(the_card_tells_what_training_cost),
        cmocka_unit_test_setup(broken_later_ones_take_no_place, start_clean),
        cmocka_unit_test_setup(another_model_is_refused, start_clean),
        cmocka_unit_test_setup(the_newest_are_kept_and_leftovers_go, start_clean),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)!durable_remove_folder(run);
    model_files_free(&files);
    device_close(dev);
    return failed;
}
