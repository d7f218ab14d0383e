/* Checkpoints between numbers of ranks and ways of sharding. Without arguments: the tests of ranks together, on as many
 * ranks as it is started with. test_reshard.sh calls it with arguments:
 *   save RUN          a checkpoint of every case that so many ranks can have
 *   load RUN          loads each of them in every way that so many ranks can have
 *   one RUN STEP      saves one; FULL_DISK_ON_RANK=R: that rank cannot write
 *   newest RUN        loads the newest and prints its step
 *   again FOLDER RUN  loads the fp32 checkpoint in the folder and saves it anew */
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/durable.h"
#include "runtime/path.h"
#include "tests/filled_parameters.h"
#include "train/checkpoint/checkpoint.h"
#include "train/checkpoint/manifest.h"

static device *dev;
static comm *world;
static char run[] = "/tmp/tally-checkpoint-ranks-XXXXXX";

typedef struct {
    shard_stage stage;
    int replicas;
    bool gather_bf16; /* the pieces have more digits than the gathered weights */
} way;

static const way ways[] = {
    {SHARD_NONE, 1, false},     {SHARD_OPTIMIZER, 1, false}, {SHARD_GRADIENTS, 1, false}, {SHARD_FULL, 1, false},
    {SHARD_OPTIMIZER, 1, true}, {SHARD_FULL, 1, true},       {SHARD_GRADIENTS, 2, false}, {SHARD_FULL, 2, false},
};
static const parameters_options precisions[] = {
    {.t = BF16, .master = true, .moments = F32, .training = true},
    {.t = BF16, .master = false, .moments = BF16, .training = true},
    {.t = F32, .master = false, .moments = F32, .training = true},
};
enum { WAYS = sizeof ways / sizeof *ways, PRECISIONS = sizeof precisions / sizeof *precisions, MODELS = 2 };

static bool possible(const way *w, const parameters_options *o) {
    if (w->gather_bf16 && (o->t == BF16 || world->ranks == 1)) return false;
    return world->ranks % w->replicas == 0 && (world->ranks > 1 || w == ways);
}

static model_config config_of(int m) { return m ? tiny_llama() : tiny_gpt2(); }

static void open_state(model *m, int which, int precision, const way *w) {
    model_config c = config_of(which);
    parameters_options o = precisions[precision];
    o.shard =
        (shard_options){.world = world, .stage = w->stage, .replicas = w->replicas, .gather_bf16 = w->gather_bf16};
    tiny_open(m, dev, &c, (recompute_policy){RECOMPUTE_NONE, 0}, o);
}

static progress progress_at(uint64_t step) {
    return (progress){.step = step,
                      .ranks = (uint64_t)world->ranks,
                      .finite = 1,
                      .precision = "bf16",
                      .moments = "fp32",
                      .master = "fp32"};
}

static status save_filled(const char *folder, int which, int precision, const way *w, uint64_t step) {
    model m;
    model_config c = config_of(which);
    progress p = progress_at(step);
    open_state(&m, which, precision, w);
    filled_each(&m.parameters, filled_set);
    parameters_weights_changed(&m.parameters);
    status_code st = checkpoint_save(folder, &m.parameters, &(checkpoint_contents){&c, &p, NULL});
    model_free(&m);
    return st;
}

static void load_filled(const char *folder, int which, int precision, const way *w) {
    model m;
    model_config c = config_of(which);
    open_state(&m, which, precision, w);
    OK(checkpoint_load(folder, &m.parameters, &c));
    filled_each(&m.parameters, filled_check);
    filled_check_whole(&m.parameters);
    model_free(&m);
}

static uint64_t step_of(int which, int precision, int w) {
    return (uint64_t)((which * PRECISIONS + precision) * WAYS + w + 1);
}

/* --- the commands of test_reshard.sh --- */

static void save_all(const char *folder) {
    for (int i = 0; i < MODELS; i++)
        for (int p = 0; p < PRECISIONS; p++)
            for (int w = 0; w < WAYS; w++)
                if (possible(&ways[w], &precisions[p])) OK(save_filled(folder, i, p, &ways[w], step_of(i, p, w)));
}

static void load_all(const char *folder) {
    int loaded = 0;
    for (int i = 0; i < MODELS; i++)
        for (int p = 0; p < PRECISIONS; p++)
            for (int w = 0; w < WAYS; w++) {
                path_text from = checkpoint_path(folder, step_of(i, p, w));
                struct stat info;
                if (stat(from.text, &info) != 0) continue;
                for (int to = 0; to < WAYS; to++)
                    if (possible(&ways[to], &precisions[p])) load_filled(from.text, i, p, &ways[to]), loaded++;
            }
    if (world->rank == 0) printf("%d\n", loaded);
}

/* Limits the size of files to that of a weights file's header. */
static void fill_disk(void) {
    const char *full = getenv("FULL_DISK_ON_RANK");
    if (!full || atoi(full) != world->rank) return;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &(struct rlimit){1000, 1000}), 0);
}

static const way *usual(void) { return world->ranks > 1 ? &ways[3] : &ways[0]; }

static void save_again(const char *from, const char *to) {
    model m;
    model_config c;
    progress p;
    parameters_options o = precisions[2];
    o.shard = (shard_options){.world = world, .stage = SHARD_FULL};
    OK(model_config_load(&c, from));
    OK(checkpoint_progress(from, &p));
    tiny_open(&m, dev, &c, (recompute_policy){RECOMPUTE_NONE, 0}, o);
    OK(checkpoint_load(from, &m.parameters, &c));
    OK(checkpoint_save(to, &m.parameters, &(checkpoint_contents){&c, &p, NULL}));
    model_free(&m);
}

static status ask(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "save") == 0) save_all(argv[2]);
    else if (argc == 3 && strcmp(argv[1], "load") == 0) load_all(argv[2]);
    else if (argc == 4 && strcmp(argv[1], "again") == 0) save_again(argv[2], argv[3]);
    else if (argc == 4 && strcmp(argv[1], "one") == 0) {
        fill_disk();
        TRY(save_filled(argv[2], 1, 0, usual(), (uint64_t)atol(argv[3])));
    } else if (argc == 3 && strcmp(argv[1], "newest") == 0) {
        int found;
        path_text folder;
        progress p;
        TRY(checkpoint_newest(world, argv[2], &found, &folder));
        if (!found) FAIL(DATA, "%s: none found", argv[2]);
        TRY(checkpoint_progress(folder.text, &p));
        load_filled(folder.text, 1, 0, usual());
        if (world->rank == 0) printf("%lu\n", p.step);
    } else FAIL(ARG, "usage: save RUN | load RUN | one RUN STEP | newest RUN | again FOLDER RUN");
    return STATUS_OK;
}

/* --- the tests of ranks together --- */

static void damage(const char *path, i64 at_byte) {
    char byte;
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, at_byte, SEEK_SET), 0);
    assert_int_equal(fread(&byte, 1, 1, f), 1);
    byte ^= 0x10;
    assert_int_equal(fseek(f, at_byte, SEEK_SET), 0);
    assert_int_equal(fwrite(&byte, 1, 1, f), 1);
    assert_int_equal(fclose(f), 0);
}

static void expect_newest(uint64_t step) {
    int found;
    path_text folder;
    OK(checkpoint_newest(world, run, &found, &folder));
    assert_true(found);
    assert_string_equal(folder.text, checkpoint_path(run, step).text);
}

static void a_flipped_byte_of_any_file_is_refused_by_all(void **unused) {
    (void)unused;
    manifest m;
    OK(save_filled(run, 1, 0, usual(), 3));
    OK(save_filled(run, 0, 0, usual(), 7));
    path_text folder = checkpoint_path(run, 7);
    OK(checkpoint_verify(folder.text));
    OK(manifest_read(&m, folder.text));
    assert_int_equal(m.count, world->ranks == 1 ? 6 : 5 + 2 * world->ranks);
    OK(comm_barrier(world)); /* all have verified it whole */
    for (int i = 0; i < m.count; i++) {
        i64 byte = (i64)rng_below(8, 97, (uint64_t)i, (uint64_t)m.files[i].bytes);
        path_text path = path_join(folder.text, m.files[i].name);
        if (world->rank == 0) damage(path.text, byte);
        OK(comm_barrier(world));
        FAILS(DATA, m.files[i].name, checkpoint_verify(folder.text));
        expect_newest(3);
        if (world->rank == 0) damage(path.text, byte);
        OK(comm_barrier(world));
    }
    expect_newest(7);
    manifest_free(&m);
}

static void a_broken_one_of_the_same_step_is_replaced(void **unused) {
    (void)unused;
    OK(save_filled(run, 1, 0, usual(), 7));
    if (world->rank == 0) damage(path_join(checkpoint_path(run, 7).text, "progress.json").text, 5);
    OK(comm_barrier(world));
    OK(save_filled(run, 1, 0, usual(), 7));
    expect_newest(7);
    OK(save_filled(run, 0, 0, usual(), 7)); /* and so is a whole one */
    load_filled(checkpoint_path(run, 7).text, 0, 0, usual());
}

static void pruning_leaves_the_newest(void **unused) {
    (void)unused;
    struct stat info;
    for (uint64_t step = 1; step <= 12; step += step < 9 ? 8 : 3) OK(save_filled(run, 1, 2, usual(), step));
    OK(checkpoint_prune(world, run, 12, 2));
    assert_int_not_equal(stat(checkpoint_path(run, 1).text, &info), 0);
    assert_int_equal(stat(checkpoint_path(run, 9).text, &info), 0);
    expect_newest(12);
}

/* One rank has a value that is not finite: no rank saves. Each rank checks a part of what an older version saved unchecked. */
static void what_is_not_finite_on_one_rank_is_saved_by_none(void **unused) {
    (void)unused;
    model m;
    model_config c = config_of(1);
    progress p = progress_at(9);
    struct stat info;
    p.updates = 9;
    OK(save_filled(run, 1, 0, usual(), 7));
    open_state(&m, 1, 0, usual());
    filled_each(&m.parameters, filled_set);
    parameters_weights_changed(&m.parameters);
    float *v = m.parameters.v, kept = *v;
    if (world->rank == world->ranks - 1) *v = INFINITY;
    FAILS(NUMERIC, "step 9 is not saved: ", checkpoint_save(run, &m.parameters, &(checkpoint_contents){&c, &p, NULL}));
    assert_int_not_equal(stat(checkpoint_path(run, 9).text, &info), 0);
    *v = kept;
    OK(checkpoint_save(run, &m.parameters, &(checkpoint_contents){&c, &p, NULL}));
    expect_newest(9);
    p.step = 10, p.finite = 0;
    OK(checkpoint_save(run, &m.parameters, &(checkpoint_contents){&c, &p, NULL}));
    expect_newest(7);
    model_free(&m);
}

static void what_one_rank_cannot_read_fails_on_all(void **unused) {
    (void)unused;
    model m;
    model_config c = config_of(1);
    OK(save_filled(run, 1, 0, usual(), 7));
    open_state(&m, 1, 0, usual());
    char none[] = "/tmp/tally-checkpoint-ranks-none", *folder = world->rank == world->ranks - 1 ? none : run;
    path_text path = checkpoint_path(folder, 7);
    FAILS(DATA, "tally-checkpoint-ranks-none", checkpoint_load(path.text, &m.parameters, &c));
    OK(checkpoint_load(checkpoint_path(run, 7).text, &m.parameters, &c));
    model_free(&m);
}

static int start_clean(void **unused) {
    (void)unused;
    if (world->rank == 0 && durable_remove_folder(run)) return 1;
    return comm_barrier(world) != STATUS_OK;
}

static int test_together(void) {
    comm_event done = {0};
    if (world->rank == 0) assert_non_null(mkdtemp(run));
    if (comm_broadcast(world, run, sizeof run, 0, NULL, &done) || comm_wait(world, &done)) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_flipped_byte_of_any_file_is_refused_by_all, start_clean),
        cmocka_unit_test_setup(a_broken_one_of_the_same_step_is_replaced, start_clean),
        cmocka_unit_test_setup(pruning_leaves_the_newest, start_clean),
        cmocka_unit_test_setup(what_is_not_finite_on_one_rank_is_saved_by_none, start_clean),
        cmocka_unit_test_setup(what_one_rank_cannot_read_fails_on_all, start_clean),
    };
    if (world->rank > 0 && !freopen("/dev/null", "w", stdout)) return 1; /* they run the same tests */
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (failed) comm_abort(world, 1);
    if (world->rank == 0) (void)!durable_remove_folder(run);
    return failed;
}

int main(int argc, char **argv) {
    int failed = 0;
    if (comm_open(&world, 60) || device_open(&dev, "cpu", 1, 0)) {
        fprintf(stderr, "%s\n", status_message());
        return 1;
    }
    if (argc == 1) failed = test_together();
    else if (ask(argc, argv)) {
        fprintf(stderr, "rank %d says: %s\n", world->rank, status_message());
        if (world->broken) comm_abort(world, 1);
        failed = 1;
    }
    device_close(dev);
    comm_close(world);
    return failed;
}
