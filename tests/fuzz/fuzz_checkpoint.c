/* The folder of a checkpoint. The first byte: whether the manifest is the input's, or one whose sums fit the other files,
 * so that what is in those is reached. */
#include "tests/fuzz/fuzz.h"

#include <unistd.h>
#include <zlib.h>

#include "runtime/file.h"
#include "train/checkpoint/blockfile.h"
#include "train/checkpoint/checkpoint.h"
#include "train/checkpoint/manifest.h"
#include "train/model/model.h"

static const char *const files[] = {"config.json",   "model.safetensors", "optimizer.safetensors",
                                    "progress.json", "MANIFEST",          NULL};
enum { SUMMED = 4 };

static device *dev;
static model m;
static model_config c = {.name = "tiny",
                         .arch = ARCH_LLAMA,
                         .L = 1,
                         .C = 8,
                         .H = 2,
                         .K = 1,
                         .D = 4,
                         .F = 8,
                         .V = 16,
                         .context = 8,
                         .norm_eps = 1e-5f,
                         .swiglu = true,
                         .rope = {.theta = 10000},
                         .init_std = 0.1};

static void open_model(void) {
    if (dev) return;
    FUZZ_CHECK(device_open(&dev, "cpu", 1, 0) == STATUS_OK);
    static comm *world;
    FUZZ_CHECK(comm_open_self(&world) == STATUS_OK);
    parameters_options o = {.t = BF16, .master = true, .moments = F32, .training = true, .shard = {.world = world}};
    FUZZ_CHECK(model_init(&m, dev, &c, (model_shape){.B = 1, .T = 4}, o, NULL) == STATUS_OK);
    FUZZ_CHECK(parameters_randomize(&m.parameters, 1) == STATUS_OK);
}

int fuzz_seeds(fuzz_input seeds[FUZZ_SEEDS]) {
    progress p = {.step = 1,
                  .ranks = 1,
                  .batch = 1,
                  .seq_len = 4,
                  .global_batch = 4,
                  .threads = 1,
                  .precision = "bf16",
                  .moments = "fp32",
                  .master = "fp32"};
    open_model();
    FUZZ_CHECK(checkpoint_save(fuzz_folder(), &m.parameters, &(checkpoint_contents){&c, &p, NULL}) == STATUS_OK);
    char paths[5][4200];
    const char *list[6] = {0};
    for (int i = 0; files[i]; i++) {
        snprintf(paths[i], sizeof paths[i], "%s/%s", checkpoint_path(fuzz_folder(), 1).text, files[i]);
        list[i] = paths[i];
    }
    seeds[0] = fuzz_files("0", list);
    seeds[1] = fuzz_files("1", list);
    return 2;
}

static void put_manifest(void) {
    char *lines;
    size_t size;
    FILE *out = open_memstream(&lines, &size);
    FUZZ_CHECK(out);
    for (int i = 0; i < SUMMED; i++) {
        char *text;
        size_t bytes;
        if (file_read(fuzz_path(files[i]), &text, &bytes) != STATUS_OK) continue;
        fprintf(out, "file %s %zu", files[i], bytes);
        for (size_t at = 0; at < bytes; at += BLOCKFILE_BLOCK) {
            size_t n = bytes - at < BLOCKFILE_BLOCK ? bytes - at : BLOCKFILE_BLOCK;
            fprintf(out, " %08lx", crc32_z(0, (const unsigned char *)text + at, n));
        }
        fputc('\n', out);
        free(text);
    }
    FUZZ_CHECK(fclose(out) == 0);
    FUZZ_CHECK(manifest_write(fuzz_folder(), MANIFEST_FIXED, lines) == STATUS_OK);
    free(lines);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    progress p;
    if (!bytes) return 0;
    open_model();
    fuzz_put_all((fuzz_piece){data + 1, bytes - 1}, files);
    if (data[0] & 1) put_manifest();
    if (checkpoint_verify(fuzz_folder()) != STATUS_OK) return 0;
    if (checkpoint_progress(fuzz_folder(), &p) != STATUS_OK) return 0;
    fuzz_either(checkpoint_load(fuzz_folder(), &m.parameters, &c));
    return 0;
}
