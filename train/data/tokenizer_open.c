#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "train/data/tokenizer_parts.h"

/* ---- steps ---- */

status tokenizer_add_step(tokenizer *t, tokenizer_step **step, step_kind kind) {
    if (t->step_count == TOKENIZER_MOST_STEPS)
        FAIL(DATA, "the tokenizer has more than %d steps, expected fewer", TOKENIZER_MOST_STEPS);
    *step = &t->steps[t->step_count++];
    **step = (tokenizer_step){.kind = kind};
    return STATUS_OK;
}

static status add_split(tokenizer *t, const char *regex, split_kind split, bool invert, bool literal) {
    tokenizer_step *step;
    TRY(tokenizer_add_step(t, &step, STEP_SPLIT));
    step->split = split;
    step->invert = invert;
    if (!(step->regex = strdup(regex))) FAIL(MEM, "no memory for a pattern");
    return literal ? pattern_open_literal(&step->p, regex) : pattern_open(&step->p, regex);
}

status tokenizer_add_split(tokenizer *t, const char *regex, split_kind split, bool invert) {
    return add_split(t, regex, split, invert, false);
}

status tokenizer_add_literal_split(tokenizer *t, const char *text, split_kind split, bool invert) {
    return add_split(t, text, split, invert, true);
}

/* ---- fingerprint ---- */

static uint32_t sum_bytes(uint32_t crc, const char *text, size_t bytes) {
    return (uint32_t)crc32_z(crc, (const unsigned char *)text, bytes);
}

static uint32_t sum_text(uint32_t crc, const char *text) { return sum_bytes(crc, text, strlen(text) + 1); }

static uint32_t sum_number(uint32_t crc, i64 n) {
    unsigned char bytes[8];
    for (int i = 0; i < 8; i++) bytes[i] = (unsigned char)((uint64_t)n >> 8 * i);
    return (uint32_t)crc32_z(crc, bytes, 8);
}

static uint32_t sum_added(uint32_t crc, const added_tokens *a) {
    crc = sum_number(crc, a->count);
    for (i64 i = 0; i < a->count; i++) {
        const added_token *t = &a->list[i];
        crc = sum_number(crc, t->id);
        crc = sum_number(crc, t->special | t->strip_left << 1 | t->strip_right << 2);
    }
    return crc;
}

static void set_fingerprint(tokenizer *t, const tokenizer_merges *merges, bpe_options o) {
    uint32_t crc = 0;
    for (i64 id = 0; id < t->tokens.size; id++) {
        const char *name = tokenizer_name(t, (int32_t)id);
        if (name) crc = sum_bytes(sum_number(crc, id), name, vocabulary_bytes(&t->tokens, id) + 1);
    }
    for (i64 i = 0; i < merges->count; i++)
        crc = sum_number(sum_number(crc, merges->list[i].left), merges->list[i].right);
    crc = sum_number(crc, o.byte_level | o.byte_fallback << 1 | o.fuse_unknown << 2 | o.whole_words << 3);
    crc = sum_number(crc, o.unknown);
    for (int i = 0; i < t->step_count; i++) {
        const tokenizer_step *s = &t->steps[i];
        if (s->kind == STEP_ADDED) continue;
        crc = sum_number(crc, (i64)s->kind | (i64)s->split << 8 | (i64)s->unless_there << 16 |
                                  (i64)s->first_only << 17 | (i64)s->invert << 18);
        crc = sum_text(sum_text(sum_text(crc, s->from), s->to), s->regex ? s->regex : "");
    }
    crc = sum_added(sum_added(crc, &t->added), &t->added_normalized);
    crc = sum_number(sum_number(crc, t->begin_of_text), t->after);
    snprintf(t->fingerprint, sizeof t->fingerprint, "bpe-%ld-%08x", t->tokens.size, crc);
}

status tokenizer_set_model(tokenizer *t, const tokenizer_merges *merges, bpe_options o) {
    TRY(bpe_open(&t->model, &t->tokens, merges->list, merges->count, o));
    set_fingerprint(t, merges, o);
    return STATUS_OK;
}

/* ---- GPT-2's two files ---- */

static status read_gpt2(tokenizer *t, const char *vocabulary_path, const char *merges_path) {
    static const char end[] = "<|endoftext|>";
    tokenizer_merges merges = {0};
    tokenizer_step *step;
    status_code st = STATUS_OK;
    bpe_options o = {.byte_level = true, .unknown = -1};
    TRY_DONE(tokenizer_read_pair(t, &merges, vocabulary_path, merges_path));
    if (!t->tokens.count) FAIL_DONE(DATA, "%s: has no tokens", vocabulary_path);
    if (!(t->special = calloc((size_t)t->tokens.size, 1))) FAIL_DONE(MEM, "%s: no memory", vocabulary_path);
    TRY_DONE(tokenizer_add_step(t, &step, STEP_ADDED));
    step->added = &t->added;
    added_token token = {.id = tokenizer_id(t, end), .special = true};
    if (token.id >= 0) {
        t->special[token.id] = 1;
        TRY_DONE(added_tokens_add(&t->added, end, sizeof end - 1, token));
    }
    t->byte_level = true;
    TRY_DONE(tokenizer_add_split(t, PATTERN_GPT2, SPLIT_ISOLATED, false));
    TRY_DONE(tokenizer_add_step(t, &step, STEP_MODEL));
    TRY_DONE(tokenizer_read_decoder(t, NULL, vocabulary_path));
    TRY_DONE(tokenizer_set_model(t, &merges, o));
done:
    free(merges.list);
    return st;
}

/* ---- the files beside it ---- */

/* "eos_token": a string, or an object with "content" */
static status end_in_file(tokenizer *t, const path_text *path, bool *found) {
    json_t *o;
    status_code st = STATUS_OK;
    TRY(json_read_file(&o, path->text));
    json_t *token = json_find(o, "eos_token");
    const char *name = json_string_or_null(json_is_object(token) ? json_find(token, "content") : token);
    *found = name != NULL;
    if (name && (t->end_of_text = tokenizer_id(t, name)) < 0)
        FAIL_DONE(DATA, "%s: \"eos_token\" is \"%.40s\", which is no token of the tokenizer", path->text, name);
done:
    json_decref(o);
    return st;
}

static bool exists(const path_text *path) { return access(path->text, F_OK) == 0; }

static status find_end_of_text(tokenizer *t, const char *folder) {
    static const char *const files[] = {"tokenizer_config.json", "special_tokens_map.json"};
    static const char *const names[] = {"<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<|im_end|>"};
    bool found = false;
    for (size_t i = 0; folder && !found && i < sizeof files / sizeof *files; i++) {
        path_text path = path_join(folder, files[i]);
        if (exists(&path)) TRY(end_in_file(t, &path, &found));
    }
    for (size_t i = 0; !found && i < sizeof names / sizeof *names; i++) {
        t->end_of_text = tokenizer_id(t, names[i]);
        found = t->end_of_text >= 0;
    }
    return STATUS_OK;
}

static void add_file(tokenizer *t, path_text path) {
    if (exists(&path)) t->files[t->file_count++] = path;
}

/* ---- opening ---- */

static path_text first_of(const char *folder, const char *a, const char *b) {
    path_text path = path_join(folder, a);
    return exists(&path) ? path : path_join(folder, b);
}

/* the tokenizer_class of the folder, if it is one that GPT-2's two files do not describe */
static status check_class(const char *folder) {
    static const char *const known[] = {"GPT2Tokenizer", "GPT2TokenizerFast", "PreTrainedTokenizerFast",
                                        "TokenizersBackend"};
    path_text path = path_join(folder, "tokenizer_config.json");
    json_t *o;
    if (!exists(&path)) return STATUS_OK;
    TRY(json_read_file(&o, path.text));
    const char *name = json_string_or_null(json_find(o, "tokenizer_class"));
    bool good = !name;
    for (size_t i = 0; name && i < sizeof known / sizeof *known; i++) good |= strcmp(name, known[i]) == 0;
    status_code st =
        good ? STATUS_OK
             : ERROR(DATA, "%s: \"tokenizer_class\" is \"%.40s\", which needs a tokenizer.json, and there is none",
                     path.text, name);
    json_decref(o);
    return st;
}

static status open_folder(tokenizer *t, const char *folder) {
    static const char *const beside[] = {"tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"};
    path_text whole = path_join(folder, "tokenizer.json");
    path_text tokens = first_of(folder, "vocab.json", "encoder.json"),
              merges = first_of(folder, "merges.txt", "vocab.bpe");
    path_text model = path_join(folder, "tokenizer.model");
    if (exists(&whole)) {
        TRY(tokenizer_read_json(t, whole.text));
        add_file(t, whole);
    } else if (exists(&tokens) && exists(&merges)) {
        TRY(check_class(folder));
        TRY(read_gpt2(t, tokens.text, merges.text));
        add_file(t, tokens);
        add_file(t, merges);
    } else if (exists(&model)) {
        FAIL(DATA,
             "%s: is not supported, expected a tokenizer.json; AutoTokenizer.from_pretrained(\"%s\").save_pretrained"
             " of transformers writes one",
             model.text, folder);
    } else {
        FAIL(DATA,
             "%s: holds no tokenizer, expected tokenizer.json, or vocab.json (encoder.json) and merges.txt (vocab.bpe)",
             folder);
    }
    for (size_t i = 0; i < sizeof beside / sizeof *beside; i++) add_file(t, path_join(folder, beside[i]));
    return find_end_of_text(t, folder);
}

static bool is_folder(const char *path) {
    path_text here = path_join(path, ".");
    return exists(&here);
}

static status open_path(tokenizer *t, const char *path) {
    const char *name = strrchr(path, '/');
    name = name ? name + 1 : path;
    if (is_folder(path)) return open_folder(t, path);
    if (access(path, F_OK) == 0 && strcmp(name, "tokenizer.json") == 0) {
        path_text folder = {"."};
        if (name > path + 1) snprintf(folder.text, sizeof folder.text, "%.*s", (int)(name - path - 1), path);
        else if (name > path) folder = (path_text){"/"};
        return open_folder(t, folder.text);
    }
    TRY(tokenizer_read_json(t, path));
    path_text file;
    snprintf(file.text, sizeof file.text, "%s", path);
    add_file(t, file);
    return find_end_of_text(t, NULL);
}

status tokenizer_open_path(tokenizer *t, const char *path) {
    t->begin_of_text = t->end_of_text = t->after = -1;
    status_code st = open_path(t, path);
    if (st == STATUS_DATA && strncmp(status_message(), path, strlen(path)) != 0)
        FAIL(DATA, "%s: %s", path, status_message());
    return st;
}
