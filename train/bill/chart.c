#include "train/bill/chart.h"

#include <math.h>

enum { WIDTH = 760, HEIGHT = 300, LEFT = 58, RIGHT = 24, TOP = 34, BOTTOM = 46, TITLE = 30 };
static const double plot_width = WIDTH - LEFT - RIGHT, plot_height = HEIGHT - TOP - BOTTOM;

const char chart_style[] =
    ".chart{font:12px system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}"
    ".chart text{fill:#57606a}.chart .title{fill:#1f2328;font-size:15px;font-weight:600}.chart .paper{fill:#fff}"
    ".chart .grid{stroke:#d8dee4;stroke-width:1}.chart .axis{stroke:#8c959f;stroke-width:1}"
    ".chart path{fill:none;stroke-linejoin:round;stroke-linecap:round}"
    ".chart .thin{stroke:#86b4ee;stroke-width:1}.chart .line{stroke:#0b62d6;stroke-width:2.2}"
    ".chart .dots{fill:#e8590c;stroke:#fff;stroke-width:1}"
    "@media(prefers-color-scheme:dark){.chart text{fill:#9da7b3}.chart .title{fill:#e6edf3}.chart .paper{fill:#0f141a}"
    ".chart .grid{stroke:#262d36}.chart .axis{stroke:#545d68}.chart .thin{stroke:#2f5f9e}.chart .line{stroke:#58a6ff}"
    ".chart .dots{fill:#ff9a4d;stroke:#0f141a}}";

static const char *const mark_class[] = {"thin", "line", "dots"};

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

static bool frame_fit(frame *f, const chart *c) {
    double low = INFINITY, high = -INFINITY;
    for (int s = 0; s < c->series_count; s++)
        for (i64 i = 0; i < c->n; i++) {
            double y = c->series[s].y[i];
            if (y < low) low = y; /* false for NaN */
            if (y > high) high = y;
        }
    if (low > high) return false;
    if (c->from_zero && low > 0) low = 0;
    if (high - low <= 1e-9 * fabs(low) + 1e-15) high = low + (fabs(low) > 1e-12 ? fabs(low) * 0.1 : 1); /* flat */
    f->y_step = nice_step(high - low, 5);
    f->y0 = floor(low / f->y_step + 1e-9) * f->y_step;
    f->y1 = ceil(high / f->y_step - 1e-9) * f->y_step;
    f->x0 = c->x[0], f->x1 = c->x[c->n - 1];
    if (f->x0 == f->x1) f->x0 -= 1, f->x1 += 1;
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
            fprintf(out, "<circle class=\"dots\" cx=\"%.0f\" cy=\"%d\" r=\"3.5\"/>\n", x - 11, TOP - 20);
        else fprintf(out, "<path class=\"%s\" d=\"M%.0f %dh16\"/>\n", mark_class[series->mark], x - 22, TOP - 20);
        x -= 36;
    }
}

static void write_point(FILE *out, const frame *f, const chart *c, const double *y, i64 i, bool *pen_down) {
    /* h0 begins a stroke of no length, which round caps draw as a dot: a point between two gaps stays visible */
    fprintf(out, *pen_down ? "L%.1f %.1f" : "M%.1f %.1fh0", to_px(f, c->x[i]), to_py(f, y[i]));
    *pen_down = true;
}

/* At most the lowest and the highest value of each pixel column, so that the page stays small and no spike is lost. */
static void write_line(FILE *out, const chart *c, const frame *f, const chart_series *series) {
    const double *y = series->y;
    bool pen_down = false;
    fprintf(out, "<path class=\"%s\" d=\"", mark_class[series->mark]);
    for (i64 i = 0; i < c->n;) {
        if (isnan(y[i])) {
            pen_down = false;
            i++;
            continue;
        }
        int column = (int)to_px(f, c->x[i]);
        i64 low = i, high = i;
        for (; i < c->n && !isnan(y[i]) && (int)to_px(f, c->x[i]) == column; i++) {
            if (y[i] < y[low]) low = i;
            if (y[i] > y[high]) high = i;
        }
        write_point(out, f, c, y, low < high ? low : high, &pen_down);
        if (low != high) write_point(out, f, c, y, low < high ? high : low, &pen_down);
    }
    fputs("\"/>\n", out);
}

/* Each dot has its value as a tooltip. Of the dots in one pixel column only the last is drawn. */
static void write_dots(FILE *out, const chart *c, const frame *f, const chart_series *series) {
    int column = WIDTH;
    for (i64 i = c->n - 1; i >= 0; i--) {
        double px = to_px(f, c->x[i]);
        if (isnan(series->y[i]) || (int)px == column) continue;
        column = (int)px;
        fprintf(out, "<circle class=\"dots\" cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\"><title>", px, to_py(f, series->y[i]));
        label(out, series->label);
        fprintf(out, " %.4g, ", series->y[i]);
        label(out, c->x_label);
        fprintf(out, " %.0f</title></circle>\n", c->x[i]);
    }
}

static void write_contents(FILE *out, const chart *c) {
    frame f;
    if (!frame_fit(&f, c)) {
        fprintf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">not known: no step has recorded it</text>\n",
                WIDTH / 2, HEIGHT / 2);
        return;
    }
    write_axes(out, c, &f);
    for (int s = 0; s < c->series_count; s++) {
        if (c->series[s].mark == CHART_DOTS) write_dots(out, c, &f, &c->series[s]);
        else write_line(out, c, &f, &c->series[s]);
    }
    if (c->series_count > 1) write_legend(out, c);
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
    write_contents(out, c);
    fputs("</svg>\n", out);
}
