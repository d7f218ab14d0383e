/* Errors are values. A function that can fail returns a status. FAIL formats the message where the error occurs, and each TRY
 * on the way up adds its file:line. The last error is kept per thread. */
#ifndef TALLY_STATUS_H
#define TALLY_STATUS_H

/* code, text, exit code of the program: 2 bad input, 1 failed */
#define STATUS_LIST(X)                                                                                                 \
    X(OK, "ok", 0)                                                                                                     \
    X(ARG, "bad argument", 2)                                                                                          \
    X(DATA, "bad data", 2)                                                                                             \
    X(MEM, "out of memory", 1)                                                                                         \
    X(IO, "input/output failed", 1)                                                                                    \
    X(DEVICE, "device failed", 1)                                                                                      \
    X(COMM, "communication failed", 1)                                                                                 \
    X(NUMERIC, "not a finite number", 1)                                                                               \
    X(STOPPED, "stopped", 1)

typedef enum {
#define X(code, text, exit_code) STATUS_##code,
    STATUS_LIST(X)
#undef X
} status_code;

/* the return type of such functions: the compiler warns if the result is not used */
#define status __attribute__((warn_unused_result)) status_code

/* Records the message (printf-style, made printable by printable.h) and the location; returns code. The macros below use the
 * code itself, not the returned value, so that a static analyzer knows that it is not OK. */
status_code status_fail(status_code code, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
status_code status_trace(status_code code, const char *file, int line);

const char *status_message(void);   /* of this thread's last error: one line */
const char *status_backtrace(void); /* file:line of every TRY on the way up, innermost first */
const char *status_text(status_code code);
int status_exit_code(status_code code);

#define ERROR(code, ...) (status_fail(STATUS_##code, __FILE__, __LINE__, __VA_ARGS__), STATUS_##code)
#define FAIL(code, ...) return ERROR(code, __VA_ARGS__)
#define TRY(call)                                                                                                      \
    do {                                                                                                               \
        status_code try_ = (call);                                                                                     \
        if (try_ != STATUS_OK) {                                                                                       \
            status_trace(try_, __FILE__, __LINE__);                                                                    \
            return try_;                                                                                               \
        }                                                                                                              \
    } while (0)
/* for functions that clean up: sets `st` and goes to `done` */
#define TRY_DONE(call)                                                                                                 \
    do {                                                                                                               \
        if ((st = (call)) != STATUS_OK) {                                                                              \
            status_trace(st, __FILE__, __LINE__);                                                                      \
            goto done;                                                                                                 \
        }                                                                                                              \
    } while (0)
#define FAIL_DONE(code, ...)                                                                                           \
    do {                                                                                                               \
        st = ERROR(code, __VA_ARGS__);                                                                                 \
        goto done;                                                                                                     \
    } while (0)

#endif
