#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "tools/command.h"
#include "tools/shared_options.h"
#include "tools/watch_view.h"

typedef struct {
    double every;
    bool once, help;
} values;

#define AT(member) OPTION_AT(values, member)
static const option table[] = {
    {AT(every), .group = "Watching", .name = "every", .argument = "SECONDS", .default_text = "1", .min = 0.1,
     .max = 3600, .help = "read the run again after this time"},
    {AT(once), .name = "once", .help = "print one picture and end, as if the output is not a terminal"},
    {AT(help), OPTION_HELP},
};

static const command_help help = {
    .usage = "tally watch RUN [options]",
    .about =
        "Shows a run in the terminal, while it trains or later: loss, speed, ranks, the bill, what is slow and what\n"
        "that costs. It only reads the folder of the run. The keys q and Ctrl-C end it.\n"
        "  tally watch runs/book\n"
        "  ssh -t HOST tally watch runs/book\n",
    .table = table,
    .count = sizeof table / sizeof *table,
};

enum { CTRL_C = 3, CTRL_Z = 26 };

/* ---- the terminal ---- */

static struct termios cooked;
static bool keys; /* standard input is the terminal too */
static volatile sig_atomic_t ended, resized;

static void on_signal(int number) {
    if (number == SIGWINCH) resized = 1;
    else ended = number;
}

static void catch_signals(void) {
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH};
    struct sigaction a = {.sa_handler = on_signal};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) sigaction(numbers[i], &a, NULL);
}

static void print(const char *text, size_t bytes) {
    while (bytes) {
        ssize_t done = write(STDOUT_FILENO, text, bytes);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) {
            ended = SIGHUP; /* the terminal is gone */
            return;
        }
        text += done;
        bytes -= (size_t)done;
    }
}

static void print_text(const char *text) { print(text, strlen(text)); }

/* another screen, no cursor, no wrap of lines that are too wide */
static void enter_screen(void) {
    keys = tcgetattr(STDIN_FILENO, &cooked) == 0;
    struct termios raw = cooked;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG);
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    if (keys) tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
    print_text("\033[?1049h\033[?25l\033[?7l\033[2J");
}

static void leave_screen(void) {
    print_text("\033[?7h\033[?25h\033[?1049l");
    if (keys) tcsetattr(STDIN_FILENO, TCSADRAIN, &cooked);
}

static bool shows_unicode(void) {
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = getenv(names[i]);
        if (value && *value) return strcasestr(value, "utf-8") || strcasestr(value, "utf8");
    }
    return false;
}

static watch_view size_of_terminal(bool is_terminal) {
    struct winsize size = {0};
    const char *columns = getenv("COLUMNS");
    watch_view v = {.rows = 24, .columns = columns ? atoi(columns) : 80, .unicode = shows_unicode()};
    if (is_terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row && size.ws_col) {
        v.rows = size.ws_row;
        v.columns = size.ws_col;
    }
    if (v.columns < 20) v.columns = 20;
    v.styled = is_terminal && !getenv("NO_COLOR");
    return v;
}

/* ---- drawing ---- */

static status draw(const watch_run *w, bool to_screen) {
    char *text = NULL;
    size_t bytes;
    watch_view v = size_of_terminal(to_screen);
    v.keys = to_screen && keys;
    FILE *out = open_memstream(&text, &bytes);
    if (!out) FAIL(MEM, "no memory for a picture");
    watch_view_draw(out, &v, w);
    if (fclose(out)) FAIL(MEM, "no memory for a picture");
    if (!to_screen) fputs(text, stdout);
    else {
        char *screen = NULL; /* lines end with: clear the rest, go to the next one; the last one without a newline */
        FILE *s = open_memstream(&screen, &bytes);
        for (const char *line = text; s && *line;) {
            int length = (int)strcspn(line, "\n");
            fprintf(s, "%s%.*s\033[K", line == text ? "\033[H" : "\r\n", length, line);
            line += length + 1;
        }
        if (s) {
            fputs("\033[J", s);
            if (fclose(s) == 0) print(screen, bytes);
        }
        free(screen);
    }
    free(text);
    return STATUS_OK;
}

/* Until the time is over, a key is pressed or the size changes. */
static void wait_for(double seconds) {
    struct pollfd in = {.fd = keys ? STDIN_FILENO : -1, .events = POLLIN};
    char key;
    resized = 0;
    if (poll(&in, 1, (int)(seconds * 1e3)) <= 0) return;
    ssize_t got = read(STDIN_FILENO, &key, 1);
    if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN)) ended = SIGHUP; /* the terminal is gone */
    else if (got == 1 && (key == 'q' || key == 'Q' || key == CTRL_C)) ended = SIGINT;
    else if (got == 1 && key == CTRL_Z) {
        leave_screen();
        kill(0, SIGTSTP); /* returns when the shell continues the job; ignored where no shell could, as under ssh -t */
        enter_screen();
    }
}

static status watch(watch_run *w, double every) {
    status_code st = STATUS_OK;
    catch_signals();
    enter_screen();
    while (!ended && !st) {
        st = watch_run_update(w);
        if (!st) st = draw(w, true);
        if (!st && !ended) wait_for(w->behind ? 0 : every);
    }
    leave_screen();
    return st;
}

static status open_and_watch(const options *o, const values *v) {
    watch_run *w;
    const char *term = getenv("TERM");
    TRY(command_words(o, 1, 1, "run"));
    if (!(w = malloc(sizeof *w))) FAIL(MEM, "no memory to watch a run");
    status_code st = watch_run_open(w, o->words.list[0]);
    bool screen = !v->once && isatty(STDOUT_FILENO) && term && strcmp(term, "dumb") != 0;
    if (!st && screen) st = watch(w, v->every);
    for (bool more = true; !st && !screen && more; more = w->behind) st = watch_run_update(w);
    if (!st && !screen) st = draw(w, false);
    watch_run_close(w);
    free(w);
    return st;
}

status command_watch(int argc, char **argv, int *exit_code) {
    options o = {0};
    values v = {0};
    bool done;
    (void)exit_code;
    status_code st = command_parse(&o, &v, &help, argc, argv, &done);
    if (!st && !done) st = open_and_watch(&o, &v);
    options_free(&o);
    return st;
}
