#include "train/checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <zlib.h>

#include "runtime/file.h"
#include "runtime/gemm.h"
#include "runtime/json.h"
#include "runtime/log.h"
#include "train/weights.h"

enum { FILES = 4 };
static const char *const file_names[FILES] = {"config.json", "model.safetensors", "optimizer.safetensors",
                                              "progress.json"};

static path_text join(const char *folder, const char *name) {
    path_text p;
    if (snprintf(p.text, sizeof p.text, "%s/%s", folder, name) >= (int)sizeof p.text) p.text[0] = 0;
    return p;
}

path_text checkpoint_path(const char *run, uint64_t step) {
    char name[64];
    snprintf(name, sizeof name, "checkpoints/step-%lu", step);
    return join(run, name);
}

/* --- progress.json --- */

typedef struct {
    const char *key;
    size_t offset;
} field;

static const field u64_fields[] = {
    {"step", offsetof(progress, step)},
    {"updates", offsetof(progress, updates)},
    {"skipped", offsetof(progress, skipped)},
    {"tokens", offsetof(progress, tokens)},
    {"windows", offsetof(progress, windows)},
    {"seed", offsetof(progress, seed)},
    {"data_crc32", offsetof(progress, data_crc32)},
    {"train_tokens", offsetof(progress, train_tokens)},
    {"seq_len", offsetof(progress, seq_len)},
    {"global_batch", offsetof(progress, global_batch)},
    {"threads", offsetof(progress, threads)},
};
static const field text_fields[] = {
    {"precision", offsetof(progress, precision)},
    {"moments", offsetof(progress, moments)},
    {"master", offsetof(progress, master)},
};
enum { U64_FIELDS = sizeof u64_fields / sizeof *u64_fields, TEXT_FIELDS = sizeof text_fields / sizeof *text_fields };

static status progress_text(char **text, const progress *p) {
    status_code st = STATUS_OK;
    cJSON *o = cJSON_CreateObject(), *booked = cJSON_AddObjectToObject(o, "booked_ns");
    if (!o || !booked) FAIL_DONE(MEM, "progress.json");
    for (int i = 0; i < U64_FIELDS; i++) {
        uint64_t v;
        memcpy(&v, (const char *)p + u64_fields[i].offset, sizeof v);
        TRY_DONE(json_add_u64(o, u64_fields[i].key, v));
    }
    for (int i = 0; i < TEXT_FIELDS; i++)
        TRY_DONE(json_add_string(o, text_fields[i].key, (const char *)p + text_fields[i].offset));
    for (int b = 0; b < BOOKINGS; b++) TRY_DONE(json_add_u64(booked, booking_key((booking)b), p->booked_ns[b]));
    TRY_DONE(json_add_double(o, "energy_j", p->energy_j));
    st = json_print(text, o, JSON_INDENTED);
done:
    cJSON_Delete(o);
    return st;
}

static status config_text(char **text, const model_config *c) {
    cJSON *config = model_config_to_json(c);
    if (!config) FAIL(MEM, "config.json");
    status_code st = json_print(text, config, JSON_INDENTED);
    cJSON_Delete(config);
    return st;
}

status checkpoint_progress(const char *folder, progress *p) {
    path_text path = join(folder, "progress.json");
    cJSON *o;
    *p = (progress){0};
    TRY(json_read_file(&o, path.text));
    status_code st = STATUS_OK;
    for (int i = 0; i < U64_FIELDS; i++) {
        uint64_t v;
        TRY_DONE(json_get_u64(o, path.text, u64_fields[i].key, &v));
        memcpy((char *)p + u64_fields[i].offset, &v, sizeof v);
    }
    for (int i = 0; i < TEXT_FIELDS; i++)
        TRY_DONE(json_get_string(o, path.text, text_fields[i].key, (char *)p + text_fields[i].offset, 16));
    const cJSON *booked;
    TRY_DONE(json_get_object(o, path.text, "booked_ns", &booked));
    for (int b = 0; b < BOOKINGS; b++)
        TRY_DONE(json_get_u64(booked, path.text, booking_key((booking)b), &p->booked_ns[b]));
    TRY_DONE(json_get_double(o, path.text, "energy_j", &p->energy_j));
done:
    cJSON_Delete(o);
    return st;
}

/* --- the optimizer's state --- */

typedef struct {
    const char *prefix;
    void *data;
    dtype t;
} buffer;

static int state_buffers(const state *s, buffer b[3]) {
    int n = 0;
    if (s->master) b[n++] = (buffer){"master", s->master, F32};
    b[n++] = (buffer){"m", s->m, s->o.moments};
    b[n++] = (buffer){"v", s->v, s->o.moments};
    return n;
}

static safetensor describe(const buffer *b, const param *p) {
    safetensor t = {.type = b->t, .dims = p->rows == 1 ? 1 : 2, .shape = {p->rows, p->cols}};
    if (t.dims == 1) t.shape[0] = p->cols, t.shape[1] = 0;
    snprintf(t.name, sizeof t.name, "%s.%s", b->prefix, params_name(p).text);
    return t;
}

static status optimizer_write(const state *s, const char *folder, blockfile_sums *sums) {
    buffer buffers[3];
    int n = state_buffers(s, buffers), count = 0;
    size_t header_bytes, largest = 0;
    char *header = NULL;
    void *host = NULL;
    blockfile *out = NULL;
    status_code st = STATUS_OK;
    safetensor *list = malloc((size_t)(n * s->p.count) * sizeof *list);
    if (!list) FAIL_DONE(MEM, "%s: %d tensors", folder, n * s->p.count);
    for (int b = 0; b < n; b++)
        for (int i = 0; i < s->p.count; i++) list[count++] = describe(&buffers[b], &s->p.list[i]);
    TRY_DONE(safetensors_layout(list, count, NULL, &header, &header_bytes));
    for (int i = 0; i < count; i++)
        if ((size_t)list[i].bytes > largest) largest = (size_t)list[i].bytes;
    host = malloc(largest);
    if (!host) FAIL_DONE(MEM, "%s: %zu bytes", folder, largest);
    TRY_DONE(blockfile_create(&out, folder, "optimizer.safetensors"));
    TRY_DONE(blockfile_write(out, header, header_bytes));
    for (int i = 0; i < count; i++) {
        const buffer *b = &buffers[i / s->p.count];
        const param *p = &s->p.list[i % s->p.count];
        TRY_DONE(s->dev->ops->copy(s->dev, host, at(b->data, b->t, p->offset), (size_t)list[i].bytes));
        TRY_DONE(blockfile_write(out, host, (size_t)list[i].bytes));
    }
    st = blockfile_close(out, sums);
    out = NULL;
done:
    blockfile_abandon(out);
    free(list);
    free(header);
    free(host);
    return st;
}

static status optimizer_read(state *s, const char *path) {
    buffer buffers[3];
    int n = state_buffers(s, buffers);
    safetensors f;
    TRY(safetensors_open(&f, path));
    status_code st = STATUS_OK;
    for (int b = 0; b < n; b++)
        for (int i = 0; i < s->p.count; i++) {
            safetensor e = describe(&buffers[b], &s->p.list[i]);
            const safetensor *t = safetensors_find(&f, e.name);
            if (!t) FAIL_DONE(DATA, "%s: no tensor \"%s\"", path, e.name);
            if (t->type != e.type || t->dims != e.dims || memcmp(t->shape, e.shape, (size_t)e.dims * sizeof *e.shape))
                FAIL_DONE(DATA, "%s: \"%s\" differs in dtype or shape from this run's", path, e.name);
            void *to = at(buffers[b].data, e.type, s->p.list[i].offset);
            TRY_DONE(s->dev->ops->copy(s->dev, to, safetensors_data(&f, t), (size_t)t->bytes));
        }
    if (f.count != n * s->p.count) FAIL_DONE(DATA, "%s: holds %d tensors, expected %d", path, f.count, n * s->p.count);
done:
    safetensors_close(&f);
    return st;
}

/* --- the manifest --- */

static status manifest_write(const char *folder, const blockfile_sums sums[FILES]) {
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    if (!f) FAIL(MEM, "%s/MANIFEST", folder);
    fprintf(f, "tally-checkpoint 1 block %d\n", BLOCKFILE_BLOCK);
    for (int i = 0; i < FILES; i++) {
        fprintf(f, "file %s %ld", sums[i].name, sums[i].bytes);
        for (int b = 0; b < sums[i].blocks; b++) fprintf(f, " %08x", sums[i].crc[b]);
        fputc('\n', f);
    }
    fflush(f);
    uint32_t crc = (uint32_t)crc32(0, (const unsigned char *)text, (unsigned)size);
    fprintf(f, "crc32 %08x\n", crc);
    fclose(f);
    status_code st = write_file_atomic(join(folder, "MANIFEST").text, text, size);
    free(text);
    return st;
}

static status manifest_line(const char *path, char *line, const char *name, blockfile_sums *sums) {
    int used = 0;
    char found[64];
    i64 bytes;
    if (sscanf(line, "file %63s %ld%n", found, &bytes, &used) != 2 || strcmp(found, name) != 0 || bytes < 0)
        FAIL(DATA, "%s: found \"%.60s\", expected the sums of %s", path, line, name);
    *sums = (blockfile_sums){.bytes = bytes, .blocks = (int)((bytes + BLOCKFILE_BLOCK - 1) / BLOCKFILE_BLOCK)};
    snprintf(sums->name, sizeof sums->name, "%s", name);
    sums->crc = calloc((size_t)sums->blocks + 1, sizeof *sums->crc);
    if (!sums->crc) FAIL(MEM, "%s: %d blocks", path, sums->blocks);
    char *p = line + used;
    for (int b = 0; b < sums->blocks; b++) {
        int n = 0;
        if (sscanf(p, " %8x%n", &sums->crc[b], &n) != 1) FAIL(DATA, "%s: %s lacks the sum of block %d", path, name, b);
        p += n;
    }
    return STATUS_OK;
}

static void free_sums(blockfile_sums sums[FILES]) {
    for (int i = 0; i < FILES; i++) free(sums[i].crc);
}

status checkpoint_verify(const char *folder) {
    path_text path = join(folder, "MANIFEST");
    char *text = NULL;
    size_t size;
    blockfile_sums sums[FILES] = {0};
    TRY(read_file(path.text, &text, &size));
    status_code st = STATUS_OK;
    enum { TAIL = sizeof "crc32 xxxxxxxx\n" - 1 };
    char tail[TAIL + 1] = "";
    size_t body = size < TAIL ? 0 : size - TAIL;
    uint32_t crc = (uint32_t)crc32(0, (const unsigned char *)text, (unsigned)body);
    snprintf(tail, sizeof tail, "crc32 %08x\n", crc);
    if (strcmp(text + body, tail) != 0)
        FAIL_DONE(DATA, "%s: damaged: it ends in \"%.14s\", expected \"crc32 %08x\"", path.text, text + body, crc);
    char *rest = NULL, *line = strtok_r(text, "\n", &rest);
    int block;
    if (!line || sscanf(line, "tally-checkpoint 1 block %d", &block) != 1 || block != BLOCKFILE_BLOCK)
        FAIL_DONE(DATA, "%s: found \"%.60s\", expected a checkpoint of format 1", path.text, line ? line : "");
    for (int i = 0; i < FILES; i++) {
        line = strtok_r(NULL, "\n", &rest);
        TRY_DONE(manifest_line(path.text, line ? line : (char[]){""}, file_names[i], &sums[i]));
        TRY_DONE(blockfile_check(folder, &sums[i]));
    }
done:
    free_sums(sums);
    free(text);
    return st;
}

/* --- folders --- */

static status write_text(const char *folder, const char *name, const char *text, blockfile_sums *sums) {
    blockfile *f = NULL;
    status_code st = STATUS_OK;
    TRY_DONE(blockfile_create(&f, folder, name));
    TRY_DONE(blockfile_write(f, text, strlen(text)));
    st = blockfile_close(f, sums);
    f = NULL;
done:
    blockfile_abandon(f);
    return st;
}

static status write_all(const char *folder, const state *s, const model_config *c, const progress *p) {
    blockfile_sums sums[FILES] = {0};
    status_code st = STATUS_OK;
    char *config = NULL, *position = NULL;
    TRY_DONE(config_text(&config, c));
    TRY_DONE(progress_text(&position, p));
    TRY_DONE(write_text(folder, file_names[0], config, &sums[0]));
    TRY_DONE(weights_write(s, c, folder, file_names[1], &sums[1]));
    TRY_DONE(optimizer_write(s, folder, &sums[2]));
    TRY_DONE(write_text(folder, file_names[3], position, &sums[3]));
    st = manifest_write(folder, sums);
done:
    free_sums(sums);
    free(config);
    free(position);
    return st;
}

status checkpoint_save(const char *run, const state *s, const model_config *c, const progress *p) {
    path_text final = checkpoint_path(run, p->step), temporary;
    snprintf(temporary.text, sizeof temporary.text, "%.3900s/checkpoints/.step-%lu.tmp", run, p->step);
    struct stat info;
    bool exists = stat(final.text, &info) == 0;
    if (exists) {
        status_code whole = checkpoint_verify(final.text);
        if (whole != STATUS_DATA) return whole;
    }
    TRY(remove_folder(temporary.text));
    TRY(make_folders(temporary.text));
    status_code st = write_all(temporary.text, s, c, p);
    if (!st) st = fsync_folder(temporary.text);
    if (!st && exists) st = remove_folder(final.text); /* a broken one of the same step */
    if (!st) st = rename_folder(temporary.text, final.text);
    if (!st) return STATUS_OK;
    char message[1024];
    snprintf(message, sizeof message, "%s", status_message());
    (void)!remove_folder(temporary.text); /* best effort: room again after a full disk */
    FAIL(IO, "%s", message);
}

static int newest_first(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* steps of the folders named step-N, newest first; *leftovers: whether interrupted saves lie beside them */
static status list_steps(const char *run, uint64_t **steps, int *count, bool *leftovers) {
    path_text folder = join(run, "checkpoints");
    *steps = NULL;
    *count = 0;
    *leftovers = false;
    DIR *d = opendir(folder.text);
    if (!d && errno == ENOENT) return STATUS_OK;
    if (!d) FAIL(IO, "%s: %s", folder.text, strerror(errno));
    for (struct dirent *e; (e = readdir(d));) {
        uint64_t step;
        int used = 0;
        if (strncmp(e->d_name, ".step-", 6) == 0) *leftovers = true;
        if (sscanf(e->d_name, "step-%lu%n", &step, &used) != 1 || e->d_name[used]) continue;
        uint64_t *grown = realloc(*steps, (size_t)(*count + 1) * sizeof *grown);
        if (!grown) {
            closedir(d);
            free(*steps);
            FAIL(MEM, "%s: %d checkpoints", folder.text, *count + 1);
        }
        *steps = grown;
        grown[(*count)++] = step;
    }
    closedir(d);
    if (*count) qsort(*steps, (size_t)*count, sizeof **steps, newest_first);
    return STATUS_OK;
}

static status remove_leftovers(const char *run) {
    path_text folder = join(run, "checkpoints");
    DIR *d = opendir(folder.text);
    if (!d) FAIL(IO, "%s: %s", folder.text, strerror(errno));
    status_code st = STATUS_OK;
    for (struct dirent *e; !st && (e = readdir(d));)
        if (strncmp(e->d_name, ".step-", 6) == 0) st = remove_folder(join(folder.text, e->d_name).text);
    closedir(d);
    return st;
}

status checkpoint_prune(const char *run, uint64_t step, int64_t keep) {
    uint64_t *steps;
    int count;
    bool leftovers;
    TRY(list_steps(run, &steps, &count, &leftovers));
    status_code st = STATUS_OK;
    for (int i = 0; i < count; i++) {
        if (steps[i] <= step && keep-- > 0) continue;
        /* out of sight first: a folder half removed must not look like a checkpoint */
        path_text old = checkpoint_path(run, steps[i]), hidden;
        snprintf(hidden.text, sizeof hidden.text, "%.3900s/checkpoints/.step-%lu.old", run, steps[i]);
        TRY_DONE(rename_folder(old.text, hidden.text));
        leftovers = true;
    }
    if (leftovers) TRY_DONE(remove_leftovers(run));
done:
    free(steps);
    return st;
}

status checkpoint_newest(const char *run, int *found, path_text *folder) {
    uint64_t *steps;
    int count;
    bool leftovers;
    *found = 0;
    TRY(list_steps(run, &steps, &count, &leftovers));
    status_code st = STATUS_OK;
    for (int i = 0; i < count && !*found; i++) {
        *folder = checkpoint_path(run, steps[i]);
        status_code whole = checkpoint_verify(folder->text);
        if (whole == STATUS_OK) *found = 1;
        else if (whole == STATUS_DATA) log_line("passed over a broken checkpoint: %s", status_message());
        else TRY_DONE(whole); /* that it cannot be read now does not make it broken */
    }
    if (count && !*found) FAIL_DONE(DATA, "%s/checkpoints: %d found, none of them whole", run, count);
done:
    free(steps);
    return st;
}

status checkpoint_load(const char *folder, state *s, const model_config *c) {
    TRY(weights_read(s, c, join(folder, "model.safetensors").text));
    TRY(optimizer_read(s, join(folder, "optimizer.safetensors").text));
    gemm_weights_changed(s->dev);
    return STATUS_OK;
}
