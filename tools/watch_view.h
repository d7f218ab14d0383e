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

#endif
