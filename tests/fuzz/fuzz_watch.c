/* The picture of a run whose files hold anything fits the terminal and has no control characters, also while metrics.jsonl grows. */
#include "tests/fuzz/fuzz.h"

#include <sys/stat.h>
#include <unistd.h>

#include "tools/watch_view.h"

static const char *const files[] = {"metrics.jsonl", "config.json", "ledger.json", NULL};

int fuzz_seeds(fuzz_input seeds[FUZZ_SEEDS]) {
    static const char step[] = "{\"step\": %d, \"tokens\": 256, \"loss\": %g, \"val_loss\": 5.5, \"lr\": 1e-3, "
                               "\"grad_norm\": 1, \"skipped\": true, "
                               "\"step_ms\": 10, \"tokens_per_s\": 1e4, \"mfu\": null, \"mfu_of_measured_peak\": 0.5, "
                               "\"memory_bytes\": 1000000, "
                               "\"ranks\": 4, \"exposed_ms\": 3, \"skew\": 0.5, \"slowest_rank\": 1, \"gpu_throttle\": "
                               "\"power\", \"usd\": 0.01, "
                               "\"usd_by_booking\": {\"useful_s\": 0.01}, \"wall_s\": %d, \"energy_j\": 10}\n";
    static const char rest[] =
        FUZZ_CUT "{\"model\": \"a/\\u001b[31m\", \"steps\": 100}" FUZZ_CUT
                 "{\"wall_s\": 3.5, \"energy_j\": 10, \"usd\": 0.01, \"bookings\": {\"useful_s\": 3, "
                 "\"startup_s\": 0.5}, \"usd_by_booking\": {\"useful_s\": 0.01}}";
    char lines[8192] = "P";
    for (int i = 1; i <= 12; i++) {
        size_t used = strlen(lines);
        snprintf(lines + used, sizeof lines - used, step, i, 9.0 / i, i);
    }
    char *all;
    FUZZ_CHECK(asprintf(&all, "%s%s", lines, rest) > 0);
    seeds[0] = (fuzz_input){all, strlen(all)};
    seeds[1] = fuzz_text(lines);
    seeds[2] = fuzz_text("\x05"
                         "{\"step\": 1e17, \"loss\": 1e17}\n{\"step\": -3}\n{\"step\": 3, \"loss\": -1e17}\n");
    return 3;
}

static void check_picture(const watch_run *w, int seed) {
    watch_view v = {.rows = seed % 64, .columns = 1 + seed * 7 % 200, .unicode = seed & 1, .keys = seed & 2};
    char *text;
    size_t bytes;
    int rows = 0, columns = 0;
    FILE *out = open_memstream(&text, &bytes);
    FUZZ_CHECK(out);
    watch_view_draw(out, &v, w);
    FUZZ_CHECK(fclose(out) == 0);
    for (size_t i = 0; i < bytes; i++) {
        unsigned char c = (unsigned char)text[i];
        FUZZ_CHECK(c == '\n' || (c >= 32 && c != 127));
        columns = c == '\n' ? 0 : columns + ((c & 0xc0) != 0x80);
        rows += c == '\n';
        FUZZ_CHECK(columns <= v.columns && rows <= v.rows);
    }
    FUZZ_CHECK(columns == 0);
    free(text);
}

/* What is read as the file grows is what is read of the whole file. */
static void check_growth(const char *path, size_t bytes, i64 steps, int seed) {
    static watch_run w;
    char *whole = malloc(bytes + 1);
    FILE *f = fopen(path, "rb");
    FUZZ_CHECK(whole && f && fread(whole, 1, bytes, f) == bytes);
    fclose(f);
    FUZZ_CHECK(truncate(path, (off_t)bytes / 2) == 0 && watch_run_open(&w, fuzz_folder()) == STATUS_OK);
    FUZZ_CHECK(watch_run_update(&w) == STATUS_OK);
    check_picture(&w, seed + 1);
    FUZZ_CHECK((f = fopen(path, "ab")));
    FUZZ_CHECK(fwrite(whole + bytes / 2, 1, bytes - bytes / 2, f) == bytes - bytes / 2 && fclose(f) == 0);
    FUZZ_CHECK(watch_run_update(&w) == STATUS_OK && w.steps == steps);
    check_picture(&w, seed + 2);
    watch_run_close(&w);
    free(whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    static watch_run w;
    struct stat info;
    if (!bytes) return 0;
    fuzz_put_all((fuzz_piece){data + 1, bytes - 1}, files);
    if (watch_run_open(&w, fuzz_folder()) != STATUS_OK) return 0;
    FUZZ_CHECK(watch_run_update(&w) == STATUS_OK);
    check_picture(&w, data[0]);
    const char *path = fuzz_path("metrics.jsonl");
    if (w.in && stat(path, &info) == 0) check_growth(path, (size_t)info.st_size, w.steps, data[0]);
    watch_run_close(&w);
    return 0;
}
