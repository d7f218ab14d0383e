#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "parallel/comm.h"
#include "runtime/lifetime.h"
#include "runtime/log.h"
#include "runtime/nearest.h"
#include "tools/command.h"
#include "tools/version.h"

typedef struct {
    const char *name, *about;
    status (*run)(int argc, char **argv, int *exit_code);
} command;

static const command commands[] = {
    {"train", "train a model on text and report what every step costs", command_train},
    {"generate", "generate text with a trained model", command_generate},
    {"eval", "compute the loss of a trained model on text", command_eval},
    {"export", "write a trained model as a folder that other programs load", command_export},
    {"tokenizer", "train a tokenizer; encode and decode text; describe a tokenizer", command_tokenizer},
    {"tokenize", "turn text into token files, for corpora larger than memory", command_tokenize},
    {"inspect", "describe a run, checkpoint, text, token files or a model; verify files", command_inspect},
    {"report", "write a page or a table about a run, or compare several", command_report},
    {"watch", "show a run in the terminal: curves, speed, the bill, what is slow", command_watch},
    {"bench", "measure training steps and their parts on this machine", command_bench},
    {"plan", "plan a run: memory, time, money, energy and carbon", command_plan},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

/* Waiting OpenMP threads must spin only briefly: with one other busy process on the machine, libgomp's default of
 * milliseconds made a step of a small model 2.4 times as long; on an idle machine the difference is below 2%. libgomp reads
 * the variable when it is loaded, so the program executes itself again. A setting of the user is kept. If the program cannot
 * execute itself, it continues with the default. */
static void spin_briefly(char **argv) {
    if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT") || setenv("GOMP_SPINCOUNT", "1000", 1)) return;
    char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    if (length <= 0) return;
    path[length] = 0; /* not as /proc/self/exe, which ps and top would show */
    execv(path, argv);
}

/* If a standard stream is closed, the next file opened would get its number and receive what is printed to the stream. */
static void open_closed_streams(void) {
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0) (void)!open("/dev/null", O_RDWR); /* takes the lowest free number: fd */
}

/* How SIGHUP was handled when the program started. UCX, which Open MPI 5 loads, installs its own handler before main, and nohup
 * would have no effect. A function in .preinit_array runs before the initialisers of libraries: it records the handler. */
static struct sigaction hangup;
static void record_hangup(void) { sigaction(SIGHUP, NULL, &hangup); }
__attribute__((section(".preinit_array"), used)) static void (*const before_libraries)(void) = record_hangup;

static void print_help(FILE *out) {
    fputs("tally trains transformer language models and reports what every step costs.\n\n"
          "usage: tally COMMAND [options]\n\n",
          out);
    for (int i = 0; i < COMMANDS; i++) fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].about);
    fputs(
        "\n`tally COMMAND --help` lists the command's options; `tally COMMAND --options` lists them for scripts, with\n"
        "tabs between the fields. `tally --options` lists the commands. `tally --version` prints the version, and "
        "what\n"
        "the program was built with.\n"
        "Exit status: 0 success; 1 failure; 2 invalid input; 128 + N stopped by signal N, after saving a checkpoint\n"
        "(130: SIGINT or Ctrl-C, 143: SIGTERM).\n",
        out);
}

static status unknown(const char *name) {
    const char *names[COMMANDS];
    for (int i = 0; i < COMMANDS; i++) names[i] = commands[i].name;
    FAIL(ARG, "%s: no such command; the nearest is %s", name, nearest_name(name, names, COMMANDS));
}

static status run(int argc, char **argv, int *exit_code) {
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_help(argc < 2 ? stderr : stdout);
        *exit_code = argc < 2 ? 2 : 0;
        return STATUS_OK;
    }
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        version_print(stdout);
        return STATUS_OK;
    }
    if (argc == 2 && strcmp(argv[1], "--options") == 0) {
        for (int i = 0; i < COMMANDS; i++) printf("%s\t%s\n", commands[i].name, commands[i].about);
        return STATUS_OK;
    }
    for (int i = 0; i < COMMANDS; i++)
        if (strcmp(argv[1], commands[i].name) == 0) return commands[i].run(argc - 2, argv + 2, exit_code);
    return unknown(argv[1]);
}

int main(int argc, char **argv) {
    int exit_code = 0;
    lifetime_begin();
    open_closed_streams();
    sigaction(SIGHUP, &hangup, NULL);
    /* Failed writes are reported by their error code instead; a log line that cannot be written is dropped. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    log_set_rank(comm_launch_rank(), comm_launch_ranks());
    spin_briefly(argv);
    status_code st = run(argc, argv, &exit_code);
    if (st == STATUS_OK) st = command_flush();
    if (st == STATUS_OK) return exit_code;
    log_failure(st);
    return status_exit_code(st);
}
