/* The files that a resume reads. What is accepted once is accepted again, by the next resume. */
#include "tests/fuzz/fuzz.h"

#include <math.h>

#include "train/bill/ledger.h"
#include "train/bill/metrics_rewind.h"
#include "train/checkpoint/progress.h"

static const char *const files[] = {"progress.json", "ledger.json", "metrics.jsonl", NULL};

int fuzz_seeds(fuzz_input seeds[FUZZ_SEEDS]) {
    progress p = {.step = 2,
                  .updates = 2,
                  .tokens = 512,
                  .ranks = 1,
                  .batch = 2,
                  .seq_len = 16,
                  .global_batch = 32,
                  .threads = 1,
                  .spent.joules = 5,
                  .precision = "bf16",
                  .moments = "fp32",
                  .master = "fp32"};
    comm world = {.ranks = 1};
    ledger l = {.usd_per_hour = 0.5, .world = &world, .total.joules = 5};
    char *text;
    for (int b = 0; b < BOOKINGS; b++)
        p.spent.ns[b] = l.total.ns[b] = 1000000000u + (unsigned)b, p.spent.usd[b] = l.total.usd[b] = 0.1;
    FUZZ_CHECK(progress_text(&text, &p) == STATUS_OK);
    fuzz_put("progress.json", text, strlen(text));
    free(text);
    FUZZ_CHECK(ledger_write(&l, fuzz_folder(), p.step, p.tokens) == STATUS_OK);
    static const char lines[] =
        "{\"step\": 1, \"wall_s\": 1.5, \"usd\": 0.1, \"energy_total_j\": 2}\n"
        "{\"event\": \"resume\", \"step\": 1, \"wall_s\": 2.5, \"usd\": 0.2, \"energy_total_j\": 3}\n"
        "{\"step\": 2, \"wall_s\": 3.5, \"usd\": null, \"energy_total_j\": 5}\n"
        "{\"step\": 3, \"wall_s\": 4.5, \"usd\": 0.4, \"ener";
    fuzz_put("metrics.jsonl", lines, sizeof lines - 1);
    seeds[0] =
        fuzz_files("", (const char *const[]){fuzz_path(files[0]), fuzz_path(files[1]), fuzz_path(files[2]), NULL});
    seeds[1] = fuzz_files("", (const char *const[]){fuzz_path(files[0]), NULL});
    return 2;
}

static status resume(const progress *p) {
    comm world = {.ranks = 1};
    ledger l = {.usd_per_hour = 1, .world = &world};
    spent_totals last = {.usd = NAN};
    TRY(metrics_rewind(fuzz_path("metrics.jsonl"), p->step, &last));
    TRY(ledger_resume(&l, fuzz_folder(), p->step, &p->spent, &last));
    ledger_part part = {.before = l.before};
    ledger_sum(&l, &part, sizeof part);
    return ledger_write(&l, fuzz_folder(), p->step, p->tokens);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    progress p, again;
    char *text;
    fuzz_put_all((fuzz_piece){data, bytes}, files);
    if (progress_read(&p, fuzz_path("progress.json")) != STATUS_OK) return 0;
    if (progress_text(&text, &p) == STATUS_OK) {
        fuzz_put("again.json", text, strlen(text));
        FUZZ_CHECK(progress_read(&again, fuzz_path("again.json")) == STATUS_OK);
        free(text);
    }
    if (resume(&p) == STATUS_OK) FUZZ_CHECK(resume(&p) == STATUS_OK);
    return 0;
}
