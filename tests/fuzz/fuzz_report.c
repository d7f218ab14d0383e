/* What stands in the files of a run cannot become markup of its report. */
#include "tests/fuzz/fuzz.h"

#include "runtime/file.h"
#include "train/bill/report.h"

static const char *const files[] = {"metrics.jsonl", "ledger.json", "config.json", "sample.txt", "plan.json", NULL};

int fuzz_seeds(fuzz_input seeds[FUZZ_SEEDS]) {
    static const char step[] =
        "{\"step\": %d, \"tokens\": 256, \"loss\": 5.5, \"val_loss\": null, \"tokens_per_s\": 1e4, "
        "\"mfu\": null, \"mfu_of_measured_peak\": 0.5, \"memory_bytes\": 1000000, \"usd\": 0.01}\n";
    char lines[1024];
    int used = snprintf(lines, sizeof lines, step, 1);
    snprintf(lines + used, sizeof lines - (size_t)used, step, 2);
    static const char rest[] = FUZZ_CUT
        "{\"step\": 2, \"tokens\": 512, \"wall_s\": 3.5, \"energy_j\": 10, \"energy_source\": \"rapl\", \"usd\": 0.01, "
        "\"price_usd_per_hour\": 0.5, \"bookings\": {\"useful\": 3, \"startup\": 0.5}, \"usd_by_booking\": "
        "{\"useful\": 0.01}}" FUZZ_CUT "{\"model\": \"<script>llama&\"}" FUZZ_CUT "<b onclick='x'>a sample" FUZZ_CUT
        "{\"source\": \"</script>\", \"step_ms\": 5, \"memory\": {\"weights\": 1000}, \"actual\": {\"step_ms\": 6}, "
        "\"error\": {\"step_ms\": 0.2}, \"causes\": [\"<script>\"]}";
    char *all;
    FUZZ_CHECK(asprintf(&all, "%s%s", lines, rest) > 0);
    seeds[0] = (fuzz_input){all, strlen(all)};
    seeds[1] = fuzz_text(lines);
    return 2;
}

static int occurrences(const char *text, const char *of) {
    int n = 0;
    while ((text = strcasestr(text, of))) n++, text++;
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    char *page;
    size_t n;
    fuzz_put_all((fuzz_piece){data, bytes}, files);
    if (report_write(fuzz_folder()) != STATUS_OK) return 0;
    FUZZ_CHECK(file_read(fuzz_path("report.html"), &page, &n) == STATUS_OK);
    FUZZ_CHECK(strlen(page) == n);
    enum { OF_THE_PAGE = 2 }; /* its data and its code */
    FUZZ_CHECK(occurrences(page, "<script") == OF_THE_PAGE && occurrences(page, "</script") == OF_THE_PAGE);
    FUZZ_CHECK(!strcasestr(page, "<b on"));
    free(page);
    fuzz_either(report_loss_svg(fuzz_folder(), fuzz_path("loss.svg")));
    return 0;
}
