#include "train/checkpoint/progress.h"

#include <math.h>

#include "runtime/json.h"

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
static const field number_fields[] = {
    {"model_flops", offsetof(progress, model_flops)},
    {"loss", offsetof(progress, loss)},
    {"val_loss", offsetof(progress, val_loss)},
};
static const field text_fields[] = {
    {"precision", offsetof(progress, precision)},
    {"moments", offsetof(progress, moments)},
    {"master", offsetof(progress, master)},
};
enum { U64_FIELDS = sizeof u64_fields / sizeof *u64_fields, TEXT_FIELDS = sizeof text_fields / sizeof *text_fields };
enum { NUMBER_FIELDS = sizeof number_fields / sizeof *number_fields };

status progress_text(char **text, const progress *p) {
    status_code st = STATUS_OK;
    json_t *o = json_object();
    if (!o) FAIL(MEM, "no memory for progress.json");
    for (int i = 0; i < U64_FIELDS; i++) {
        uint64_t v;
        memcpy(&v, (const char *)p + u64_fields[i].offset, sizeof v);
        TRY_DONE(json_add_u64(o, u64_fields[i].key, v));
    }
    TRY_DONE(json_add_u64(o, "ranks", p->ranks));
    TRY_DONE(json_add_u64(o, "batch", p->batch));
    TRY_DONE(json_add_string(o, "device", p->device));
    TRY_DONE(json_add_string(o, "sharding", p->sharding));
    for (int i = 0; i < TEXT_FIELDS; i++)
        TRY_DONE(json_add_string(o, text_fields[i].key, (const char *)p + text_fields[i].offset));
    TRY_DONE(spent_write(o, &p->spent));
    TRY_DONE(json_add_string(o, "energy_source", p->energy_source));
    for (int i = 0; i < NUMBER_FIELDS; i++) {
        double v;
        memcpy(&v, (const char *)p + number_fields[i].offset, sizeof v);
        TRY_DONE(json_add_number_or_null(o, number_fields[i].key, v));
    }
    if (p->finite != PROGRESS_FINITE_UNKNOWN) TRY_DONE(json_add_bool(o, "finite", p->finite));
    st = json_print(text, o, JSON_INDENTED);
done:
    json_decref(o);
    return st;
}

status progress_read(progress *p, const char *path) {
    json_t *o;
    bool finite;
    *p = (progress){.ranks = 1, .finite = PROGRESS_FINITE_UNKNOWN};
    TRY(json_read_file(&o, path));
    status_code st = STATUS_OK;
    for (int i = 0; i < U64_FIELDS; i++) {
        uint64_t v;
        TRY_DONE(json_get_u64(o, path, u64_fields[i].key, &v));
        memcpy((char *)p + u64_fields[i].offset, &v, sizeof v);
    }
    if (json_find(o, "ranks")) TRY_DONE(json_get_u64(o, path, "ranks", &p->ranks));
    if (json_find(o, "batch")) TRY_DONE(json_get_u64(o, path, "batch", &p->batch));
    if (json_find(o, "device")) TRY_DONE(json_get_string(o, path, "device", p->device, sizeof p->device));
    if (json_find(o, "sharding")) TRY_DONE(json_get_string(o, path, "sharding", p->sharding, sizeof p->sharding));
    if (json_find(o, "energy_source"))
        TRY_DONE(json_get_string(o, path, "energy_source", p->energy_source, sizeof p->energy_source));
    for (int i = 0; i < NUMBER_FIELDS; i++) {
        double v = NAN;
        if (json_find(o, number_fields[i].key)) TRY_DONE(json_get_double(o, path, number_fields[i].key, &v));
        memcpy((char *)p + number_fields[i].offset, &v, sizeof v);
    }
    if (json_find(o, "finite")) {
        TRY_DONE(json_get_bool(o, path, "finite", &finite));
        p->finite = finite;
    }
    for (int i = 0; i < TEXT_FIELDS; i++)
        TRY_DONE(json_get_string(o, path, text_fields[i].key, (char *)p + text_fields[i].offset, 16));
    st = spent_read(&p->spent, o, path);
done:
    json_decref(o);
    return st;
}
