#include <math.h>
#include <string.h>

#include "runtime/meter.h"
#include "runtime/text.h"
#include "train/bill/report_parts.h"

static double number(const json_t *object, const char *key) { return report_columns_number(object, key); }

/* ---- totals ---- */

static const struct {
    const char *name;
    void (*write)(FILE *out, double value);
} total[] = {{"tokens", report_count},          {"wall time", report_seconds},       {"training loss", report_decimal},
             {"held-out loss", report_decimal}, {"tokens per second", report_count}, {"MFU", report_percent},
             {"peak memory", report_bytes},     {"energy", report_joules},           {"cost", report_usd},
             {"cost per 1M tokens", report_usd}};
enum { TOTALS = sizeof total / sizeof *total };

static double usd_per_mtok(const report_run *r) {
    double tokens = number(r->ledger, "tokens"), usd = number(r->ledger, "usd");
    return tokens > 0 ? usd / tokens * 1e6 : NAN;
}

static void find_totals(double value[TOTALS], const report_run *r) {
    const double found[TOTALS] = {number(r->ledger, "tokens"),  number(r->ledger, "wall_s"),
                                  r->of[REPORT_LOSS].last,      r->of[REPORT_VAL_LOSS].last,
                                  r->of[REPORT_RATE].median,    r->of[REPORT_MFU].median,
                                  r->of[REPORT_MEMORY].highest, number(r->ledger, "energy_j"),
                                  number(r->ledger, "usd"),     usd_per_mtok(r)};
    memcpy(value, found, sizeof found);
}

/* What stands under a total, escaped. Nothing for most. */
static void write_note(FILE *out, const char *name, const report_run *r) {
    const char *energy = report_read_text(r->ledger, "energy_source"),
               *price = report_read_text(r->ledger, "price_source");
    double usd_per_hour = number(r->ledger, "price_usd_per_hour"), of_measured = r->of[REPORT_MFU_MEASURED].median;
    if (!strcmp(name, "tokens")) {
        fprintf(out, "in %ld steps", r->steps);
        if (r->skipped) fprintf(out, ", %ld of them skipped", r->skipped);
    } else if (strstr(name, "ing loss") || strstr(name, "out loss")) fputs("last recorded", out);
    else if (!strcmp(name, "tokens per second") && r->width == 1) fputs("median of the steps", out);
    else if (!strcmp(name, "tokens per second")) fprintf(out, "median of one step in %ld", r->width);
    else if (!strcmp(name, "MFU") && isnan(of_measured)) fputs("median, of the device&#39;s dense peak", out);
    else if (!strcmp(name, "MFU")) fprintf(out, "median; %.1f%% of the measured peak", of_measured);
    else if (!strcmp(name, "energy")) {
        fputs("of the devices; source: ", out);
        report_text(out, energy ? energy : "not known");
    } else if (!strcmp(name, "cost") && isnan(usd_per_hour)) fputs("price: not known", out);
    else if (!strcmp(name, "cost")) {
        fputs("at ", out);
        report_usd(out, usd_per_hour);
        fputs(" an hour (", out);
        report_text(out, price ? price : "source not known");
        fputs(")", out);
    }
}

static void write_cards(FILE *out, const report_run *r) {
    double value[TOTALS];
    find_totals(value, r);
    fputs("<div class=\"cards\">\n", out);
    for (int i = 0; i < TOTALS; i++) {
        fprintf(out, "<div class=\"card\"><div>%s</div><b>", total[i].name);
        total[i].write(out, value[i]);
        fputs("</b><div>", out);
        write_note(out, total[i].name, r);
        fputs("</div></div>\n", out);
    }
    fputs("</div>\n", out);
}

void report_totals(FILE *out, const report_runs *all) {
    double value[TOTALS];
    if (all->count == 1) {
        write_cards(out, all->run);
        return;
    }
    fputs("<div class=\"wide\"><table><thead><tr><th scope=\"col\">run</th><th scope=\"col\">model</th>", out);
    for (int i = 0; i < TOTALS; i++) fprintf(out, "<th scope=\"col\">%s</th>", total[i].name);
    fputs("</tr></thead><tbody>\n", out);
    for (int k = 0; k < all->count; k++) {
        find_totals(value, &all->run[k]);
        fputs("<tr><th scope=\"row\">", out);
        report_name(out, all, k);
        fputs("</th><td>", out);
        report_text(out, all->run[k].model);
        fputs("</td>", out);
        for (int i = 0; i < TOTALS; i++) {
            fputs("<td>", out);
            total[i].write(out, value[i]);
            fputs("</td>", out);
        }
        fputs("</tr>\n", out);
    }
    fputs("</tbody></table></div>\n", out);
}

/* ---- bookings ---- */

/* BOOKINGS: this version does not know the key */
static int booking_of(const char *key) {
    int b = 0;
    while (b < BOOKINGS && strcmp(key, meter_booking_key((booking)b))) b++;
    return b;
}

static void write_booking_label(FILE *out, const char *key) {
    int b = booking_of(key);
    report_text(out, b < BOOKINGS ? meter_booking_label((booking)b) : key);
}

/* A part of the bill, with the decimals that show the whole bill to four digits, and at least to the cent. */
static void write_cost_cell(FILE *out, double usd, double bill) {
    int decimals = bill > 0 ? (int)fmin(9, fmax(2, 3 - floor(log10(bill)))) : 2;
    if (isnan(usd)) fputs("<td>not known</td>", out);
    else fprintf(out, "<td>$%.*f</td>", decimals, usd);
}

static void write_bar(FILE *out, json_t *bookings, double sum) {
    const char *name;
    json_t *item;
    double seconds;
    fputs("<div class=\"bar\">", out);
    json_object_foreach(bookings, name, item) {
        if (!((seconds = number(bookings, name)) > 0)) continue;
        double percent = 100 * seconds / sum;
        fprintf(out, "<i class=\"b%d\" style=\"width:%.3f%%\" title=\"", booking_of(name), percent);
        write_booking_label(out, name);
        fprintf(out, " %.1f%%\">", percent);
        if (percent >= 8) fprintf(out, "<b>%.0f%%</b>", percent);
        fputs("</i>", out);
    }
    fputs("</div>\n", out);
}

/* The named parts of the run's energy and what it emitted, where the ledger has them. */
static void write_energy(FILE *out, const report_run *r) {
    static const char *const part[][2] = {
        {"devices_j", "devices"}, {"host_j", "host"}, {"overhead_j", "cooling and conversion (PUE)"}};
    const json_t *energy = json_object_get(r->ledger, "energy");
    double kg = number(r->ledger, "kg_co2"), power = number(r->ledger, "power_usd");
    const char *grid = report_read_text(r->ledger, "grid");
    if (!json_is_object(energy)) return;
    fputs("<table><thead><tr><th scope=\"col\">energy</th><th></th></tr></thead><tbody>\n", out);
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        fprintf(out, "<tr><td>%s</td><td>", part[i][1]);
        report_joules(out, number(energy, part[i][0]));
        fputs("</td></tr>\n", out);
    }
    if (!isnan(kg)) {
        fputs("<tr><td>carbon dioxide, grid ", out);
        report_text(out, grid ? grid : "not known");
        fprintf(out, kg < 1 ? "</td><td>%.3g g</td></tr>\n" : "</td><td>%.4g kg</td></tr>\n", kg < 1 ? kg * 1e3 : kg);
    }
    if (power > 0) {
        fputs("<tr><td>what power has cost, part of the bill</td><td>", out);
        report_usd(out, power);
        fputs("</td></tr>\n", out);
    }
    fputs("</tbody></table>\n", out);
}

static void write_ledger(FILE *out, const report_run *r) {
    json_t *bookings = json_object_get(r->ledger, "bookings"), *item;
    const char *name;
    const json_t *money = json_object_get(r->ledger, "usd_by_booking");
    double sum = 0, bill = number(r->ledger, "usd"), seconds;
    if (!json_is_object(bookings)) bookings = NULL;
    json_object_foreach(bookings, name, item) {
        if ((seconds = number(bookings, name)) > 0) sum += seconds;
    }
    if (sum <= 0) {
        fputs("<p class=\"muted\">not known: the run has booked no time</p>\n", out);
        return;
    }
    write_bar(out, bookings, sum);
    fputs("<table><thead><tr><th></th><th>seconds</th><th>share</th><th>cost</th></tr></thead><tbody>\n", out);
    json_object_foreach(bookings, name, item) {
        if (!((seconds = number(bookings, name)) >= 0)) continue;
        fprintf(out, "<tr><td><i class=\"b%d\"></i>", booking_of(name));
        write_booking_label(out, name);
        fprintf(out, "</td><td>%.2f</td><td>%.1f%%</td>", seconds, 100 * seconds / sum);
        /* the price may have changed between attempts; older ledgers only have the sum */
        write_cost_cell(out, money ? number(money, name) : bill * seconds / sum, bill);
        fputs("</tr>\n", out);
    }
    fprintf(out, "</tbody><tfoot><tr><td>total</td><td>%.2f</td><td>100%%</td>", sum);
    write_cost_cell(out, bill, bill);
    fputs("</tr></tfoot></table>\n", out);
    write_energy(out, r);
}

void report_bookings(FILE *out, const report_runs *all) {
    report_heading(out, "Where each second went");
    for (int i = 0; i < all->count; i++) {
        report_name_heading(out, all, i);
        write_ledger(out, &all->run[i]);
    }
}
