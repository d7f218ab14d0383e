#include "train/bill/report.h"

#include <stdlib.h>

#include "runtime/durable.h"
#include "runtime/path.h"
#include "train/bill/chart.h"
#include "train/bill/report_parts.h"

static void write_title(FILE *out, const report_runs *all) {
    if (all->count == 1) report_text(out, all->run->model);
    else fprintf(out, "%d runs", all->count);
}

static void write_head(FILE *out, const report_runs *all) {
    fputs("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
          "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
          "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
          "script-src 'unsafe-inline'\"><title>",
          out);
    write_title(out, all);
    fprintf(out, " - tally</title>\n<style>%s%s</style></head><body>\n<h1>", report_style, chart_style);
    write_title(out, all);
    fputs("</h1>\n", out);
}

static void write_samples(FILE *out, const report_runs *all) {
    for (int i = 0; i < all->count; i++) {
        const report_run *r = &all->run[i];
        if (!r->sample) continue;
        report_heading(out, "Sample");
        report_name_heading(out, all, i);
        fputs("<pre>", out);
        chart_text(out, r->sample, r->sample_bytes);
        fputs("</pre>\n", out);
    }
}

static status write_page(FILE *out, const report_runs *all) {
    write_head(out, all);
    if (all->count > 1) {
        fputs("<div class=\"legend runs\">", out);
        for (int i = 0; i < all->count; i++) {
            fprintf(out, "<span data-run=\"%d\">", i);
            report_name(out, all, i);
            fputs("</span>", out);
        }
        fputs("</div>\n", out);
    }
    report_totals(out, all);
    if (all->count > 1) report_options(out, all);
    TRY(report_charts(out, all));
    report_bookings(out, all);
    report_memory(out, all);
    report_plan(out, all);
    if (all->count == 1) report_options(out, all);
    write_samples(out, all);
    report_data(out, all);
    fprintf(out, "<script>%s</script>\n</body></html>\n", report_script);
    return STATUS_OK;
}

static status write_loss(FILE *out, const report_runs *all) {
    report_loss_chart(out, all->run);
    return STATUS_OK;
}

/* Builds the file in memory and replaces the old one atomically, so that a reader never sees half of it. */
static status write_whole(const report_runs *all, const char *path, status_code (*write)(FILE *, const report_runs *)) {
    char *data = NULL;
    size_t bytes;
    status_code st = STATUS_OK;
    FILE *out = open_memstream(&data, &bytes);
    if (!out) FAIL(MEM, "%s: no memory", path);
    st = write(out, all);
    bool short_of_memory = ferror(out);
    if (fclose(out) || short_of_memory) FAIL_DONE(MEM, "%s: no memory", path);
    if (!st) st = durable_write_file(path, data, bytes);
done:
    free(data);
    return st;
}

static status read_and_write(const char *const *folders, int count, const char *path,
                             status_code (*write)(FILE *, const report_runs *)) {
    report_run run[REPORT_MOST_RUNS] = {0};
    report_runs all = {run, 0};
    status_code st = STATUS_OK;
    if (count > REPORT_MOST_RUNS) FAIL(ARG, "%d runs: expected at most %d on one page", count, REPORT_MOST_RUNS);
    for (; all.count < count; all.count++) TRY_DONE(report_read(&run[all.count], folders[all.count]));
    TRY_DONE(write_whole(&all, path, write));
done:
    while (all.count) report_read_free(&run[--all.count]);
    return st;
}

status report_page(const char *const *folders, int count, const char *path) {
    return read_and_write(folders, count, path, write_page);
}

status report_write(const char *run_folder) {
    return report_page(&run_folder, 1, path_join(run_folder, "report.html").text);
}

status report_loss_svg(const char *run_folder, const char *svg_path) {
    return read_and_write(&run_folder, 1, svg_path, write_loss);
}
