#include "train/lock_owner.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "runtime/json.h"
#include "runtime/meter.h"

static const char RENEWED[] = "0000000000";

static void read_command(char *text, size_t size) {
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t bytes = fd < 0 ? -1 : read(fd, text, size - 1);
    if (fd >= 0) close(fd);
    if (bytes < 0) bytes = 0;
    while (bytes > 0 && !text[bytes - 1]) bytes--;
    for (ssize_t i = 0; i < bytes; i++) {
        unsigned char c = (unsigned char)text[i];
        if (!c) text[i] = ' ';                      /* between two arguments */
        else if (c < 32 || c >= 127) text[i] = '?'; /* UTF-8 that is cut off would be invalid JSON */
    }
    text[bytes] = 0;
}

lock_owner lock_owner_self(void) {
    lock_owner o = {.process = process_self()};
    uint64_t random = 0;
    time_t now = time(NULL);
    struct tm utc;
    if (getrandom(&random, sizeof random, GRND_NONBLOCK) != sizeof random) random = (uint64_t)getpid();
    snprintf(o.nonce, sizeof o.nonce, "%016lx%016lx", random, meter_clock_ns());
    strftime(o.since, sizeof o.since, "%Y-%m-%d %H:%M:%S UTC", gmtime_r(&now, &utc));
    read_command(o.command, sizeof o.command);
    return o;
}

status lock_owner_text(char **text, size_t *renewed, const lock_owner *o) {
    *text = NULL;
    status_code st = STATUS_OK;
    char *line = NULL;
    json_t *json = json_object();
    if (!json) FAIL(MEM, "no memory for .lock");
    TRY_DONE(json_add_string(json, "host", o->process.host));
    TRY_DONE(json_add_string(json, "boot", o->process.boot));
    TRY_DONE(json_add_u64(json, "space", o->process.space));
    TRY_DONE(json_add_i64(json, "pid", o->process.pid));
    TRY_DONE(json_add_u64(json, "start", o->process.start));
    TRY_DONE(json_add_string(json, "since", o->since));
    TRY_DONE(json_add_string(json, "command", o->command));
    TRY_DONE(json_add_string(json, "nonce", o->nonce));
    TRY_DONE(json_add_string(json, "renewed", RENEWED));
    TRY_DONE(json_print(&line, json, JSON_ONE_LINE));
    if (asprintf(text, "%s\n", line) < 0) FAIL_DONE(MEM, "no memory for .lock");
    *renewed = strlen(line) - strlen("\"}") - strlen(RENEWED);
done:
    if (st) *text = NULL;
    free(line);
    json_decref(json);
    return st;
}

static status parse(lock_owner *o, const char *text, size_t bytes) {
    static const char path[] = ".lock";
    json_t *json;
    TRY(json_parse(&json, path, text, bytes));
    status_code st = STATUS_OK;
    TRY_DONE(json_get_string(json, path, "host", o->process.host, sizeof o->process.host));
    TRY_DONE(json_get_string(json, path, "boot", o->process.boot, sizeof o->process.boot));
    TRY_DONE(json_get_u64(json, path, "space", &o->process.space));
    TRY_DONE(json_get_i64(json, path, "pid", &o->process.pid));
    TRY_DONE(json_get_u64(json, path, "start", &o->process.start));
    TRY_DONE(json_get_string(json, path, "since", o->since, sizeof o->since));
    TRY_DONE(json_get_string(json, path, "command", o->command, sizeof o->command));
    st = json_get_string(json, path, "nonce", o->nonce, sizeof o->nonce);
done:
    json_decref(json);
    return st;
}

bool lock_owner_parse(lock_owner *o, const char *text, size_t bytes) {
    *o = (lock_owner){0};
    return parse(o, text, bytes) == STATUS_OK;
}

lock_owner_name lock_owner_describe(const lock_owner *o) {
    lock_owner_name n;
    snprintf(n.text, sizeof n.text, "process %ld on %.63s since %s (%.200s%s)", o->process.pid, o->process.host,
             o->since, o->command, strlen(o->command) > 200 ? "..." : "");
    return n;
}
