/* Signals that ask the program to stop: HUP, INT, TERM, USR1, USR2 and XCPU. A dedicated thread waits for them, and all other
 * threads block them: a signal handler that interrupted oneDNN's generated code has corrupted the heap.
 *
 * Before stop_wait_for_save, such a signal ends the process at once, with a log line and exit code 128 + the signal: there is
 * nothing to save yet. After it, the signal is a request: every loop must call stop_signal. A second INT or TERM kills the
 * process. The other signals do not count for that: a terminal that closes sends HUP twice, the kernel sends XCPU every
 * second, and a batch system sends USR1 as a warning before TERM.
 *
 * If HUP was ignored when the program started (nohup), it stays ignored. INT does not: a shell starts background jobs with
 * INT ignored because of Ctrl-C, but `kill -INT PID` is meant for this process.
 *
 * For tests: if the environment has TALLY_STOP_AT_LOOK=N, the N-th call of stop_signal after stop_wait_for_save (counted from
 * 1; 0: none) returns TERM, and loops that do not call it in every iteration then do. */
#ifndef TALLY_STOP_H
#define TALLY_STOP_H

#include <stdbool.h>

#include "runtime/status.h"

status stop_open(void);        /* before any other thread is created: threads inherit the blocked signals */
void stop_wait_for_save(void); /* call it when there is something to save */

int stop_signal(void); /* the number of the signal that was received, or 0 */
/* Another rank received the signal. It counts as received here, but not as the first of two. */
void stop_request(int number);
bool stop_is_tested(void);         /* TALLY_STOP_AT_LOOK is set */
const char *stop_name(int number); /* "SIGTERM" */

#endif
