/* The optimizer's state is read from pieces of any size in any files; gaps and overlaps are refused. */
#include <unistd.h>

#include "runtime/durable.h"
#include "runtime/path.h"
#include "tests/filled_parameters.h"
#include "tests/tensor_file.h"
#include "train/checkpoint/optimizer_file.h"
#include "train/checkpoint/tensor_set.h"

static device *dev;
static char folder[] = "/tmp/tally-optimizer-XXXXXX";
static model_config c;
static tensor_set whole;
enum { FILES = 3 };
static path_text files[FILES];

/* the tensors, cut into random pieces in random files, with room for changed pieces */
typedef struct {
    safetensor *list;
    const void **data;
    int count;
} pieces;

static void cut(pieces *p, uint64_t seed) {
    uint64_t draw = 0;
    *p = (pieces){.list = malloc(100000 * sizeof *p->list), .data = malloc(100000 * sizeof *p->data)};
    for (int i = 0; i < whole.count; i++) {
        const safetensor *t = whole.list[i].tensor;
        i64 elements = t->bytes / (i64)dtype_bytes(t->type);
        for (i64 from = 0, n; from < elements; from += n) {
            n = 1 + (i64)rng_below(seed, 97, draw++, 700);
            if (n > elements - from) n = elements - from;
            safetensor *piece = &p->list[p->count];
            *piece = (safetensor){.type = t->type, .dims = 1, .shape = {n}};
            if (snprintf(piece->name, sizeof piece->name, "%s@%ld", t->name, from) < 0) abort();
            p->data[p->count++] = tensor_at(tensor_set_data(&whole.list[i]), t->type, from);
        }
    }
}

static void write_pieces(const pieces *p, uint64_t seed) {
    safetensor *list = malloc((size_t)p->count * sizeof *list);
    const void **data = malloc((size_t)p->count * sizeof *data);
    for (int file = 0; file < FILES; file++) {
        int n = 0;
        for (int t = F32; t <= BF16; t++) /* F32 has to come first */
            for (int i = 0; i < p->count; i++) {
                if (rng_below(seed, 96, (uint64_t)i, FILES) != (uint64_t)file || (int)p->list[i].type != t) continue;
                list[n] = p->list[i];
                data[n++] = p->data[i];
            }
        write_tensors(files[file].text, list, data, n);
    }
    free(list);
    free(data);
}

static void free_pieces(pieces *p) {
    free(p->list);
    free(p->data);
}

static void open_empty(model *m) {
    parameters_options o = tiny_options(BF16);
    tiny_open(m, dev, &c, (recompute_policy){RECOMPUTE_NONE, 0}, o);
    filled_each(&m->parameters, filled_set); /* the weights stay; the rest is read from the file */
    size_t n = (size_t)m->parameters.p.size;
    memset(m->parameters.master, 0, n * 4);
    memset(m->parameters.m, 0, n * 4);
    memset(m->parameters.v, 0, n * 4);
}

static void pieces_however_cut_make_the_whole(void **unused) {
    (void)unused;
    for (uint64_t seed = 0; seed < 5; seed++) {
        model m;
        pieces p;
        open_empty(&m);
        cut(&p, seed);
        write_pieces(&p, seed);
        OK(optimizer_file_read(&m.parameters, folder, files, FILES));
        filled_each(&m.parameters, filled_check);
        free_pieces(&p);
        model_free(&m);
    }
}

static int find(const pieces *p, const char *name) {
    int found = -1;
    for (int i = 0; i < p->count; i++)
        if (strncmp(p->list[i].name, name, strlen(name)) == 0) found = i;
    assert_true(found >= 0);
    return found;
}

static void refused(model *m, pieces *p, const char *message) {
    write_pieces(p, 2);
    FAILS(DATA, message, optimizer_file_read(&m->parameters, folder, files, FILES));
    if (strchr(status_message(), '\n') || !strstr(status_message(), folder))
        fail_msg("expected one line that names a file: %s", status_message());
}

static void gaps_overlaps_and_strangers_are_refused(void **unused) {
    (void)unused;
    model m;
    pieces p;
    char message[256];
    open_empty(&m);
    cut(&p, 1);
    int last = p.count - 1, of_wte = find(&p, "m.wte@");
    safetensor kept = p.list[of_wte];
    i64 first = atol(strchr(kept.name, '@') + 1);

    p.list[of_wte].name[0] = 'x'; /* the last piece of m.wte is missing */
    snprintf(message, sizeof message, "\"m.wte\" lacks its elements %ld to %ld", first, first + kept.shape[0] - 1);
    refused(&m, &p, message);
    p.list[of_wte] = kept;

    int middle = find(&p, "m.wte@") - 1; /* and one in the middle */
    safetensor before = p.list[middle];
    snprintf(message, sizeof message, "\"m.wte\" lacks its elements %s to %ld", strchr(before.name, '@') + 1,
             first - 1);
    p.list[middle].name[0] = 'x';
    refused(&m, &p, message);
    p.list[middle] = before;

    snprintf(p.list[of_wte].name, sizeof kept.name, "m.wte@%ld",
             first - 1); /* one element twice, the last one not at all */
    refused(&m, &p, "also in \"m.wte@");
    snprintf(p.list[of_wte].name, sizeof kept.name, "m.wte@%ld", first + 1); /* beyond the end */
    refused(&m, &p, "has another dtype or shape");
    snprintf(p.list[of_wte].name, sizeof kept.name, "m.wte@%ldx", first);
    refused(&m, &p, "expected the index of an element after @");
    snprintf(p.list[of_wte].name, sizeof kept.name, "m.wte@-1");
    refused(&m, &p, "expected the index of an element after @");
    p.list[of_wte] = kept;

    p.list[of_wte].type = BF16; /* the same number of elements in another dtype */
    refused(&m, &p, "has another dtype or shape");
    p.list[of_wte] = kept;

    p.list[p.count] = p.list[last]; /* a piece of no tensor of this model */
    p.data[p.count] = p.data[last];
    snprintf(p.list[p.count++].name, sizeof kept.name, "m.nobody@0");
    snprintf(message, sizeof message, "holds %d tensors, expected %d", p.count, p.count - 1);
    refused(&m, &p, message);
    snprintf(p.list[p.count - 1].name, sizeof kept.name, "v.wte"); /* the whole tensor beside its pieces */
    p.list[p.count - 1].shape[0] = 2;
    refused(&m, &p, "has another dtype or shape");
    p.count--;

    for (int i = 0; i < p.count; i++)
        if (strncmp(p.list[i].name, "v.wte@", 6) == 0) p.list[i].name[0] = 'x';
    refused(&m, &p, "no tensor \"v.wte\"");
    free_pieces(&p);
    model_free(&m);
}

static void a_missing_file_is_refused(void **unused) {
    (void)unused;
    model m;
    pieces p;
    open_empty(&m);
    cut(&p, 3);
    write_pieces(&p, 3);
    FAILS(DATA, "lacks its elements", optimizer_file_read(&m.parameters, folder, files, FILES - 1));
    assert_int_equal(unlink(files[1].text), 0);
    FAILS(DATA, files[1].text, optimizer_file_read(&m.parameters, folder, files, FILES));
    free_pieces(&p);
    model_free(&m);
}

int main(void) {
    model m;
    blockfile_sums sums;
    OK(device_open(&dev, "cpu", 1, 0));
    assert_non_null(mkdtemp(folder));
    for (int i = 0; i < FILES; i++) files[i] = path_join(folder, (const char *[]){"a", "b", "c"}[i]);
    c = tiny_llama();
    open_empty(&m);
    filled_each(&m.parameters, filled_set);
    OK(optimizer_file_write(&m.parameters, folder, &sums));
    free(sums.crc);
    model_free(&m);
    path_text saved = path_join(folder, "optimizer.safetensors");
    OK(tensor_set_open(&whole, saved, &saved, 1));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_however_cut_make_the_whole),
        cmocka_unit_test(gaps_overlaps_and_strangers_are_refused),
        cmocka_unit_test(a_missing_file_is_refused),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tensor_set_close(&whole);
    (void)!durable_remove_folder(folder);
    device_close(dev);
    return failed;
}
