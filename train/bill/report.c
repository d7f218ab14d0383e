#include "train/bill/report.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "runtime/durable.h"
#include "runtime/meter.h"
#include "runtime/path.h"
#include "runtime/text.h"
#include "train/bill/chart.h"
#include "train/bill/report_read.h"

static double number(const json_t *object, const char *key) { return report_read_number(object, key); }
static const char *string(const json_t *object, const char *key) { return report_read_text(object, key); }

/* ---- the page ---- */

static const char page_style[] =
    ":root{color-scheme:light dark}"
    "body{font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;max-width:860px;"
    "margin:2.5rem auto;padding:0 1.2rem;background:#fff;color:#1f2328}"
    "h1{font-size:1.6rem;margin:0 0 1.2rem;overflow-wrap:anywhere}h2{font-size:1.05rem;margin:2.2rem 0 .5rem}"
    "svg{width:100%;height:auto;display:block}.muted{color:#57606a}"
    ".cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:.7rem}"
    ".card{border:1px solid #d8dee4;border-radius:10px;padding:.6rem .9rem}.card div{font-size:.8rem;color:#57606a}"
    ".card b{display:block;font-size:1.3rem;font-weight:600;line-height:1.35}"
    ".bar{display:flex;height:30px;border-radius:8px;overflow:hidden;margin:.6rem 0 1rem;background:#d8dee4}"
    ".bar "
    "i{font-size:12px;line-height:30px;font-weight:600;font-style:normal;color:#fff;text-align:center;overflow:hidden}"
    "table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}"
    "th,td{padding:.3rem .6rem;text-align:right;border-bottom:1px solid #d8dee4}th{font-weight:500;color:#57606a}"
    "th:first-child,td:first-child{text-align:left}tfoot td{font-weight:600;border:0}"
    "td i{display:inline-block;width:.7em;height:.7em;border-radius:3px;margin-right:.6em}"
    "pre{background:#f6f8fa;border:1px solid #d8dee4;border-radius:10px;padding:1rem;white-space:pre-wrap;"
    "overflow-wrap:anywhere;font-size:13px}"
    ".b0{background:#2b8a57}.b1{background:#7a9e1f}.b2{background:#d9730d}.b3{background:#b78a00}.b4{background:#"
    "2f74d0}"
    ".b5{background:#7d55c7}.b6{background:#7b8794}.b7{background:#d03b3b}.b8{background:#b0567f}.b9{background:#"
    "4a4f57}"
    "@media(prefers-color-scheme:dark){body{background:#0f141a;color:#e6edf3}.muted,.card div,th{color:#9da7b3}"
    ".card,th,td,pre{border-color:#262d36}.bar{background:#262d36}pre{background:#161c24}}";

static void text(FILE *out, const char *s) { chart_text(out, s, strlen(s)); }

static short_text text_small_usd(double usd) {
    short_text s;
    if (usd == 0 || fabs(usd) >= 0.01) return text_usd(usd);
    snprintf(s.text, sizeof s.text, "$%.2g", usd);
    return s;
}

static short_text text_joules(double joules) {
    short_text s;
    if (fabs(joules) < 3600) snprintf(s.text, sizeof s.text, "%.0f J", joules);
    else if (fabs(joules) < 3.6e6) snprintf(s.text, sizeof s.text, "%.1f Wh", joules / 3600);
    else snprintf(s.text, sizeof s.text, "%.2f kWh", joules / 3.6e6);
    return s;
}

/* One total. `value` is shown only if `number` is known; the note may be NULL. */
static void card(FILE *out, const char *name, double number, const char *value, const char *note) {
    fprintf(out, "<div class=\"card\"><div>%s</div><b>", name);
    text(out, isnan(number) ? "not known" : value);
    fputs("</b>", out);
    if (note) {
        fputs("<div>", out);
        text(out, note);
        fputs("</div>", out);
    }
    fputs("</div>\n", out);
}

static void loss_card(FILE *out, const char *name, double loss) {
    char value[32];
    snprintf(value, sizeof value, "%.4f", loss);
    card(out, name, loss, value, "last recorded");
}

static void write_totals(FILE *out, const report_run *r) {
    double tokens = number(r->ledger, "tokens"), wall = number(r->ledger, "wall_s"), usd = number(r->ledger, "usd");
    double joules = number(r->ledger, "energy_j"), price = number(r->ledger, "price_usd_per_hour");
    double per_million = tokens > 0 ? usd / tokens * 1e6 : NAN, rate = r->of[REPORT_RATE].median;
    double mfu = r->of[REPORT_MFU].median, of_measured = r->of[REPORT_MFU_MEASURED].median;
    double memory = r->of[REPORT_MEMORY].highest;
    const char *energy_source = string(r->ledger, "energy_source"), *price_source = string(r->ledger, "price_source");
    char note[512], value[32];

    fputs("<div class=\"cards\">\n", out);
    snprintf(note, sizeof note, "in %ld steps", r->steps);
    card(out, "tokens", tokens, text_count(tokens).text, note);
    card(out, "wall time", wall, text_seconds(wall).text, NULL);
    loss_card(out, "training loss", r->of[REPORT_LOSS].last);
    loss_card(out, "held-out loss", r->of[REPORT_VAL_LOSS].last);
    if (r->width == 1) snprintf(note, sizeof note, "median of the steps");
    else snprintf(note, sizeof note, "median of one step in %ld", r->width);
    card(out, "tokens per second", rate, text_count(rate).text, note);
    snprintf(value, sizeof value, "%.1f%%", 100 * mfu);
    if (isnan(of_measured)) snprintf(note, sizeof note, "median, of the device's dense peak");
    else snprintf(note, sizeof note, "median; %.1f%% of the measured peak", 100 * of_measured);
    card(out, "MFU", mfu, value, note);
    card(out, "peak memory", memory, text_bytes(memory).text, NULL);
    snprintf(note, sizeof note, "source: %s", energy_source ? energy_source : "not known");
    card(out, "energy", joules, text_joules(joules).text, note);
    if (isnan(price)) snprintf(note, sizeof note, "price: not known");
    else
        snprintf(note, sizeof note, "at %s an hour (%s)", text_small_usd(price).text,
                 price_source ? price_source : "source not known");
    card(out, "cost", usd, text_small_usd(usd).text, note);
    card(out, "cost per 1M tokens", per_million, text_small_usd(per_million).text, NULL);
    fputs("</div>\n", out);
}

/* BOOKINGS: this version does not know the key */
static int booking_of(const char *key) {
    int b = 0;
    while (b < BOOKINGS && strcmp(key, meter_booking_key((booking)b))) b++;
    return b;
}

static void write_booking_label(FILE *out, const char *key) {
    int b = booking_of(key);
    text(out, b < BOOKINGS ? meter_booking_label((booking)b) : key);
}

/* A part of the bill, with the decimals that show the whole bill to four digits, and at least to the cent. */
static void write_cost_cell(FILE *out, double usd, double bill) {
    int decimals = bill > 0 ? (int)fmin(9, fmax(2, 3 - floor(log10(bill)))) : 2;
    if (isnan(usd)) fputs("<td>not known</td>", out);
    else fprintf(out, "<td>$%.*f</td>", decimals, usd);
}

static void write_bookings(FILE *out, const report_run *r) {
    json_t *bookings = json_object_get(r->ledger, "bookings"), *item;
    const char *name;
    const json_t *money = json_object_get(r->ledger, "usd_by_booking");
    double total = 0, bill = number(r->ledger, "usd"), seconds;
    if (!json_is_object(bookings)) bookings = NULL;
    json_object_foreach(bookings, name, item) {
        if ((seconds = number(bookings, name)) > 0) total += seconds;
    }
    if (total <= 0) {
        fputs("<p class=\"muted\">not known: the run has booked no time</p>\n", out);
        return;
    }
    fputs("<div class=\"bar\">", out);
    json_object_foreach(bookings, name, item) {
        if (!((seconds = number(bookings, name)) > 0)) continue;
        double percent = 100 * seconds / total;
        fprintf(out, "<i class=\"b%d\" style=\"width:%.3f%%\" title=\"", booking_of(name), percent);
        write_booking_label(out, name);
        fprintf(out, " %.1f%%\">", percent);
        if (percent >= 8) fprintf(out, "%.0f%%", percent);
        fputs("</i>", out);
    }
    fputs("</div>\n<table><thead><tr><th></th><th>seconds</th><th>share</th><th>cost</th></tr></thead><tbody>\n", out);
    json_object_foreach(bookings, name, item) {
        if (!((seconds = number(bookings, name)) >= 0)) continue;
        fprintf(out, "<tr><td><i class=\"b%d\"></i>", booking_of(name));
        write_booking_label(out, name);
        fprintf(out, "</td><td>%.2f</td><td>%.1f%%</td>", seconds, 100 * seconds / total);
        /* the price may have changed between attempts; older ledgers only have the sum */
        write_cost_cell(out, money ? number(money, name) : bill * seconds / total, bill);
        fputs("</tr>\n", out);
    }
    fprintf(out, "</tbody><tfoot><tr><td>total</td><td>%.2f</td><td>100%%</td>", total);
    write_cost_cell(out, bill, bill);
    fputs("</tr></tfoot></table>\n", out);
}

/* The chart points to series[3]. */
static chart loss_chart(const report_run *r, const char *title, chart_series *series) {
    series[0] = (chart_series){"training", CHART_THIN, r->loss};
    series[1] = (chart_series){"smoothed", CHART_LINE, r->smooth_loss};
    series[2] = (chart_series){"held out", CHART_DOTS, r->val_loss};
    return (chart){title, "step", "loss (nats per token)", r->x, r->n, series, 3, false};
}

static void write_page(FILE *out, const report_run *r) {
    fputs("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
          "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>",
          out);
    text(out, r->model);
    fprintf(out, " - tally</title>\n<style>%s%s</style></head><body>\n<h1>", page_style, chart_style);
    text(out, r->model);
    fputs("</h1>\n", out);
    write_totals(out, r);
    chart_series series[3], rate[2] = {{"each step", CHART_THIN, r->rate}, {"smoothed", CHART_LINE, r->smooth_rate}};
    chart loss = loss_chart(r, "Loss by step", series);
    fputs("<h2>Loss</h2>\n", out);
    chart_write_inline(out, &loss);
    fputs("<h2>Tokens per second</h2>\n", out);
    chart speed = {"Tokens per second by step", "step", "tokens/s", r->x, r->n, rate, 2, true};
    chart_write_inline(out, &speed);
    fputs("<h2>Where each second went</h2>\n", out);
    write_bookings(out, r);
    if (r->sample) {
        fputs("<h2>Sample</h2>\n<pre>", out);
        chart_text(out, r->sample, r->sample_bytes);
        fputs("</pre>\n", out);
    }
    fputs("</body></html>\n", out);
}

static void write_loss(FILE *out, const report_run *r) {
    chart_series series[3];
    chart loss = loss_chart(r, r->model, series);
    chart_write_svg(out, &loss);
}

/* Builds the file in memory and replaces the old one atomically, so that a reader never sees half of it. */
static status write_whole(const char *folder, const char *path, void (*write)(FILE *out, const report_run *r)) {
    report_run r;
    TRY(report_read(&r, folder));
    char *data = NULL;
    size_t bytes;
    status_code st = STATUS_OK;
    FILE *out = open_memstream(&data, &bytes);
    if (!out) FAIL_DONE(MEM, "%s: no memory", path);
    write(out, &r);
    bool short_of_memory = ferror(out);
    if (fclose(out) || short_of_memory) FAIL_DONE(MEM, "%s: no memory", path);
    st = durable_write_file(path, data, bytes);
done:
    free(data);
    report_read_free(&r);
    return st;
}

status report_write(const char *run_folder) {
    return write_whole(run_folder, path_join(run_folder, "report.html").text, write_page);
}

status report_loss_svg(const char *run_folder, const char *svg_path) {
    return write_whole(run_folder, svg_path, write_loss);
}
