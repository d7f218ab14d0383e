#include "runtime/durable.h"
#include "runtime/file.h"
#include "train/checkpoint/blockfile.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include "tests/check.h"

static char folder[] = "/tmp/test_blockfile_XXXXXX"; /* of this run, removed at its end */
static const char *program;                          /* this test's */
static unsigned char *pattern;
enum { PATTERN_BYTES = 3 * BLOCKFILE_BLOCK };

static const char *in_folder(const char *name) {
    static char path[2][4096];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static void write_pattern(blockfile_sums *sums, const char *name, size_t bytes, size_t piece) {
    blockfile *f;
    OK(blockfile_create(&f, folder, name));
    for (size_t from = 0; from < bytes; from += piece)
        OK(blockfile_write(f, pattern + from, bytes - from < piece ? bytes - from : piece));
    OK(blockfile_close(f, sums));
}

static void writes_and_checks_every_size(void **state) {
    (void)state;
    static const size_t sizes[] = {
        0, 1, BLOCKFILE_BLOCK - 1, BLOCKFILE_BLOCK, BLOCKFILE_BLOCK + 1, 2 * BLOCKFILE_BLOCK + 77};
    static const size_t pieces[] = {PATTERN_BYTES, 65537, BLOCKFILE_BLOCK};
    for (int i = 0; i < 6; i++)
        for (int k = 0; k < 3; k++) {
            blockfile_sums sums;
            write_pattern(&sums, "sizes", sizes[i], pieces[k]);
            assert_string_equal(sums.name, "sizes");
            assert_int_equal(sums.bytes, sizes[i]);
            assert_int_equal(sums.blocks, (sizes[i] + BLOCKFILE_BLOCK - 1) / BLOCKFILE_BLOCK);
            for (int b = 0; b < sums.blocks; b++) {
                size_t from = (size_t)b * BLOCKFILE_BLOCK, n = sizes[i] - from;
                assert_true(sums.crc[b] == crc32(0, pattern + from, n < BLOCKFILE_BLOCK ? (uInt)n : BLOCKFILE_BLOCK));
            }
            OK(blockfile_check(folder, &sums));
            char *data;
            size_t bytes;
            OK(file_read(in_folder("sizes"), &data, &bytes));
            assert_int_equal(bytes, sizes[i]);
            assert_memory_equal(data, pattern, bytes);
            assert_int_equal(data[bytes], 0);
            free(data), free(sums.crc);
        }
}

static void finds_damage(void **state) {
    (void)state;
    blockfile_sums sums;
    write_pattern(&sums, "damaged", BLOCKFILE_BLOCK + 1000, PATTERN_BYTES);
    int fd = open(in_folder("damaged"), O_RDWR);
    unsigned char bad = pattern[BLOCKFILE_BLOCK + 500] ^ 1;
    assert_int_equal(pwrite(fd, &bad, 1, BLOCKFILE_BLOCK + 500), 1);
    FAILS(DATA, "damaged: block 1 (bytes 4194304 to 4195303) has crc32", blockfile_check(folder, &sums));
    OK(blockfile_check_some(folder, &sums, 0, 2));
    FAILS(DATA, "damaged: block 1", blockfile_check_some(folder, &sums, 1, 2));
    assert_int_equal(ftruncate(fd, BLOCKFILE_BLOCK + 999), 0);
    FAILS(DATA, "damaged: is 4195303 bytes long, expected 4195304", blockfile_check(folder, &sums));
    close(fd);
    sums.bytes--, sums.blocks--;
    FAILS(DATA, "has 1 checksums for 4195303 bytes", blockfile_check(folder, &sums));
    unlink(in_folder("damaged"));
    FAILS(DATA, "damaged: No such file", blockfile_check(folder, &sums));
    strcpy(sums.name, "../passwd");
    FAILS(DATA, "\"../passwd\" is not the name of a file", blockfile_check(folder, &sums));
    free(sums.crc);
    blockfile *f;
    FAILS(DATA, "is not the name of a file", blockfile_create(&f, folder, ".."));
    FAILS(IO, "absent/x: No such file", blockfile_create(&f, in_folder("absent"), "x"));
    assert_null(f);
}

/* The limit cuts one write short and fails the next. */
static void reports_a_limit(void **state) {
    (void)state;
    struct rlimit old, limit;
    getrlimit(RLIMIT_FSIZE, &old);
    limit = old;
    limit.rlim_cur = BLOCKFILE_BLOCK + 4096;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    blockfile *f;
    blockfile_sums sums;
    OK(blockfile_create(&f, folder, "limited"));
    OK(blockfile_write(f, pattern, BLOCKFILE_BLOCK));
    FAILS(IO, "limited: write: File too large", blockfile_write(f, pattern, BLOCKFILE_BLOCK));
    FAILS(IO, "limited: an earlier write failed", blockfile_write(f, pattern, 1));
    FAILS(IO, "limited: an earlier write failed", blockfile_close(f, &sums));
    OK(blockfile_create(&f, folder, "limited")); /* what is buffered fails at close */
    OK(blockfile_write(f, pattern, BLOCKFILE_BLOCK + 5000));
    FAILS(IO, "limited: write: File too large", blockfile_close(f, &sums));
    assert_true(sums.crc == NULL && access(in_folder("limited"), F_OK));

    OK(durable_write_file(in_folder("kept"), "old", 3));
    FAILS(IO, "kept.tmp: write: File too large", durable_write_file(in_folder("kept"), pattern, PATTERN_BYTES));
    setrlimit(RLIMIT_FSIZE, &old);
    char *data;
    size_t bytes;
    OK(file_read(in_folder("kept"), &data, &bytes));
    assert_string_equal(data, "old");
    free(data);
    assert_true(access(in_folder("kept.tmp"), F_OK));
}

/* Points the descriptor that is open on `name` at `target`: a link would not do, since blockfile follows none. */
static void redirect(const char *name, const char *target) {
    char link[64], path[4096];
    for (int fd = 3; fd < 1024; fd++) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(link, path, sizeof path - 1);
        if (length <= 0) continue;
        path[length] = 0;
        if (strcmp(path, in_folder(name)) != 0) continue;
        int to = open(target, O_WRONLY);
        assert_true(to >= 0 && dup2(to, fd) == fd);
        close(to);
        return;
    }
    fail_msg("%s is not open", name);
}

static void reports_a_full_disk(void **state) {
    (void)state;
    blockfile *f;
    OK(blockfile_create(&f, folder, "full"));
    redirect("full", "/dev/full");
    FAILS(IO, "full: write: No space left on device", blockfile_write(f, pattern, BLOCKFILE_BLOCK));
    blockfile_abandon(f);
    blockfile_abandon(NULL);
    /* a device that takes writes but cannot sync */
    blockfile_sums sums;
    OK(blockfile_create(&f, folder, "null"));
    redirect("null", "/dev/null");
    FAILS(IO, "null: fsync: Invalid argument", blockfile_close(f, &sums));
}

typedef struct {
    pthread_t writer;
    uint32_t crc;
    char path[4096];
} reader_state;

static void interrupt(int signal_number) { (void)signal_number; }

static void *read_and_interrupt(void *arg) {
    reader_state *r = arg;
    int fd = open(r->path, O_RDONLY);
    unsigned char bytes[5000];
    uLong sum = 0;
    for (ssize_t n; (n = read(fd, bytes, sizeof bytes)) > 0;) {
        sum = crc32(sum, bytes, (uInt)n);
        pthread_kill(r->writer, SIGUSR1);
    }
    close(fd);
    r->crc = (uint32_t)sum;
    return NULL;
}

/* A pipe takes 64 KiB at a time, and every read behind it sends the writer a signal without SA_RESTART. */
static void survives_short_writes_and_interrupts(void **state) {
    (void)state;
    struct sigaction action = {.sa_handler = interrupt}, old;
    sigaction(SIGUSR1, &action, &old);
    assert_int_equal(mkfifo(in_folder("fifo"), 0600), 0);
    reader_state r = {.writer = pthread_self()};
    strcpy(r.path, in_folder("fifo"));
    pthread_t reader;
    assert_int_equal(pthread_create(&reader, NULL, read_and_interrupt, &r), 0);
    blockfile *f;
    OK(blockfile_create(&f, folder, "piped"));
    redirect("piped", r.path);
    OK(blockfile_write(f, pattern, 2 * BLOCKFILE_BLOCK));
    blockfile_abandon(f);
    pthread_join(reader, NULL);
    sigaction(SIGUSR1, &old, NULL);
    assert_true(r.crc == crc32(0, pattern, 2 * BLOCKFILE_BLOCK));
}

static void folders(void **state) {
    (void)state;
    OK(durable_make_folders(in_folder("a//b/c/")));
    OK(durable_make_folders(in_folder("a/b/c")));
    OK(durable_write_file(in_folder("a/b/file"), "1234", 4));
    FAILS(IO, "a/b/file: is not a folder", durable_make_folders(in_folder("a/b/file")));
    FAILS(IO, "a/b/file", durable_make_folders(in_folder("a/b/file/d")));
    FAILS(IO, "No such file", durable_make_folders(""));
    OK(durable_sync_folder(in_folder("a")));
    FAILS(IO, "absent: No such file", durable_sync_folder(in_folder("absent")));
    FAILS(IO, "a/b/file: Not a directory", durable_sync_folder(in_folder("a/b/file")));
    OK(durable_rename(in_folder("a"), in_folder("moved")));
    FAILS(IO, "rename to", durable_rename(in_folder("a"), in_folder("b")));

    /* A link inside a folder is removed, its target is not. A link in the place of the folder is refused. */
    OK(durable_make_folders(in_folder("outside")));
    OK(durable_write_file(in_folder("outside/kept"), "x", 1));
    assert_int_equal(symlink(in_folder("outside"), in_folder("moved/link")), 0);
    FAILS(IO, "link: is not a folder", durable_remove_folder(in_folder("moved/link")));
    OK(durable_remove_folder(in_folder("moved")));
    OK(durable_remove_folder(in_folder("moved")));
    assert_true(access(in_folder("moved"), F_OK) && !access(in_folder("outside/kept"), F_OK));
    FAILS(IO, "is not a folder", durable_remove_folder(in_folder("outside/kept")));
}

/* A link in a folder that others may write to must not redirect the write. What a crash left behind must not stop it. */
static void follows_no_link(void **state) {
    (void)state;
    static const char *const names[] = {"target", "target.tmp"};
    char *data;
    size_t bytes;
    blockfile *f;
    blockfile_sums sums;
    OK(durable_write_file(in_folder("precious"), "precious", 8));
    for (int i = 0; i < 2; i++) {
        for (int hard = 0; hard < 2; hard++) {
            unlink(in_folder(names[i]));
            if (hard) assert_int_equal(link(in_folder("precious"), in_folder(names[i])), 0);
            else assert_int_equal(symlink(in_folder("precious"), in_folder(names[i])), 0);
            OK(durable_write_file(in_folder("target"), "new", 3));
            assert_int_equal(access(in_folder("target.tmp"), F_OK), -1);
            OK(file_read(in_folder("target"), &data, &bytes));
            assert_string_equal(data, "new");
            free(data);
        }
        assert_int_equal(symlink(in_folder("precious"), in_folder("block")), 0);
        OK(blockfile_create(&f, folder, "block"));
        OK(blockfile_write(f, "new", 3));
        OK(blockfile_close(f, &sums));
        OK(blockfile_check(folder, &sums));
        free(sums.crc);
        unlink(in_folder("block"));
    }
    OK(durable_write_file(in_folder("target.tmp"), "left over", 9));
    OK(durable_write_file(in_folder("target"), "new", 3));
    OK(durable_make_folders(in_folder("target.tmp")));
    FAILS(IO, "target.tmp: cannot be replaced", durable_write_file(in_folder("target"), "newer", 5));
    OK(durable_remove_folder(in_folder("target.tmp")));
    OK(file_read(in_folder("precious"), &data, &bytes));
    assert_string_equal(data, "precious");
    free(data);
}

/* The child of the next test, in the folder `argv[2]`: replaces a file, then publishes a folder with a block file in it. */
static status publish(const char *where) {
    char file[4096], partial[4096], whole[4096];
    snprintf(file, sizeof file, "%s/latest", where);
    snprintf(partial, sizeof partial, "%s/step.tmp", where);
    snprintf(whole, sizeof whole, "%s/step", where);
    blockfile *f;
    blockfile_sums sums;
    TRY(durable_write_file(file, "new", 3));
    TRY(durable_make_folders(partial));
    TRY(blockfile_create(&f, partial, "data"));
    TRY(blockfile_write(f, pattern, BLOCKFILE_BLOCK + 5));
    TRY(blockfile_close(f, &sums));
    free(sums.crc);
    TRY(durable_sync_folder(partial));
    return durable_rename(partial, whole);
}

/* writes, fsyncs and renames of publish: 4 of the file, 1 of mkdir, 3 of the block file, 1 of its folder, 2 of the
 * rename */
enum { PUBLISH_CALLS = 4 + 1 + 3 + 1 + 2 };

static void a_crash_leaves_old_or_new(void **state) {
    (void)state;
    uint32_t crc[] = {(uint32_t)crc32(0, pattern, BLOCKFILE_BLOCK), (uint32_t)crc32(0, pattern + BLOCKFILE_BLOCK, 5)};
    blockfile_sums sums = {.name = "data", .bytes = BLOCKFILE_BLOCK + 5, .crc = crc, .blocks = 2};
    for (int n = 1; n <= PUBLISH_CALLS + 1; n++) {
        OK(durable_remove_folder(in_folder("run")));
        OK(durable_make_folders(in_folder("run")));
        OK(durable_write_file(in_folder("run/latest"), "old", 3));
        char text[16];
        snprintf(text, sizeof text, "%d", n);
        pid_t child = fork();
        if (child == 0) { /* a new process: the variable is read once in each */
            setenv("TALLY_CRASH_AT_WRITE", text, 1);
            execl(program, program, "publish", in_folder("run"), (char *)NULL);
            _exit(3);
        }
        int result;
        assert_int_equal(waitpid(child, &result, 0), child);
        if (n <= PUBLISH_CALLS) assert_true(WIFSIGNALED(result) && WTERMSIG(result) == SIGKILL);
        else assert_true(WIFEXITED(result) && WEXITSTATUS(result) == 0);

        char *data;
        size_t bytes;
        OK(file_read(in_folder("run/latest"), &data, &bytes));
        assert_string_equal(data, n > 3 ? "new" : "old"); /* write, fsync, rename: the third call makes it new */
        free(data);
        bool published = access(in_folder("run/step"), F_OK) == 0;
        assert_true(published == (n >= PUBLISH_CALLS)); /* killed before the rename's sync: already there */
        if (published) OK(blockfile_check(in_folder("run/step"), &sums));
    }
}

static int make_test_folder(void **state) {
    (void)state;
    return mkdtemp(folder) == NULL;
}

static int remove_test_folder(void **state) {
    (void)state;
    return durable_remove_folder(folder) != STATUS_OK;
}

int main(int argc, char **argv) {
    program = argv[0];
    pattern = malloc(PATTERN_BYTES);
    for (size_t i = 0; i < PATTERN_BYTES; i++) pattern[i] = (unsigned char)(i * 2654435761u >> 13);
    if (argc == 3) {
        status_code st = publish(argv[2]);
        free(pattern);
        return st != STATUS_OK;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_and_checks_every_size),
        cmocka_unit_test(finds_damage),
        cmocka_unit_test(reports_a_limit),
        cmocka_unit_test(reports_a_full_disk),
        cmocka_unit_test(survives_short_writes_and_interrupts),
        cmocka_unit_test(folders),
        cmocka_unit_test(follows_no_link),
        cmocka_unit_test(a_crash_leaves_old_or_new),
    };
    int failed = cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
    free(pattern);
    return failed;
}
