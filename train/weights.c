#include "train/weights.h"

#include <stdlib.h>

#include "runtime/gemm.h"
#include "train/hf.h"

/* copies a [rows,cols] matrix of elements of `size` bytes into its transpose */
static void transpose(char *to, const char *from, i64 rows, i64 cols, size_t size) {
    for (i64 r = 0; r < rows; r++)
        for (i64 c = 0; c < cols; c++) memcpy(to + (c * rows + r) * (i64)size, from + (r * cols + c) * (i64)size, size);
}

/* first element and count of a piece within its parameter */
static void piece_range(const param *p, const hf_piece *piece, i64 *first, i64 *count) {
    i64 width = p->rows == 1 ? 1 : p->cols;
    *first = piece->first_row * width;
    *count = piece->rows * width;
}

static safetensor describe(const param *p, const hf_piece *piece, dtype t) {
    safetensor tensor = {.type = t, .dims = p->rows == 1 ? 1 : 2};
    snprintf(tensor.name, sizeof tensor.name, "%s", piece->name);
    tensor.shape[0] = piece->transposed ? p->cols : piece->rows;
    if (tensor.dims == 2) tensor.shape[1] = piece->transposed ? piece->rows : p->cols;
    return tensor;
}

status weights_write(const state *s, const model_config *c, const char *folder, const char *file,
                     blockfile_sums *sums) {
    static const char *const metadata[] = {"format", "pt", NULL};
    size_t size = dtype_bytes(s->o.t), header_bytes, largest = 0;
    char *header = NULL, *host = NULL, *turned = NULL;
    blockfile *out = NULL;
    status_code st = STATUS_OK;
    int count = 0;
    safetensor *list = malloc((size_t)s->p.count * 3 * sizeof *list);
    if (!list) FAIL_DONE(MEM, "%s/%s: %d tensors", folder, file, s->p.count * 3);
    for (int i = 0; i < s->p.count; i++) {
        const param *p = &s->p.list[i];
        hf_piece pieces[3];
        int n = hf_pieces(pieces, c, p);
        for (int j = 0; j < n; j++) list[count++] = describe(p, &pieces[j], s->o.t);
        if ((size_t)(p->rows * p->cols) > largest) largest = (size_t)(p->rows * p->cols);
    }
    TRY_DONE(safetensors_layout(list, count, metadata, &header, &header_bytes));
    host = malloc(largest * size);
    turned = malloc(largest * size);
    if (!host || !turned) FAIL_DONE(MEM, "%s/%s: %zu elements", folder, file, largest);
    TRY_DONE(blockfile_create(&out, folder, file));
    TRY_DONE(blockfile_write(out, header, header_bytes));
    for (int i = 0; i < s->p.count; i++) {
        const param *p = &s->p.list[i];
        hf_piece pieces[3];
        int n = hf_pieces(pieces, c, p);
        for (int j = 0; j < n; j++) {
            i64 first, elements;
            piece_range(p, &pieces[j], &first, &elements);
            const void *from = at(s->weights, s->o.t, p->offset + first);
            TRY_DONE(s->dev->ops->copy(s->dev, host, from, (size_t)elements * size));
            if (pieces[j].transposed) transpose(turned, host, pieces[j].rows, p->cols, size);
            TRY_DONE(blockfile_write(out, pieces[j].transposed ? turned : host, (size_t)elements * size));
        }
    }
    st = blockfile_close(out, sums);
    out = NULL;
done:
    blockfile_abandon(out);
    free(list);
    free(header);
    free(host);
    free(turned);
    return st;
}

typedef struct {
    char text[96];
} shape_string;

static shape_string shape_text(const safetensor *t) {
    shape_string s = {"["};
    for (int i = 0; i < t->dims; i++) {
        size_t used = strlen(s.text);
        snprintf(s.text + used, sizeof s.text - used, "%s%ld", i ? "," : "", t->shape[i]);
    }
    strcat(s.text, "]");
    return s;
}

/* GPT-2's files on the hub have no "transformer." before the names */
static const safetensor *find(const safetensors *f, const char *name) {
    const safetensor *t = safetensors_find(f, name);
    static const char prefix[] = "transformer.";
    if (!t && strncmp(name, prefix, sizeof prefix - 1) == 0) t = safetensors_find(f, name + sizeof prefix - 1);
    return t;
}

static status read_piece(state *s, const safetensors *f, const param *p, const hf_piece *piece, float *values,
                         float *turned, bf16 *rounded) {
    const safetensor *t = find(f, piece->name);
    safetensor expected = describe(p, piece, s->o.t);
    if (!t) FAIL(DATA, "%s: no tensor \"%s\"", f->path, piece->name);
    if (t->dims != expected.dims || memcmp(t->shape, expected.shape, (size_t)t->dims * sizeof *t->shape) != 0)
        FAIL(DATA, "%s: \"%s\" has shape %s, expected %s", f->path, piece->name, shape_text(t).text,
             shape_text(&expected).text);
    i64 first, n;
    piece_range(p, piece, &first, &n);
    const void *data = safetensors_data(f, t);
    for (i64 i = 0; i < n; i++) {
        if (t->type == F32) memcpy(&values[i], (const char *)data + 4 * i, 4);
        else {
            bf16 b;
            memcpy(&b, (const char *)data + 2 * i, 2);
            values[i] = bf16_to_f32(b);
        }
    }
    float *source = values;
    if (piece->transposed) {
        transpose((char *)turned, (const char *)values, p->cols, piece->rows, 4);
        source = turned;
    }
    for (i64 i = 0; i < n; i++) rounded[i] = bf16_from_f32(source[i]);
    const void *w = s->o.t == F32 ? (const void *)source : rounded;
    i64 offset = p->offset + first;
    TRY(s->dev->ops->copy(s->dev, at(s->weights, s->o.t, offset), w, (size_t)n * dtype_bytes(s->o.t)));
    if (s->master) TRY(s->dev->ops->copy(s->dev, s->master + offset, source, (size_t)n * 4));
    return STATUS_OK;
}

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* GPT-2's files on the hub also hold the causal mask of every layer, which is no weight */
static int mask_buffers(const safetensors *f) {
    int count = 0;
    for (int i = 0; i < f->count; i++)
        count += ends_with(f->list[i].name, ".attn.bias") || ends_with(f->list[i].name, ".attn.masked_bias");
    return count;
}

status weights_read(state *s, const model_config *c, const char *path) {
    safetensors f;
    TRY(safetensors_open(&f, path));
    status_code st = STATUS_OK;
    size_t largest = 0;
    int used = 0;
    for (int i = 0; i < s->p.count; i++) {
        size_t n = (size_t)(s->p.list[i].rows * s->p.list[i].cols);
        if (n > largest) largest = n;
    }
    float *values = malloc(largest * 4), *turned = malloc(largest * 4);
    bf16 *rounded = malloc(largest * 2);
    if (!values || !turned || !rounded) FAIL_DONE(MEM, "%s: %zu elements", path, largest);
    for (int i = 0; i < s->p.count; i++) {
        hf_piece pieces[3];
        int n = hf_pieces(pieces, c, &s->p.list[i]);
        used += n;
        for (int j = 0; j < n; j++) TRY_DONE(read_piece(s, &f, &s->p.list[i], &pieces[j], values, turned, rounded));
    }
    if (c->tied && safetensors_find(&f, "lm_head.weight")) used++;
    if (c->arch == ARCH_GPT2) used += mask_buffers(&f);
    if (f.count != used) FAIL_DONE(DATA, "%s: holds %d tensors, expected %d for %s", path, f.count, used, c->name);
    gemm_weights_changed(s->dev);
done:
    free(values);
    free(turned);
    free(rounded);
    safetensors_close(&f);
    return st;
}
