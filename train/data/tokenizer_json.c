#include <stdlib.h>
#include <string.h>

#include "runtime/options.h"
#include "train/data/byte_level.h"
#include "train/data/tokenizer_parts.h"

/* Rust's char::is_numeric; ASCII punctuation and the category P */
#define DIGIT "\\p{N}"
#define DIGITS "\\p{N}+"
#define PUNCTUATION "[!-/:-@\\[-`{-~\\p{P}]"

typedef struct {
    tokenizer *t;
    const char *path;
} reading;

static const char *type_of(const json_t *o) {
    const char *type = json_string_or_null(json_find(o, "type"));
    return type ? type : "?";
}

static bool is_type(const json_t *o, const char *type) { return strcmp(type_of(o), type) == 0; }

static status unsupported(const reading *r, const char *part, const json_t *o) {
    FAIL(DATA, "%s: the %s \"%.40s\" is not supported", r->path, part, type_of(o));
}

static const char *kind_of(const json_t *o) {
    return json_is_object(o)   ? "an object"
           : json_is_array(o)  ? "an array"
           : json_is_string(o) ? "a string"
                               : "a number or a boolean";
}

/* an optional string; NULL: none */
static status get_text(const reading *r, const json_t *o, const char *key, const char **text) {
    json_t *item = json_find(o, key);
    *text = json_string_or_null(item);
    if (item && !*text) FAIL(DATA, "%s: \"%s\" is %s, expected a string", r->path, key, kind_of(item));
    return STATUS_OK;
}

/* an optional flag */
static status get_flag(const reading *r, const json_t *o, const char *key, bool otherwise, bool *v) {
    *v = otherwise;
    return json_find(o, key) ? json_get_bool(o, r->path, key, v) : STATUS_OK;
}

/* {"String": "x"} or {"Regex": "x"}, or "x" */
static status get_pattern(const reading *r, const json_t *o, const char **string, const char **regex) {
    const json_t *item = json_find(o, "pattern");
    *string = json_string_or_null(json_is_string(item) ? item : json_find(item, "String"));
    *regex = json_string_or_null(json_find(item, "Regex"));
    if (!*string == !*regex)
        FAIL(DATA, "%s: a \"%.40s\" has no \"pattern\" that is a String or a Regex", r->path, type_of(o));
    return STATUS_OK;
}

/* ---- normalizer ---- */

static status read_replace(const reading *r, const json_t *o) {
    tokenizer_step *step;
    const char *string, *regex;
    TRY(get_pattern(r, o, &string, &regex));
    if (regex) FAIL(DATA, "%s: the normalizer \"Replace\" with a Regex is not supported", r->path);
    if (!*string || strlen(string) >= STEP_TEXT)
        FAIL(DATA, "%s: \"Replace\" has a pattern of %zu bytes, expected 1 to %d", r->path, strlen(string),
             STEP_TEXT - 1);
    TRY(tokenizer_add_step(r->t, &step, STEP_REPLACE));
    strcpy(step->from, string);
    return json_get_string(o, r->path, "content", step->to, sizeof step->to);
}

static status read_normalizer(const reading *r, const json_t *o) {
    tokenizer_step *step;
    size_t i;
    json_t *list, *item;
    if (json_is_null(o) || !o) return STATUS_OK;
    if (is_type(o, "Sequence")) {
        TRY(json_get_array(o, r->path, "normalizers", &list));
        json_array_foreach(list, i, item) TRY(read_normalizer(r, item));
        return STATUS_OK;
    }
    if (is_type(o, "NFC")) {
        if (r->t->nfc) return STATUS_OK; /* twice is once */
        TRY(tokenizer_add_step(r->t, &step, STEP_NFC));
        return unicode_nfc_open(&r->t->nfc);
    }
    if (is_type(o, "Prepend")) {
        TRY(tokenizer_add_step(r->t, &step, STEP_PREPEND));
        return json_get_string(o, r->path, "prepend", step->to, sizeof step->to);
    }
    return is_type(o, "Replace") ? read_replace(r, o) : unsupported(r, "normalizer", o);
}

/* ---- pre-tokenizer ---- */

static status get_split(const reading *r, const json_t *o, split_kind otherwise, split_kind *split) {
    const char *name;
    TRY(get_text(r, o, "behavior", &name));
    int choice = name ? options_choice(CHOICES_TEXT(SPLIT_LIST), name) : (int)otherwise;
    if (choice < 0) FAIL(DATA, "%s: the \"behavior\" \"%.40s\" is not supported", r->path, name);
    *split = (split_kind)choice;
    return STATUS_OK;
}

static status read_split(const reading *r, const json_t *o) {
    split_kind split;
    bool invert;
    const char *string, *regex;
    TRY(get_split(r, o, SPLIT_ISOLATED, &split));
    TRY(get_flag(r, o, "invert", false, &invert));
    TRY(get_pattern(r, o, &string, &regex));
    if (regex) return tokenizer_add_split(r->t, regex, split, invert);
    return tokenizer_add_literal_split(r->t, string, split, invert);
}

static status read_byte_level(const reading *r, const json_t *o) {
    tokenizer_step *step;
    bool prefix, regex;
    if (r->t->byte_level) FAIL(DATA, "%s: the pre-tokenizer \"ByteLevel\" occurs twice", r->path);
    TRY(get_flag(r, o, "add_prefix_space", true, &prefix));
    TRY(get_flag(r, o, "use_regex", true, &regex));
    if (prefix) {
        TRY(tokenizer_add_step(r->t, &step, STEP_PREPEND));
        strcpy(step->to, " ");
        step->unless_there = true;
    }
    if (regex) TRY(tokenizer_add_split(r->t, PATTERN_GPT2, SPLIT_ISOLATED, false));
    r->t->byte_level = true;
    return tokenizer_add_step(r->t, &step, STEP_TO_BYTE_LEVEL);
}

static status read_metaspace(const reading *r, const json_t *o) {
    tokenizer_step *replace, *prepend;
    bool split, prefix;
    char scheme[16];
    TRY(get_flag(r, o, "split", true, &split));
    TRY(get_flag(r, o, "add_prefix_space", true, &prefix));
    strcpy(scheme, prefix ? "always" : "never"); /* in older files */
    if (json_find(o, "prepend_scheme")) TRY(json_get_string(o, r->path, "prepend_scheme", scheme, sizeof scheme));
    if (options_choice("always|first|never", scheme) < 0)
        FAIL(DATA, "%s: \"prepend_scheme\" is \"%s\", expected always, first or never", r->path, scheme);
    TRY(tokenizer_add_step(r->t, &replace, STEP_REPLACE));
    strcpy(replace->from, " ");
    TRY(json_get_string(o, r->path, "replacement", replace->to, sizeof replace->to));
    if (!*replace->to || strlen(replace->to) != (size_t)unicode_length((unsigned char)*replace->to))
        FAIL(DATA, "%s: \"replacement\" is \"%s\", expected one character", r->path, replace->to);
    if (!prefix && strcmp(scheme, "never") != 0)
        FAIL(DATA, "%s: \"prepend_scheme\" is \"%s\" but \"add_prefix_space\" is false; expected only one of them",
             r->path, scheme);
    if (strcmp(scheme, "never") != 0) {
        TRY(tokenizer_add_step(r->t, &prepend, STEP_PREPEND));
        strcpy(prepend->to, replace->to);
        prepend->unless_there = true;
        prepend->first_only = strcmp(scheme, "first") == 0;
    }
    return split ? tokenizer_add_literal_split(r->t, replace->to, SPLIT_MERGED_WITH_NEXT, false) : STATUS_OK;
}

static status read_pre_tokenizer(const reading *r, const json_t *o) {
    split_kind split;
    bool each;
    size_t i;
    json_t *list, *item;
    if (json_is_null(o) || !o) return STATUS_OK;
    if (is_type(o, "Sequence")) {
        TRY(json_get_array(o, r->path, "pretokenizers", &list));
        json_array_foreach(list, i, item) TRY(read_pre_tokenizer(r, item));
        return STATUS_OK;
    }
    if (is_type(o, "ByteLevel")) return read_byte_level(r, o);
    if (is_type(o, "Split")) return read_split(r, o);
    if (is_type(o, "Metaspace")) return read_metaspace(r, o);
    if (is_type(o, "Digits")) {
        TRY(get_flag(r, o, "individual_digits", false, &each));
        return tokenizer_add_split(r->t, each ? DIGIT : DIGITS, SPLIT_ISOLATED, false);
    }
    if (is_type(o, "Punctuation")) {
        TRY(get_split(r, o, SPLIT_ISOLATED, &split));
        return tokenizer_add_split(r->t, PUNCTUATION, split, false);
    }
    return unsupported(r, "pre-tokenizer", o);
}

/* ---- post-processor: the tokens at the ends ---- */

static status put_end(const reading *r, int32_t *end, i64 id) {
    if (*end >= 0) FAIL(DATA, "%s: the post-processor puts several tokens at one end of a text, expected one", r->path);
    if (!tokenizer_name(r->t, (int32_t)id) || id != (int32_t)id)
        FAIL(DATA, "%s: the post-processor puts the id %ld, which no token has", r->path, id);
    *end = (int32_t)id;
    return STATUS_OK;
}

static status read_template(const reading *r, const json_t *o) {
    json_t *single, *tokens, *item, *ids;
    size_t i;
    bool after = false;
    TRY(json_get_array(o, r->path, "single", &single));
    TRY(json_get_object(o, r->path, "special_tokens", &tokens));
    json_array_foreach(single, i, item) {
        const char *name = json_string_or_null(json_find(json_find(item, "SpecialToken"), "id"));
        if (json_find(item, "Sequence")) {
            if (after) FAIL(DATA, "%s: the post-processor puts a text twice", r->path);
            after = true;
            continue;
        }
        if (!name) FAIL(DATA, "%s: \"single\" of the post-processor has neither SpecialToken nor Sequence", r->path);
        json_t *token;
        TRY(json_get_object(tokens, r->path, name, &token));
        TRY(json_get_array(token, r->path, "ids", &ids));
        if (json_array_size(ids) != 1 || !json_is_integer(json_array_get(ids, 0)))
            FAIL(DATA, "%s: the post-processor's \"%.40s\" has not one id", r->path, name);
        TRY(put_end(r, after ? &r->t->after : &r->t->begin_of_text, json_integer_value(json_array_get(ids, 0))));
    }
    if (!after) FAIL(DATA, "%s: \"single\" of the post-processor has no Sequence", r->path);
    return STATUS_OK;
}

/* "cls": ["<s>", 0] */
static status read_end(const reading *r, const json_t *o, const char *key, int32_t *end) {
    json_t *pair;
    TRY(json_get_array(o, r->path, key, &pair));
    if (!json_is_integer(json_array_get(pair, 1))) FAIL(DATA, "%s: \"%s\" has no id", r->path, key);
    return put_end(r, end, json_integer_value(json_array_get(pair, 1)));
}

static status read_post_processor(const reading *r, const json_t *o) {
    size_t i;
    json_t *list, *item;
    if (json_is_null(o) || !o || is_type(o, "ByteLevel")) return STATUS_OK; /* ByteLevel changes offsets only */
    if (is_type(o, "Sequence")) {
        TRY(json_get_array(o, r->path, "processors", &list));
        json_array_foreach(list, i, item) TRY(read_post_processor(r, item));
        return STATUS_OK;
    }
    if (is_type(o, "TemplateProcessing")) return read_template(r, o);
    if (!is_type(o, "RobertaProcessing") && !is_type(o, "BertProcessing")) return unsupported(r, "post-processor", o);
    TRY(read_end(r, o, "cls", &r->t->begin_of_text));
    return read_end(r, o, "sep", &r->t->after);
}

/* ---- added tokens ---- */

typedef struct {
    const char *content;
    size_t bytes;
    added_token token;
    bool normalized, outside; /* outside: the model's vocabulary lacks it */
} added_entry;

static status read_added(const reading *r, const json_t *o, added_entry *a) {
    i64 id;
    bool single_word;
    TRY(json_get_i64(o, r->path, "id", &id));
    a->content = json_string_or_null(json_find(o, "content"));
    if (!a->content || !*a->content) FAIL(DATA, "%s: the added token with the id %ld has no content", r->path, id);
    a->bytes = strlen(a->content);
    TRY(get_flag(r, o, "special", false, &a->token.special));
    TRY(get_flag(r, o, "lstrip", false, &a->token.strip_left));
    TRY(get_flag(r, o, "rstrip", false, &a->token.strip_right));
    TRY(get_flag(r, o, "normalized", !a->token.special, &a->normalized));
    TRY(get_flag(r, o, "single_word", false, &single_word));
    if (single_word)
        FAIL(DATA, "%s: \"single_word\" of the added token \"%.40s\" is not supported", r->path, a->content);
    a->token.id = vocabulary_find(&r->t->tokens, a->content, a->bytes);
    a->outside = a->token.id < 0;
    if (a->outside) {
        TRY(vocabulary_add(&r->t->tokens, id, a->content, a->bytes));
        a->token.id = (int32_t)id;
    }
    if (a->token.id != id)
        FAIL(DATA, "%s: the added token \"%.40s\" has the id %ld, but %d in the vocabulary", r->path, a->content, id,
             a->token.id);
    return STATUS_OK;
}

/* Step 0 is the search for added tokens that are not normalized, step 1 + normalizers that for the others. */
static status add_normalized(const reading *r, const added_entry *a, int normalizers) {
    tokenizer_text text = {0};
    status_code st = STATUS_OK;
    if (normalizers) TRY_DONE(tokenizer_normalize(r->t, 1, 1 + normalizers, &text, a->content));
    else TRY_DONE(tokenizer_text_add(&text, a->content, a->bytes));
    TRY_DONE(added_tokens_add(&r->t->added_normalized, text.text, text.bytes, a->token));
done:
    tokenizer_text_free(&text);
    return st;
}

static status check_strips(const reading *r, const added_tokens *added) {
    if (added->strip_right && added->begins_with_space)
        FAIL(DATA, "%s: added tokens with \"rstrip\" beside added tokens that begin with white space are not supported",
             r->path);
    return STATUS_OK;
}

static status read_steps(const reading *r, const json_t *o, const added_entry *added, size_t count) {
    tokenizer *t = r->t;
    tokenizer_step *step;
    TRY(tokenizer_add_step(t, &step, STEP_ADDED));
    step->added = &t->added;
    TRY(read_normalizer(r, json_find(o, "normalizer")));
    int normalizers = t->step_count - 1;
    for (size_t i = 0; i < count; i++)
        if (added[i].normalized) TRY(add_normalized(r, &added[i], normalizers));
        else TRY(added_tokens_add(&t->added, added[i].content, added[i].bytes, added[i].token));
    TRY(check_strips(r, &t->added));
    TRY(check_strips(r, &t->added_normalized));
    if (t->added_normalized.count) {
        TRY(tokenizer_add_step(t, &step, STEP_ADDED));
        step->added = &t->added_normalized;
    }
    TRY(read_pre_tokenizer(r, json_find(o, "pre_tokenizer")));
    bool mapped = t->byte_level && t->steps[t->step_count - 1].kind != STEP_TO_BYTE_LEVEL;
    if (t->byte_level && !mapped) t->step_count--; /* nothing would see its characters */
    if (mapped) TRY(tokenizer_add_step(t, &step, STEP_FROM_BYTE_LEVEL));
    return tokenizer_add_step(t, &step, STEP_MODEL);
}

/* ---- model ---- */

/* of: what the keys are of, for the message */
static status refuse_others(const reading *r, const json_t *o, const char *of, const char *const *known, size_t count) {
    const char *key;
    json_t *item;
    json_object_foreach((json_t *)o, key, item) {
        bool found = false;
        for (size_t i = 0; i < count; i++) found |= strcmp(key, known[i]) == 0;
        if (!found) FAIL(DATA, "%s: \"%.40s\"%s is not supported", r->path, key, of);
    }
    return STATUS_OK;
}

static status refuse_text(const reading *r, const json_t *model, const char *key) {
    const char *text;
    TRY(get_text(r, model, key, &text));
    if (text && *text) FAIL(DATA, "%s: \"%s\" of the model, \"%.40s\", is not supported", r->path, key, text);
    return STATUS_OK;
}

static status read_options(const reading *r, const json_t *model, bpe_options *o) {
    static const char *const known[] = {"type",
                                        "vocab",
                                        "merges",
                                        "dropout",
                                        "unk_token",
                                        "continuing_subword_prefix",
                                        "end_of_word_suffix",
                                        "fuse_unk",
                                        "byte_fallback",
                                        "ignore_merges"};
    const char *unknown;
    double dropout = json_number_or_nan(json_find(model, "dropout"));
    TRY(refuse_others(r, model, " of the model", known, sizeof known / sizeof *known));
    TRY(get_text(r, model, "unk_token", &unknown));
    if (json_find(model, "dropout") && dropout != 0)
        FAIL(DATA, "%s: \"dropout\" of the model is not supported", r->path);
    TRY(refuse_text(r, model, "continuing_subword_prefix"));
    TRY(refuse_text(r, model, "end_of_word_suffix"));
    TRY(get_flag(r, model, "fuse_unk", false, &o->fuse_unknown));
    TRY(get_flag(r, model, "byte_fallback", false, &o->byte_fallback));
    TRY(get_flag(r, model, "ignore_merges", false, &o->whole_words));
    o->outside = r->t->outside;
    o->byte_level = r->t->byte_level;
    o->unknown = unknown ? tokenizer_id(r->t, unknown) : -1;
    if (unknown && o->unknown < 0) FAIL(DATA, "%s: the \"unk_token\" \"%.40s\" is no token", r->path, unknown);
    return STATUS_OK;
}

/* ---- all ---- */

static status check_top(const reading *r, const json_t *o) {
    static const char *const known[] = {"version",       "truncation",     "padding", "added_tokens", "normalizer",
                                        "pre_tokenizer", "post_processor", "decoder", "model"};
    const char *version;
    json_t *added = json_find(o, "added_tokens");
    TRY(refuse_others(r, o, "", known, sizeof known / sizeof *known));
    TRY(get_text(r, o, "version", &version));
    if (version && strcmp(version, "1.0") != 0)
        FAIL(DATA, "%s: has the version \"%.40s\", expected \"1.0\"", r->path, version);
    if (added && !json_is_array(added))
        FAIL(DATA, "%s: \"added_tokens\" is %s, expected an array", r->path, kind_of(added));
    return STATUS_OK;
}

static status read_all(const reading *r, const json_t *o, const tokenizer_merges *merges, added_entry *added) {
    tokenizer *t = r->t;
    json_t *list = json_find(o, "added_tokens"), *item;
    size_t i, count = json_array_size(list);
    bpe_options of_model;
    TRY(check_top(r, o));
    json_array_foreach(list, i, item) TRY(read_added(r, item, &added[i]));
    if (!t->tokens.count) FAIL(DATA, "%s: has no tokens", r->path);
    t->special = calloc((size_t)t->tokens.size, 1);
    t->outside = calloc((size_t)t->tokens.size, 1);
    if (!t->special || !t->outside) FAIL(MEM, "%s: no memory for its tokens", r->path);
    for (i = 0; i < count; i++) {
        t->special[added[i].token.id] = added[i].token.special;
        t->outside[added[i].token.id] |= added[i].outside;
    }
    TRY(read_steps(r, o, added, count));
    TRY(read_post_processor(r, json_find(o, "post_processor")));
    TRY(tokenizer_read_decoder(t, json_find(o, "decoder"), r->path));
    TRY(read_options(r, json_find(o, "model"), &of_model));
    return tokenizer_set_model(t, merges, of_model);
}

status tokenizer_read_json(tokenizer *t, const char *path) {
    tokenizer_merges merges = {0};
    json_t *o = NULL;
    added_entry *added = NULL;
    status_code st = STATUS_OK;
    TRY_DONE(tokenizer_read_model(t, &merges, &o, path));
    added = calloc(json_array_size(json_find(o, "added_tokens")) + 1, sizeof *added);
    if (!added) FAIL_DONE(MEM, "%s: no memory for its added tokens", path);
    TRY_DONE(read_all(&(reading){t, path}, o, &merges, added));
done:
    free(added);
    free(merges.list);
    json_decref(o);
    return st;
}
