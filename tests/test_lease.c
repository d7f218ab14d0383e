/* The lock of a run where flock does not work (TALLY_LOCK_LEASE), and its errors when its folder is moved or replaced. */
#include "runtime/durable.h"
#include "runtime/path.h"
#include "train/run_lock.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/file.h"
#include "tests/check.h"
#include "train/checkpoint/blockfile.h"
#include "train/lock_owner.h"

static char scratch[] = "/tmp/test_lease_XXXXXX";
static path_text run, lock_path;

static int make_scratch(void **state) {
    (void)state;
    if (!mkdtemp(scratch)) return 1;
    run = path_join(scratch, "run");
    lock_path = path_join(run.text, ".lock");
    return 0;
}

static int remove_scratch(void **state) {
    (void)state;
    return durable_remove_folder(scratch) != STATUS_OK;
}

static int by_flock(void **state) {
    (void)state;
    unsetenv("TALLY_LOCK_LEASE");
    return durable_remove_folder(run.text) != STATUS_OK;
}

/* A lease of 6 s is renewed every half second: even a busy machine renews it in time. */
static int by_lease(void **state) {
    setenv("TALLY_LOCK_LEASE", "6", 1);
    int failed = durable_remove_folder(run.text) != STATUS_OK;
    (void)state;
    return failed;
}

/* Another process that holds the lock, which a byte from the test makes try to write; it ends with the status's code. */
typedef struct {
    pid_t pid;
    int to, from;
} owner;

static status_code be_owner(int in, int out) {
    run_lock *l;
    char byte;
    status_code st = run_lock_take(&l, run.text, true);
    if (write(out, "t", 1) != 1 || st) return st;
    if (read(in, &byte, 1) != 1) return STATUS_IO;
    bool fresh = run_lock_fresh();
    st = durable_write_file(path_join(run.text, "written").text, "owner", 5);
    if (fresh != (st == STATUS_OK)) return STATUS_NUMERIC;
    if (st) fprintf(stderr, "# %s\n", status_message());
    run_lock_release(l);
    return st;
}

static owner start_owner(void) {
    int to[2], from[2];
    assert_int_equal(pipe(to) | pipe(from), 0);
    fflush(stdout);
    owner o = {fork(), to[1], from[0]};
    if (o.pid) {
        close(to[0]);
        close(from[1]);
        return o;
    }
    close(to[1]);
    close(from[0]);
    _exit((int)be_owner(to[0], from[1]));
}

static void wait_until_taken(const owner *o) {
    char byte;
    assert_int_equal(read(o->from, &byte, 1), 1);
}

static status_code let_write(const owner *o) {
    int code;
    assert_int_equal(write(o->to, "w", 1), 1);
    assert_int_equal(waitpid(o->pid, &code, 0), o->pid);
    close(o->to), close(o->from);
    assert_true(WIFEXITED(code));
    return (status_code)WEXITSTATUS(code);
}

static void stop(const owner *o) {
    int code;
    kill(o->pid, SIGSTOP);
    assert_int_equal(waitpid(o->pid, &code, WUNTRACED), o->pid);
    assert_true(WIFSTOPPED(code));
}

static bool there(const char *path) { return access(path, F_OK) == 0; }

static void a_renewed_lease_is_respected(void **state) {
    (void)state;
    run_lock *l;
    char expected[64];
    owner o = start_owner();
    wait_until_taken(&o);
    snprintf(expected, sizeof expected, "is in use by process %d on ", o.pid);
    FAILS(ARG, expected, run_lock_take(&l, run.text, true));
    assert_null(l);
    assert_int_equal(let_write(&o), STATUS_OK);
    assert_false(there(lock_path.text));
    OK(run_lock_take(&l, run.text, true)); /* without waiting: no lock was left */
    OK(run_lock_check(l));
    run_lock_release(l);
}

static void a_lease_that_ran_out_is_taken_over(void **state) {
    (void)state;
    run_lock *l;
    owner o = start_owner();
    wait_until_taken(&o);
    stop(&o); /* stopped for longer than its lease */
    OK(run_lock_take(&l, run.text, true));
    kill(o.pid, SIGCONT);
    assert_int_equal(let_write(&o), STATUS_ARG); /* it noticed before it wrote */
    assert_false(there(path_join(run.text, "written").text));
    assert_true(there(lock_path.text)); /* and it did not remove the new owner's lock */
    OK(run_lock_check(l));
    run_lock_release(l);
}

static void put_foreign_lock(void) {
    char *text;
    size_t renewed;
    int fd;
    lock_owner o = lock_owner_self();
    strcpy(o.process.host, "elsewhere");
    strcpy(o.process.boot, "another");
    o.process.pid = 1;
    OK(lock_owner_text(&text, &renewed, &o));
    assert_memory_equal(text + renewed, "0000000000\"}\n", 14);
    OK(durable_make_folders(run.text));
    OK(file_create(&fd, lock_path.text));
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    free(text);
}

static void another_hosts_lease_is_watched(void **state) {
    (void)state;
    run_lock *l;
    put_foreign_lock();
    OK(run_lock_take(&l, run.text, false));
    run_lock_release(l);
}

/* All watch the same stale lease, and find it stale in the same moment. */
static void one_of_many_takes_over(void **state) {
    (void)state;
    enum { MANY = 6 };
    owner all[MANY];
    int taken = 0;
    put_foreign_lock();
    for (int i = 0; i < MANY; i++) all[i] = start_owner();
    for (int i = 0; i < MANY; i++) wait_until_taken(&all[i]); /* or until they were refused */
    for (int i = 0; i < MANY; i++) {
        signal(SIGPIPE, SIG_IGN);
        (void)!write(all[i].to, "w", 1);
        int code;
        waitpid(all[i].pid, &code, 0);
        taken += WIFEXITED(code) && WEXITSTATUS(code) == STATUS_OK;
        close(all[i].to), close(all[i].from);
    }
    assert_int_equal(taken, 1);
}

static void a_dead_owner_of_this_host_is_known_at_once(void **state) {
    (void)state;
    run_lock *l;
    setenv("TALLY_LOCK_LEASE", "1e9", 1); /* waiting for it would never end */
    owner o = start_owner();
    wait_until_taken(&o);
    kill(o.pid, SIGKILL);
    waitpid(o.pid, NULL, 0);
    OK(run_lock_take(&l, run.text, true));
    run_lock_release(l);
}

static void one_lock_in_a_process(void **state) {
    (void)state;
    run_lock *l, *second;
    OK(run_lock_take(&l, run.text, true));
    FAILS(ARG, "is in use by process", run_lock_take(&second, run.text, true));
    OK(run_lock_check(l));
    run_lock_release(l);
    assert_false(there(run.text)); /* the lock had made the folder */
}

static void nothing_is_written(run_lock *l, const char *what) {
    blockfile *f;
    FAILS(ARG, what, run_lock_check(l));
    FAILS(ARG, what, durable_write_file(path_join(run.text, "a").text, "x", 1));
    FAILS(ARG, what, blockfile_create(&f, run.text, "a"));
    FAILS(ARG, what, durable_make_folders(path_join(run.text, "b").text));
    FAILS(ARG, what, durable_rename(run.text, path_join(scratch, "c").text));
    FAILS(ARG, what, durable_remove_folder(run.text));
}

static void a_moved_folder_is_noticed(void **state) {
    (void)state;
    run_lock *l;
    char expected[128];
    path_text other = path_join(scratch, "other");
    OK(run_lock_take(&l, run.text, true));
    snprintf(expected, sizeof expected, "run: the folder of the run was moved to %s while", other.text);
    assert_int_equal(rename(run.text, other.text), 0);
    nothing_is_written(l, expected);
    assert_int_equal(mkdir(run.text, 0777), 0);
    snprintf(expected, sizeof expected, "was moved to %s and replaced by another while", other.text);
    nothing_is_written(l, expected);
    assert_int_equal(rmdir(run.text), 0);
    assert_int_equal(symlink(run.text, run.text), 0); /* a path that cannot be resolved proves nothing */
    FAILS(IO, "Too many levels of symbolic links", run_lock_check(l));
    assert_int_equal(unlink(run.text), 0);
    assert_int_equal(rename(other.text, run.text), 0);
    OK(run_lock_check(l)); /* back again */
    path_text odd = path_join(scratch, "run (deleted)"), followed;
    assert_int_equal(rename(run.text, odd.text), 0);
    OK(run_lock_follow(l, &followed));
    assert_string_equal(followed.text, odd.text);
    run_lock_release(l);
}

static void a_deleted_folder_is_noticed(void **state) {
    (void)state;
    run_lock *l;
    OK(run_lock_take(&l, run.text, true));
    assert_int_equal(unlink(lock_path.text) | rmdir(run.text), 0);
    nothing_is_written(l, "was deleted while");
    assert_int_equal(mkdir(run.text, 0777), 0);
    nothing_is_written(l, "was deleted and replaced by another while");
    run_lock_release(l);
    assert_true(there(run.text)); /* the folder is not this lock's */
}

static void a_lock_tidied_away_is_no_loss(void **state) {
    (void)state;
    run_lock *l, *second;
    OK(run_lock_take(&l, run.text, true));
    assert_int_equal(unlink(lock_path.text), 0);
    OK(run_lock_check(l));
    FAILS(ARG, "is in use by another process", run_lock_take(&second, run.text, true));
    run_lock_release(l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_renewed_lease_is_respected, by_lease),
        cmocka_unit_test_setup(a_lease_that_ran_out_is_taken_over, by_lease),
        cmocka_unit_test_setup(another_hosts_lease_is_watched, by_lease),
        cmocka_unit_test_setup(one_of_many_takes_over, by_lease),
        cmocka_unit_test_setup(a_dead_owner_of_this_host_is_known_at_once, by_lease),
        cmocka_unit_test_setup(one_lock_in_a_process, by_flock),
        cmocka_unit_test_setup(a_moved_folder_is_noticed, by_flock),
        cmocka_unit_test_setup(a_deleted_folder_is_noticed, by_flock),
        cmocka_unit_test_setup(a_lock_tidied_away_is_no_loss, by_flock),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
