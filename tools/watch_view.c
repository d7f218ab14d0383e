#include "tools/watch_view.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/printable.h"
#include "runtime/text.h"

enum { MOST_LINES = 64, LABEL = 8 /* columns left of the curve */ };
static const double WORTH_TELLING = 0.02; /* of the money or the time of the run */

typedef enum { PLAIN, BOLD, DIM } style;

/* lines that are laid out before it is known which of them fit */
typedef struct {
    char *text[MOST_LINES];
    style style[MOST_LINES];
    int count;
} lines;

__attribute__((format(printf, 3, 4))) static void add(lines *l, style s, const char *format, ...) {
    va_list args;
    va_start(args, format);
    if (l->count < MOST_LINES && vasprintf(&l->text[l->count], format, args) >= 0) l->style[l->count++] = s;
    va_end(args);
}

static void free_lines(lines *l) {
    for (int i = 0; i < l->count; i++) free(l->text[i]);
}

/* Cuts off after `columns` characters, counted as the first bytes of UTF-8. Without UTF-8 each character of a name beyond ASCII
 * is a '?': some of its bytes control such a terminal. */
static void put_line(FILE *out, const watch_view *v, style s, const char *text) {
    size_t bytes = 0;
    int used = 0;
    for (; text[bytes]; bytes++) {
        bool first = (text[bytes] & 0xc0) != 0x80;
        if (first && used == v->columns) break;
        used += first;
    }
    while (bytes && text[bytes - 1] == ' ') bytes--;
    const char *begin = !v->styled || s == PLAIN ? "" : s == BOLD ? "\033[1m" : "\033[2m";
    fputs(begin, out);
    for (size_t i = 0; i < bytes; i++) {
        bool ascii = !(text[i] & 0x80), first = (text[i] & 0xc0) != 0x80;
        if (ascii || v->unicode) fputc(text[i], out);
        else if (first) fputc('?', out);
    }
    fprintf(out, "%s\n", *begin ? "\033[0m" : "");
}

static double number(const json_t *o, const char *key) { return json_number_or_nan(json_object_get(o, key)); }

/* ---- curves ---- */

enum { ROWS = 200, COLUMNS = 400 }; /* the most of a curve */
typedef struct {
    int rows, columns;
    bool unicode;
    double low, high;
    char text[ROWS][4 * COLUMNS + 1];
} curve;

static double value_of(const watch_bin *b, watch_curve key) {
    return b->known[key] > 0 ? b->sum[key] / b->known[key] : NAN;
}

/* Where a step is between the first and the last: 0 to 1. Steps done again after a crash may leave a bin that ends later. */
static double place_of(const watch_run *w, double step) {
    double first = w->bins[0].from, last = w->bins[w->n - 1].to;
    return last > first ? fmin(fmax((step - first) / (last - first), 0), 1) : 0;
}

static void find_range(curve *p, const watch_run *w, watch_curve key, int marks) {
    p->low = p->high = NAN;
    for (int i = 0; i < w->n; i++) {
        double y = value_of(&w->bins[i], key), z = marks < 0 ? NAN : value_of(&w->bins[i], (watch_curve)marks);
        p->low = fmin(p->low, fmin(y, z)); /* fmin and fmax ignore a NaN */
        p->high = fmax(p->high, fmax(y, z));
    }
}

/* dots: 2 x 4 in a cell, or 1 x 1 in ASCII */
typedef struct {
    int wide, high;
    unsigned char dot[4 * ROWS][2 * COLUMNS];
    unsigned char mark[ROWS][COLUMNS]; /* of a cell */
} dots;

static int row_of(const curve *p, int high, double y) {
    double part = p->high > p->low ? (p->high - y) / (p->high - p->low) : 0.5;
    return (int)lround(fmin(fmax(part, 0), 1) * (high - 1)); /* a mean of means may be rounded out of their range */
}

/* Mean of the bins at each column of dots; columns without a bin take a line between their neighbours. */
static void put_dots(dots *d, const curve *p, const watch_run *w, watch_curve key) {
    int last_x = -1, last_row = 0;
    for (int i = 0; i < w->n;) {
        int x = (int)lround(place_of(w, (w->bins[i].from + w->bins[i].to) / 2) * (d->wide - 1));
        double sum = 0, known = 0;
        for (; i < w->n && lround(place_of(w, (w->bins[i].from + w->bins[i].to) / 2) * (d->wide - 1)) == x; i++) {
            sum += w->bins[i].sum[key];
            known += w->bins[i].known[key];
        }
        if (known == 0) continue;
        int row = row_of(p, d->high, sum / known), from = last_x < 0 ? x : last_x + 1,
            before = last_x < 0 ? row : last_row;
        for (int at = from; at <= x; at++) {
            double part = x == last_x || last_x < 0 ? 1 : (double)(at - last_x) / (x - last_x);
            int to = (int)lround(last_row + part * (row - last_row));
            if (last_x < 0) to = row;
            for (int r = before < to ? before : to; r <= (before > to ? before : to); r++) d->dot[r][at] = 1;
            before = to;
        }
        last_x = x;
        last_row = row;
    }
}

static void put_cell(char **to, const dots *d, int row, int column, bool unicode) {
    static const unsigned char bit[4][2] = {{1, 8}, {2, 16}, {4, 32}, {64, 128}};
    unsigned cell = 0;
    if (!unicode) {
        *(*to)++ = d->dot[row][column] ? '*' : ' ';
        return;
    }
    for (int y = 0; y < 4; y++)
        for (int x = 0; x < 2; x++)
            if (d->dot[4 * row + y][2 * column + x]) cell |= bit[y][x];
    if (!cell) *(*to)++ = ' ';
    else { /* U+2800 and more */ *(*to)++ = (char)0xe2;
        *(*to)++ = (char)(0xa0 | cell >> 6);
        *(*to)++ = (char)(0x80 | (cell & 63));
    }
}

static void put_marks(dots *d, const curve *p, const watch_run *w, watch_curve key) {
    enum { APART = 3 }; /* columns, so that many evaluations do not hide the curve */
    for (int i = 0, last = -APART; i < w->n; i++) {
        double y = value_of(&w->bins[i], key);
        int column = (int)lround(place_of(w, w->bins[i].to) * (p->columns - 1));
        if (isnan(y) || column < last + APART) continue;
        d->mark[row_of(p, p->rows, y)][column] = 1;
        last = column;
    }
}

/* The curve of a key over `rows` lines, oldest step at the left; line r of it is text[r], a string of `columns` characters.
 * marks: a second key whose known values are drawn as 'o'; -1: none. *low, *high: the range of its lines, NaN: nothing is known. */
static void find_curve(curve *p, const watch_run *w, watch_curve key, int marks) {
    dots *d = calloc(1, sizeof *d);
    for (int r = 0; r < p->rows; r++) p->text[r][0] = 0;
    if (w->n) find_range(p, w, key, marks);
    if (!w->n || !d || isnan(p->low)) {
        if (!w->n) p->low = p->high = NAN;
        free(d);
        return;
    }
    d->wide = p->columns * (p->unicode ? 2 : 1);
    d->high = p->rows * (p->unicode ? 4 : 1);
    put_dots(d, p, w, key);
    if (marks >= 0) put_marks(d, p, w, (watch_curve)marks);
    for (int r = 0; r < p->rows; r++) {
        char *to = p->text[r];
        for (int c = 0; c < p->columns; c++) {
            if (d->mark[r][c]) *to++ = 'o';
            else put_cell(&to, d, r, c, p->unicode);
        }
        *to = 0;
    }
    free(d);
}

/* ---- what stands above the curve ---- */

static void add_head(lines *l, const watch_run *w) {
    char run[PRINTABLE_BYTES * 256 + 1], model[PRINTABLE_BYTES * WATCH_MODEL + 1], state[80];
    size_t length = strlen(w->run.text), most = length < 255 ? length : 255;
    printable(run, w->run.text + length - most, most);
    printable(model, w->model, strlen(w->model));
    double step = number(w->last, "step");
    snprintf(state, sizeof state, "%s",
             w->state == WATCH_RUNNING     ? "running"
             : w->state == WATCH_NOT_BEGUN ? "no step yet"
             : w->state == WATCH_KILLED    ? "killed; --resume continues it"
             : w->state == WATCH_SILENT    ? ""
             : step >= w->planned          ? "complete"
             : step < w->planned           ? "ended before --steps"
                                           : "ended");
    if (w->state == WATCH_SILENT)
        snprintf(state, sizeof state, "no sign of life for %s", text_seconds(w->silent_s).text);
    add(l, BOLD, "%s | %s | %s%s", run, model[0] ? model : "model not known", state, w->behind ? ", reading" : "");
}

static void add_progress(lines *l, const watch_run *w, int columns) {
    enum { BAR = 20 };
    char bar[BAR + 1], left[80] = "";
    double step = number(w->last, "step"), part = step / w->planned, each_s = watch_run_seconds_per_step(w);
    if (!(part >= 0 && part <= 1)) {
        add(l, PLAIN, "step %.0f", step);
        return;
    }
    memset(bar, '.', BAR);
    memset(bar, '#', (size_t)(part * BAR));
    bar[BAR] = 0;
    double left_s = each_s * (w->planned - step), left_usd = watch_run_usd_per_hour(w) * left_s / 3600;
    if (w->state == WATCH_RUNNING && step < w->planned)
        snprintf(left, sizeof left, "  left %s%s%s", text_seconds(left_s).text, isnan(left_usd) ? "" : " ",
                 isnan(left_usd) ? "" : text_usd(left_usd).text);
    add(l, PLAIN, "step %.0f/%.0f  %s%s%s %3.0f%%%s", step, w->planned, columns < 60 ? "" : "[",
        columns < 60 ? "" : bar, columns < 60 ? "" : "]", 100 * part, left);
}

static void add_loss(lines *l, const watch_run *w) {
    char held_out[64] = "";
    if (!isnan(w->val_loss))
        snprintf(held_out, sizeof held_out, "  held-out %.3f (step %.0f)", w->val_loss, w->val_step);
    add(l, PLAIN, "loss %.3f%s  lr %.1e  norm %.2f  %s tokens", number(w->last, "loss"), held_out,
        number(w->last, "lr"), number(w->last, "grad_norm"), text_count(number(w->last, "tokens")).text);
}

/* ---- below it ---- */

static void add_rate(lines *l, const watch_view *v, const watch_run *w) {
    double sheet = number(w->last, "mfu"), hardware = number(w->last, "hfu");
    bool measured = isnan(sheet);
    char use[96] = "";
    if (measured) sheet = number(w->last, "mfu_of_measured_peak"), hardware = number(w->last, "hfu_of_measured_peak");
    if (!isnan(sheet) && measured)
        snprintf(use, sizeof use, "   model %.1f%% hardware %.1f%% of measured peak", 100 * sheet, 100 * hardware);
    else if (!isnan(sheet)) snprintf(use, sizeof use, "   MFU %.1f%% HFU %.1f%%", 100 * sheet, 100 * hardware);
    curve *p = calloc(1, sizeof *p);
    if (!p) return;
    *p = (curve){.rows = 1, .columns = 16, .unicode = v->unicode};
    if (v->unicode && v->columns >= 60) find_curve(p, w, WATCH_RATE, -1);
    add(l, PLAIN, "%s tok/s %s%s", text_count(number(w->last, "tokens_per_s")).text, p->text[0], use);
    free(p);
}

static void add_machine(lines *l, const watch_run *w) {
    const watch_step *s = watch_run_recent(w, 0);
    const char *source = json_string_or_null(json_object_get(w->last, "energy_source"));
    char watts[48] = "", energy[96] = "energy unknown", gpu[96] = "";
    double power = s->energy_j / s->step_ms * 1e3, mhz = number(w->last, "gpu_sm_mhz");
    if (isfinite(power)) snprintf(watts, sizeof watts, "   %.*f W", power < 100 ? 1 : 0, power);
    if (!isnan(w->now.joules))
        snprintf(energy, sizeof energy, "%.*f kWh%s", w->now.joules < 3.6e5 ? 5 : 2, w->now.joules / 3.6e6,
                 source && strstr(source, "estimated") ? " (estimated)" : "");
    if (!isnan(mhz))
        snprintf(gpu, sizeof gpu, "   GPU %.0f of %.0f MHz, %.0f C", mhz, number(w->last, "gpu_sm_max_mhz"),
                 number(w->last, "gpu_temperature_c"));
    add(l, PLAIN, "%s%s   %s%s", text_bytes(number(w->last, "memory_bytes")).text, watts, energy, gpu);
}

static void add_ranks(lines *l, const watch_run *w) {
    const watch_step *s = watch_run_recent(w, 0), *one;
    double ranks = number(w->last, "ranks"), slowest = s->slowest_rank;
    i64 steps = 0, same = 0;
    if (!(ranks > 1)) return;
    for (; (one = watch_run_recent(w, steps)); steps++) same += one->slowest_rank == slowest;
    add(l, PLAIN, "%.0f ranks, %.1f%% waiting; slowest %.0f, +%.0f%%, in %ld of the last %ld steps", ranks,
        100 * s->exposed_ms / s->step_ms, slowest, 100 * s->skew, same, steps);
}

static void add_total(lines *l, const watch_run *w) {
    double rate = watch_run_usd_per_hour(w), mtok = number(w->last, "usd_per_mtok"), wall_s = (double)w->now.ns * 1e-9;
    if (isnan(w->now.usd)) add(l, BOLD, "the bill: no price; %s so far", text_seconds(wall_s).text);
    else
        add(l, BOLD, "the bill: %s in %s; lately %s an hour, %s/Mtok", text_usd(w->now.usd).text,
            text_seconds(wall_s).text, text_usd(rate).text, text_usd(mtok).text);
}

/* "time +4.0%"; "" where it is unknown */
static short_text drift(const char *what, double part) {
    short_text s = {""};
    if (!isnan(part)) snprintf(s.text, sizeof s.text, "  %s %+.1f%%", what, 100 * part);
    return s;
}

static void add_drift(lines *l, const watch_run *w) {
    if (isnan(w->drift_time) && isnan(w->drift_memory) && isnan(w->drift_usd)) return;
    add(l, PLAIN, "against the plan:%s%s%s", drift("time", w->drift_time).text, drift("memory", w->drift_memory).text,
        drift("money", w->drift_usd).text);
}

/* Shares of the bookings: of the money in the newest line, or of the seconds in ledger.json, which is written with checkpoints. */
typedef struct {
    double usd[BOOKINGS], share[BOOKINGS];
    bool known;
} bill;

static bill find_bill(const watch_run *w) {
    bill b = {0};
    double ledger_s = number(w->ledger, "wall_s"), line_s = number(w->last, "wall_s"), sum = 0;
    const json_t *lines_usd = json_find(w->last, "usd_by_booking");
    bool from_ledger = !lines_usd || ledger_s >= line_s;
    const json_t *usd = from_ledger ? json_object_get(w->ledger, "usd_by_booking") : lines_usd;
    const json_t *seconds = from_ledger ? json_object_get(w->ledger, "bookings") : NULL;
    for (int i = 0; i < BOOKINGS; i++) {
        const char *key = meter_booking_key((booking)i);
        double money = number(usd, key), part = seconds ? number(seconds, key) : money;
        b.usd[i] = json_object_get(usd, key) ? money : seconds ? NAN : 0;
        b.share[i] = part > 0 ? part : 0;
        sum += b.share[i];
    }
    b.known = sum > 0;
    for (int i = 0; i < BOOKINGS && b.known; i++) b.share[i] /= sum;
    return b;
}

static void add_bill(lines *l, const bill *b) {
    char row[160] = "";
    for (int i = 0, in_row = 0; i < BOOKINGS && b->known; i++) {
        if (b->share[i] < 0.0005) continue;
        char one[80];
        snprintf(one, sizeof one, "  %-22s %5.1f%% %-8s", meter_booking_label((booking)i), 100 * b->share[i],
                 isnan(b->usd[i]) ? "" : text_usd(b->usd[i]).text);
        strcat(row, one);
        if (++in_row % 2) continue;
        add(l, PLAIN, "%s", row);
        row[0] = 0;
    }
    if (row[0]) add(l, PLAIN, "%s", row);
}

/* ---- what is slow, and what that costs ---- */

static const char *cost_of(char text[64], double part, double usd_per_hour) {
    if (isnan(usd_per_hour)) text[0] = 0;
    else snprintf(text, 64, ": %s an hour", text_usd(part * usd_per_hour).text);
    return text;
}

/* Mean of the recent steps; their number in *steps. */
static double mean_recent(const watch_run *w, double (*of)(const watch_step *), i64 *steps) {
    double sum = 0, known = 0;
    const watch_step *s;
    for (*steps = 0; (s = watch_run_recent(w, *steps)); ++*steps)
        if (!isnan(of(s))) sum += of(s), known++;
    return known > 0 ? sum / known : NAN;
}

static double waiting(const watch_step *s) { return s->exposed_ms / s->step_ms; }
static double lag(const watch_step *s) { return s->skew / (1 + s->skew); }
static double rate(const watch_step *s) { return s->tokens_per_s; }

/* the largest share worth telling of which nothing was told yet; -1: none */
static int largest(const bill *b, const bool told[BOOKINGS]) {
    int most = -1;
    for (int i = 0; i < BOOKINGS; i++)
        if (!told[i] && b->share[i] >= WORTH_TELLING && (most < 0 || b->share[i] > b->share[most])) most = i;
    return most;
}

static void add_slow(lines *l, const watch_run *w, const bill *b) {
    char cost[64];
    i64 steps;
    int before = l->count;
    double usd = watch_run_usd_per_hour(w), wait = mean_recent(w, waiting, &steps),
           behind = mean_recent(w, lag, &steps);
    double now = mean_recent(w, rate, &steps), below = 1 - now / w->usual_rate;
    const char *throttle = json_string_or_null(json_object_get(w->last, "gpu_throttle"));
    if (number(w->last, "ranks") > 1 && wait > WORTH_TELLING)
        add(l, PLAIN, "slow: ranks wait %.0f%% of a step for communication%s", 100 * wait, cost_of(cost, wait, usd));
    if (number(w->last, "ranks") > 1 && behind > WORTH_TELLING)
        add(l, PLAIN, "slow: the lag of the slowest rank is %.0f%% of a step%s", 100 * behind,
            cost_of(cost, behind, usd));
    if (w->state == WATCH_RUNNING && w->steps >= 20 && below > 0.1)
        add(l, PLAIN, "slow: the last %ld steps are %.0f%% below the run's median rate%s", steps, 100 * below,
            cost_of(cost, below, usd));
    if (throttle && strcmp(throttle, "none") != 0) {
        char reason[PRINTABLE_BYTES * 64 + 1];
        printable(reason, throttle, strnlen(throttle, 64));
        add(l, PLAIN, "slow: GPU clocks are below their maximum: %s", reason);
    }
    bool told[BOOKINGS] = {[BOOK_USEFUL] = true, [BOOK_COMMUNICATION] = true};
    for (int i; b->known && (i = largest(b, told)) >= 0;) {
        told[i] = true;
        cost[0] = 0;
        if (!isnan(b->usd[i])) snprintf(cost, sizeof cost, ": %s so far", text_usd(b->usd[i]).text);
        add(l, PLAIN, "slow: %s takes %.0f%% of the run%s", meter_booking_label((booking)i), 100 * b->share[i], cost);
    }
    if (w->skipped) add(l, PLAIN, "slow: %ld steps were skipped, their loss or gradient was not finite", w->skipped);
    if (w->steps && l->count == before) add(l, PLAIN, "slow: nothing above %.0f%% of the run", 100 * WORTH_TELLING);
}

/* ---- the frame ---- */

static void put_plot(FILE *out, const watch_view *v, const watch_run *w, int rows) {
    curve *p = calloc(1, sizeof *p);
    if (!p) return;
    int columns = v->columns - LABEL - 2;
    *p = (curve){.rows = rows - 1, .columns = columns < COLUMNS ? columns : COLUMNS};
    p->unicode = v->unicode;
    find_curve(p, w, WATCH_LOSS, WATCH_VAL_LOSS);
    for (int r = 0; r < p->rows; r++) {
        char line[4 * COLUMNS + 64], label[32] = "";
        bool ends = r == 0 || r == p->rows - 1;
        if (ends && !isnan(p->low)) snprintf(label, sizeof label, "%.3f", r ? p->low : p->high);
        snprintf(line, sizeof line, "%*s %s%s", LABEL, label, v->unicode ? "\xe2\x94\x82" : "|", p->text[r]);
        put_line(out, v, PLAIN, line);
    }
    char axis[COLUMNS + 64], from[64], to[64];
    const char *legend = isnan(w->val_loss) ? "loss" : "loss, o held-out";
    snprintf(from, sizeof from, "%*s %.0f", LABEL, "step", w->bins[0].from);
    snprintf(to, sizeof to, "%.0f", w->bins[w->n - 1].to);
    int gap = p->columns + LABEL + 2 - (int)(strlen(from) + strlen(to)), left = (gap - (int)strlen(legend)) / 2;
    if (left < 1) left = gap = 1, legend = "";
    snprintf(axis, sizeof axis, "%s%*s%-*s%s", from, left, "", gap - left, legend, to);
    put_line(out, v, DIM, axis);
    free(p);
}

static void put_lines(FILE *out, const watch_view *v, const lines *l, int count) {
    for (int i = 0; i < count; i++) put_line(out, v, l->style[i], l->text[i]);
}

void watch_view_draw(FILE *out, const watch_view *v, const watch_run *w) {
    enum { LEAST_PLOT = 5 };
    lines head = {0}, tail = {0};
    bill b = find_bill(w);
    add_head(&head, w);
    if (w->last) {
        add_progress(&head, w, v->columns);
        add_loss(&head, w);
        add_rate(&tail, v, w);
        add_machine(&tail, w);
        add_ranks(&tail, w);
        add_total(&tail, w);
        add_drift(&tail, w);
        add_slow(&tail, w, &b);
        add_bill(&tail, &b);
    }
    int foot = v->keys, room = v->rows - head.count - foot, plot = 0;
    if (room < 0) room = 0;
    if (w->n && room >= LEAST_PLOT && v->columns > 2 * LABEL)
        plot = room - tail.count > LEAST_PLOT ? room - tail.count : LEAST_PLOT;
    if (plot > ROWS) plot = ROWS;
    put_lines(out, v, &head, head.count < v->rows ? head.count : v->rows);
    if (plot) put_plot(out, v, w, plot);
    put_lines(out, v, &tail, tail.count < room - plot ? tail.count : room - plot);
    if (foot && v->rows > head.count) put_line(out, v, DIM, "q quits");
    free_lines(&head);
    free_lines(&tail);
}
