#include <math.h>
#include <string.h>

#include "runtime/text.h"
#include "train/bill/chart.h"
#include "train/bill/report_parts.h"

void report_text(FILE *out, const char *s) { chart_text(out, s, strlen(s)); }

void report_heading(FILE *out, const char *s) {
    fputs("<h2>", out);
    report_text(out, s);
    fputs("</h2>\n", out);
}

void report_name(FILE *out, const report_runs *all, int i) {
    fprintf(out, "<i class=\"swatch c%d\"></i>", i % CHART_COLOURS);
    report_text(out, all->run[i].folder);
}

void report_name_heading(FILE *out, const report_runs *all, int i) {
    if (all->count == 1) return;
    fputs("<h3>", out);
    report_name(out, all, i);
    fputs("</h3>\n", out);
}

static bool known(FILE *out, double value) {
    if (isnan(value)) fputs("not known", out);
    return !isnan(value);
}

void report_usd(FILE *out, double usd) {
    if (!known(out, usd)) return;
    if (usd == 0 || fabs(usd) >= 0.01) fputs(text_usd(usd).text, out);
    else fprintf(out, "$%.2g", usd);
}

void report_percent(FILE *out, double percent) {
    if (known(out, percent)) fprintf(out, "%.1f%%", percent);
}

void report_joules(FILE *out, double joules) {
    if (!known(out, joules)) return;
    if (fabs(joules) < 3600) fprintf(out, "%.0f J", joules);
    else if (fabs(joules) < 3.6e6) fprintf(out, "%.1f Wh", joules / 3600);
    else fprintf(out, "%.2f kWh", joules / 3.6e6);
}

void report_count(FILE *out, double count) {
    if (known(out, count)) fputs(text_count(count).text, out);
}

void report_bytes(FILE *out, double bytes) {
    if (known(out, bytes)) fputs(text_bytes(bytes).text, out);
}

void report_seconds(FILE *out, double seconds) {
    if (known(out, seconds)) fputs(text_seconds(seconds).text, out);
}

void report_milliseconds(FILE *out, double ms) {
    if (known(out, ms)) fprintf(out, ms < 1e4 ? "%.4g ms" : "%.0f ms", ms);
}

void report_decimal(FILE *out, double value) {
    if (known(out, value)) fprintf(out, "%.4f", value);
}
