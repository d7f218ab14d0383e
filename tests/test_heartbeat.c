#include "tests/check.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/lifetime.h"
#include "train/bill/heartbeat.h"

enum { SLOT = 512 };
static char run[] = "/tmp/test_heartbeat_XXXXXX", path[64];

static const spent_totals told = {
    .ns = 9007199254740993, .stopped_ns = 5, .usd = 0.1, .joules = 1.0 / 3, .power = {1.0 / 7, 0, 1e300, NAN}};

static size_t read_bytes(char bytes[2 * SLOT + 1]) {
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(bytes, 1, 2 * SLOT + 1, f) : 0;
    if (f) fclose(f);
    return n;
}

static void write_bytes(const char *bytes, size_t n) {
    FILE *f = fopen(path, "wb");
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    fclose(f);
}

static void attempt(heartbeat_ending ending, spent_totals *earlier, bool tell) {
    OK(heartbeat_open());
    OK(heartbeat_begin(run, true, earlier));
    if (tell) heartbeat_update(&told, 3600, &power_unknown, 0, NULL);
    heartbeat_close(ending);
}

static void totals_are_read_as_told(void **unused) {
    (void)unused;
    spent_totals t;
    assert_false(heartbeat_read(&t, run));
    assert_true(t.ns == 0);
    attempt(HEARTBEAT_SETTLED, &t, true);
    assert_true(t.ns == 0 && t.usd == 0);
    assert_true(heartbeat_read(&t, run));
    assert_true(t.ns == told.ns && t.stopped_ns == 5 && t.usd == told.usd && t.joules == told.joules);
    assert_true(t.power[0] == told.power[0] && t.power[1] == 0 && t.power[2] == 1e300 && isnan(t.power[3]));
}

/* as written before the slots grew; what it lacks is not known */
static void slots_of_an_earlier_version_are_read(void **unused) {
    (void)unused;
    char old[512 + 1];
    spent_totals t;
    static const char first[] =
        "{\"sequence\": 4, \"wall_ns\": 7, \"stopped_ns\": 5, \"usd\": 0.5, \"usd_per_hour\": 2, "
        "\"energy_j\": 3}",
                      second[] =
                          "{\"sequence\": 5, \"wall_ns\": 9, \"stopped_ns\": 6, \"usd\": null, \"usd_per_hour\": 2, "
                          "\"energy_j\": 4}";
    snprintf(old, sizeof old, "%-246s 7785382a\n%-246s 76916903\n", first, second);
    write_bytes(old, 512);
    assert_true(heartbeat_read(&t, run));
    assert_true(t.ns == 9 && t.stopped_ns == 6 && isnan(t.usd) && t.joules == 4);
    for (int i = 0; i < POWER_ENTRIES; i++) assert_true(isnan(t.power[i]));
    attempt(HEARTBEAT_SETTLED, &t, true);
    assert_true(t.ns == 9);
    assert_true(heartbeat_read(&t, run) && t.ns == told.ns);
}

/* the time of an attempt that is killed early is added to the earlier time, at the earlier price */
static void an_attempt_counts_from_its_start(void **unused) {
    (void)unused;
    spent_totals t, earlier;
    uint64_t age = lifetime_now_ns() - lifetime_start_ns();
    attempt(HEARTBEAT_KEEP, &earlier, false);
    assert_true(earlier.ns == told.ns);
    assert_true(heartbeat_read(&t, run));
    uint64_t more = t.ns - earlier.ns;
    assert_true(more >= age && more <= lifetime_now_ns() - lifetime_start_ns());
    assert_true(fabs(t.usd - earlier.usd - (double)more * 1e-9) < 1e-9); /* 3600 an hour */
}

static void a_refused_attempt_leaves_no_trace(void **unused) {
    (void)unused;
    char before[2 * SLOT + 1], after[2 * SLOT + 1];
    spent_totals t;
    size_t n = read_bytes(before);
    attempt(HEARTBEAT_FORGET, &t, true);
    assert_int_equal(read_bytes(after), n);
    assert_memory_equal(before, after, n);
    write_bytes(before, SLOT);
    attempt(HEARTBEAT_FORGET, &t, true);
    assert_int_equal(read_bytes(after), SLOT);
    assert_int_equal(unlink(path), 0);
    attempt(HEARTBEAT_FORGET, &t, true);
    assert_int_equal(access(path, F_OK), -1);
    write_bytes(before, n);
}

/* torn at any byte: the other slot is read */
static void a_torn_slot_is_passed_over(void **unused) {
    (void)unused;
    char whole[2 * SLOT + 1], bytes[2 * SLOT];
    spent_totals t, newest, older;
    unlink(path);
    attempt(HEARTBEAT_SETTLED, &t, true);
    attempt(HEARTBEAT_KEEP, &t, false);
    assert_int_equal(read_bytes(whole), 2 * SLOT);
    assert_true(heartbeat_read(&newest, run));
    int last = memcmp(&newest, &told, offsetof(spent_totals, power)) == 0 ? 1 : 0;
    for (int slot = 0; slot < 2; slot++) {
        memcpy(bytes, whole, sizeof bytes);
        bytes[slot * SLOT] ^= 1;
        write_bytes(bytes, sizeof bytes);
        assert_true(heartbeat_read(&older, run));
        if (older.ns != newest.ns) last = slot;
    }
    memcpy(bytes, whole, sizeof bytes);
    bytes[last * SLOT] ^= 1;
    write_bytes(bytes, sizeof bytes);
    assert_true(heartbeat_read(&older, run));
    assert_true(older.ns <= newest.ns);
    for (int at = 0; at < SLOT; at++) {
        memcpy(bytes, whole, sizeof bytes);
        memset(bytes + last * SLOT + at, '7', (size_t)(SLOT - at));
        write_bytes(bytes, sizeof bytes);
        assert_true(heartbeat_read(&t, run));
        assert_true(t.ns == older.ns);
    }
    for (size_t n = 0; n < 2 * SLOT; n++) {
        write_bytes(whole, n);
        if (heartbeat_read(&t, run)) assert_true(t.ns == older.ns || t.ns == newest.ns);
        else assert_true(n < 2 * SLOT && t.ns == 0);
    }
    write_bytes("not a heartbeat", 15);
    assert_false(heartbeat_read(&t, run));
}

/* the folder may be shared: links are not followed, and a pipe does not block */
static void only_a_regular_file_is_opened(void **unused) {
    (void)unused;
    char other[64];
    spent_totals t;
    snprintf(other, sizeof other, "%s/other", run);
    unlink(path);
    assert_int_equal(symlink(other, path), 0);
    OK(heartbeat_open());
    FAILS(IO, "heartbeat: ", heartbeat_begin(run, true, &t));
    heartbeat_close(HEARTBEAT_FORGET);
    assert_int_equal(access(other, F_OK), -1);
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_false(heartbeat_read(&t, run));
    OK(heartbeat_open());
    FAILS(IO, "heartbeat: ", heartbeat_begin(run, true, &t));
    heartbeat_close(HEARTBEAT_FORGET);
    unlink(path);
}

int main(void) {
    assert_non_null(mkdtemp(run));
    snprintf(path, sizeof path, "%s/heartbeat", run);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(totals_are_read_as_told),          cmocka_unit_test(slots_of_an_earlier_version_are_read),
        cmocka_unit_test(an_attempt_counts_from_its_start), cmocka_unit_test(a_refused_attempt_leaves_no_trace),
        cmocka_unit_test(a_torn_slot_is_passed_over),       cmocka_unit_test(only_a_regular_file_is_opened),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(run);
    return failed;
}
