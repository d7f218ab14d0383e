#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "train/bill/chart.h"
#include "train/bill/report_parts.h"

enum { LINES = BOOKINGS, MOST_SERIES = LINES * REPORT_MOST_RUNS };

typedef struct {
    report_column column;
    chart_mark mark;
    const char *label;
} line;

/* A chart of the page. `alone`: only for a page of one run; `compared`: only for a page of several. */
typedef struct {
    const char *title, *y_label;
    bool from_zero, alone, compared, needed; /* needed: shown as "not known" if nothing is known */
    line lines[LINES];
} chart_kind;

static const chart_kind kinds[] = {
    {"Loss", "loss (nats per token)", .needed = true,
     .lines = {{REPORT_LOSS, CHART_THIN, "training"},
               {REPORT_SMOOTH_LOSS, CHART_LINE, "smoothed"},
               {REPORT_VAL_LOSS, CHART_DOTS, "held out"}}},
    {"Tokens per second", "tokens/s", .from_zero = true, .needed = true,
     .lines = {{REPORT_RATE, CHART_THIN, "each step"}, {REPORT_SMOOTH_RATE, CHART_LINE, "smoothed"}}},
    {"Utilisation", "% of the peak", .from_zero = true,
     .lines = {{REPORT_MFU, CHART_FINE, "MFU"},
               {REPORT_HFU, CHART_FINE, "HFU"},
               {REPORT_MFU_PALM, CHART_FINE, "MFU (PaLM)"},
               {REPORT_MFU_MEASURED, CHART_FINE, "MFU of the measured peak"},
               {REPORT_HFU_MEASURED, CHART_FINE, "HFU of the measured peak"}}},
    {"Cost by ledger entry", "US dollars since the start", .from_zero = true, .alone = true,
     .lines =
         {
#define X(code, key, text) {(report_column)(REPORT_BOOKING + BOOK_##code), CHART_AREA, text},
             BOOKING_LIST(X)
#undef X
         }},
    {"Cost", "US dollars since the start", .from_zero = true, .compared = true,
     .lines = {{REPORT_USD, CHART_LINE, "cost"}}},
    {"Learning rate", "learning rate", .from_zero = true, .lines = {{REPORT_LR, CHART_LINE, "learning rate"}}},
    {"Gradient norm", "L2 norm before clipping", .from_zero = true,
     .lines = {{REPORT_NORM, CHART_THIN, "each step"}, {REPORT_SMOOTH_NORM, CHART_LINE, "smoothed"}}},
    {"Drift from the plan", "% above the plan", .from_zero = true,
     .lines = {{REPORT_DRIFT_TIME, CHART_DOTS, "time"},
               {REPORT_DRIFT_MEMORY, CHART_DOTS, "memory"},
               {REPORT_DRIFT_USD, CHART_DOTS, "cost"}}},
    {"Power", "watts, all devices", .from_zero = true,
     .lines = {{REPORT_WATTS, CHART_THIN, "each step"}, {REPORT_SMOOTH_WATTS, CHART_LINE, "smoothed"}}},
    {"GPU clocks", "MHz", .from_zero = true,
     .lines = {{REPORT_SM_MHZ, CHART_FINE, "SM"},
               {REPORT_SM_MAX_MHZ, CHART_FINE, "SM maximum"},
               {REPORT_MEMORY_MHZ, CHART_FINE, "memory"}}},
    {"GPU temperature", "degrees Celsius", .lines = {{REPORT_TEMPERATURE, CHART_FINE, "hottest GPU"}}},
    {"Waiting for other ranks", "% of the step", .from_zero = true,
     .lines = {{REPORT_WAITING, CHART_THIN, "each step"}, {REPORT_SMOOTH_WAITING, CHART_LINE, "smoothed"}}},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static const char *const curve_key[REPORT_CURVES] = {
#define X(code, key, factor) #code,
    REPORT_COLUMN_LIST(X)
#undef X
#define X(code, key, text) #code "_USD",
        BOOKING_LIST(X)
#undef X
            "SMOOTH_LOSS",
    "SMOOTH_RATE", "SMOOTH_NORM", "SMOOTH_WAITING", "SMOOTH_WATTS"};

static bool is_shown(const chart_kind *k, const report_runs *all) { return all->count > 1 ? !k->alone : !k->compared; }

/* A ledger entry of 0 throughout is like an unknown one: it has no area. */
static bool is_known(const report_run *r, report_column c) {
    bool entry = c >= REPORT_BOOKING && c < REPORT_COLUMNS;
    for (i64 i = 0; i < r->n; i++)
        if (!isnan(r->curve[c][i]) && !(entry && r->curve[c][i] == 0)) return true;
    return false;
}

/* A series of a chart, and what it was made from. */
typedef struct {
    chart_series series[MOST_SERIES];
    const line *of[MOST_SERIES];
    int run[MOST_SERIES];
    int count;
    char colour[MOST_SERIES][8];
    double *stacked; /* room for sums of areas; NULL if there is none */
} chart_lines;

static void add_line(chart_lines *c, const report_runs *all, int run, const line *l, int number) {
    const report_run *r = &all->run[run];
    int i = c->count++;
    int colour = all->count > 1 ? run % CHART_COLOURS : l->column == REPORT_VAL_LOSS ? 1 : number;
    if (l->column >= REPORT_SMOOTH_LOSS && all->count == 1) colour = 0; /* that of what is smoothed */
    if (l->mark == CHART_AREA) snprintf(c->colour[i], sizeof c->colour[i], "b%d", (int)l->column - REPORT_BOOKING);
    else snprintf(c->colour[i], sizeof c->colour[i], "c%d", colour % CHART_COLOURS);
    c->of[i] = l;
    c->run[i] = run;
    c->series[i] = (chart_series){l->label, l->mark, c->colour[i], 0, r->x, r->curve[l->column], NULL, r->n};
    if (all->count > 1 && l->mark == CHART_FINE) c->series[i].dash = number % CHART_DASHES;
}

/* Each area lies on the one before. */
static status stack(chart_lines *c) {
    i64 n = c->count ? c->series[0].n : 0;
    if (!c->count || c->series[0].mark != CHART_AREA) return STATUS_OK;
    c->stacked = calloc((size_t)(c->count + 1) * (size_t)(n + 1), sizeof *c->stacked);
    if (!c->stacked) FAIL(MEM, "no memory for the report");
    for (int s = 0; s < c->count; s++) {
        double *below = c->stacked + s * n, *sum = below + n;
        for (i64 i = 0; i < n; i++) sum[i] = below[i] + c->series[s].y[i];
        c->series[s].below = below;
        c->series[s].y = sum;
    }
    return STATUS_OK;
}

/* Series without any known value are left out. */
static void find_lines(chart_lines *c, const report_runs *all, const chart_kind *kind) {
    c->count = 0;
    for (int run = 0; run < all->count; run++)
        for (int i = 0; i < LINES && kind->lines[i].label; i++)
            if (is_known(&all->run[run], kind->lines[i].column)) add_line(c, all, run, &kind->lines[i], i);
}

static void write_swatch(FILE *out, const chart_series *s) {
    static const char *const shape[] = {"M1 5h18", "M1 5h18", "M1 5h18", "M10 5h0", "M1 5h18"};
    static const char *const width[] = {"1", "1.5", "2.5", "7", "9"};
    fprintf(out,
            "<svg class=\"%s\" width=\"20\" height=\"10\" aria-hidden=\"true\"><path class=\"d%d\" d=\"%s\" "
            "stroke=\"currentColor\" stroke-linecap=\"%s\" stroke-width=\"%s\"/></svg>",
            s->colour, s->dash, shape[s->mark], s->mark == CHART_DOTS ? "round" : "butt", width[s->mark]);
}

/* An entry for each line of the chart; in a comparison, where a colour is a run, without colour. The page's script makes
 * each a button that hides its line. */
static void write_legend(FILE *out, const chart_lines *c, const report_runs *all, const chart_kind *kind) {
    int kinds_of_line = 0;
    for (int l = 0; l < LINES && kind->lines[l].label; l++) kinds_of_line++;
    if (kinds_of_line < 2) return; /* the title says it */
    fputs("<div class=\"legend\">", out);
    for (int l = 0; l < LINES && kind->lines[l].label; l++)
        for (int i = 0; i < c->count; i++) {
            if (c->of[i] != &kind->lines[l]) continue;
            chart_series s = c->series[i];
            if (all->count > 1) s.colour = "";
            fprintf(out, "<span data-line=\"%d\">", l);
            write_swatch(out, &s);
            report_text(out, s.label);
            fputs("</span>", out);
            break;
        }
    fputs("</div>\n", out);
}

static status write_chart(FILE *out, const report_runs *all, int k) {
    const chart_kind *kind = &kinds[k];
    chart_lines c = {0};
    find_lines(&c, all, kind);
    if (!c.count && !kind->needed) return STATUS_OK;
    TRY(stack(&c));
    fprintf(out, "<section%s><h2>%s</h2>\n<figure data-chart=\"%d\">", kind->needed && k == 0 ? " class=\"first\"" : "",
            kind->title, k);
    write_legend(out, &c, all, kind);
    char title[64];
    snprintf(title, sizeof title, "%s by step", kind->title);
    chart_write_inline(out, &(chart){title, "step", kind->y_label, c.series, c.count, kind->from_zero});
    fputs("</figure></section>\n", out);
    free(c.stacked);
    return STATUS_OK;
}

status report_charts(FILE *out, const report_runs *all) {
    const char *separator = "<p class=\"muted\">Not recorded: ";
    fputs("<div class=\"charts\">\n", out);
    for (int k = 0; k < KINDS; k++)
        if (is_shown(&kinds[k], all)) TRY(write_chart(out, all, k));
    fputs("</div>\n", out);
    for (int k = 0; k < KINDS; k++) {
        chart_lines c = {0};
        find_lines(&c, all, &kinds[k]);
        if (!is_shown(&kinds[k], all) || kinds[k].needed || c.count) continue;
        fprintf(out, "%s%s", separator, kinds[k].title);
        separator = ", ";
    }
    if (*separator == ',') fputs(".</p>\n", out);
    return STATUS_OK;
}

/* ---- for the script: numbers and names of this file only, nothing that needs escaping ---- */

static void write_numbers(FILE *out, const char *key, const double *v, i64 n, int digits) {
    fprintf(out, "\"%s\":[", key);
    for (i64 i = 0; i < n; i++) {
        if (i) fputc(',', out);
        if (isnan(v[i])) fputs("null", out);
        else fprintf(out, "%.*g", digits, v[i]);
    }
    fputs("]", out);
}

static bool is_wanted(const report_runs *all, int column) {
    if (column == REPORT_TOKENS || column == REPORT_WALL || column == REPORT_USD) return true; /* x axes */
    for (int k = 0; k < KINDS; k++)
        for (int i = 0; i < LINES && kinds[k].lines[i].label; i++)
            if ((int)kinds[k].lines[i].column == column && is_shown(&kinds[k], all)) return true;
    return false;
}

static void write_run(FILE *out, const report_runs *all, int i) {
    const report_run *r = &all->run[i];
    fprintf(out, "{\"pairs\":%s,", r->width > 1 ? "true" : "false");
    write_numbers(out, "resumed", r->resumed_at, r->resumes < REPORT_RESUMES ? r->resumes : REPORT_RESUMES, 15);
    fputs(",", out);
    write_numbers(out, "x", r->x, r->n, 15);
    fputs(",\"columns\":{", out);
    const char *comma = "";
    for (int c = 0; c < REPORT_CURVES; c++) {
        if (!is_wanted(all, c) || !is_known(r, (report_column)c)) continue;
        fputs(comma, out);
        write_numbers(out, curve_key[c], r->curve[c], r->n, 7);
        comma = ",\n";
    }
    fputs("}}", out);
}

static void write_kind(FILE *out, const report_runs *all, int k) {
    chart_lines c = {0};
    find_lines(&c, all, &kinds[k]);
    fprintf(out, "{\"id\":%d,\"title\":\"%s\",\"y\":\"%s\",\"zero\":%s,\"series\":[", k, kinds[k].title,
            kinds[k].y_label, kinds[k].from_zero ? "true" : "false");
    for (int i = 0; i < c.count; i++) {
        const chart_series *s = &c.series[i];
        fprintf(out,
                "%s{\"run\":%d,\"line\":%d,\"label\":\"%s\",\"column\":\"%s\",\"mark\":\"%s\",\"colour\":\"%s\","
                "\"dash\":%d}",
                i ? "," : "", c.run[i], (int)(c.of[i] - kinds[k].lines), s->label, curve_key[c.of[i]->column],
                chart_mark_name(s->mark), s->colour, s->dash);
    }
    fputs("]}", out);
}

void report_data(FILE *out, const report_runs *all) {
    fputs("<script type=\"application/json\" id=\"data\">{\"runs\":[", out);
    for (int i = 0; i < all->count; i++) {
        if (i) fputs(",\n", out);
        write_run(out, all, i);
    }
    fputs("],\n\"charts\":[", out);
    const char *comma = "";
    for (int k = 0; k < KINDS; k++) {
        if (!is_shown(&kinds[k], all)) continue;
        fputs(comma, out);
        write_kind(out, all, k);
        comma = ",\n";
    }
    fputs("]}</script>\n", out);
}

void report_loss_chart(FILE *out, const report_run *r) {
    chart_lines c = {0};
    find_lines(&c, &(report_runs){(report_run *)r, 1}, kinds);
    chart_write_svg(out, &(chart){r->model, "step", kinds->y_label, c.series, c.count, false});
}
