#include "train/bill/tensorboard.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "runtime/durable.h"
#include "runtime/file.h"
#include "runtime/path.h"
#include "train/bill/metrics_reader.h"

/* HEAD and FOOT: what TFRecord adds to the data. A value takes at most 6 times the bytes of its item in a line of 64 KiB. */
enum { HEAD = 12, FOOT = 4, LARGEST_EVENT = 512 << 10, BUFFER = 2 * LARGEST_EVENT, ID_BYTES = 32 };

typedef struct {
    char text[ID_BYTES];
} run_id;

struct tensorboard {
    int fd;
    path_text path;
    off_t written;
    double last_step; /* -1: none */
    uint32_t crc_table[256];
    size_t used;
    unsigned char buffer[BUFFER]; /* records that are not written yet */
};

/* ---- records ---- */

static void fill_crc_table(uint32_t table[256]) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++) c = c >> 1 ^ (c & 1 ? 0x82f63b78u : 0);
        table[i] = c;
    }
}

static uint32_t masked_crc(const tensorboard *t, const unsigned char *data, size_t bytes) {
    uint32_t c = ~0u;
    for (size_t i = 0; i < bytes; i++) c = c >> 8 ^ t->crc_table[(c ^ data[i]) & 255];
    c = ~c;
    return (c >> 15 | c << 17) + 0xa282ead8u;
}

static void put_little(unsigned char *to, uint64_t v, int bytes) {
    for (int i = 0; i < bytes; i++) to[i] = (unsigned char)(v >> 8 * i);
}

/* ---- protobuf ---- */

typedef enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 } wire;

typedef struct {
    unsigned char *at;
} writer;

static void put_varint(writer *w, uint64_t v) {
    for (; v > 127; v >>= 7) *w->at++ = (unsigned char)(v | 128);
    *w->at++ = (unsigned char)v;
}

static void put_key(writer *w, int field, wire type) { put_varint(w, (uint64_t)(field << 3 | (int)type)); }

static void put_fixed(writer *w, int field, wire type, const void *value) {
    uint64_t bits = 0;
    put_key(w, field, type);
    if (type == FIXED64) memcpy(&bits, value, 8);
    else {
        uint32_t half;
        memcpy(&half, value, 4);
        bits = half;
    }
    put_little(w->at, bits, type == FIXED64 ? 8 : 4);
    w->at += type == FIXED64 ? 8 : 4;
}

static void put_bytes(writer *w, int field, const void *data, size_t bytes) {
    put_key(w, field, BYTES);
    put_varint(w, bytes);
    memcpy(w->at, data, bytes);
    w->at += bytes;
}

/* ---- events ---- */

/* the groups of the tags, by how a key begins */
static const struct {
    const char *prefix, *group;
} groups[] = {{"loss", "loss"},        {"val_loss", "loss"},  {"lr", "optimizer"},  {"grad_", "optimizer"},
              {"step_ms", "speed"},    {"tokens_", "speed"},  {"mfu", "use"},       {"hfu", "use"},
              {"peak_", "use"},        {"flops_", "use"},     {"memory", "memory"}, {"energy_", "energy"},
              {"gpu_", "gpu"},         {"usd", "cost"},       {"drift_", "plan"},   {"exposed_", "ranks"},
              {"bytes_sent", "ranks"}, {"slowest_", "ranks"}, {"skew", "ranks"},    {"ranks", "ranks"}};

static const char *group_of(const char *key) {
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        if (strncmp(key, groups[i].prefix, strlen(groups[i].prefix)) == 0) return groups[i].group;
    return "run";
}

/* Value; the bytes of its message are known before it is written */
static void put_value(writer *w, const char *group, const char *key, double number) {
    float value = (float)number;
    size_t before = strlen(group), length = before + 1 + strlen(key);
    size_t length_bytes = length > 16383 ? 3 : length > 127 ? 2 : 1;
    if (!isfinite(value)) return;
    put_key(w, 1, BYTES);
    put_varint(w, 1 + length_bytes + length + 5);
    put_key(w, 1, BYTES);
    put_varint(w, length);
    memcpy(w->at, group, before);
    w->at[before] = '/';
    memcpy(w->at + before + 1, key, length - before - 1);
    w->at += length;
    put_fixed(w, 2, FIXED32, &value);
}

/* Returns the end of the values. */
static unsigned char *put_values(unsigned char *to, const json_t *line) {
    writer w = {to};
    const char *key;
    json_t *item;
    json_object_foreach((json_t *)line, key, item) {
        if (strcmp(key, "step") != 0 && strcmp(key, "unix_time_s") != 0)
            put_value(&w, group_of(key), key, json_number_or_nan(item));
    }
    json_object_foreach(json_object_get(line, "usd_by_booking"), key, item)
        put_value(&w, "usd_by_booking", key, json_number_or_nan(item));
    return w.at;
}

static status flush(tensorboard *t) {
    size_t bytes = t->used;
    t->used = 0;
    status_code st = durable_write(t->fd, t->path.text, t->buffer, bytes);
    if (!st) t->written += (off_t)bytes;
    else if (ftruncate(t->fd, t->written) == 0) lseek(t->fd, t->written, SEEK_SET); /* no torn record */
    return st;
}

static writer begin_event(tensorboard *t, double wall_time) {
    writer w = {t->buffer + t->used + HEAD};
    put_fixed(&w, 1, FIXED64, &wall_time);
    return w;
}

static void end_event(tensorboard *t, const writer *w) {
    unsigned char *record = t->buffer + t->used, *data = record + HEAD;
    size_t bytes = (size_t)(w->at - data);
    put_little(record, bytes, 8);
    put_little(record + 8, masked_crc(t, record, 8), 4);
    put_little(record + HEAD + bytes, masked_crc(t, data, bytes), 4);
    t->used += HEAD + bytes + FOOT;
}

/* Makes TensorBoard forget the steps from `step` on. */
static void put_start(tensorboard *t, double time_s, uint64_t step) {
    static const unsigned char start[] = {1 << 3, 1}; /* SessionLog: status START */
    writer w = begin_event(t, time_s);
    put_key(&w, 2, VARINT);
    put_varint(&w, step);
    put_bytes(&w, 7, start, sizeof start);
    end_event(t, &w);
}

static void put_beginning(tensorboard *t, double now) {
    static const char version[] = "brain.Event:2";
    writer w = begin_event(t, now);
    put_bytes(&w, 3, version, sizeof version - 1);
    end_event(t, &w);
    put_start(t, now, 0);
}

/* The values are written behind their place, and moved once their size is known. */
static status put_step(tensorboard *t, const json_t *line) {
    enum { ROOM = 64 }; /* for all else of the event */
    double step = json_number_or_nan(json_object_get(line, "step"));
    double time_s = json_number_or_nan(json_object_get(line, "unix_time_s"));
    if (!(step >= 0 && step < 9e18) || json_find(line, "event")) return STATUS_OK;
    if (isnan(time_s)) time_s = json_number_or_nan(json_object_get(line, "wall_s"));
    if (isnan(time_s)) time_s = 0;
    if (t->used + LARGEST_EVENT > sizeof t->buffer) TRY(flush(t));
    if (step <= t->last_step) put_start(t, time_s, (uint64_t)step); /* done again after a crash */
    t->last_step = step;
    unsigned char *values = t->buffer + t->used + ROOM, *end = put_values(values, line);
    writer w = begin_event(t, time_s);
    put_key(&w, 2, VARINT);
    put_varint(&w, (uint64_t)step);
    put_key(&w, 5, BYTES);
    put_varint(&w, (uint64_t)(end - values));
    memmove(w.at, values, (size_t)(end - values));
    w.at += end - values;
    end_event(t, &w);
    return STATUS_OK;
}

status tensorboard_append(tensorboard *t, const json_t *line) {
    TRY(put_step(t, line));
    return flush(t);
}

/* ---- the files of a folder ---- */

/* false: the run has none yet */
static bool read_id(run_id *id, const char *run) {
    char *text;
    size_t bytes;
    if (file_read_up_to(ID_BYTES - 1, path_join(run, "tensorboard_id").text, &text, &bytes)) return false;
    snprintf(id->text, sizeof id->text, "%.*s", (int)strcspn(text, "\n"), text);
    bool good = strspn(id->text, "0123456789abcdef") == 16 && !id->text[16];
    free(text);
    return good;
}

static status make_id(run_id *id, const char *run) {
    struct timespec now;
    char line[ID_BYTES + 1];
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t mixed = (uint64_t)now.tv_sec << 32 ^ (uint64_t)now.tv_nsec << 2 ^ (uint64_t)getpid() << 20;
    snprintf(id->text, sizeof id->text, "%016lx", mixed);
    int length = snprintf(line, sizeof line, "%s\n", id->text);
    return durable_write_file(path_join(run, "tensorboard_id").text, line, (size_t)length);
}

static bool is_event_file(const char *name) { return strstr(name, "tfevents") != NULL; } /* as TensorBoard decides */

static bool is_own(const char *name, const run_id *id) {
    char ending[ID_BYTES + 8];
    snprintf(ending, sizeof ending, ".tally-%s", id->text);
    return id->text[0] && is_event_file(name) && path_ends_with(name, ending);
}

status tensorboard_check(const char *folder, const char *run) {
    run_id id;
    struct stat info;
    if (stat(folder, &info)) {
        if (errno == ENOENT) return STATUS_OK;
        FAIL(ARG, "--tensorboard %s: %s", folder, strerror(errno));
    }
    if (!S_ISDIR(info.st_mode)) FAIL(ARG, "--tensorboard %s: is not a folder", folder);
    if (!read_id(&id, run)) id.text[0] = 0;
    DIR *d = opendir(folder);
    if (!d) FAIL(ARG, "--tensorboard %s: %s", folder, strerror(errno));
    status_code st = STATUS_OK;
    for (const struct dirent *e; !st && (e = readdir(d));)
        if (is_event_file(e->d_name) && !is_own(e->d_name, &id))
            st = ERROR(ARG,
                       "--tensorboard %s: holds %s, which is not of this run; expected a folder without event files "
                       "of others, because TensorBoard shows a folder as one run",
                       folder, e->d_name);
    closedir(d);
    return st;
}

/* A TensorBoard that reads a file goes on to the next one only while that file exists: so it is emptied, and the next time
 * removed. */
static status empty_older(const tensorboard *t, const char *folder, const run_id *id) {
    path_text name = path_last(t->path.text);
    DIR *d = opendir(folder);
    if (!d) FAIL(IO, "%s: %s", folder, strerror(errno));
    status_code st = STATUS_OK;
    for (const struct dirent *e; !st && (e = readdir(d));) {
        struct stat info;
        path_text path = path_join(folder, e->d_name);
        if (!is_own(e->d_name, id) || strcmp(e->d_name, name.text) == 0 || lstat(path.text, &info)) continue;
        bool failed = !S_ISREG(info.st_mode) || !info.st_size ? unlink(path.text) : truncate(path.text, 0);
        if (failed) st = ERROR(IO, "%s: %s", path.text, strerror(errno));
    }
    closedir(d);
    return st;
}

/* A TensorBoard that watches the folder goes on to a file whose name sorts after the one that it reads. */
static path_text new_path(const char *folder, const run_id *id, time_t now) {
    char host[65] = "host", name[160];
    path_text path;
    gethostname(host, sizeof host - 1);
    for (char *c = host; *c; c++)
        if (*c == '/') *c = '-';
    do {
        snprintf(name, sizeof name, "events.out.tfevents.%010ld.%s.tally-%s", (long)now++, host, id->text);
        path = path_join(folder, name);
    } while (access(path.text, F_OK) == 0);
    return path;
}

static status write_history(tensorboard *t, const char *metrics) {
    metrics_reader *in;
    metrics_line line;
    if (access(metrics, F_OK)) return STATUS_OK;
    TRY(metrics_reader_open(&in, metrics));
    status_code st = STATUS_OK;
    for (bool more;;) {
        TRY_DONE(metrics_reader_next(in, &line, &more));
        if (!more) break;
        TRY_DONE(put_step(t, line.json));
    }
    st = flush(t);
done:
    metrics_reader_close(in);
    return st;
}

static status open_file(tensorboard *t, const char *folder, const char *run) {
    run_id id;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    TRY(durable_make_folders(folder));
    if (!read_id(&id, run)) TRY(make_id(&id, run));
    path_text temporary = path_join(folder, ".tally-events.tmp"), final = new_path(folder, &id, now.tv_sec);
    TRY(durable_create(&t->fd, temporary.text));
    t->path = temporary;
    put_beginning(t, (double)now.tv_sec + (double)now.tv_nsec * 1e-9);
    status_code st = flush(t);
    if (!st) st = write_history(t, path_join(run, "metrics.jsonl").text);
    if (!st) st = durable_sync(t->fd, t->path.text);
    if (!st) st = durable_rename(temporary.text, final.text);
    if (st) {
        unlink(temporary.text);
        return st;
    }
    t->path = final;
    return empty_older(t, folder, &id);
}

status tensorboard_open(tensorboard **out, const char *folder, const char *run) {
    *out = NULL;
    tensorboard *t = calloc(1, sizeof *t);
    if (!t) FAIL(MEM, "--tensorboard %s: no memory", folder);
    t->fd = -1;
    t->last_step = -1;
    fill_crc_table(t->crc_table);
    status_code st = open_file(t, folder, run);
    if (!st) {
        *out = t;
        return st;
    }
    if (t->fd >= 0) close(t->fd);
    free(t);
    return st;
}

status tensorboard_close(tensorboard *t) {
    if (!t) return STATUS_OK;
    status_code st = durable_sync(t->fd, t->path.text);
    close(t->fd);
    free(t);
    return st;
}
