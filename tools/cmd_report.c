#include <stdio.h>

#include "tools/commands.h"
#include "train/bill/report.h"
#include "train/run_lock.h"

typedef struct {
    char *loss_svg;
    bool help;
} values;

/* clang-format off */
static const option table[] = {
    {"loss-svg", OPT_STRING, offsetof(values, loss_svg), NULL, "FILE", "also the loss curve alone, as a picture", NULL, 0, 0, "Output", false},
    {"help", OPT_FLAG, offsetof(values, help), NULL, NULL, "this text", NULL, 0, 0, "Output", true},
};
/* clang-format on */

static const command_help help = {
    .usage = "tally report RUN",
    .about = "Writes RUN/report.html from the run's metrics, ledger and, where there is one, RUN/sample.txt.\n",
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
