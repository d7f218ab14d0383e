#include "runtime/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "runtime/printable.h"

static _Thread_local char message[1024];
static _Thread_local char backtrace_text[1024];

static void append_place(const char *file, int line) {
    size_t used = strlen(backtrace_text);
    if (used + 1 < sizeof backtrace_text)
        snprintf(backtrace_text + used, sizeof backtrace_text - used, "%s%s:%d", used ? " < " : "", file, line);
}

status_code status_fail(status_code code, const char *file, int line, const char *format, ...) {
    /* formatted into another buffer first: an argument may be status_message() itself */
    char text[sizeof message];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    char shown[PRINTABLE_BYTES * sizeof text]; /* names and values from files may contain any byte */
    printable(shown, text, strlen(text));
    snprintf(message, sizeof message, "%s", shown);
    backtrace_text[0] = 0;
    append_place(file, line);
    return code;
}

status_code status_trace(status_code code, const char *file, int line) {
    append_place(file, line);
    return code;
}

const char *status_message(void) { return message; }
const char *status_backtrace(void) { return backtrace_text; }

const char *status_text(status_code code) {
    switch (code) {
#define X(name, text, exit_code)                                                                                       \
    case STATUS_##name: return text;
        STATUS_LIST(X)
#undef X
    }
    return "unknown status";
}

int status_exit_code(status_code code) {
    switch (code) {
#define X(name, text, exit_code)                                                                                       \
    case STATUS_##name: return exit_code;
        STATUS_LIST(X)
#undef X
    }
    return 1;
}
