/* The subcommands of the program, one file each. argv[0] is the first word after the subcommand's name. The program ends with
 * what they return: STATUS_OK with *exit_code (0 unless set), or an error, which main prints. */
#ifndef TALLY_COMMAND_H
#define TALLY_COMMAND_H

#include "runtime/json.h"
#include "runtime/options.h"

status command_tokenize(int argc, char **argv, int *exit_code);
status command_train(int argc, char **argv, int *exit_code);
status command_generate(int argc, char **argv, int *exit_code);
status command_eval(int argc, char **argv, int *exit_code);
status command_export(int argc, char **argv, int *exit_code);
status command_inspect(int argc, char **argv, int *exit_code);
status command_report(int argc, char **argv, int *exit_code);
status command_watch(int argc, char **argv, int *exit_code);
status command_bench(int argc, char **argv, int *exit_code);
status command_plan(int argc, char **argv, int *exit_code);
status command_tokenizer(int argc, char **argv, int *exit_code);

/* What every subcommand starts with: parses the command line. With --help, or without any word, it prints the help (usage, what
 * the subcommand does, the options) instead, and with --options alone the table of options for scripts (options_print_table);
 * then *done is true. */
typedef struct {
    const char *usage; /* "tally train --data PATH... [options]" */
    const char *about; /* a paragraph, with its line breaks */
    const option *table;
    int count;
} command_help;
status command_parse(options *o, void *values, const command_help *h, int argc, char **argv, bool *done);

/* Flushes standard output; IO if that fails. main calls it last; a subcommand that streams output calls it as it goes. */
status command_flush(void);

/* Frees o, and, if `filled` is OK, prints it on one line of standard output first. Returns `filled` or an error of printing. */
status command_print_json(json_t *o, status_code filled);

/* ARG unless `least` to `most` words that belong to no option were given; what: names them in the message */
status command_words(const options *o, int least, int most, const char *what);

#endif
