#include <stdio.h>

#include "tools/commands.h"
#include "train/report.h"

typedef struct {
    bool help;
} values;

static const option table[] = {
    {"help", OPT_FLAG, offsetof(values, help), NULL, NULL, "this text", NULL, 0, 0, "Output", true},
};

static const command_help help = {
    .usage = "tally report RUN",
    .about = "Writes RUN/report.html from the run's metrics, ledger and, where there is one, RUN/sample.txt.\n",
    .table = table,
    .count = 1,
};

static status report(const options *o) {
    TRY(command_words(o, 1, 1, "run"));
    return report_write(o->words.list[0]);
}

status report_command(int argc, char **argv, int *exit_code) {
    options o = {0};
    values v = {0};
    bool done;
    (void)exit_code;
    status_code st = command_parse(&o, &v, &help, argc, argv, &done);
    if (!st && !done) st = report(&o);
    options_free(&o);
    return st;
}
