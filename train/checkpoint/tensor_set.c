#include "train/checkpoint/tensor_set.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "runtime/json.h"
#include "runtime/path.h"

static const char model_file[] = "model.safetensors", index_file[] = "model.safetensors.index.json";

static int compare_refs(const void *a, const void *b) {
    return strcmp(((const tensor_ref *)a)->tensor->name, ((const tensor_ref *)b)->tensor->name);
}

static status collect(tensor_set *s) {
    size_t total = 0;
    for (int i = 0; i < s->file_count; i++) total += (size_t)s->files[i].count;
    s->list = malloc((total + 1) * sizeof *s->list);
    if (!s->list) FAIL(MEM, "%s: no memory for %zu tensors", s->path.text, total);
    for (int i = 0; i < s->file_count; i++)
        for (int j = 0; j < s->files[i].count; j++)
            s->list[s->count++] = (tensor_ref){&s->files[i], &s->files[i].list[j]};
    qsort(s->list, total, sizeof *s->list, compare_refs);
    for (int i = 1; i < s->count; i++)
        if (compare_refs(&s->list[i - 1], &s->list[i]) == 0)
            FAIL(DATA, "%s: tensor \"%s\" is also in %s", s->list[i].file->path, s->list[i].tensor->name,
                 s->list[i - 1].file->path);
    return STATUS_OK;
}

status tensor_set_open(tensor_set *s, path_text path, const path_text *files, int count) {
    *s = (tensor_set){.path = path};
    status_code st = STATUS_OK;
    s->files = calloc((size_t)count + 1, sizeof *s->files);
    if (!s->files) FAIL_DONE(MEM, "%s: no memory for %d files", path.text, count);
    for (int i = 0; i < count; i++) {
        TRY_DONE(safetensors_open(&s->files[i], files[i].text));
        s->file_count++;
    }
    TRY_DONE(collect(s));
done:
    if (st) tensor_set_close(s);
    return st;
}

void tensor_set_close(tensor_set *s) {
    for (int i = 0; i < s->file_count; i++) safetensors_close(&s->files[i]);
    free(s->files);
    free(s->list);
    *s = (tensor_set){0};
}

int tensor_set_from(const tensor_set *s, const char *name) {
    int low = 0, high = s->count;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (strcmp(s->list[middle].tensor->name, name) < 0) low = middle + 1;
        else high = middle;
    }
    return low;
}

const tensor_ref *tensor_set_find(const tensor_set *s, const char *name) {
    int i = tensor_set_from(s, name);
    return i < s->count && strcmp(s->list[i].tensor->name, name) == 0 ? &s->list[i] : NULL;
}

/* --- Hugging Face's index --- */

static int compare_names(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The files that the index names, each once. The names point into the index. */
static status index_files(const char *path, json_t *map, const char **names, int *count) {
    const char *tensor;
    json_t *item;
    int n = 0;
    *count = 0;
    json_object_foreach(map, tensor, item) {
        const char *name = json_string_or_null(item);
        if (!name) FAIL(DATA, "%s: \"weight_map\": \"%.80s\" is not a string, expected a file", path, tensor);
        if (!*name || strchr(name, '/') || strcmp(name, ".") == 0 || strstr(name, ".."))
            FAIL(DATA, "%s: \"weight_map\": \"%.80s\" is in \"%.80s\", expected a file in the same folder", path,
                 tensor, name);
        names[n++] = name;
    }
    if (!n) FAIL(DATA, "%s: \"weight_map\" is empty", path);
    qsort(names, (size_t)n, sizeof *names, compare_names);
    for (int i = 0; i < n; i++)
        if (i == 0 || strcmp(names[i], names[*count - 1]) != 0) names[(*count)++] = names[i];
    return STATUS_OK;
}

static status check_index(const tensor_set *s, json_t *map, const char *const *names) {
    const char *tensor;
    json_t *item;
    json_object_foreach(map, tensor, item) {
        const tensor_ref *found = tensor_set_find(s, tensor);
        if (!found || strcmp(names[found->file - s->files], json_string_or_null(item)) != 0)
            FAIL(DATA, "%s: \"weight_map\": found no \"%.80s\" in %s", s->path.text, tensor, json_string_or_null(item));
    }
    return STATUS_OK;
}

static status open_files(tensor_set *s, path_text path, json_t *map, const char **names) {
    int count;
    TRY(index_files(path.text, map, names, &count));
    path_text *files = malloc((size_t)count * sizeof *files);
    if (!files) FAIL(MEM, "%s: no memory for %d files", path.text, count);
    const char *slash = strrchr(path.text, '/');
    path_text folder = {"."};
    if (slash) snprintf(folder.text, sizeof folder.text, "%.*s", (int)(slash - path.text), path.text);
    status_code st = STATUS_OK;
    for (int i = 0; i < count && !st; i++) {
        files[i] = path_join(folder.text, names[i]);
        if (!files[i].text[0]) st = ERROR(DATA, "%s: \"weight_map\": path is too long: %.60s...", path.text, names[i]);
    }
    if (!st) st = tensor_set_open(s, path, files, count);
    free(files);
    TRY(st);
    st = check_index(s, map, names);
    if (st) tensor_set_close(s);
    return st;
}

static status open_index(tensor_set *s, path_text path) {
    json_t *json = NULL, *map;
    const char **names = NULL;
    TRY(json_read_file(&json, path.text));
    status_code st = STATUS_OK;
    TRY_DONE(json_get_object(json, path.text, "weight_map", &map));
    names = malloc((json_object_size(map) + 1) * sizeof *names);
    if (!names) FAIL_DONE(MEM, "%s: no memory for %zu tensors", path.text, json_object_size(map));
    st = open_files(s, path, map, names);
done:
    free(names);
    json_decref(json);
    return st;
}

static bool exists(path_text path) {
    struct stat info;
    return stat(path.text, &info) == 0;
}

bool tensor_set_model_in(const char *folder) {
    return exists(path_join(folder, model_file)) || exists(path_join(folder, index_file));
}

status tensor_set_open_model(tensor_set *s, const char *path) {
    *s = (tensor_set){0};
    struct stat info;
    path_text file;
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
        if (!tensor_set_model_in(path)) FAIL(DATA, "%s: found neither %s nor %s", path, model_file, index_file);
        file = path_join(path, model_file);
        if (!exists(file)) file = path_join(path, index_file);
    } else if (snprintf(file.text, sizeof file.text, "%s", path) >= (int)sizeof file.text) {
        FAIL(ARG, "%s: path is too long", path);
    }
    return path_ends_with(file.text, ".index.json") ? open_index(s, file) : tensor_set_open(s, file, &file, 1);
}
