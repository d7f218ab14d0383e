/* Weights from Hugging Face's sharded sets: a file, an index and a folder give the same. Sets that do not match are
 * refused. */
#include <unistd.h>

#include "runtime/durable.h"
#include "runtime/path.h"
#include "tests/filled_parameters.h"
#include "tests/tensor_file.h"
#include "train/checkpoint/weights.h"

static device *dev;
static char folder[] = "/tmp/tally-weights-XXXXXX";
static model_config c;
static tensor_set whole; /* the same weights saved as one file */
static const char index_name[] = "model.safetensors.index.json";

static path_text in_folder(const char *name) { return path_join(folder, name); }

/* distributes the tensors over three files in turn; skip: leaves this one out */
static void write_shards(const char *skip) {
    for (int file = 0; file < 3; file++) {
        safetensor *list = malloc((size_t)whole.count * sizeof *list);
        const void **data = malloc((size_t)whole.count * sizeof *data);
        char name[32];
        int n = 0;
        for (int i = file; i < whole.count; i += 3) {
            if (skip && strcmp(skip, whole.list[i].tensor->name) == 0) continue;
            data[n] = tensor_set_data(&whole.list[i]);
            list[n++] = *whole.list[i].tensor;
        }
        snprintf(name, sizeof name, "part-%d.safetensors", file);
        write_tensors(in_folder(name).text, list, data, n);
        free(list);
        free(data);
    }
}

/* change: a tensor that the index has in `file` instead, or lacks where file is NULL */
static void write_index(const char *change, const char *file) {
    FILE *f = fopen(in_folder(index_name).text, "w");
    assert_non_null(f);
    const char *comma = "";
    fprintf(f, "{\"metadata\": {\"total_size\": 1}, \"weight_map\": {");
    for (int i = 0; i < whole.count; i++) {
        const char *name = whole.list[i].tensor->name;
        bool changed = change && strcmp(change, name) == 0;
        if (changed && !file) continue;
        if (changed) fprintf(f, "%s\"%s\": \"%s\"", comma, name, file);
        else fprintf(f, "%s\"%s\": \"part-%d.safetensors\"", comma, name, i % 3);
        comma = ", ";
    }
    fprintf(f, "}}");
    assert_int_equal(fclose(f), 0);
}

static void open_empty(model *m) { tiny_open(m, dev, &c, (recompute_policy){RECOMPUTE_NONE, 0}, tiny_options(BF16)); }

static void all_names_of_a_model_give_the_same(void **unused) {
    (void)unused;
    const char *names[] = {"", index_name, "saved/model.safetensors", "saved"};
    write_shards(NULL);
    write_index(NULL, NULL);
    for (int i = 0; i < 4; i++) {
        model m;
        open_empty(&m);
        OK(weights_read(&m.parameters, &c, in_folder(names[i]).text));
        filled_check_whole(&m.parameters);
        model_free(&m);
    }
    assert_int_equal(chdir(folder), 0); /* no folder before the name */
    tensor_set s;
    OK(tensor_set_open_model(&s, index_name));
    assert_int_equal(s.count, whole.count);
    tensor_set_close(&s);
}

static void what_does_not_fit_is_refused(void **unused) {
    (void)unused;
    const char *norm_name = "model.norm.weight";
    char too_long[5001] = "";
    memset(too_long, 'x', sizeof too_long - 1);
    const struct {
        const char *skip, *change, *file, *message;
    } cases[] = {
        {norm_name, NULL, NULL, "\"weight_map\": found no \"model.norm.weight\" in part-"},
        {norm_name, norm_name, NULL, "no tensor \"model.norm.weight\""},
        {NULL, norm_name, "part-9.safetensors", "part-9.safetensors: No such file"},
        {NULL, norm_name, "../part-0.safetensors", "expected a file in the same folder"},
        {NULL, norm_name, "/etc/passwd", "expected a file in the same folder"},
        {NULL, norm_name, "", "expected a file in the same folder"},
        {NULL, norm_name, too_long, "\"weight_map\": path is too long: xxx"},
        {NULL, "lm_head.weight", "part-2.safetensors", "found no \"lm_head.weight\" in part-2"},
    };
    model m;
    open_empty(&m);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_shards(cases[i].skip);
        write_index(cases[i].change, cases[i].file);
        FAILS(DATA, cases[i].message, weights_read(&m.parameters, &c, folder));
        FAILS(DATA, folder, weights_read(&m.parameters, &c, folder));
        if (strchr(status_message(), '\n')) fail_msg("more than a line: %s", status_message());
    }
    write_shards(NULL);
    write_index(NULL, NULL);
    /* a tensor in two files */
    safetensor again = *whole.list[0].tensor;
    const void *data = tensor_set_data(&whole.list[0]);
    write_tensors(in_folder("part-1.safetensors").text, &again, &data, 1);
    FAILS(DATA, "is also in ", weights_read(&m.parameters, &c, folder));
    /* no tensor at all */
    assert_int_equal(unlink(in_folder(index_name).text), 0);
    FAILS(DATA, "found neither model.safetensors nor", weights_read(&m.parameters, &c, folder));
    FILE *f = fopen(in_folder(index_name).text, "w");
    fputs("{\"weight_map\": {}}", f);
    fclose(f);
    FAILS(DATA, "\"weight_map\" is empty", weights_read(&m.parameters, &c, folder));
    model_free(&m);
}

static status_code read_as(const model_config *as, const char *path) {
    model m;
    tiny_open(&m, dev, as, (recompute_policy){RECOMPUTE_NONE, 0}, tiny_options(BF16));
    status_code st = weights_read(&m.parameters, as, path);
    if (!st && !as->tied) filled_check_whole(&m.parameters);
    model_free(&m);
    return st;
}

static void a_tensor_too_many_is_named(void **unused) {
    (void)unused;
    model_config shallow = c;
    write_shards(NULL);
    write_index(NULL, NULL);
    shallow.L = 2;
    FAILS(DATA,
          "tensors that tiny-llama does not have: \"model.layers.2.input_layernorm.weight\", "
          "\"model.layers.2.mlp.down_proj.weight\", ",
          read_as(&shallow, folder));
    assert_non_null(strstr(status_message(), ", ..."));
}

/* as one file: all that was saved, `prefix` before each name, then `extra` (NULL: none) of the values and shape of tensor
 * `like`; broken: with one bit of it flipped */
static void write_with(const char *prefix, const char *extra, const char *like, bool broken) {
    safetensor *list = malloc(((size_t)whole.count + 1) * sizeof *list);
    const void **data = malloc(((size_t)whole.count + 1) * sizeof *data);
    char *copy = NULL;
    int n = 0;
    for (int i = 0; i < whole.count; i++) {
        const safetensor *t = whole.list[i].tensor;
        if (extra && !strcmp(t->name, extra)) continue;
        list[n] = *t;
        snprintf(list[n].name, sizeof list[n].name, "%s%s", prefix, t->name);
        data[n++] = tensor_set_data(&whole.list[i]);
    }
    if (extra) {
        const tensor_ref *r = tensor_set_find(&whole, like);
        list[n] = *r->tensor;
        snprintf(list[n].name, sizeof list[n].name, "%s%s", prefix, extra);
        copy = malloc((size_t)r->tensor->bytes);
        memcpy(copy, tensor_set_data(r), (size_t)r->tensor->bytes);
        if (broken) copy[r->tensor->bytes - 1] ^= 1;
        data[n++] = copy;
    }
    write_tensors(in_folder("model.safetensors").text, list, data, n);
    free(list);
    free(data);
    free(copy);
}

static void wrappers_and_buffers_are_known(void **unused) {
    (void)unused;
    const char *norm_name = "model.norm.weight";
    path_text path = in_folder("model.safetensors");
    const char *one = path.text;
    static const char *const prefixes[] = {"", "_orig_mod.", "module.", "module._orig_mod.", "_orig_mod.module."};
    for (int i = 0; i < 5; i++) {
        write_with(prefixes[i], "model.layers.0.self_attn.rotary_emb.inv_freq", norm_name, false);
        OK(read_as(&c, one));
        write_with(prefixes[i], "model.rotary_emb.inv_freq", norm_name, false);
        OK(read_as(&c, one));
        write_with(prefixes[i], "model.norm.bias", norm_name, false);
        FAILS(DATA, "holds 1 tensor that tiny-llama does not have: \"", read_as(&c, one));
        assert_non_null(strstr(status_message(), "model.norm.bias\""));
    }
    write_with("other.", NULL, NULL, false);
    FAILS(DATA, "no tensor \"model.embed_tokens.weight\"", read_as(&c, one));
    assert_int_equal(unlink(one), 0);
}

static void a_tied_head_is_the_embedding(void **unused) {
    (void)unused;
    const char *embedding = "model.embed_tokens.weight";
    path_text path = in_folder("model.safetensors");
    model_config tied = c;
    tied.tied = true;
    write_with("", "lm_head.weight", embedding, false);
    OK(read_as(&tied, path.text));
    write_with("_orig_mod.", "lm_head.weight", embedding, false);
    OK(read_as(&tied, path.text));
    write_with("", "lm_head.weight", embedding, true);
    FAILS(DATA,
          "\"lm_head.weight\" differs from \"model.embed_tokens.weight\", but config.json has \"tie_word_embeddings\" "
          "true",
          read_as(&tied, path.text));
    write_with("", "lm_head.weight", "model.norm.weight", false);
    FAILS(DATA, "\"lm_head.weight\" has shape", read_as(&tied, path.text));
    assert_int_equal(unlink(path.text), 0);
}

int main(void) {
    model m;
    blockfile_sums sums;
    OK(device_open(&dev, "cpu", 1, 0));
    assert_non_null(mkdtemp(folder));
    c = tiny_llama();
    open_empty(&m);
    filled_each(&m.parameters, filled_set);
    OK(durable_make_folders(in_folder("saved").text));
    OK(weights_write(&m.parameters, &c, in_folder("saved").text, &sums));
    free(sums.crc);
    model_free(&m);
    OK(tensor_set_open_model(&whole, in_folder("saved").text));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_names_of_a_model_give_the_same), cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(a_tensor_too_many_is_named),         cmocka_unit_test(wrappers_and_buffers_are_known),
        cmocka_unit_test(a_tied_head_is_the_embedding),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tensor_set_close(&whole);
    (void)!durable_remove_folder(folder);
    device_close(dev);
    return failed;
}
