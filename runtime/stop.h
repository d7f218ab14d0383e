/* Signals that ask the program to stop: HUP, INT, TERM, USR1, USR2 and XCPU. A thread of its own waits for them, and they are
 * blocked in all others: a handler that interrupts oneDNN's generated code has corrupted the heap.
 *
 * Until stop_wait_for_save, such a signal ends the process at once, with a line and exit code 128 + the signal: there is
 * nothing to save yet, and no phase of the start needs to look. From then on it is a request: whoever loops looks at
 * stop_signal. A second INT or TERM kills. The others do not count for that: a terminal that closes sends HUP twice, the
 * kernel XCPU every second, and a batch system USR1 as a warning before TERM.
 *
 * HUP that was ignored when the program started (nohup) stays ignored. INT does not: a shell has its background jobs ignore
 * Ctrl-C, but a signal that is sent to the process by its number is meant.
 *
 * For tests: with TALLY_STOP_AT_LOOK=N in the environment, the N-th call of stop_signal (after stop_wait_for_save, counted from
 * 1; 0: none) finds a TERM, and who looks now and then looks as often as it can. */
#ifndef TALLY_STOP_H
#define TALLY_STOP_H

#include <stdbool.h>

#include "runtime/status.h"

status stop_open(void);        /* before any other thread is made: threads inherit which signals are blocked */
void stop_wait_for_save(void); /* from here on there is something to save */

int stop_signal(void); /* the number of the signal that has come, or 0 */
/* Another rank got the signal: as if it had come here, but it does not count as the first of two. */
void stop_request(int number);
bool stop_is_tested(void);         /* TALLY_STOP_AT_LOOK is set */
const char *stop_name(int number); /* "SIGTERM" */

#endif
