#include "train/checkpoint/optimizer_file.h"

#include <stdio.h>
#include <stdlib.h>

#include "runtime/path.h"
#include "train/checkpoint/finite.h"
#include "train/checkpoint/tensor_set.h"

enum { CHUNK = 1 << 17 }; /* elements copied through host memory at a time */

typedef struct {
    const char *prefix;
    void *data;
    dtype t;
} buffer;

static int state_buffers(const parameters *s, buffer b[3]) {
    int n = 0;
    if (s->master) b[n++] = (buffer){"master", s->master, F32};
    b[n++] = (buffer){"m", s->m, s->o.moments};
    b[n++] = (buffer){"v", s->v, s->o.moments};
    return n;
}

static safetensor describe(const buffer *b, const param *p) {
    safetensor t = {.type = b->t, .dims = p->rows == 1 ? 1 : 2, .shape = {p->rows, p->cols}};
    if (t.dims == 1) t.shape[0] = p->cols, t.shape[1] = 0;
    snprintf(t.name, sizeof t.name, "%s.%s", b->prefix, param_table_name(p).text);
    return t;
}

/* --- writing --- */

/* a tensor of the file, and where its elements are in the buffer */
typedef struct {
    const buffer *b;
    const char *name;
    i64 at, count;
} source;

static int list_tensors(const parameters *s, const buffer *buffers, int n, safetensor *list, source *sources) {
    int count = 0;
    for (int b = 0; b < n; b++)
        for (int i = 0; i < s->p.count; i++) {
            const param *p = &s->p.list[i];
            owned_part part = parameters_saved(s, p);
            if (!part.count) continue;
            safetensor t = describe(&buffers[b], p);
            if (s->o.shard.world->ranks > 1) {
                size_t used = strlen(t.name);
                snprintf(t.name + used, sizeof t.name - used, "@%ld", part.first);
                t.dims = 1;
                t.shape[0] = part.count, t.shape[1] = 0;
            }
            list[count] = t;
            sources[count] = (source){&buffers[b], list[count].name, part.at, part.count};
            count++;
        }
    return count;
}

static status write_source(blockfile *out, const parameters *s, const source *from, void *host) {
    for (i64 done = 0; done < from->count; done += CHUNK) {
        i64 n = from->count - done < CHUNK ? from->count - done : CHUNK;
        size_t bytes = (size_t)n * dtype_bytes(from->b->t);
        TRY(s->dev->ops->copy(s->dev, host, tensor_at(from->b->data, from->b->t, from->at + done), bytes));
        TRY(finite_check(from->name, host, from->b->t, n));
        TRY(blockfile_write(out, host, bytes));
    }
    return STATUS_OK;
}

status optimizer_file_write(const parameters *s, const char *folder, blockfile_sums *sums) {
    const comm *world = s->o.shard.world;
    buffer buffers[3];
    int n = state_buffers(s, buffers), most = n * s->p.count;
    size_t header_bytes;
    char name[64] = "optimizer.safetensors", *header = NULL;
    void *host = malloc(CHUNK * 4);
    safetensor *list = malloc((size_t)most * sizeof *list);
    source *sources = malloc((size_t)most * sizeof *sources);
    blockfile *out = NULL;
    status_code st = STATUS_OK;
    if (!host || !list || !sources) FAIL_DONE(MEM, "%s: no memory for %d tensors", folder, most);
    int count = list_tensors(s, buffers, n, list, sources);
    if (world->ranks > 1)
        snprintf(name, sizeof name, "optimizer-%05d-of-%05d.safetensors", world->rank + 1, world->ranks);
    TRY_DONE(safetensors_layout(list, count, NULL, &header, &header_bytes));
    TRY_DONE(blockfile_create(&out, folder, name));
    TRY_DONE(blockfile_write(out, header, header_bytes));
    for (int i = 0; i < count; i++) TRY_DONE(write_source(out, s, &sources[i], host));
    st = blockfile_close(out, sums);
    out = NULL;
done:
    blockfile_abandon(out);
    free(sources);
    free(list);
    free(header);
    free(host);
    return st;
}

/* --- reading --- */

/* elements [first, first + count) of a parameter */
typedef struct {
    i64 first, count;
    const tensor_ref *ref;
} extent;

static int compare_extents(const void *a, const void *b) {
    const extent *x = a, *y = b;
    if (x->first != y->first) return x->first < y->first ? -1 : 1;
    return (x->count > y->count) - (x->count < y->count);
}

static status add_extent(extent *e, const tensor_ref *r, const safetensor *expected, i64 elements, const char *first) {
    const safetensor *t = r->tensor;
    bool whole = !first;
    char *end = NULL;
    *e = (extent){.ref = r, .count = elements};
    if (!whole) {
        e->first = strtoll(first, &end, 10);
        if (*first < '0' || *first > '9' || *end)
            FAIL(DATA, "%s: \"%s\": expected the index of an element after @", r->file->path, t->name);
        if (t->dims == 1) e->count = t->shape[0];
    }
    bool same =
        whole ? t->dims == expected->dims && memcmp(t->shape, expected->shape, (size_t)t->dims * sizeof *t->shape) == 0
              : t->dims == 1 && e->first <= elements && e->count <= elements - e->first;
    if (t->mask || t->type != expected->type || !same)
        FAIL(DATA, "%s: \"%s\" has another dtype or shape than in this run", r->file->path, t->name);
    return STATUS_OK;
}

/* The extents of a tensor in the files, in order. list: at least f->count long. */
static status find_extents(const tensor_set *f, const safetensor *expected, i64 elements, extent *list, int *count) {
    const tensor_ref *whole = tensor_set_find(f, expected->name);
    char prefix[sizeof expected->name + 1];
    size_t length = (size_t)snprintf(prefix, sizeof prefix, "%s@", expected->name);
    *count = 0;
    if (whole) TRY(add_extent(&list[(*count)++], whole, expected, elements, NULL));
    for (int i = tensor_set_from(f, prefix); i < f->count; i++) {
        const char *name = f->list[i].tensor->name;
        if (strncmp(name, prefix, length) != 0) break;
        TRY(add_extent(&list[(*count)++], &f->list[i], expected, elements, name + length));
    }
    if (!*count) FAIL(DATA, "%s: no tensor \"%s\"", f->path.text, expected->name);
    qsort(list, (size_t)*count, sizeof *list, compare_extents);
    return STATUS_OK;
}

static status check_cover(const tensor_set *f, const char *name, i64 elements, const extent *list, int count) {
    i64 covered = 0;
    for (int i = 0; i < count; covered += list[i++].count) {
        if (list[i].first > covered)
            FAIL(DATA, "%s: \"%s\" lacks its elements %ld to %ld", f->path.text, name, covered, list[i].first - 1);
        if (list[i].first < covered)
            FAIL(DATA, "%s: \"%s\" has elements from %ld on that are also in \"%s\" of %s", list[i].ref->file->path,
                 list[i].ref->tensor->name, list[i].first, list[i - 1].ref->tensor->name, list[i - 1].ref->file->path);
    }
    if (covered < elements)
        FAIL(DATA, "%s: \"%s\" lacks its elements %ld to %ld", f->path.text, name, covered, elements - 1);
    return STATUS_OK;
}

static status copy_owned(parameters *s, const buffer *b, const param *p, const extent *list, int count) {
    owned_part part = parameters_owned(s, p);
    i64 part_end = part.first + part.count;
    for (int i = 0; i < count; i++) {
        i64 from = list[i].first > part.first ? list[i].first : part.first, end = list[i].first + list[i].count;
        if (end > part_end) end = part_end;
        if (from >= end) continue;
        void *to = tensor_at(b->data, b->t, part.at + from - part.first);
        const void *data = tensor_at(tensor_set_data(list[i].ref), b->t, from - list[i].first);
        TRY(s->dev->ops->copy(s->dev, to, data, (size_t)(end - from) * dtype_bytes(b->t)));
    }
    return STATUS_OK;
}

/* *used: how many tensors of the files these were */
static status read_buffers(parameters *s, const tensor_set *f, extent *list, const buffer *buffers, int n, int *used) {
    *used = 0;
    for (int b = 0; b < n; b++)
        for (int i = 0; i < s->p.count; i++) {
            const param *p = &s->p.list[i];
            safetensor expected = describe(&buffers[b], p);
            i64 elements = p->rows * p->cols;
            int count;
            TRY(find_extents(f, &expected, elements, list, &count));
            TRY(check_cover(f, expected.name, elements, list, count));
            TRY(copy_owned(s, &buffers[b], p, list, count));
            *used += count;
        }
    return STATUS_OK;
}

static status read_all(parameters *s, const tensor_set *f, extent *list) {
    buffer buffers[3];
    int n = state_buffers(s, buffers), used;
    TRY(read_buffers(s, f, list, buffers, n, &used));
    if (f->count != used) FAIL(DATA, "%s: holds %d tensors, expected %d", f->path.text, f->count, used);
    return STATUS_OK;
}

/* One rank's pieces lie in the order of its units, so that all weights are like a buffer of them. */
static status read_master(parameters *s, const tensor_set *f, extent *list) {
    const buffer master = {"master", s->weights, F32};
    int used, first = tensor_set_from(f, "master.");
    if (first == f->count || strncmp(f->list[first].tensor->name, "master.", 7) != 0) return STATUS_OK;
    return read_buffers(s, f, list, &master, 1, &used);
}

static status read_files(parameters *s, const char *folder, const path_text *files, int count,
                         status_code (*read)(parameters *s, const tensor_set *f, extent *list)) {
    tensor_set f;
    TRY(tensor_set_open(&f, count == 1 ? files[0] : path_join(folder, "optimizer-*.safetensors"), files, count));
    status_code st = STATUS_OK;
    extent *list = malloc((size_t)(f.count + 1) * sizeof *list);
    if (!list) FAIL_DONE(MEM, "%s: no memory for %d tensors", f.path.text, f.count);
    st = read(s, &f, list);
done:
    free(list);
    tensor_set_close(&f);
    return st;
}

status optimizer_file_read(parameters *s, const char *folder, const path_text *files, int count) {
    return read_files(s, folder, files, count, read_all);
}

status optimizer_file_read_master(parameters *s, const char *folder, const path_text *files, int count) {
    if (s->o.t != F32 || !s->weights || s->o.shard.world->ranks > 1)
        FAIL(ARG, "master weights are read into all weights of one rank, in fp32");
    return read_files(s, folder, files, count, read_master);
}
