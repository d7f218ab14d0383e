#include "tools/command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parallel/comm.h"

status command_parse(options *o, void *values, const command_help *h, int argc, char **argv, bool *done) {
    bool rows = argc == 1 && strcmp(argv[0], "--options") == 0;
    *done = argc == 0 || rows;
    for (int i = 0; i < argc; i++) *done |= strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0;
    if (!*done) return options_parse(o, h->table, h->count, values, argc, argv);
    if (comm_launch_rank() > 0) return STATUS_OK; /* once for a job */
    if (rows) {
        options_print_table(stdout, h->table, h->count);
        return STATUS_OK;
    }
    printf("usage: %s\n\n%s\n", h->usage, h->about);
    options_print_help(stdout, h->table, h->count);
    return STATUS_OK;
}

status command_flush(void) {
    errno = 0;
    if (fflush(stdout) || ferror(stdout)) FAIL(IO, "standard output: %s", errno ? strerror(errno) : "write failed");
    return STATUS_OK;
}

status command_words(const options *o, int least, int most, const char *what) {
    if (o->words.count < least) FAIL(ARG, "missing %s", what);
    if (o->words.count > most) FAIL(ARG, "\"%s\": expected %s%s", o->words.list[most], most ? "only one " : "", what);
    return STATUS_OK;
}

status command_print_json(json_t *o, status_code filled) {
    char *text = NULL;
    status_code st = filled ? filled : json_print(&text, o, JSON_ONE_LINE);
    if (!st) puts(text);
    free(text);
    json_decref(o);
    return st;
}
