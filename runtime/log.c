#include "runtime/log.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "runtime/printable.h"

static int own_rank, all_ranks = 1;
static int progress_rows; /* on the screen now */

void log_set_rank(int rank, int ranks) {
    own_rank = rank;
    all_ranks = ranks;
}

bool log_is_terminal(void) {
    static int known = -1;
    if (known < 0) known = isatty(STDERR_FILENO);
    return known;
}

static int terminal_columns(void) {
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 80;
}

static void erase_progress(void) {
    if (progress_rows > 1) fprintf(stderr, "\033[%dA", progress_rows - 1);
    if (progress_rows) fputs("\r\033[J", stderr);
    progress_rows = 0;
}

void log_line(const char *format, ...) {
    if (own_rank) return;
    char *text;
    va_list args;
    va_start(args, format);
    int length = vasprintf(&text, format, args);
    va_end(args);
    if (length < 0) return; /* no memory for a line */
    char *shown = malloc(PRINTABLE_BYTES * (size_t)length + 1);
    if (shown) {
        printable(shown, text, (size_t)length);
        erase_progress();
        fprintf(stderr, "%s\n", shown); /* in one write, so that output of a launcher cannot split it */
    }
    free(shown);
    free(text);
}

static void draw_bar(double done, int columns) {
    int width = columns - 8, filled = (int)(done * width);
    fputc('[', stderr);
    for (int i = 0; i < width; i++) fputc(i < filled ? '#' : '.', stderr);
    fprintf(stderr, "] %3d%%", (int)(done * 100));
}

void log_progress(const char *line, double done) {
    static const char separator[] = " | ";
    if (own_rank) return;
    done = done > 0 ? fmin(done, 1) : 0; /* a NaN is 0 */
    if (!log_is_terminal()) {
        fprintf(stderr, "%s\n", line);
        return;
    }
    int columns = terminal_columns() - 1, used = columns; /* the first field begins a row */
    erase_progress();
    draw_bar(done, columns);
    progress_rows = 1;
    for (const char *field = line; *field;) {
        const char *end = strstr(field, separator);
        int length = end ? (int)(end - field) : (int)strlen(field);
        bool fits = used + 3 + length <= columns;
        if (!fits) progress_rows++;
        fprintf(stderr, "%s%.*s", fits ? separator : "\n", length < columns ? length : columns, field);
        used = fits ? used + 3 + length : length;
        field += length;
        if (end) field += sizeof separator - 1;
    }
    fflush(stderr);
}

void log_progress_end(void) {
    if (progress_rows) fputc('\n', stderr);
    progress_rows = 0;
}

void log_failure(status_code st) {
    char rank[32] = "";
    if (all_ranks > 1) snprintf(rank, sizeof rank, "rank %d: ", own_rank);
    int failed, used = 0;
    if (sscanf(status_message(), "rank %d: %n", &failed, &used) == 1 && used > 0)
        rank[0] = 0; /* the message names the rank itself */
    erase_progress();
    if (status_exit_code(st) == 2) fprintf(stderr, "tally: %s%s\n", rank, status_message());
    else fprintf(stderr, "tally: %s%s\n  (%s at %s)\n", rank, status_message(), status_text(st), status_backtrace());
}
