#include "train/data/json_template.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/json.h"

/* ---- parsing ---- */

static status add_part(json_template *t, json_template_part part) {
    if (part.text && !part.bytes) return STATUS_OK;
    if (t->count == JSON_TEMPLATE_PARTS) FAIL(ARG, "--template: more than %d parts", JSON_TEMPLATE_PARTS);
    t->parts[t->count++] = part;
    return STATUS_OK;
}

static status add_key(json_template *t, char *name) {
    if (!*name) FAIL(ARG, "--template: found {}, expected a key between the braces; {{ stands for a brace");
    int k = 0;
    while (k < t->key_count && strcmp(t->keys[k].name, name)) k++;
    if (k == JSON_TEMPLATE_KEYS) FAIL(ARG, "--template: more than %d keys", JSON_TEMPLATE_KEYS);
    if (k == t->key_count) t->keys[t->key_count++].name = name;
    return add_part(t, (json_template_part){.key = k});
}

/* the character that two characters stand for; 0: none */
static char escaped(const char *two) {
    if (two[0] == '\\') return two[1] == 'n' ? '\n' : two[1] == 't' ? '\t' : two[1] == '\\' ? '\\' : 0;
    return two[0] == two[1] ? two[0] : 0;
}

status json_template_parse(json_template *t, const char *text) {
    char *to = t->copy = malloc(2 * strlen(text) + 2), *literal = to; /* 2: a NUL behind each key */
    if (!to) FAIL(MEM, "--template: no memory");
    for (const char *c = text; *c;) {
        size_t plain = strcspn(c, "{}\\");
        memcpy(to, c, plain);
        to += plain, c += plain;
        if (!*c) break;
        char stands_for = escaped(c);
        if (stands_for) {
            *to++ = stands_for, c += 2;
            continue;
        }
        const char *end = *c == '{' ? strchr(c, '}') : NULL;
        if (!end) FAIL(ARG, "--template: found \"%.20s\"; expected {KEY}, {{, }}, \\n, \\t or \\\\", c);
        TRY(add_part(t, (json_template_part){.text = literal, .bytes = (size_t)(to - literal)}));
        memcpy(to, c + 1, (size_t)(end - c - 1));
        to[end - c - 1] = 0;
        TRY(add_key(t, to));
        to += end - c, c = end + 1;
        literal = to;
    }
    TRY(add_part(t, (json_template_part){.text = literal, .bytes = (size_t)(to - literal)}));
    if (!t->key_count) FAIL(ARG, "--template: found no {KEY}, expected at least one");
    return STATUS_OK;
}

void json_template_free(json_template *t) {
    free(t->copy);
    free(t->filled);
    *t = (json_template){0};
}

/* ---- filling ---- */

static status join(json_template *t, const char *path) {
    size_t bytes = 1;
    for (int i = 0; i < t->count; i++) bytes += t->parts[i].text ? t->parts[i].bytes : t->keys[t->parts[i].key].bytes;
    if (bytes > t->capacity) {
        char *grown = realloc(t->filled, 2 * bytes);
        if (!grown) FAIL(MEM, "%s: no memory for a document of %zu bytes", path, bytes);
        t->filled = grown;
        t->capacity = 2 * bytes;
    }
    char *to = t->filled;
    for (int i = 0; i < t->count; i++) {
        const json_template_key *key = &t->keys[t->parts[i].key];
        size_t n = t->parts[i].text ? t->parts[i].bytes : key->bytes;
        memcpy(to, t->parts[i].text ? t->parts[i].text : key->value, n);
        to += n;
    }
    *to = 0;
    return STATUS_OK;
}

status json_template_fill(const char **text, bool *is_json, json_template *t, char *json, size_t bytes,
                          json_text_place at) {
    json_t *tree;
    *text = NULL;
    TRY(json_text_parse(&tree, is_json, json, bytes, t->keys[0].name, at));
    status_code st = STATUS_OK;
    for (int k = 0; k < t->key_count; k++)
        TRY_DONE(json_text_find(&t->keys[k].value, &t->keys[k].bytes, tree, json, t->keys[k].name, at));
    TRY_DONE(join(t, at.path));
    *text = t->filled;
done:
    json_decref(tree);
    return st;
}
