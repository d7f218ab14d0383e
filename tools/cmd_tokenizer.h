/* What `tally tokenizer` dispatches to: one file each, like the subcommands of command.h. */
#ifndef TALLY_CMD_TOKENIZER_H
#define TALLY_CMD_TOKENIZER_H

#include "tools/command.h"

status cmd_tokenizer_train(int argc, char **argv, int *exit_code);
status cmd_tokenizer_encode(int argc, char **argv, int *exit_code);
status cmd_tokenizer_decode(int argc, char **argv, int *exit_code);
status cmd_tokenizer_inspect(int argc, char **argv, int *exit_code);

#endif
