/* The picture that `tally watch` draws of a run: at most `rows` lines of at most `columns` characters, without escape sequences
 * unless `styled`. What does not fit is left out, the least important first: the table of the bill, then the curve. */
#ifndef TALLY_WATCH_VIEW_H
#define TALLY_WATCH_VIEW_H

#include <stdio.h>

#include "tools/watch_run.h"

typedef struct {
    int rows, columns;
    bool unicode; /* the terminal shows UTF-8: curves of braille dots; else of ASCII */
    bool styled;  /* bold and dim lines */
    bool keys;    /* names the key that quits */
} watch_view;

void watch_view_draw(FILE *out, const watch_view *v, const watch_run *w);

/* The curve of a key over `rows` lines, oldest step at the left; line r of it is text[r], a string of `columns` characters.
 * marks: a second key whose known values are drawn as 'o'; -1: none. *low, *high: the range of its lines, NaN: nothing is known. */
enum { WATCH_VIEW_ROWS = 200, WATCH_VIEW_COLUMNS = 400 };
typedef struct {
    int rows, columns;
    bool unicode;
    double low, high;
    char text[WATCH_VIEW_ROWS][4 * WATCH_VIEW_COLUMNS + 1];
} watch_view_plot;
void watch_view_curve(watch_view_plot *p, const watch_run *w, watch_curve key, int marks);

#endif
