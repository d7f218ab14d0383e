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

static status write_sources(json_t *o, const progress *p) {
    json_t *list = p->source_count ? json_add_array(o, "sources") : NULL;
    for (uint64_t i = 0; i < p->source_count; i++) {
        json_t *one = json_append_object(list);
        if (!one) FAIL(MEM, "no memory for progress.json");
        TRY(json_add_string(one, "data", p->sources[i].data));
        TRY(json_add_u64(one, "windows", p->sources[i].windows));
        TRY(json_add_double(one, "epochs", p->sources[i].epochs));
    }
    return STATUS_OK;
}

static status read_sources(progress *p, const json_t *o, const char *path) {
    json_t *list, *one;
    size_t i;
    uint64_t sum = 0;
    if (!json_find(o, "sources")) return STATUS_OK;
    TRY(json_get_array(o, path, "sources", &list));
    p->source_count = json_array_size(list);
    if (p->source_count > MIX_SOURCES)
        FAIL(DATA, "%s: %lu sources, expected at most %d", path, p->source_count, MIX_SOURCES);
    json_array_foreach(list, i, one) {
        TRY(json_get_string(one, path, "data", p->sources[i].data, sizeof p->sources[i].data));
        TRY(json_get_u64(one, path, "windows", &p->sources[i].windows));
        TRY(json_get_double(one, path, "epochs", &p->sources[i].epochs));
        sum += p->sources[i].windows;
    }
    if (p->source_count && sum != p->windows)
        FAIL(DATA, "%s: the sources have %lu windows, expected \"windows\", %lu", path, sum, p->windows);
    return STATUS_OK;
}

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
    TRY_DONE(json_add_u64(o, "keyed_order", p->keyed_order));
    TRY_DONE(json_add_string(o, "tokenizer", p->tokenizer));
    TRY_DONE(write_sources(o, p));
    if (*p->init) TRY_DONE(json_add_string(o, "init", p->init));
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
    *p = (progress){.ranks = 1, .finite = PROGRESS_FINITE_UNKNOWN, .tokenizer = "bytes"};
    TRY(json_read_file(&o, path));
    status_code st = STATUS_OK;
    for (int i = 0; i < U64_FIELDS; i++) {
        uint64_t v;
        TRY_DONE(json_get_u64(o, path, u64_fields[i].key, &v));
        memcpy((char *)p + u64_fields[i].offset, &v, sizeof v);
    }
    if (json_find(o, "ranks")) TRY_DONE(json_get_u64(o, path, "ranks", &p->ranks));
    if (json_find(o, "batch")) TRY_DONE(json_get_u64(o, path, "batch", &p->batch));
    if (json_find(o, "keyed_order")) TRY_DONE(json_get_u64(o, path, "keyed_order", &p->keyed_order));
    if (json_find(o, "tokenizer")) TRY_DONE(json_get_string(o, path, "tokenizer", p->tokenizer, sizeof p->tokenizer));
    TRY_DONE(read_sources(p, o, path));
    if (json_find(o, "init")) TRY_DONE(json_get_string(o, path, "init", p->init, sizeof p->init));
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
