#include <limits.h>
#include <stdio.h>

#include "tools/command.h"
#include "tools/shared_options.h"
#include "train/bill/report.h"
#include "train/bill/report_csv.h"
#include "train/bill/tensorboard.h"
#include "train/run_lock.h"

typedef struct {
    char *out, *loss_svg, *csv, *tensorboard;
    bool help;
} values;

#define AT(member) OPTION_AT(values, member)
static const option table[] = {
    {AT(out), .group = "Output", .name = "out", .argument = "FILE",
     .help = "the page; by default report.html in the folder of the run; several runs need --out"},
    {AT(csv), .name = "csv", .argument = "FILE",
     .help = "write every step of the runs to FILE as comma-separated values, and no page unless --out is given"},
    {AT(loss_svg), .name = "loss-svg", .argument = "FILE",
     .help = "also write the loss curve of the run as an SVG picture to FILE"},
    {AT(tensorboard), OPTION_TENSORBOARD},
    {AT(help), OPTION_HELP},
};

static const command_help help = {
    .usage = "tally report RUN [RUN...] [options]",
    .about =
        "Writes a page about a run, RUN/report.html, or one page that compares up to 8 runs. It is one file without\n"
        "links: it opens from disk, in any browser, without a network. It is made from metrics.jsonl and, if they\n"
        "exist, ledger.json, config.json, plan.json and sample.txt. With --out, a run may still be under way.\n",
    .table = table,
    .count = sizeof table / sizeof *table,
};

/* The first time it writes RUN/tensorboard_id: the folder is locked. */
static status write_events(const char *folder, const char *run) {
    run_lock *lock;
    tensorboard *t;
    TRY(tensorboard_check(folder, run));
    TRY(run_lock_take(&lock, run, false));
    status_code st = tensorboard_open(&t, folder, run);
    if (!st) st = tensorboard_close(t);
    run_lock_release(lock);
    return st;
}

/* RUN/report.html belongs to the run: the folder is locked. */
static status write_into_run(const char *run, const values *v) {
    run_lock *lock;
    TRY(run_lock_take(&lock, run, false));
    status_code st = report_write(run);
    if (!st && v->loss_svg) st = report_loss_svg(run, v->loss_svg);
    run_lock_release(lock);
    return st;
}

static status report(const options *o, const values *v) {
    const char *const *runs = (const char *const *)o->words.list;
    int count = o->words.count;
    TRY(command_words(o, 1, INT_MAX, "run"));
    if (count > 1 && v->loss_svg) FAIL(ARG, "--loss-svg: found %d runs, expected one", count);
    if (count > 1 && v->tensorboard) FAIL(ARG, "--tensorboard: found %d runs, expected one", count);
    if (count > 1 && !v->out && !v->csv) FAIL(ARG, "found %d runs, expected --out FILE or --csv FILE", count);
    if (count > REPORT_MOST_RUNS && v->out)
        FAIL(ARG, "--out: found %d runs, expected at most %d on a page", count, REPORT_MOST_RUNS);
    if (v->tensorboard) TRY(write_events(v->tensorboard, runs[0])); /* first: it refuses a run that is under way */
    if (v->csv) TRY(report_csv_write(runs, count, v->csv));
    if (v->out) TRY(report_page(runs, count, v->out));
    if (v->out || v->csv || v->tensorboard) return v->loss_svg ? report_loss_svg(runs[0], v->loss_svg) : STATUS_OK;
    return write_into_run(runs[0], v);
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
