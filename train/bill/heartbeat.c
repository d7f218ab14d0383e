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
#include "runtime/file.h"
#include "runtime/json.h"
#include "runtime/lifetime.h"
#include "runtime/log.h"

enum { SLOT = 256, SLOTS = 2, CRC_TEXT = 10 /* a space, 8 digits, a newline */ };
static const uint64_t MOST_NS = 2000000000; /* between two beats */

/* ---- the file ---- */

static status slot_text(char slot[SLOT + 1], uint64_t sequence, const heartbeat_totals *t) {
    status_code st = STATUS_OK;
    char *text = NULL;
    cJSON *o = cJSON_CreateObject();
    if (!o) FAIL(MEM, "heartbeat");
    TRY_DONE(json_add_u64(o, "sequence", sequence));
    TRY_DONE(json_add_u64(o, "wall_ns", t->wall_ns));
    TRY_DONE(json_add_u64(o, "stopped_ns", t->stopped_ns));
    TRY_DONE(json_add_number_or_null(o, "usd", t->usd));
    TRY_DONE(json_add_number_or_null(o, "usd_per_hour", t->usd_per_hour));
    TRY_DONE(json_add_number_or_null(o, "energy_j", t->energy_j));
    TRY_DONE(json_print(&text, o, JSON_ONE_LINE));
    int padded = SLOT - CRC_TEXT;
    if (strlen(text) > (size_t)padded)
        FAIL_DONE(DATA, "heartbeat of %zu bytes, expected at most %d", strlen(text), padded);
    snprintf(slot, (size_t)padded + 1, "%-*s", padded, text);
    unsigned long crc = crc32(0, (const unsigned char *)slot, (unsigned)padded);
    snprintf(slot + padded, CRC_TEXT + 1, " %08lx\n", crc);
done:
    free(text);
    cJSON_Delete(o);
    return st;
}

static double number_or_nan(const cJSON *o, const char *key) {
    const cJSON *item = json_find(o, key);
    return cJSON_IsNumber(item) ? item->valuedouble : NAN;
}

static bool read_slot(const char *slot, uint64_t *sequence, heartbeat_totals *t) {
    char text[SLOT - CRC_TEXT + 1], crc[CRC_TEXT + 1];
    memcpy(text, slot, sizeof text - 1);
    text[sizeof text - 1] = 0;
    snprintf(crc, sizeof crc, " %08lx\n", crc32(0, (const unsigned char *)text, sizeof text - 1));
    if (memcmp(crc, slot + SLOT - CRC_TEXT, CRC_TEXT) != 0) return false;
    cJSON *o;
    if (json_parse(&o, "heartbeat", text, strlen(text))) return false;
    bool whole = !json_get_u64(o, "heartbeat", "sequence", sequence) &&
                 !json_get_u64(o, "heartbeat", "wall_ns", &t->wall_ns) &&
                 !json_get_u64(o, "heartbeat", "stopped_ns", &t->stopped_ns);
    t->usd = number_or_nan(o, "usd");
    t->usd_per_hour = number_or_nan(o, "usd_per_hour");
    t->energy_j = number_or_nan(o, "energy_j");
    cJSON_Delete(o);
    return whole;
}

static bool read_slots(const char *bytes, size_t size, uint64_t *sequence, heartbeat_totals *t) {
    bool found = false;
    *sequence = 0;
    *t = (heartbeat_totals){0};
    for (size_t at = 0; at + SLOT <= size; at += SLOT) {
        uint64_t number;
        heartbeat_totals told;
        if (!read_slot(bytes + at, &number, &told) || (found && number <= *sequence)) continue;
        found = true;
        *sequence = number;
        *t = told;
    }
    return found;
}

/* regular files only, and not through a link: the folder may be shared with others */
static int open_regular(const char *run, int flags) {
    struct stat s;
    int fd = open(path_join(run, "heartbeat").text, flags | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0666);
    if (fd < 0 || (fstat(fd, &s) == 0 && S_ISREG(s.st_mode))) return fd;
    close(fd);
    errno = EINVAL;
    return -1;
}

bool heartbeat_read(heartbeat_totals *t, const char *run) {
    char bytes[SLOTS * SLOT];
    uint64_t sequence;
    int fd = open_regular(run, O_RDONLY);
    ssize_t size = fd < 0 ? 0 : pread(fd, bytes, sizeof bytes, 0);
    if (fd >= 0) close(fd);
    return read_slots(bytes, size < 0 ? 0 : (size_t)size, &sequence, t);
}

/* ---- the thread ---- */

static struct {
    pthread_mutex_t lock;
    char run[4096];
    int fd;    /* -1: nothing is written */
    bool told; /* totals are the run's; else nothing is written */
    heartbeat_totals totals;
    uint64_t at_ns, stopped_at_ns; /* process time and stopped time that totals contain */
    energy_meter *meter;
    double joules_at;
    uint64_t sequence, written_ns;
    char found[SLOTS * SLOT]; /* before this attempt */
    ssize_t found_size;       /* -1: no file */
    int error;                /* errno of the first write that failed */
} beat = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1};

static heartbeat_totals totals_now(uint64_t now) {
    heartbeat_totals t = beat.totals;
    uint64_t since = now - beat.at_ns, stopped = lifetime_stopped_ns() - beat.stopped_at_ns;
    t.wall_ns += since;
    t.stopped_ns += stopped < since ? stopped : since;
    t.usd += t.usd_per_hour * (double)since * 1e-9 / 3600;
    if (beat.meter) t.energy_j += energy_joules(beat.meter) - beat.joules_at;
    return t;
}

static void write_slot(const heartbeat_totals *t) {
    char slot[SLOT + 1];
    if (beat.fd < 0 || !durable_allowed() || slot_text(slot, ++beat.sequence, t)) return;
    errno = 0;
    if (pwrite(beat.fd, slot, SLOT, (off_t)(beat.sequence % SLOTS * SLOT)) != SLOT && !beat.error)
        beat.error = errno ? errno : EIO;
}

static void each_tick(void *unused) {
    (void)unused;
    pthread_mutex_lock(&beat.lock);
    uint64_t now = lifetime_now_ns(), due = (now - lifetime_start_ns()) / 200;
    if (due > MOST_NS) due = MOST_NS;
    if (beat.told && beat.fd >= 0 && now - beat.written_ns >= due) {
        heartbeat_totals t = totals_now(now);
        write_slot(&t);
        beat.written_ns = now;
    }
    pthread_mutex_unlock(&beat.lock);
}

status heartbeat_open(void) { return lifetime_watch(each_tick, NULL); }

status heartbeat_begin(const char *run, bool fresh, heartbeat_totals *earlier) {
    snprintf(beat.run, sizeof beat.run, "%s", run);
    int there = open_regular(run, O_RDONLY);
    beat.found_size = there < 0 ? -1 : pread(there, beat.found, sizeof beat.found, 0);
    if (there >= 0) close(there);
    bool known = read_slots(beat.found, beat.found_size < 0 ? 0 : (size_t)beat.found_size, &beat.sequence, earlier);
    int fd = open_regular(run, O_WRONLY | O_CREAT);
    if (fd < 0) FAIL(IO, "%s/heartbeat: %s", run, strerror(errno));
    pthread_mutex_lock(&beat.lock);
    beat.fd = fd;
    beat.told = known || fresh;
    beat.totals = *earlier;
    if (!known) beat.totals.usd_per_hour = NAN;
    beat.at_ns = lifetime_start_ns();
    pthread_mutex_unlock(&beat.lock);
    return STATUS_OK;
}

void heartbeat_tell(const heartbeat_totals *now, double own_joules, energy_meter *energy) {
    pthread_mutex_lock(&beat.lock);
    beat.totals = *now;
    beat.told = true;
    beat.at_ns = lifetime_now_ns();
    beat.stopped_at_ns = lifetime_stopped_ns();
    beat.meter = energy;
    beat.joules_at = own_joules;
    int error = beat.error;
    if (error > 0) beat.error = -error; /* said once */
    pthread_mutex_unlock(&beat.lock);
    if (error > 0)
        log_line("%s/heartbeat: %s: the time since the last checkpoint is not booked if the run is killed", beat.run,
                 strerror(error));
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
    else if (beat.told) {
        heartbeat_totals t = ending == HEARTBEAT_SETTLED ? beat.totals : totals_now(lifetime_now_ns());
        write_slot(&t);
    }
    close(beat.fd);
    beat.fd = -1;
    beat.told = false;
    beat.meter = NULL;
}
