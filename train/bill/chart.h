/* Line charts as SVG without scripts: inline in the report page, or as a file of their own. */
#ifndef TALLY_CHART_H
#define TALLY_CHART_H

#include <stdbool.h>
#include <stdio.h>

#include "runtime/tensor.h"

typedef enum { CHART_THIN, CHART_LINE, CHART_DOTS } chart_mark;

typedef struct {
    const char *label; /* in the legend */
    chart_mark mark;
    const double *y; /* [n]; NaN: unknown */
} chart_series;

typedef struct {
    const char *title; /* above a chart in a file of its own; else only for screen readers */
    const char *x_label, *y_label;
    const double *x; /* [n] whole numbers in increasing order */
    i64 n;
    const chart_series *series;
    int series_count;
    bool from_zero; /* the y axis begins at 0 */
} chart;

void chart_write_inline(FILE *out, const chart *c); /* the page must contain chart_style */
void chart_write_svg(FILE *out, const chart *c);    /* a complete SVG file with style, background and title */
extern const char chart_style[];                    /* CSS, for light and dark */

/* Writes text escaped for HTML or XML. Invalid UTF-8 and control characters become U+FFFD. */
void chart_text(FILE *out, const char *text, size_t bytes);

#endif
