#include "train/checkpoint/safetensors.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/file.h"
#include "runtime/json.h"

enum { LENGTH_BYTES = 8, LARGEST_HEADER = 100000000, MAX_DIMS = 4 };

static const i64 LARGEST_INTEGER = (1LL << 53) - 1; /* the largest that every JSON reader holds exactly */

static const char *const dtype_names[] = {[F32] = "F32", [BF16] = "BF16", [F16] = "F16"}; /* in the format */

/* false: the tensor is larger than any file */
static bool tensor_bytes(const safetensor *t, i64 *bytes) {
    *bytes = t->mask ? 1 : (i64)dtype_bytes(t->type);
    for (int i = 0; i < t->dims; i++)
        if (t->shape[i] < 0 || __builtin_mul_overflow(*bytes, t->shape[i], bytes)) return false;
    return *bytes <= LARGEST_INTEGER;
}

/* ---- reading ---- */

static status read_integers(const json_t *o, const char *where, const char *key, i64 *v, int least, int most,
                            int *count) {
    json_t *array, *item;
    size_t i;
    TRY(json_get_array(o, where, key, &array));
    *count = 0;
    json_array_foreach(array, i, item) {
        double d = json_number_or_nan(item);
        if (!(d >= 0 && d <= (double)LARGEST_INTEGER && d == trunc(d)))
            FAIL(DATA, "%s: \"%s\" holds another value, expected integers of 0 or more", where, key);
        if (*count == most) FAIL(DATA, "%s: \"%s\" has more than %d integers", where, key, most);
        v[(*count)++] = (i64)d;
    }
    if (*count < least) FAIL(DATA, "%s: \"%s\" has %d integers, expected %d", where, key, *count, least);
    return STATUS_OK;
}

static status read_tensor(safetensor *t, const char *name, const json_t *item, const char *path, i64 data_bytes) {
    size_t length = strlen(name);
    if (length >= sizeof t->name)
        FAIL(DATA, "%s: a tensor's name is %zu bytes long, expected at most %zu: %.40s...", path, length,
             sizeof t->name - 1, name);
    for (const char *c = name; *c; c++)
        if ((unsigned char)*c < 32 || *c == 127) FAIL(DATA, "%s: a tensor's name contains a control character", path);
    memcpy(t->name, name, length + 1);
    char where[sizeof((safetensors *)0)->path + sizeof t->name + 16];
    snprintf(where, sizeof where, "%s: tensor \"%s\"", path, t->name);
    if (!json_is_object(item)) FAIL(DATA, "%s: expected an object with dtype, shape and data_offsets", where);

    char type[32];
    TRY(json_get_string(item, where, "dtype", type, sizeof type));
    t->type = F32;
    while (t->type <= F16 && strcmp(type, dtype_names[t->type])) t->type++;
    t->mask = strcmp(type, "BOOL") == 0 || strcmp(type, "U8") == 0;
    if (t->mask) t->type = F32;
    if (t->type > F16) FAIL(DATA, "%s: dtype is %s, expected F32, BF16 or F16", where, type);

    i64 ends[2], bytes;
    int count;
    TRY(read_integers(item, where, "shape", t->shape, 0, MAX_DIMS, &t->dims));
    TRY(read_integers(item, where, "data_offsets", ends, 2, 2, &count));
    if (!tensor_bytes(t, &bytes)) FAIL(DATA, "%s: its shape has too many elements", where);
    if (ends[0] > ends[1] || ends[1] > data_bytes)
        FAIL(DATA, "%s: data_offsets are %ld and %ld, expected increasing offsets of at most %ld", where, ends[0],
             ends[1], data_bytes);
    if (ends[1] - ends[0] != bytes)
        FAIL(DATA, "%s: data_offsets span %ld bytes, but its shape takes %ld", where, (ends[1] - ends[0]), bytes);
    t->offset = ends[0];
    t->bytes = bytes;
    return STATUS_OK;
}

static int compare_offsets(const void *a, const void *b) {
    const safetensor *s = a, *t = b;
    if (s->offset != t->offset) return s->offset < t->offset ? -1 : 1;
    return (s->bytes > t->bytes) - (s->bytes < t->bytes); /* empty tensors first */
}

static status read_header(safetensors *s, json_t *json, i64 data_bytes) {
    const char *name;
    json_t *item;
    if (!json_is_object(json)) FAIL(DATA, "%s: the header is not a JSON object", s->path);
    s->list = calloc(json_object_size(json) + 1, sizeof *s->list);
    if (!s->list) FAIL(MEM, "%s: no memory for %zu tensors", s->path, json_object_size(json));
    json_object_foreach(json, name, item) if (strcmp(name, "__metadata__"))
        TRY(read_tensor(&s->list[s->count++], name, item, s->path, data_bytes));
    qsort(s->list, (size_t)s->count, sizeof *s->list, compare_offsets);
    i64 end = 0;
    for (int i = 0; i < s->count; end += s->list[i++].bytes)
        if (s->list[i].offset != end)
            FAIL(DATA, "%s: tensor \"%s\" begins at byte %ld of the data, expected %ld: %s", s->path, s->list[i].name,
                 s->list[i].offset, end, s->list[i].offset < end ? "an overlap" : "a gap");
    if (end != data_bytes)
        FAIL(DATA, "%s: tensors end at byte %ld of the data, but the file ends at %ld", s->path, end, data_bytes);
    return STATUS_OK;
}

static status parse(safetensors *s) {
    const unsigned char *file = s->map;
    uint64_t length = 0;
    for (int i = 0; i < LENGTH_BYTES; i++) length |= (uint64_t)file[i] << 8 * i;
    if (length > LARGEST_HEADER)
        FAIL(DATA, "%s: header length is %lu, expected at most %d; it may not be a safetensors file", s->path, length,
             LARGEST_HEADER);
    if (length > s->map_bytes - LENGTH_BYTES)
        FAIL(DATA, "%s: header length is %lu, but only %zu bytes follow; the file may be truncated", s->path, length,
             s->map_bytes - LENGTH_BYTES);
    char *text = malloc(length + 1);
    if (!text) FAIL(MEM, "%s: no memory for a header of %lu bytes", s->path, length);
    memcpy(text, file + LENGTH_BYTES, length);
    text[length] = 0;
    json_t *json = NULL;
    status_code st = json_parse(&json, s->path, text, length);
    free(text);
    TRY(st);
    s->data = file + LENGTH_BYTES + length;
    st = read_header(s, json, (i64)(s->map_bytes - LENGTH_BYTES - length));
    json_decref(json);
    return st;
}

status safetensors_open(safetensors *s, const char *path) {
    *s = (safetensors){0};
    if (snprintf(s->path, sizeof s->path, "%s", path) >= (int)sizeof s->path) FAIL(ARG, "%s: path is too long", path);
    int fd;
    size_t size;
    TRY(file_open(&fd, path, &size));
    status_code st = STATUS_OK;
    if (size < LENGTH_BYTES) FAIL_DONE(DATA, "%s: is %zu bytes long, expected a safetensors file", path, size);
    void *map = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED) FAIL_DONE(IO, "%s: mmap: %s", path, strerror(errno));
    s->map = map;
    s->map_bytes = size;
    TRY_DONE(parse(s));
done:
    close(fd);
    if (st != STATUS_OK) safetensors_close(s);
    return st;
}

void safetensors_close(safetensors *s) {
    if (s->map) munmap(s->map, s->map_bytes);
    free(s->list);
    *s = (safetensors){0};
}

const safetensor *safetensors_find(const safetensors *s, const char *name) {
    for (int i = 0; i < s->count; i++)
        if (!strcmp(s->list[i].name, name)) return &s->list[i];
    return NULL;
}

void safetensors_widen(float *values, const safetensors *s, const safetensor *t, i64 first, i64 count) {
    const char *from = tensor_at(safetensors_data(s, t), t->type, first);
    if (t->type == F32) {
        memcpy(values, from, (size_t)count * sizeof *values);
        return;
    }
    for (i64 i = 0; i < count; i++) {
        uint16_t half;
        memcpy(&half, from + 2 * i, sizeof half);
        values[i] = t->type == BF16 ? bf16_to_f32(half) : f16_to_f32(half);
    }
}

void safetensors_release(const safetensors *s, const safetensor *t) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE),
           first = (size_t)((const char *)safetensors_data(s, t) - (char *)s->map);
    size_t from = first / page * page, bytes = first + (size_t)t->bytes - from;
    madvise((char *)s->map + from, bytes, MADV_DONTNEED);
}

/* ---- writing ---- */

static bool add_integers(json_t *o, const char *key, const i64 *v, int count) {
    json_t *array = json_add_array(o, key);
    for (int i = 0; array && i < count; i++)
        if (json_array_append_new(array, json_integer(v[i]))) return false;
    return array;
}

static status add_tensor(json_t *json, const safetensor *t) {
    json_t *o = json_add_object(json, t->name);
    if (!o || json_object_set_new(o, "dtype", json_string(dtype_names[t->type])) ||
        !add_integers(o, "shape", t->shape, t->dims) ||
        !add_integers(o, "data_offsets", (i64[]){t->offset, t->offset + t->bytes}, 2))
        FAIL(MEM, "tensor \"%s\": no memory for its header", t->name);
    return STATUS_OK;
}

static status place_tensors(safetensor *list, int count) {
    i64 end = 0;
    for (safetensor *t = list; t < list + count; t++) {
        if (t->dims < 0 || t->dims > MAX_DIMS || !tensor_bytes(t, &t->bytes))
            FAIL(ARG, "tensor \"%s\": found a bad shape, expected up to %d sizes of 0 or more", t->name, MAX_DIMS);
        if (end % (i64)dtype_bytes(t->type))
            FAIL(ARG, "tensor \"%s\": F32 is misaligned at byte %ld, expected before those of 16 bits", t->name, end);
        t->offset = end;
        end += t->bytes;
        if (end > LARGEST_INTEGER) FAIL(ARG, "tensor \"%s\": ends beyond 2^53 bytes", t->name);
    }
    return STATUS_OK;
}

status safetensors_layout(safetensor *list, int count, const char *const *metadata, char **header,
                          size_t *header_bytes) {
    *header = NULL;
    *header_bytes = 0;
    TRY(place_tensors(list, count));
    status_code st = STATUS_OK;
    char *text = NULL;
    json_t *json = json_object(), *notes = json && metadata ? json_add_object(json, "__metadata__") : NULL;
    if (!json || (metadata && !notes)) FAIL_DONE(MEM, "no memory for a safetensors header");
    for (int i = 0; metadata && metadata[i]; i += 2) TRY_DONE(json_add_string(notes, metadata[i], metadata[i + 1]));
    for (int i = 0; i < count; i++) TRY_DONE(add_tensor(json, &list[i]));
    TRY_DONE(json_print(&text, json, JSON_ONE_LINE));

    size_t length = strlen(text), padded = (length + 7) / 8 * 8;
    if (padded > LARGEST_HEADER) FAIL_DONE(ARG, "header of %zu bytes, expected at most %d", padded, LARGEST_HEADER);
    if (!(*header = malloc(LENGTH_BYTES + padded))) FAIL_DONE(MEM, "no memory for a header of %zu bytes", padded);
    for (int i = 0; i < LENGTH_BYTES; i++) (*header)[i] = (char)(padded >> 8 * i);
    memcpy(*header + LENGTH_BYTES, text, length);
    memset(*header + LENGTH_BYTES + length, ' ', padded - length);
    *header_bytes = LENGTH_BYTES + padded;
done:
    free(text);
    json_decref(json);
    return st;
}
