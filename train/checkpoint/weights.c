#include "train/checkpoint/weights.h"

#include <stdio.h>
#include <stdlib.h>

#include "runtime/json.h"
#include "runtime/path.h"
#include "train/checkpoint/finite.h"
#include "train/checkpoint/hf.h"

enum { CHUNK = 1 << 17 }; /* elements copied through host memory at a time */

/* first element and number of elements of a piece in its parameter */
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

/* --- writing --- */

/* which file each tensor is in */
typedef struct {
    int files;
    int *of; /* [parameters][3]: of each piece; the order of the pieces is that in their file */
} file_plan;

/* Unit u is in file u % files. */
static status plan_by_units(file_plan *plan, const parameters *s) {
    int ranks = s->o.shard.world->ranks;
    plan->files = ranks < s->p.unit_count ? ranks : s->p.unit_count;
    plan->of = malloc((size_t)s->p.count * 3 * sizeof *plan->of);
    if (!plan->of) FAIL(MEM, "no memory for %d tensors", s->p.count * 3);
    for (int i = 0; i < s->p.count * 3; i++) plan->of[i] = s->p.list[i / 3].unit % plan->files;
    return STATUS_OK;
}

/* Files of up to `most` bytes of weights; a larger tensor gets a file of its own. */
static status plan_by_size(file_plan *plan, const parameters *s, const model_config *c, i64 most) {
    i64 used = 0;
    *plan = (file_plan){.files = 1, .of = malloc((size_t)s->p.count * 3 * sizeof *plan->of)};
    if (!plan->of) FAIL(MEM, "no memory for %d tensors", s->p.count * 3);
    for (int i = 0; i < s->p.count; i++) {
        hf_piece pieces[3];
        int n = hf_pieces(pieces, c, &s->p.list[i]);
        for (int j = 0; j < n; j++) {
            i64 first, count;
            piece_range(&s->p.list[i], &pieces[j], &first, &count);
            i64 bytes = count * (i64)dtype_bytes(s->o.t);
            if (used && used + bytes > most) plan->files++, used = 0;
            used += bytes;
            plan->of[3 * i + j] = plan->files - 1;
        }
    }
    return STATUS_OK;
}

typedef struct {
    parameters *s;
    const model_config *c;
    const file_plan *plan;
    int file;
    blockfile *out;
    char *host, *turned; /* CHUNK elements, or the largest matrix to transpose */
} writer;

typedef struct {
    char text[64];
} file_name;

static file_name name_of(int file, int files) {
    file_name n = {"model.safetensors"};
    if (files > 1) snprintf(n.text, sizeof n.text, "model-%05d-of-%05d.safetensors", file + 1, files);
    return n;
}

/* to [cols,rows] = transpose of from [rows,cols]; elements of `size` bytes */
static void transpose(char *to, const char *from, i64 rows, i64 cols, size_t size) {
    for (i64 r = 0; r < rows; r++)
        for (i64 c = 0; c < cols; c++) memcpy(to + (c * rows + r) * (i64)size, from + (r * cols + c) * (i64)size, size);
}

static status write_piece(writer *w, const param *p, const hf_piece *piece, const void *weights) {
    device *dev = w->s->dev;
    dtype t = w->s->o.t;
    i64 first, count;
    piece_range(p, piece, &first, &count);
    i64 step = piece->transposed ? count : CHUNK;
    for (i64 from = 0; from < count; from += step) {
        size_t bytes = (size_t)(count - from < step ? count - from : step) * dtype_bytes(t);
        TRY(dev->ops->copy(dev, w->host, tensor_at(weights, t, first + from), bytes));
        TRY(finite_check(piece->name, w->host, t, (i64)(bytes / dtype_bytes(t))));
        if (piece->transposed) transpose(w->turned, w->host, piece->rows, p->cols, dtype_bytes(t));
        TRY(blockfile_write(w->out, piece->transposed ? w->turned : w->host, bytes));
    }
    return STATUS_OK;
}

static status write_unit(writer *w, int u, const unit_views *v) {
    for (int i = 0; i < w->s->p.count; i++) {
        const param *p = &w->s->p.list[i];
        hf_piece pieces[3];
        if (p->unit != u) continue;
        int n = hf_pieces(pieces, w->c, p);
        for (int j = 0; j < n; j++)
            if (w->plan->of[3 * i + j] == w->file) TRY(write_piece(w, p, &pieces[j], v->w[p->kind]));
    }
    return STATUS_OK;
}

size_t weights_write_bytes(const param_table *all, const model_config *c) {
    size_t largest = CHUNK;
    for (int i = 0; i < all->count; i++) {
        hf_piece pieces[3];
        size_t elements = (size_t)(all->list[i].rows * all->list[i].cols);
        if (hf_pieces(pieces, c, &all->list[i]) && pieces[0].transposed && elements > largest) largest = elements;
    }
    return BLOCKFILE_BLOCK + 2 * largest * 4;
}

static status write_header(writer *w, safetensor *list) {
    static const char *const metadata[] = {"format", "pt", NULL};
    const param_table *all = &w->s->p;
    char *header = NULL;
    size_t bytes, largest = CHUNK;
    int count = 0;
    for (int i = 0; i < all->count; i++) {
        const param *p = &all->list[i];
        hf_piece pieces[3];
        int n = hf_pieces(pieces, w->c, p), before = count;
        for (int j = 0; j < n; j++)
            if (w->plan->of[3 * i + j] == w->file) list[count++] = describe(p, &pieces[j], w->s->o.t);
        size_t elements = (size_t)(p->rows * p->cols);
        if (count > before && pieces[0].transposed && elements > largest) largest = elements;
    }
    w->host = malloc(largest * 4);
    w->turned = malloc(largest * 4);
    if (!w->host || !w->turned) FAIL(MEM, "no memory for %zu elements of weights", largest);
    TRY(safetensors_layout(list, count, metadata, &header, &bytes));
    status_code st = blockfile_write(w->out, header, bytes);
    free(header);
    return st;
}

static status open_writer(writer *w, const char *folder) {
    safetensor *list = malloc((size_t)w->s->p.count * 3 * sizeof *list);
    status_code st = STATUS_OK;
    if (!list) FAIL_DONE(MEM, "%s: no memory for %d tensors", folder, w->s->p.count * 3);
    TRY_DONE(blockfile_create(&w->out, folder, name_of(w->file, w->plan->files).text));
    st = write_header(w, list);
done:
    free(list);
    return st;
}

static void free_writer(writer *w) {
    blockfile_abandon(w->out);
    free(w->host);
    free(w->turned);
}

status weights_write(parameters *s, const model_config *c, const char *folder, blockfile_sums *sums) {
    file_plan plan = {0};
    writer w = {.s = s, .c = c, .plan = &plan, .file = s->o.shard.world->rank};
    *sums = (blockfile_sums){0};
    /* a rank that cannot write still gathers, because the others wait for it */
    status_code written = plan_by_units(&plan, s), st = STATUS_OK;
    bool writes = !written && w.file < plan.files;
    if (writes) written = open_writer(&w, folder);
    for (int u = 0; u < s->p.unit_count; u++) {
        unit_views v;
        TRY_DONE(parameters_whole(s, u, &v));
        if (writes && !written && u % plan.files == w.file) written = write_unit(&w, u, &v);
    }
    if (!written && writes) {
        written = blockfile_close(w.out, sums);
        w.out = NULL;
    }
    parameters_whole_end(s);
    TRY_DONE(written);
done:
    free_writer(&w);
    free(plan.of);
    return st;
}

static status write_file(parameters *s, const model_config *c, const char *folder, const file_plan *plan, int file) {
    writer w = {.s = s, .c = c, .plan = plan, .file = file};
    blockfile_sums sums = {0};
    status_code st = STATUS_OK;
    TRY_DONE(open_writer(&w, folder));
    for (int u = 0; u < s->p.unit_count; u++) {
        unit_views v = parameters_views(s, u);
        TRY_DONE(write_unit(&w, u, &v));
    }
    st = blockfile_close(w.out, &sums);
    w.out = NULL;
done:
    free_writer(&w);
    free(sums.crc);
    return st;
}

static status fill_index(json_t *o, const parameters *s, const model_config *c, const file_plan *plan) {
    json_t *metadata = json_add_object(o, "metadata"), *map = json_add_object(o, "weight_map");
    if (!metadata || !map) FAIL(MEM, "no memory for the index of the weights");
    TRY(json_add_i64(metadata, "total_size", s->p.parameters * (i64)dtype_bytes(s->o.t)));
    for (int i = 0; i < s->p.count; i++) {
        hf_piece pieces[3];
        int n = hf_pieces(pieces, c, &s->p.list[i]);
        for (int j = 0; j < n; j++)
            TRY(json_add_string(map, pieces[j].name, name_of(plan->of[3 * i + j], plan->files).text));
    }
    return STATUS_OK;
}

static status index_text(char **text, const parameters *s, const model_config *c, const file_plan *plan) {
    json_t *o = json_object();
    if (!o) FAIL(MEM, "no memory for the index of the weights");
    status_code st = fill_index(o, s, c, plan);
    if (!st) st = json_print(text, o, JSON_INDENTED);
    json_decref(o);
    return st;
}

status weights_index(char **text, const parameters *s, const model_config *c) {
    file_plan plan;
    TRY(plan_by_units(&plan, s));
    status_code st = index_text(text, s, c, &plan);
    free(plan.of);
    return st;
}

status weights_export(parameters *s, const model_config *c, const char *folder, i64 most_bytes, char **index) {
    file_plan plan;
    *index = NULL;
    TRY(plan_by_size(&plan, s, c, most_bytes));
    status_code st = STATUS_OK;
    for (int i = 0; i < plan.files; i++) TRY_DONE(write_file(s, c, folder, &plan, i));
    if (plan.files > 1) st = index_text(index, s, c, &plan);
done:
    free(plan.of);
    return st;
}

/* --- reading --- */

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

/* values: elements [from, from + n) of our [rows,cols], all in the piece */
static void load_values(float *values, const tensor_ref *r, const param *p, const hf_piece *piece, i64 from, i64 n) {
    i64 first, count;
    piece_range(p, piece, &first, &count);
    if (!piece->transposed) {
        safetensors_widen(values, r->file, r->tensor, from - first, n);
        return;
    }
    /* in the order of the file */
    i64 first_row = from / p->cols, last_row = (from + n - 1) / p->cols;
    for (i64 col = 0; col < p->cols; col++)
        for (i64 row = first_row; row <= last_row; row++) {
            i64 i = row * p->cols + col - from, at = col * piece->rows + row - piece->first_row;
            if (i >= 0 && i < n) safetensors_widen(&values[i], r->file, r->tensor, at, 1);
        }
}

/* the tensors of the files, and which of them have been used */
typedef struct {
    const tensor_set *set;
    size_t prefix; /* bytes of every name to ignore */
    bool *taken;   /* [set->count] */
} reading;

/* torch.compile and DistributedDataParallel prepend these to every name */
static size_t wrapper_prefix(const char *name) {
    static const char *const wrappers[] = {"_orig_mod.", "module."};
    size_t bytes = 0;
    for (int i = 0; i < 2; i++) {
        size_t n = strlen(wrappers[i]);
        if (strncmp(name + bytes, wrappers[i], n) != 0) continue;
        bytes += n;
        i = -1; /* again from the first: both may be there, in any order */
    }
    return bytes;
}

static const tensor_ref *take_named(reading *r, const char *name) {
    char full[256];
    snprintf(full, sizeof full, "%.*s%s", (int)r->prefix, r->set->count ? r->set->list[0].tensor->name : "", name);
    const tensor_ref *t = tensor_set_find(r->set, full);
    if (t) r->taken[t - r->set->list] = true;
    return t;
}

/* the names in GPT-2's files on the hub lack "transformer." */
static const tensor_ref *take(reading *r, const char *name) {
    static const char gpt2[] = "transformer.";
    const tensor_ref *t = take_named(r, name);
    bool shorter = !t && strncmp(name, gpt2, sizeof gpt2 - 1) == 0;
    return shorter ? take_named(r, name + sizeof gpt2 - 1) : t;
}

static status check_shape(const tensor_ref *r, const param *p, const hf_piece *piece) {
    const safetensor *t = r->tensor, expected = describe(p, piece, t->type);
    if (t->mask) FAIL(DATA, "%s: \"%s\" has dtype BOOL or U8, expected F32, BF16 or F16", r->file->path, t->name);
    if (t->dims != expected.dims || memcmp(t->shape, expected.shape, (size_t)t->dims * sizeof *t->shape) != 0)
        FAIL(DATA, "%s: \"%s\" has shape %s, expected %s", r->file->path, t->name, shape_text(t).text,
             shape_text(&expected).text);
    return STATUS_OK;
}

static status read_piece(parameters *s, reading *f, const param *p, const hf_piece *piece, float *values,
                         bf16 *rounded) {
    const tensor_ref *r = take(f, piece->name);
    if (!r) FAIL(DATA, "%s: no tensor \"%s\"", f->set->path.text, piece->name);
    TRY(check_shape(r, p, piece));
    owned_part part = parameters_owned(s, p);
    i64 first, count;
    piece_range(p, piece, &first, &count);
    i64 from = first > part.first ? first : part.first, end = part.first + part.count;
    if (end > first + count) end = first + count;
    for (; from < end; from += CHUNK) {
        i64 n = end - from < CHUNK ? end - from : CHUNK, skip = from - part.first;
        load_values(values, r, p, piece, from, n);
        TRY(parameters_set(s, &part, skip, values, rounded, n));
    }
    safetensors_release(r->file, r->tensor);
    return STATUS_OK;
}

/* The head of a tied model is its embedding. If the files hold both, this rank's parts must be equal. */
static status check_tied_head(const parameters *s, reading *f, const param *p, const hf_piece *piece, float *values) {
    const tensor_ref *head = take(f, "lm_head.weight"), *embedding = take(f, piece->name);
    if (!head) return STATUS_OK;
    TRY(check_shape(head, p, piece));
    owned_part part = parameters_owned(s, p);
    float *other = malloc(CHUNK * sizeof *other);
    if (!other) FAIL(MEM, "%s: no memory for %d elements", f->set->path.text, CHUNK);
    bool same = true;
    for (i64 from = part.first, end = part.first + part.count; same && from < end; from += CHUNK) {
        i64 n = end - from < CHUNK ? end - from : CHUNK;
        load_values(values, embedding, p, piece, from, n);
        load_values(other, head, p, piece, from, n);
        same = memcmp(values, other, (size_t)n * sizeof *values) == 0;
    }
    free(other);
    safetensors_release(head->file, head->tensor);
    safetensors_release(embedding->file, embedding->tensor);
    if (!same)
        FAIL(DATA,
             "%s: \"%s\" differs from \"%s\", but config.json has \"tie_word_embeddings\" true; expected the same "
             "values",
             head->file->path, head->tensor->name, embedding->tensor->name);
    return STATUS_OK;
}

/* tensors that are no weights: RoPE's table, and the causal mask in GPT-2's files on the hub, of any dtype */
static bool is_buffer(const model_config *c, const char *name) {
    bool mask = path_ends_with(name, ".attn.bias") || path_ends_with(name, ".attn.masked_bias");
    return path_ends_with(name, "rotary_emb.inv_freq") || (c->arch == ARCH_GPT2 && mask);
}

static status check_all_taken(const reading *f, const model_config *c) {
    char names[512] = "";
    int count = 0;
    for (int i = 0; i < f->set->count; i++) {
        const char *name = f->set->list[i].tensor->name;
        size_t used = strlen(names);
        if (f->taken[i] || is_buffer(c, name)) continue;
        if (count < 4) snprintf(names + used, sizeof names - used, "%s\"%.100s\"", count ? ", " : "", name);
        count++;
    }
    if (count)
        FAIL(DATA, "%s: holds %d tensor%s that %s does not have: %s%s", f->set->path.text, count, count == 1 ? "" : "s",
             c->name, names, count > 4 ? ", ..." : "");
    return STATUS_OK;
}

static status read_owned(parameters *s, const model_config *c, const char *path) {
    tensor_set set;
    TRY(tensor_set_open_model(&set, path));
    status_code st = STATUS_OK;
    reading f = {.set = &set, .prefix = set.count ? wrapper_prefix(set.list[0].tensor->name) : 0};
    f.taken = calloc((size_t)set.count + 1, sizeof *f.taken);
    float *values = malloc(CHUNK * sizeof *values);
    bf16 *rounded = malloc(CHUNK * sizeof *rounded);
    if (!values || !rounded || !f.taken) FAIL_DONE(MEM, "%s: no memory for %d elements", set.path.text, CHUNK);
    for (int i = 0; i < s->p.count; i++) {
        const param *p = &s->p.list[i];
        hf_piece pieces[3];
        int n = hf_pieces(pieces, c, p);
        for (int j = 0; j < n; j++) TRY_DONE(read_piece(s, &f, p, &pieces[j], values, rounded));
        if (c->tied && p->kind == P_WTE) TRY_DONE(check_tied_head(s, &f, p, pieces, values));
    }
    TRY_DONE(check_all_taken(&f, c));
done:
    free(values);
    free(rounded);
    free(f.taken);
    tensor_set_close(&set);
    return st;
}

status weights_read(parameters *s, const model_config *c, const char *path) {
    TRY(comm_agree(s->o.shard.world, read_owned(s, c, path)));
    parameters_weights_changed(s);
    return STATUS_OK;
}
