#include "train/bill/heartbeat.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "runtime/durable.h"
#include "runtime/json.h"
#include "runtime/lifetime.h"
#include "runtime/log.h"
#include "runtime/path.h"

enum { SLOT = 512, OLD_SLOT = 256, SLOTS = 2, CRC_TEXT = 10 /* a space, 8 digits, a newline */ };
static const uint64_t MOST_NS = 2000000000; /* between two writes */

/* ---- the file ---- */

typedef struct {
    uint64_t sequence;
    spent_totals spent;
    double usd_per_hour;
} heartbeat;

static const char *const power_keys[] = {
    [POWER_HOST_J] = "host_j", [POWER_OVERHEAD_J] = "overhead_j", [POWER_KG_CO2] = "kg_co2", [POWER_USD] = "power_usd"};

static status slot_text(char slot[SLOT + 1], const heartbeat *h) {
    const spent_totals *t = &h->spent;
    status_code st = STATUS_OK;
    char *text = NULL;
    json_t *o = json_object();
    if (!o) FAIL(MEM, "no memory for the heartbeat");
    TRY_DONE(json_add_u64(o, "sequence", h->sequence));
    TRY_DONE(json_add_u64(o, "wall_ns", t->ns));
    TRY_DONE(json_add_u64(o, "stopped_ns", t->stopped_ns));
    TRY_DONE(json_add_number_or_null(o, "usd", t->usd));
    TRY_DONE(json_add_number_or_null(o, "usd_per_hour", h->usd_per_hour));
    TRY_DONE(json_add_number_or_null(o, "energy_j", t->joules));
    for (int i = 0; i < POWER_ENTRIES; i++) TRY_DONE(json_add_number_or_null(o, power_keys[i], t->power[i]));
    TRY_DONE(json_print(&text, o, JSON_ONE_LINE));
    int padded = SLOT - CRC_TEXT;
    if (strlen(text) > (size_t)padded)
        FAIL_DONE(DATA, "heartbeat of %zu bytes, expected at most %d", strlen(text), padded);
    snprintf(slot, (size_t)padded + 1, "%-*s", padded, text);
    unsigned long crc = crc32(0, (const unsigned char *)slot, (unsigned)padded);
    snprintf(slot + padded, CRC_TEXT + 1, " %08lx\n", crc);
done:
    free(text);
    json_decref(o);
    return st;
}

static bool read_slot(heartbeat *h, const char *slot, int size) {
    char text[SLOT - CRC_TEXT + 1], crc[CRC_TEXT + 1];
    int padded = size - CRC_TEXT;
    memcpy(text, slot, (size_t)padded);
    text[padded] = 0;
    snprintf(crc, sizeof crc, " %08lx\n", crc32(0, (const unsigned char *)text, (unsigned)padded));
    if (memcmp(crc, slot + padded, CRC_TEXT) != 0) return false;
    json_t *o;
    if (json_parse(&o, "heartbeat", text, strlen(text))) return false;
    bool whole = !json_get_u64(o, "heartbeat", "sequence", &h->sequence) &&
                 !json_get_u64(o, "heartbeat", "wall_ns", &h->spent.ns) &&
                 !json_get_u64(o, "heartbeat", "stopped_ns", &h->spent.stopped_ns);
    h->spent.usd = json_number_or_nan(json_object_get(o, "usd"));
    h->usd_per_hour = json_number_or_nan(json_object_get(o, "usd_per_hour"));
    h->spent.joules = json_number_or_nan(json_object_get(o, "energy_j"));
    for (int i = 0; i < POWER_ENTRIES; i++) h->spent.power[i] = json_number_or_nan(json_object_get(o, power_keys[i]));
    json_decref(o);
    return whole;
}

/* The intact slot with the larger sequence. false: no slot is intact; *h is then zero, with an unknown price. */
static bool read_slots_of(heartbeat *h, int slot, const char *bytes, ssize_t size) {
    bool found = false;
    *h = (heartbeat){.usd_per_hour = NAN};
    for (ssize_t at = 0; at + slot <= size; at += slot) {
        heartbeat one;
        if (!read_slot(&one, bytes + at, slot) || (found && one.sequence <= h->sequence)) continue;
        found = true;
        *h = one;
    }
    return found;
}

static bool read_slots(heartbeat *h, const char *bytes, ssize_t size) {
    return read_slots_of(h, SLOT, bytes, size) || read_slots_of(h, OLD_SLOT, bytes, size);
}

/* Opens only a regular file and follows no link, because others may write to a shared folder. */
static int open_regular(const char *run, int flags) {
    struct stat s;
    int fd = open(path_join(run, "heartbeat").text, flags | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0666);
    if (fd < 0 || (fstat(fd, &s) == 0 && S_ISREG(s.st_mode))) return fd;
    close(fd);
    errno = EINVAL;
    return -1;
}

bool heartbeat_read(spent_totals *t, const char *run) {
    char bytes[SLOTS * SLOT];
    heartbeat h;
    int fd = open_regular(run, O_RDONLY);
    ssize_t size = fd < 0 ? 0 : pread(fd, bytes, sizeof bytes, 0);
    if (fd >= 0) close(fd);
    bool found = read_slots(&h, bytes, size);
    *t = h.spent;
    return found;
}

/* ---- the thread ---- */

static struct {
    pthread_mutex_t lock;
    char run[4096];
    int fd;     /* -1: nothing is written */
    bool known; /* `last` holds the totals of the run; false: nothing is written */
    heartbeat last;
    uint64_t at_ns, stopped_at_ns; /* process time and stopped time that `last` includes */
    power_rates rates;             /* of this attempt */
    energy_meter *meter;
    double joules_at;
    uint64_t written_ns;
    char found[SLOTS * SLOT]; /* contents before this attempt */
    ssize_t found_size;       /* -1: no file */
    int error;                /* errno of the first write that failed */
} beat = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1};

static spent_totals totals_now(uint64_t now) {
    spent_totals t = beat.last.spent;
    uint64_t since = now - beat.at_ns, stopped = lifetime_stopped_ns() - beat.stopped_at_ns;
    t.ns += since;
    t.stopped_ns += stopped < since ? stopped : since;
    t.usd += beat.last.usd_per_hour * (double)since * 1e-9 / 3600;
    if (!beat.meter) return t; /* the attempt begins: its power is not known yet */
    double joules = energy_joules(beat.meter) - beat.joules_at, power[POWER_ENTRIES];
    power_entries(power, &beat.rates, joules, (double)since * 1e-9);
    t.joules += joules;
    for (int i = 0; i < POWER_ENTRIES; i++) t.power[i] += power[i];
    if (!isnan(beat.rates.usd_per_kwh)) t.usd += power[POWER_USD];
    return t;
}

static void write_slot(spent_totals t) {
    char slot[SLOT + 1];
    heartbeat h = {beat.last.sequence + 1, t, beat.last.usd_per_hour};
    if (beat.fd < 0 || !durable_allowed() || slot_text(slot, &h)) return;
    beat.last.sequence = h.sequence;
    errno = 0;
    if (pwrite(beat.fd, slot, SLOT, (off_t)(h.sequence % SLOTS * SLOT)) != SLOT && !beat.error)
        beat.error = errno ? errno : EIO;
}

static void each_tick(void *unused) {
    (void)unused;
    pthread_mutex_lock(&beat.lock);
    uint64_t now = lifetime_now_ns(), due = (now - lifetime_start_ns()) / 1000;
    if (due > MOST_NS) due = MOST_NS;
    if (beat.known && beat.fd >= 0 && now - beat.written_ns >= due) {
        write_slot(totals_now(now));
        beat.written_ns = now;
    }
    pthread_mutex_unlock(&beat.lock);
}

status heartbeat_open(void) { return lifetime_watch(each_tick, NULL); }

status heartbeat_begin(const char *run, bool fresh, spent_totals *earlier) {
    snprintf(beat.run, sizeof beat.run, "%s", run);
    int there = open_regular(run, O_RDONLY);
    beat.found_size = there < 0 ? -1 : pread(there, beat.found, sizeof beat.found, 0);
    if (there >= 0) close(there);
    heartbeat last;
    bool known = read_slots(&last, beat.found, beat.found_size);
    *earlier = last.spent;
    int fd = open_regular(run, O_WRONLY | O_CREAT);
    if (fd < 0) FAIL(IO, "%s/heartbeat: %s", run, strerror(errno));
    pthread_mutex_lock(&beat.lock);
    beat.fd = fd;
    beat.known = known || fresh;
    beat.last = last;
    beat.at_ns = lifetime_start_ns();
    pthread_mutex_unlock(&beat.lock);
    return STATUS_OK;
}

void heartbeat_update(const spent_totals *now, double usd_per_hour, const power_rates *rates, double own_joules,
                      energy_meter *energy) {
    pthread_mutex_lock(&beat.lock);
    beat.last.spent = *now;
    beat.last.usd_per_hour = usd_per_hour;
    beat.known = true;
    beat.at_ns = lifetime_now_ns();
    beat.stopped_at_ns = lifetime_stopped_ns();
    beat.rates = *rates;
    beat.meter = energy;
    beat.joules_at = own_joules;
    int error = beat.error;
    if (error > 0) beat.error = -error; /* it is logged once */
    pthread_mutex_unlock(&beat.lock);
    if (error > 0)
        log_line("%s/heartbeat: %s: if the run is killed, the time since its last checkpoint will not be booked",
                 beat.run, strerror(error));
}

static void put_back(void) {
    if (!durable_allowed()) return;
    if (beat.found_size < 0) unlink(path_join(beat.run, "heartbeat").text);
    else if (pwrite(beat.fd, beat.found, (size_t)beat.found_size, 0) != beat.found_size ||
             ftruncate(beat.fd, beat.found_size) != 0)
        log_line("%s/heartbeat: %s", beat.run, strerror(errno));
}

void heartbeat_close(heartbeat_ending ending) {
    lifetime_watch_end();
    if (beat.fd < 0) return;
    if (ending == HEARTBEAT_FORGET) put_back();
    else if (beat.known) write_slot(ending == HEARTBEAT_SETTLED ? beat.last.spent : totals_now(lifetime_now_ns()));
    close(beat.fd);
    beat.fd = -1;
    beat.known = false;
    beat.meter = NULL;
}
