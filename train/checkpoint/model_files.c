#include "train/checkpoint/model_files.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "runtime/file.h"
#include "runtime/json.h"
#include "runtime/tokens.h"
#include "train/checkpoint/manifest.h"

static const char generation_name[] = "generation_config.json", tokenizer_name_json[] = "tokenizer.json";

/* --- reading --- */

static status add_text(model_files *m, const char *name, char *text, size_t bytes) {
    model_file *f = &m->list[m->count];
    if (m->count == MODEL_FILES_MOST || snprintf(f->name, sizeof f->name, "%s", name) >= (int)sizeof f->name) {
        free(text);
        FAIL(DATA, "%s: a tokenizer has too many files, or one with too long a name", name);
    }
    f->text = text;
    f->bytes = bytes;
    m->count++;
    return STATUS_OK;
}

static status add_file(model_files *m, const char *path) {
    const char *slash = strrchr(path, '/');
    char *text;
    size_t bytes;
    TRY(file_read(path, &text, &bytes));
    return add_text(m, slash ? slash + 1 : path, text, bytes);
}

/* Prints o, which it frees, as a file of that name. */
static status add_json(model_files *m, const char *name, json_t *o) {
    char *text = NULL;
    if (!o) FAIL(MEM, "%s: no memory", name);
    status_code st = json_print(&text, o, JSON_INDENTED);
    json_decref(o);
    return st ? st : add_text(m, name, text, strlen(text));
}

/* GPT-2's characters for bytes: printable ones of Latin-1 stand for themselves, the others for 256 and up in order. */
static void byte_symbol(char text[4], int byte) {
    int code = 256;
    for (int b = 0; b <= byte; b++) {
        bool itself = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
        if (b == byte && itself) code = b;
        else if (b < byte && !itself) code++;
    }
    if (code < 128) snprintf(text, 4, "%c", code);
    else snprintf(text, 4, "%c%c", 0xc0 | code >> 6, 0x80 | (code & 63));
}

static json_t *byte_level(void) {
    return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets", 1, "use_regex",
                     0);
}

/* A byte-level BPE without merges. */
static json_t *bytes_json(void) {
    static const char end[] = "<|endoftext|>";
    json_t *vocabulary = json_object();
    for (int b = 0; b < 256; b++) {
        char symbol[4];
        byte_symbol(symbol, b);
        json_object_set_new(vocabulary, symbol, json_integer(b));
    }
    json_t *added = json_pack("{s:i, s:s, s:b, s:b, s:b, s:b, s:b}", "id", TOKEN_END_OF_TEXT, "content", end,
                              "single_word", 0, "lstrip", 0, "rstrip", 0, "normalized", 0, "special", 1);
    json_t *model = json_pack("{s:s, s:n, s:n, s:n, s:n, s:b, s:b, s:b, s:o, s:[]}", "type", "BPE", "dropout",
                              "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", 0,
                              "byte_fallback", 0, "ignore_merges", 0, "vocab", vocabulary, "merges");
    return json_pack("{s:s, s:n, s:n, s:[o], s:n, s:o, s:n, s:o, s:o}", "version", "1.0", "truncation", "padding",
                     "added_tokens", added, "normalizer", "pre_tokenizer", byte_level(), "post_processor", "decoder",
                     byte_level(), "model", model);
}

/* For a tokenizer without such a file. It names no class of a family: transformers then does what tokenizer.json says. */
static json_t *plain_tokenizer_config(const tokenizer *t, const model_files *m) {
    json_t *o =
        json_pack("{s:s, s:b}", "tokenizer_class", "PreTrainedTokenizerFast", "clean_up_tokenization_spaces", 0);
    const char *begin = tokenizer_name(t, m->begin), *end = tokenizer_name(t, m->end);
    if (o && begin) json_object_set_new(o, "bos_token", json_string(begin));
    if (o && end) json_object_set_new(o, "eos_token", json_string(end));
    return o;
}

static bool exists(const char *folder, const char *name) {
    struct stat info;
    return stat(path_join(folder, name).text, &info) == 0;
}

/* Whether the folder's tokenizer.json is the one that is written for the byte tokenizer. */
static bool is_of_bytes(const char *folder) {
    json_t *o, *bytes;
    enum { LARGEST = 1 << 16 };
    if (json_read_file_up_to(LARGEST, &o, path_join(folder, tokenizer_name_json).text)) return false;
    bool same = (bytes = bytes_json()) && json_equal(o, bytes);
    json_decref(bytes);
    json_decref(o);
    return same;
}

status model_files_tokenizer(tokenizer **t, const char *folder, i64 vocabulary) {
    bool has = exists(folder, tokenizer_name_json) || exists(folder, "vocab.json") || exists(folder, "encoder.json");
    if (!has && vocabulary != BYTE_VOCABULARY)
        FAIL(DATA,
             "%s: found no tokenizer.json, and the vocabulary has %ld tokens; expected a tokenizer, or %d tokens: "
             "the bytes and an end-of-text",
             folder, vocabulary, BYTE_VOCABULARY);
    TRY(tokenizer_open(t, has && !is_of_bytes(folder) ? folder : NULL));
    i64 size = tokenizer_size(*t);
    if (size <= vocabulary) return STATUS_OK;
    tokenizer_close(*t);
    *t = NULL;
    FAIL(DATA, "%s: the tokenizer has %ld tokens, expected at most the %ld of the model's vocabulary", folder, size,
         vocabulary);
}

static const model_file *find(const model_files *m, const char *name) {
    for (int i = 0; i < m->count; i++)
        if (strcmp(m->list[i].name, name) == 0) return &m->list[i];
    return NULL;
}

static status add_tokenizer(model_files *m, const tokenizer *t) {
    path_text paths[TOKENIZER_MOST_FILES];
    int files = tokenizer_files(t, paths);
    m->tokenizer = true;
    m->end = tokenizer_end_of_text(t);
    m->begin = tokenizer_begin_of_text(t);
    if (m->begin < 0) m->begin = m->end; /* the token that precedes a text in training */
    for (int i = 0; i < files; i++) TRY(add_file(m, paths[i].text));
    if (!files) TRY(add_json(m, tokenizer_name_json, bytes_json()));
    if (find(m, tokenizer_name_json) && !find(m, "tokenizer_config.json"))
        return add_json(m, "tokenizer_config.json", plain_tokenizer_config(t, m));
    return STATUS_OK;
}

status model_files_read(model_files *m, const tokenizer *t, const char *from) {
    *m = (model_files){0};
    status_code st = t ? add_tokenizer(m, t) : STATUS_OK;
    if (!st && from && exists(from, generation_name)) st = add_file(m, path_join(from, generation_name).text);
    if (st) model_files_free(m);
    return st;
}

void model_files_free(model_files *m) {
    for (int i = 0; i < m->count; i++) free(m->list[i].text);
    *m = (model_files){0};
}

/* --- writing --- */

static status put_bytes(FILE *lines, const char *folder, const char *name, const char *text, size_t bytes) {
    blockfile *f = NULL;
    blockfile_sums sums = {0};
    TRY(blockfile_create(&f, folder, name));
    status_code st = blockfile_write(f, text, bytes);
    if (st) blockfile_abandon(f);
    else st = blockfile_close(f, &sums);
    if (!st && lines) manifest_line(lines, &sums);
    free(sums.crc);
    return st;
}

status model_files_put(FILE *lines, const char *folder, const char *name, char *text) {
    status_code st = put_bytes(lines, folder, name, text, strlen(text));
    free(text);
    return st;
}

static status put_json(FILE *lines, const char *folder, const char *name, json_t *o) {
    char *text = NULL;
    if (!o) FAIL(MEM, "%s/%s: no memory", folder, name);
    status_code st = json_print(&text, o, JSON_INDENTED);
    json_decref(o);
    return st ? st : model_files_put(lines, folder, name, text);
}

/* transformers' generate() stops at eos. Where the keys are missing, its defaults for a family are tokens of another
 * vocabulary. */
static json_t *with_tokens(json_t *o, const model_files *m) {
    if (!o || !m || !m->tokenizer) return o;
    json_object_set_new(o, "bos_token_id", m->begin < 0 ? json_null() : json_integer(m->begin));
    json_object_set_new(o, "eos_token_id", m->end < 0 ? json_null() : json_integer(m->end));
    return o;
}

static json_t *config_json(const model_config *c, const model_files *m, dtype t) {
    json_t *o = with_tokens(model_config_to_json(c), m);
    if (o) json_object_set_new(o, "torch_dtype", json_string(t == BF16 ? "bfloat16" : "float32"));
    return o;
}

status model_files_write(FILE *lines, const char *folder, const model_files *m, const model_config *c, dtype t,
                         const progress *p) {
    char *card;
    TRY(put_json(lines, folder, "config.json", config_json(c, m, t)));
    if (!m || !find(m, generation_name)) TRY(put_json(lines, folder, generation_name, with_tokens(json_object(), m)));
    for (int i = 0; m && i < m->count; i++)
        TRY(put_bytes(lines, folder, m->list[i].name, m->list[i].text, m->list[i].bytes));
    if (!p) return STATUS_OK;
    TRY(model_files_card(&card, c, p));
    return model_files_put(lines, folder, "README.md", card);
}
