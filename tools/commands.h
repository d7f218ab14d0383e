/* The subcommands of the program, one file each. argv[0] is the first word behind the subcommand's name. What they return
 * ends the program: STATUS_OK with *exit_code (0 unless set), or an error, which main prints. */
#ifndef TALLY_COMMANDS_H
#define TALLY_COMMANDS_H

#include "runtime/json.h"
#include "runtime/options.h"

status command_train(int argc, char **argv, int *exit_code);
status command_generate(int argc, char **argv, int *exit_code);
status command_eval(int argc, char **argv, int *exit_code);
status command_inspect(int argc, char **argv, int *exit_code);
status command_report(int argc, char **argv, int *exit_code);
status command_bench(int argc, char **argv, int *exit_code);
status command_predict(int argc, char **argv, int *exit_code);

/* What every subcommand starts with: parses the command line. With --help, or without any word, it prints the help (usage, what
 * the subcommand does, the options) instead, and with --options alone the table of options for scripts (options_print_table);
 * then *done is true. */
typedef struct {
    const char *usage; /* "tally train --data PATH... [options]" */
    const char *about; /* a paragraph, its lines broken */
    const option *table;
    int count;
} command_help;
status command_parse(options *o, void *values, const command_help *h, int argc, char **argv, bool *done);

/* What was printed on standard output is written, or why not. main calls it last; whoever prints without end calls it too. */
status command_flush(void);

/* Prints o on one line of standard output, where `filled` says that it was filled in without an error, and frees it. */
status command_print_json(json_t *o, status_code filled);

/* words that belong to no option */
status command_words(const options *o, int least, int most, const char *what);

#endif
