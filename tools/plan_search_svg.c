/* Cost against memory, whose axis is logarithmic. The frontier is a staircase, since what costs so much is possible with all memory from
 * here to the next point. What does not fit is drawn faint, and the memory of the device is a line. */
#include <math.h>
#include <string.h>

#include "runtime/text.h"
#include "tools/plan_search.h"
#include "train/bill/chart.h"

enum { WIDTH = 760, HEIGHT = 400, LEFT = 78, RIGHT = 24, TOP = 78, BOTTOM = 52 };

typedef struct {
    double x0, x1, y0, y1, y_step; /* x: log2 of bytes */
} frame;

static double px(const frame *f, double bytes) {
    return LEFT + (log2(bytes) - f->x0) / (f->x1 - f->x0) * (WIDTH - LEFT - RIGHT);
}
static double py(const frame *f, double y) { return TOP + (f->y1 - y) / (f->y1 - f->y0) * (HEIGHT - TOP - BOTTOM); }

static double step_of(double range, int ticks) {
    double power = pow(10, floor(log10(range / ticks))), lead = range / ticks / power;
    return power * (lead < 1.5 ? 1 : lead < 3.5 ? 2 : lead < 7.5 ? 5 : 10);
}

static frame fit(const plan_search_result *r, const plan_request *base) {
    const plan_search_point *first = &r->frontier[0], *last = &r->frontier[r->count - 1];
    double least = first->p.memory_bytes, most = last->p.memory_bytes;
    double low = plan_search_cost(last, base), high = plan_search_cost(first, base);
    if (!isnan(base->memory_limit)) least = fmin(least, base->memory_limit), most = fmax(most, base->memory_limit);
    if (!(high > low * 1.001)) high = low * 1.1, low *= 0.9; /* 0 where the price is */
    if (!(high > low)) high = low + 1;
    frame f = {.x0 = floor(log2(least) - 0.2), .x1 = ceil(log2(most) + 0.2), .y_step = step_of(high - low, 5)};
    f.y0 = floor(low / f.y_step) * f.y_step;
    f.y1 = ceil(high / f.y_step) * f.y_step;
    return f;
}

static void write_axes(FILE *out, const frame *f, const char *y_label) {
    int bottom = HEIGHT - BOTTOM;
    for (int i = 0; f->y0 + i * f->y_step <= f->y1 * (1 + 1e-9); i++) {
        double y = f->y0 + i * f->y_step;
        fprintf(out, "<line class=\"%s\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>", i ? "grid" : "axis", LEFT,
                WIDTH - RIGHT, py(f, y), py(f, y));
        fprintf(out, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.6g</text>\n", LEFT - 8, py(f, y) + 4, y);
    }
    for (int i = (int)f->x0; i <= (int)f->x1; i++) {
        double x = px(f, ldexp(1, i));
        fprintf(out, "<line class=\"axis\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/>", x, x, bottom, bottom + 5);
        fprintf(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%g</text>\n", x, bottom + 19, ldexp(1, i - 30));
    }
    fprintf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">memory of a device, GiB</text>\n",
            (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10);
    fprintf(out, "<text x=\"12\" y=\"%d\">%s</text>\n", TOP - 12, y_label);
}

static void write_limit(FILE *out, const frame *f, double bytes) {
    double x = px(f, bytes);
    bool left = x > WIDTH / 2.0;
    fprintf(out, "<path class=\"limit\" d=\"M%.1f %dV%d\"/>", x, TOP, HEIGHT - BOTTOM);
    fprintf(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"%s\">a device has %s</text>\n", left ? x - 6 : x + 6,
            TOP + 14, left ? "end" : "start", text_bytes(bytes).text);
}

static void write_frontier(FILE *out, const frame *f, const plan_search_result *r, const plan_request *base) {
    fputs("<g class=\"c0\"><path class=\"line\" d=\"", out); /* the chart's first colour, light or dark */
    for (int i = 0; i < r->count; i++) {
        double x = px(f, r->frontier[i].p.memory_bytes), y = py(f, plan_search_cost(&r->frontier[i], base));
        fprintf(out, i ? "H%.1fV%.1f" : "M%.1f %.1f", x, y);
    }
    fprintf(out, "H%d\"/>\n", WIDTH - RIGHT);
    for (int i = 0; i < r->count; i++) {
        const plan_search_point *p = &r->frontier[i];
        bool cheapest = i == r->cheapest, fits = plan_search_fits(base, p->p.memory_bytes);
        fprintf(out, "<circle class=\"dots%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%s\"><title>%s, %.6g: %s</title></circle>\n",
                fits ? "" : " faint", px(f, p->p.memory_bytes), py(f, plan_search_cost(p, base)),
                cheapest ? "6" : "3.5", text_bytes(p->p.memory_bytes).text, plan_search_cost(p, base),
                plan_search_describe(&p->step).text);
    }
    fputs("</g>\n", out);
}

static void write_title(FILE *out, const plan_search_result *r, const plan_request *base) {
    const char *name = base->step.c.name;
    fprintf(out, "<text class=\"title\" x=\"%d\" y=\"24\" text-anchor=\"middle\">", WIDTH / 2);
    chart_text(out, name, strlen(name));
    fprintf(out, " on %d devices: cost against memory</text>\n", base->step.o.shard.ranks);
    if (r->cheapest >= 0)
        fprintf(out, "<text x=\"%d\" y=\"42\" text-anchor=\"middle\">cheapest%s: %s</text>\n", WIDTH / 2,
                isnan(base->memory_limit) ? "" : " that fits",
                plan_search_describe(&r->frontier[r->cheapest].step).text);
}

void plan_search_svg(FILE *out, const plan_search_result *r, const plan_request *base) {
    frame f = fit(r, base);
    fprintf(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\">\n"
        "<style>%s.chart .limit{stroke:#cf222e;stroke-width:1.5;stroke-dasharray:5 4}.chart "
        ".faint{opacity:.35}</style>\n"
        "<rect class=\"paper\" width=\"%d\" height=\"%d\" rx=\"8\"/>\n",
        WIDTH, HEIGHT, WIDTH, HEIGHT, chart_style, WIDTH, HEIGHT);
    write_title(out, r, base);
    write_axes(out, &f, plan_search_cost_unit(r, base));
    if (!isnan(base->memory_limit)) write_limit(out, &f, base->memory_limit);
    write_frontier(out, &f, r, base);
    fputs("</svg>\n", out);
}
