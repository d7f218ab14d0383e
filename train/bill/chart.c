#include "train/bill/chart.h"

#include <math.h>

enum { WIDTH = 760, HEIGHT = 300, LEFT = 58, RIGHT = 24, TOP = 34, BOTTOM = 46, TITLE = 30 };
static const double plot_width = WIDTH - LEFT - RIGHT, plot_height = HEIGHT - TOP - BOTTOM;

const char chart_style[] =
    ".chart{font:12px system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}"
    ".chart text{fill:#57606a}.chart .title{fill:#1f2328;font-size:15px;font-weight:600}.chart .paper{fill:#fff}"
    ".chart .grid{stroke:#d8dee4;stroke-width:1}.chart .axis{stroke:#8c959f;stroke-width:1}"
    ".chart path{fill:none;stroke:currentColor;stroke-linejoin:round;stroke-linecap:round}"
    ".chart .thin{stroke-width:1;stroke-opacity:.5}.chart .fine{stroke-width:1.3}.chart .line{stroke-width:2.2}.chart "
    ".join{stroke-width:1.2}"
    ".chart path.area{fill:currentColor;stroke:none}.chart circle{fill:currentColor;stroke:#fff;stroke-width:1}"
    ".d1{stroke-dasharray:7 4}.d2{stroke-dasharray:2 4}.d3{stroke-dasharray:9 3 2 3}.d4{stroke-dasharray:14 6}"
    ".c0{color:#0b62d6}.c1{color:#d4500a}.c2{color:#1a7f4b}.c3{color:#7d3fc4}"
    ".c4{color:#9a6700}.c5{color:#c2255c}.c6{color:#0c8599}.c7{color:#5c636a}"
    "@media screen and (prefers-color-scheme:dark){.chart text{fill:#9da7b3}.chart .title{fill:#e6edf3}"
    ".chart .paper{fill:#0f141a}.chart .grid{stroke:#262d36}.chart .axis{stroke:#545d68}.chart circle{stroke:#0f141a}"
    ".c0{color:#58a6ff}.c1{color:#ff9a4d}.c2{color:#4cc38a}.c3{color:#b892f5}"
    ".c4{color:#e3b341}.c5{color:#ff7eb6}.c6{color:#3bc9db}.c7{color:#adb5bd}}";

static const char *const mark_name[] = {
#define X(code, name) name,
    CHART_MARK_LIST(X)
#undef X
};

const char *chart_mark_name(chart_mark m) { return mark_name[m]; }

/* Length of the valid UTF-8 character at s, or 0. */
static size_t utf8_length(const unsigned char *s, size_t room) {
    if (s[0] < 0x80) return 1;
    size_t n = s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 : s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : 0;
    if (n == 0 || n > room) return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    bool overlong = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90);
    bool surrogate = s[0] == 0xed && s[1] >= 0xa0, beyond = s[0] == 0xf4 && s[1] >= 0x90;
    return overlong || surrogate || beyond ? 0 : n;
}

void chart_text(FILE *out, const char *text, size_t bytes) {
    for (size_t i = 0; i < bytes;) {
        const unsigned char *s = (const unsigned char *)text + i;
        size_t n = utf8_length(s, bytes - i);
        bool control = (*s < 0x20 && *s != '\n' && *s != '\t') || *s == 0x7f;
        if (n == 0 || control) fputs("\xef\xbf\xbd", out);
        else if (*s == '&') fputs("&amp;", out);
        else if (*s == '<') fputs("&lt;", out);
        else if (*s == '>') fputs("&gt;", out);
        else if (*s == '"') fputs("&quot;", out);
        else if (*s == '\'') fputs("&#39;", out);
        else fwrite(s, 1, n, out);
        i += n ? n : 1;
    }
}

static void label(FILE *out, const char *text) { chart_text(out, text, strlen(text)); }

typedef struct {
    double x0, x1, y0, y1;
    double x_step, y_step; /* between ticks */
} frame;

static double to_px(const frame *f, double x) { return LEFT + (x - f->x0) / (f->x1 - f->x0) * plot_width; }
static double to_py(const frame *f, double y) { return TOP + (f->y1 - y) / (f->y1 - f->y0) * plot_height; }

/* 1, 2 or 5 times a power of ten, so that the range is about `ticks` of it. */
static double nice_step(double range, int ticks) {
    double raw = range / ticks, power = pow(10, floor(log10(raw))), lead = raw / power;
    return power * (lead < 1.5 ? 1 : lead < 3.5 ? 2 : lead < 7.5 ? 5 : 10);
}

typedef struct {
    double low, high;
} range;

static void extend(range *r, const double *v, i64 n) {
    for (i64 i = 0; i < n; i++) {
        if (v[i] < r->low) r->low = v[i]; /* false for NaN */
        if (v[i] > r->high) r->high = v[i];
    }
}

static range values_of(const chart *c) {
    range y = {INFINITY, -INFINITY};
    for (int s = 0; s < c->series_count; s++) extend(&y, c->series[s].y, c->series[s].n);
    return y;
}

static bool frame_fit(frame *f, const chart *c) {
    range x = {INFINITY, -INFINITY}, y = values_of(c);
    if (y.low > y.high) return false;
    for (int s = 0; s < c->series_count; s++) extend(&x, c->series[s].x, c->series[s].n);
    double low = y.low, high = y.high;
    if (c->from_zero && low > 0) low = 0;
    if (high - low <= 1e-9 * fabs(low) + 1e-15) high = low + (fabs(low) > 1e-12 ? fabs(low) * 0.1 : 1); /* flat */
    f->y_step = nice_step(high - low, 5);
    f->y0 = floor(low / f->y_step + 1e-9) * f->y_step;
    f->y1 = ceil(high / f->y_step - 1e-9) * f->y_step;
    f->x0 = x.low, f->x1 = x.high;
    if (f->x0 == f->x1) {
        double pad = fmax(1, 1e-9 * fabs(x.low)); /* 1 is nothing beside 1e17 */
        f->x0 -= pad, f->x1 += pad;
    }
    f->x_step = fmax(1, nice_step(f->x1 - f->x0, 8));
    return true;
}

/* With enough digits to distinguish neighbouring ticks; k, M and G for large values. */
static void tick_label(FILE *out, double value, double step) {
    const char *unit = step >= 1e9 ? "G" : step >= 1e6 ? "M" : step >= 1e3 ? "k" : "";
    double scale = step >= 1e9 ? 1e9 : step >= 1e6 ? 1e6 : step >= 1e3 ? 1e3 : 1;
    int digits = (int)fmax(0, ceil(-log10(step / scale) - 1e-9));
    if (fabs(value) < step / 2) fputs("0", out);
    else if (digits > 6 || fabs(value / scale) >= 1e6) fprintf(out, "%.3g%s", value / scale, unit);
    else fprintf(out, "%.*f%s", digits, value / scale, unit);
}

static void write_axes(FILE *out, const chart *c, const frame *f) {
    double bottom = TOP + plot_height;
    i64 ticks = (i64)((f->y1 - f->y0) / f->y_step + 0.5);
    for (i64 i = 0; i <= ticks; i++) {
        double y = f->y0 + (double)i * f->y_step, py = to_py(f, y);
        fprintf(out, "<line class=\"%s\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>", i ? "grid" : "axis", LEFT,
                WIDTH - RIGHT, py, py);
        fprintf(out, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">", LEFT - 8, py + 4);
        tick_label(out, y, f->y_step);
        fputs("</text>\n", out);
    }
    for (i64 i = (i64)ceil(f->x0 / f->x_step); (double)i * f->x_step <= f->x1; i++) {
        double x = (double)i * f->x_step, px = to_px(f, x);
        fprintf(out, "<line class=\"axis\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>", px, px, bottom,
                bottom + 5);
        fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">", px, bottom + 19);
        tick_label(out, x, f->x_step);
        fputs("</text>\n", out);
    }
    fprintf(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">", LEFT + plot_width / 2, HEIGHT - 8);
    label(out, c->x_label);
    fprintf(out, "</text>\n<text x=\"%d\" y=\"%d\">", 8, TOP - 16);
    label(out, c->y_label);
    fputs("</text>\n", out);
}

static void write_legend(FILE *out, const chart *c) {
    double x = WIDTH - RIGHT;
    for (int s = c->series_count - 1; s >= 0; s--) {
        const chart_series *series = &c->series[s];
        x -= 7.0 * (double)strlen(series->label); /* a generous width of a letter at 12 px */
        fprintf(out, "<text x=\"%.0f\" y=\"%d\">", x, TOP - 16);
        label(out, series->label);
        fputs("</text>", out);
        if (series->mark == CHART_DOTS)
            fprintf(out, "<circle class=\"%s\" cx=\"%.0f\" cy=\"%d\" r=\"3.5\"/>\n", series->colour, x - 11, TOP - 20);
        else
            fprintf(out, "<path class=\"%s %s\" d=\"M%.0f %dh16\"/>\n", mark_name[series->mark], series->colour, x - 22,
                    TOP - 20);
        x -= 36;
    }
}

static void write_point(FILE *out, const frame *f, const chart_series *s, i64 i, bool *pen_down) {
    /* h0 begins a stroke of no length, which round caps draw as a dot: a point between two gaps stays visible */
    fprintf(out, *pen_down ? "L%.1f %.1f" : "M%.1f %.1fh0", to_px(f, s->x[i]), to_py(f, s->y[i]));
    *pen_down = true;
}

static void begin_path(FILE *out, const char *mark, const chart_series *s) {
    fprintf(out, "<path class=\"%s %s", mark, s->colour);
    if (s->dash) fprintf(out, " d%d", s->dash);
    fputs("\" d=\"", out);
}

/* At most the lowest and the highest value of each pixel column, so that the page stays small and no spike is lost. */
static void write_line(FILE *out, const frame *f, const chart_series *s) {
    const double *y = s->y;
    bool pen_down = false;
    begin_path(out, mark_name[s->mark], s);
    for (i64 i = 0; i < s->n;) {
        if (isnan(y[i])) {
            pen_down = false;
            i++;
            continue;
        }
        int column = (int)to_px(f, s->x[i]);
        i64 low = i, high = i;
        for (; i < s->n && !isnan(y[i]) && (int)to_px(f, s->x[i]) == column; i++) {
            if (y[i] < y[low]) low = i;
            if (y[i] > y[high]) high = i;
        }
        write_point(out, f, s, low < high ? low : high, &pen_down);
        if (low != high) write_point(out, f, s, low < high ? high : low, &pen_down);
    }
    fputs("\"/>\n", out);
}

/* Whether y[i] is the last known value of its pixel column. */
static bool is_last_of_column(const frame *f, const chart_series *s, i64 i) {
    int column = (int)to_px(f, s->x[i]);
    if (isnan(s->y[i])) return false;
    for (i64 k = i + 1; k < s->n && (int)to_px(f, s->x[k]) == column; k++)
        if (!isnan(s->y[k])) return false;
    return true;
}

/* Of the values in one pixel column only the last is drawn. */
static void write_area(FILE *out, const frame *f, const chart_series *s) {
    bool pen_down = false;
    begin_path(out, mark_name[CHART_AREA], s);
    for (i64 i = 0; i < s->n; i++)
        if (is_last_of_column(f, s, i)) write_point(out, f, s, i, &pen_down);
    chart_series floor_of = *s;
    floor_of.y = s->below;
    for (i64 i = s->n - 1; i >= 0; i--)
        if (is_last_of_column(f, s, i)) write_point(out, f, &floor_of, i, &pen_down);
    fputs("Z\"/>\n", out);
}

/* Each dot has its value as a tooltip. Of the dots in one pixel column only the last is drawn. */
static void write_dots(FILE *out, const chart *c, const frame *f, const chart_series *s) {
    bool pen_down = false;
    begin_path(out, "join", s);
    for (i64 i = 0; i < s->n; i++)
        if (is_last_of_column(f, s, i)) write_point(out, f, s, i, &pen_down);
    fputs("\"/>\n", out);
    for (i64 i = 0; i < s->n; i++) {
        if (!is_last_of_column(f, s, i)) continue;
        fprintf(out, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\"><title>", s->colour, to_px(f, s->x[i]),
                to_py(f, s->y[i]));
        label(out, s->label);
        fprintf(out, " %.4g, ", s->y[i]);
        label(out, c->x_label);
        fprintf(out, " %.0f</title></circle>\n", s->x[i]);
    }
}

static bool write_contents(FILE *out, const chart *c) {
    frame f;
    if (!frame_fit(&f, c)) {
        fprintf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">not known: no step has recorded it</text>\n",
                WIDTH / 2, HEIGHT / 2);
        return false;
    }
    write_axes(out, c, &f);
    for (int i = 0; i < c->series_count; i++) {
        const chart_series *s = &c->series[i];
        if (s->mark == CHART_DOTS) write_dots(out, c, &f, s);
        else if (s->mark == CHART_AREA) write_area(out, &f, s);
        else write_line(out, &f, s);
    }
    return true;
}

void chart_write_inline(FILE *out, const chart *c) {
    fprintf(out, "<svg class=\"chart\" viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", WIDTH, HEIGHT);
    label(out, c->title);
    fputs("\">\n", out);
    write_contents(out, c);
    fputs("</svg>\n", out);
}

void chart_write_svg(FILE *out, const chart *c) {
    fprintf(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" width=\"%d\" height=\"%d\" viewBox=\"0 %d %d %d\">\n"
        "<style>%s</style>\n<rect class=\"paper\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"8\"/>\n"
        "<text class=\"title\" x=\"%d\" y=\"-6\" text-anchor=\"middle\">",
        WIDTH, HEIGHT + TITLE, -TITLE, WIDTH, HEIGHT + TITLE, chart_style, -TITLE, WIDTH, HEIGHT + TITLE, WIDTH / 2);
    label(out, c->title);
    fputs("</text>\n", out);
    if (write_contents(out, c)) write_legend(out, c);
    fputs("</svg>\n", out);
}
