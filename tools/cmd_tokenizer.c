#include "tools/cmd_tokenizer.h"

#include <string.h>

#include "runtime/nearest.h"

static const struct {
    const char *name;
    status (*run)(int argc, char **argv, int *exit_code);
} verbs[] = {
    {"train", cmd_tokenizer_train},
    {"encode", cmd_tokenizer_encode},
    {"decode", cmd_tokenizer_decode},
    {"inspect", cmd_tokenizer_inspect},
};
enum { VERBS = sizeof verbs / sizeof *verbs };

status command_tokenizer(int argc, char **argv, int *exit_code) {
    const char *names[VERBS];
    bool all = argc == 0 || (argc == 1 && argv[0][0] == '-'); /* help, or the options of all of them */
    for (int i = 0; i < VERBS; i++) {
        names[i] = verbs[i].name;
        if (!all && strcmp(argv[0], names[i]) == 0) return verbs[i].run(argc - 1, argv + 1, exit_code);
        if (all) TRY(verbs[i].run(argc, argv, exit_code));
    }
    if (all) return STATUS_OK;
    FAIL(ARG, "tokenizer %s: no such command; the nearest is %s", argv[0], nearest_name(argv[0], names, VERBS));
}
