/* Line charts as SVG, without scripts: for the report page, and as pictures that stand alone. */
#ifndef TALLY_CHART_H
#define TALLY_CHART_H

#include <stdbool.h>
#include <stdio.h>

#include "runtime/tensor.h"

typedef enum { CHART_THIN, CHART_LINE, CHART_DOTS } chart_mark;

typedef struct {
    const char *label; /* in the legend */
    chart_mark mark;
    const double *y; /* [n]; NaN where not known */
} chart_series;

typedef struct {
    const char *title; /* above the picture of its own; the name for screen readers */
    const char *x_label, *y_label;
    const double *x; /* [n] whole numbers, rising */
    i64 n;
    const chart_series *series;
    int series_count;
    bool from_zero; /* the y axis begins at 0 */
} chart;

void chart_write_inline(FILE *out, const chart *c); /* wants chart_style in the page */
void chart_write_svg(FILE *out, const chart *c);    /* a whole SVG file: style, background and title in it */
extern const char chart_style[];                    /* CSS, for light and dark */

/* text as HTML or XML: escaped; what is not UTF-8, and control characters, become U+FFFD */
void chart_text(FILE *out, const char *text, size_t bytes);

#endif
