#include <stdio.h>

#include "tools/command.h"
#include "tools/shared_options.h"
#include "train/bill/report.h"
#include "train/run_lock.h"

typedef struct {
    char *loss_svg;
    bool help;
} values;

#define AT(member) OPTION_AT(values, member)
static const option table[] = {
    {AT(loss_svg), .group = "Output", .name = "loss-svg", .argument = "FILE",
     .help = "also write the loss curve as an SVG picture to FILE"},
    {AT(help), OPTION_HELP},
};

static const command_help help = {
    .usage = "tally report RUN",
    .about = "Writes RUN/report.html from the run's metrics.jsonl, ledger.json and, if it exists, sample.txt.\n",
    .table = table,
    .count = sizeof table / sizeof *table,
};

static status report(const options *o, const values *v) {
    run_lock *lock;
    TRY(command_words(o, 1, 1, "run"));
    TRY(run_lock_take(&lock, o->words.list[0], false));
    status_code st = report_write(o->words.list[0]);
    if (!st && v->loss_svg) st = report_loss_svg(o->words.list[0], v->loss_svg);
    run_lock_release(lock);
    return st;
}

status command_report(int argc, char **argv, int *exit_code) {
    options o = {0};
    values v = {0};
    bool done;
    (void)exit_code;
    status_code st = command_parse(&o, &v, &help, argc, argv, &done);
    if (!st && !done) st = report(&o, &v);
    options_free(&o);
    return st;
}
