#include "train/bill/calibration.h"

#include <limits.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "runtime/json.h"
#include "runtime/path.h"

static const char *const work_keys[] = {
#define X(code, key) key,
    CALIBRATION_WORK_LIST(X)
#undef X
};

const char *calibration_work_key(calibration_work w) { return work_keys[w]; }

/* --- the keys of the file, for both directions --- */

typedef struct {
    const char *key;
    size_t offset, size; /* size: of a text */
} field;

#define TEXT(member)                                                                                                   \
    { #member, offsetof(calibration, member), sizeof((calibration *)0)->member }
#define FIELD(member)                                                                                                  \
    { #member, offsetof(calibration, member), 0 }
static const field texts[] = {TEXT(model),     TEXT(device), TEXT(isa),          TEXT(precision),
                              TEXT(recompute), TEXT(shard),  TEXT(energy_source)};
static const field integers[] = {FIELD(ranks),         FIELD(threads),         FIELD(batch),      FIELD(seq_len),
                                 FIELD(micro_batches), FIELD(tokens_per_step), FIELD(vocabulary), FIELD(steps)};
static const field numbers[] = {FIELD(step_s),         FIELD(step_low_s),        FIELD(step_high_s),
                                FIELD(tokens_per_s),   FIELD(flops_model_per_s), FIELD(flops_executed_per_s),
                                FIELD(peak_datasheet), FIELD(peak_measured),     FIELD(evaluation_s),
                                FIELD(checkpoint_s),   FIELD(startup_s),         FIELD(watts),
                                FIELD(memory_bytes),   FIELD(usd_per_hour)};
#define COUNT(list) (sizeof(list) / sizeof *(list))

static char *text_of(const calibration *c, const field *f) { return (char *)c + f->offset; }
static i64 *integer_of(const calibration *c, const field *f) { return (i64 *)(void *)((char *)c + f->offset); }
static double *number_of(const calibration *c, const field *f) { return (double *)(void *)((char *)c + f->offset); }

/* --- writing --- */

static status add_gemm(json_t *list, const calibration_gemm *g) {
    json_t *o = json_append_object(list);
    if (!o) FAIL(MEM, "no memory for calibration.json");
    TRY(json_add_i64(o, "M", g->M));
    TRY(json_add_i64(o, "N", g->N));
    TRY(json_add_i64(o, "K", g->K));
    TRY(json_add_bool(o, "trans_a", g->trans_a));
    TRY(json_add_bool(o, "trans_b", g->trans_b));
    TRY(json_add_bool(o, "accumulate", g->accumulate));
    TRY(json_add_i64(o, "calls", g->calls));
    return json_add_double(o, "seconds", g->seconds);
}

static status fill(json_t *o, const calibration *c) {
    for (size_t i = 0; i < COUNT(texts); i++) TRY(json_add_string(o, texts[i].key, text_of(c, &texts[i])));
    for (size_t i = 0; i < COUNT(integers); i++) TRY(json_add_i64(o, integers[i].key, *integer_of(c, &integers[i])));
    for (size_t i = 0; i < COUNT(numbers); i++)
        TRY(json_add_number_or_null(o, numbers[i].key, *number_of(c, &numbers[i])));
    json_t *works = json_add_object(o, "seconds_of_a_step"), *gemms = json_add_array(o, "gemms");
    if (!works || !gemms) FAIL(MEM, "no memory for calibration.json");
    for (int i = 0; i < CALIBRATION_WORKS; i++) TRY(json_add_number_or_null(works, work_keys[i], c->works[i]));
    for (int i = 0; i < c->gemm_count; i++) TRY(add_gemm(gemms, &c->gemms[i]));
    return STATUS_OK;
}

status calibration_write(const calibration *c, const char *run) {
    json_t *o = json_object();
    if (!o) FAIL(MEM, "no memory for %s/calibration.json", run);
    return json_write_file(o, fill(o, c), path_join(run, "calibration.json").text);
}

/* --- reading --- */

static status read_number(double *v, const json_t *o, const char *path, const char *key) {
    *v = NAN;
    if (!json_find(o, key)) return STATUS_OK;
    TRY(json_get_double(o, path, key, v));
    if (*v < 0 || *v > 1e30) FAIL(DATA, "%s: \"%s\" is %.6g, expected 0 to 1e30", path, key, *v);
    return STATUS_OK;
}

static status check_positive(double v, const char *path, const char *key) {
    if (!(v > 0)) FAIL(DATA, "%s: \"%s\" is not above 0", path, key);
    return STATUS_OK;
}

static status read_count(i64 *v, const json_t *o, const char *path, const char *key) {
    TRY(json_get_i64(o, path, key, v));
    if (*v < 1) FAIL(DATA, "%s: \"%s\" is %ld, expected at least 1", path, key, *v);
    return STATUS_OK;
}

static status read_gemm(calibration_gemm *g, const json_t *o, const char *path) {
    TRY(read_count(&g->M, o, path, "M"));
    TRY(read_count(&g->N, o, path, "N"));
    TRY(read_count(&g->K, o, path, "K"));
    TRY(json_get_bool(o, path, "trans_a", &g->trans_a));
    TRY(json_get_bool(o, path, "trans_b", &g->trans_b));
    TRY(json_get_bool(o, path, "accumulate", &g->accumulate));
    TRY(read_count(&g->calls, o, path, "calls"));
    TRY(read_number(&g->seconds, o, path, "seconds"));
    if (!(g->seconds > 0)) FAIL(DATA, "%s: \"seconds\" of a GEMM is not above 0", path);
    return STATUS_OK;
}

static status read_works(calibration *c, const json_t *o, const char *path) {
    json_t *works, *gemms;
    TRY(json_get_object(o, path, "seconds_of_a_step", &works));
    for (int i = 0; i < CALIBRATION_WORKS; i++) TRY(read_number(&c->works[i], works, path, work_keys[i]));
    for (int i = 0; i < CALIBRATION_WORKS && !isnan(c->works[CALIBRATION_GEMM]); i++)
        if (isnan(c->works[i])) FAIL(DATA, "%s: \"%s\" is not known, but \"gemm\" is", path, work_keys[i]);
    TRY(json_get_array(o, path, "gemms", &gemms));
    size_t count = json_array_size(gemms);
    if (count > CALIBRATION_GEMMS)
        FAIL(DATA, "%s: \"gemms\" has %zu entries, expected at most %d", path, count, CALIBRATION_GEMMS);
    for (size_t i = 0; i < count; i++) TRY(read_gemm(&c->gemms[i], json_array_get(gemms, i), path));
    c->gemm_count = (int)count;
    return STATUS_OK;
}

/* so that no product of these numbers wraps */
static status check_tokens(const calibration *c, const char *path) {
    i64 tokens;
    if (c->ranks > INT_MAX || c->threads > INT_MAX || __builtin_mul_overflow(c->batch, c->seq_len, &tokens) ||
        __builtin_mul_overflow(tokens, c->micro_batches, &tokens) ||
        __builtin_mul_overflow(tokens, c->ranks, &tokens) || tokens != c->tokens_per_step)
        FAIL(DATA, "%s: \"tokens_per_step\" is %ld, not batch x seq_len x micro_batches x ranks", path,
             c->tokens_per_step);
    return STATUS_OK;
}

static status parse(calibration *c, const json_t *o, const char *path) {
    for (size_t i = 0; i < COUNT(texts); i++)
        TRY(json_get_string(o, path, texts[i].key, text_of(c, &texts[i]), texts[i].size));
    for (size_t i = 0; i < COUNT(integers); i++) TRY(read_count(integer_of(c, &integers[i]), o, path, integers[i].key));
    for (size_t i = 0; i < COUNT(numbers); i++) TRY(read_number(number_of(c, &numbers[i]), o, path, numbers[i].key));
    TRY(check_positive(c->step_s, path, "step_s"));
    TRY(check_positive(c->tokens_per_s, path, "tokens_per_s"));
    TRY(check_positive(c->flops_executed_per_s, path, "flops_executed_per_s"));
    TRY(check_tokens(c, path));
    return read_works(c, o, path);
}

status calibration_read(calibration *c, const char *run) {
    path_text path = path_join(run, "calibration.json");
    json_t *o = NULL;
    *c = (calibration){0};
    if (access(path_join(run, "metrics.jsonl").text, F_OK) != 0)
        FAIL(DATA, "%s: holds no metrics.jsonl; expected the folder of a run", run);
    if (access(path.text, F_OK) != 0)
        FAIL(DATA,
             "%s: holds no calibration.json; a run writes it with checkpoints and at its end, once it "
             "has done %d steps",
             run, CALIBRATION_LEAST);
    TRY(json_read_file(&o, path.text));
    status_code st = json_is_object(o) ? parse(c, o, path.text) : ERROR(DATA, "%s: expected a JSON object", path.text);
    json_decref(o);
    return st;
}
