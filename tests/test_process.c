#include "parallel/process.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/check.h"

/* a child that waits to be killed */
static process start_child(void) {
    int pipes[2];
    process p;
    assert_int_equal(pipe(pipes), 0);
    pid_t pid = fork();
    if (pid == 0) {
        p = process_self();
        if (write(pipes[1], &p, sizeof p) != sizeof p) _exit(1);
        for (;;) pause();
    }
    assert_int_equal(read(pipes[0], &p, sizeof p), sizeof p);
    close(pipes[0]), close(pipes[1]);
    assert_int_equal(p.pid, pid);
    return p;
}

static void test_life(void **state) {
    (void)state;
    process self = process_self();
    if (!self.start) skip(); /* no /proc here */
    assert_false(process_gone(&self, &self));
    process child = start_child();
    assert_true(process_same_host(&child, &self));
    assert_false(process_gone(&child, &self));
    kill((pid_t)child.pid, SIGSTOP); /* stopped is not gone */
    assert_false(process_gone(&child, &self));
    kill((pid_t)child.pid, SIGKILL);
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)child.pid, &info, WEXITED | WNOWAIT), 0);
    assert_true(process_gone(&child, &self)); /* a zombie */
    waitpid((pid_t)child.pid, NULL, 0);
    assert_true(process_gone(&child, &self));
}

static void test_identity(void **state) {
    (void)state;
    process self = process_self(), other = self;
    if (!self.start) skip();
    other.start++; /* the number was given to another process */
    assert_true(process_gone(&other, &self));
    other.space++; /* another pid namespace: nothing is known of it */
    assert_false(process_gone(&other, &self));
    other = self, other.start++, other.boot[0] ^= 1;
    assert_false(process_same_host(&other, &self));
    assert_false(process_gone(&other, &self));
    other = self, other.start++, other.host[0] ^= 1;
    assert_false(process_gone(&other, &self));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_life), cmocka_unit_test(test_identity)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
