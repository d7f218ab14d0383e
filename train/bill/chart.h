/* Line charts as SVG without scripts: inline in the report page, or as a file of their own. Colours are CSS classes of
 * chart_style: c0 to c7, of CHART_COLOURS, and those that the page adds. */
#ifndef TALLY_CHART_H
#define TALLY_CHART_H

#include <stdbool.h>
#include <stdio.h>

#include "runtime/tensor.h"

/* DOTS joins its dots, also over unknown values. AREA fills what lies between `below` and y. */
#define CHART_MARK_LIST(X) X(THIN, "thin") X(FINE, "fine") X(LINE, "line") X(DOTS, "dots") X(AREA, "area")
typedef enum {
#define X(code, name) CHART_##code,
    CHART_MARK_LIST(X)
#undef X
} chart_mark;
const char *chart_mark_name(chart_mark m);

enum { CHART_COLOURS = 8, CHART_DASHES = 5 };

typedef struct {
    const char *label; /* in the legend */
    chart_mark mark;
    const char *colour; /* a CSS class */
    int dash;           /* 0: a solid line; below CHART_DASHES */
    const double *x;    /* [n] whole numbers in increasing order */
    const double *y;    /* [n]; NaN: unknown */
    const double *below;
    i64 n;
} chart_series;

typedef struct {
    const char *title; /* above a chart in a file of its own; else only for screen readers */
    const char *x_label, *y_label;
    const chart_series *series;
    int series_count;
    bool from_zero; /* the y axis begins at 0 */
} chart;

void chart_write_inline(FILE *out, const chart *c); /* without a legend; the page must contain chart_style */
void chart_write_svg(FILE *out, const chart *c);    /* a complete SVG file with style, background, title and legend */
extern const char chart_style[];                    /* CSS, for light and dark */

/* Writes text escaped for HTML or XML. Invalid UTF-8 and control characters become U+FFFD. */
void chart_text(FILE *out, const char *text, size_t bytes);

#endif
