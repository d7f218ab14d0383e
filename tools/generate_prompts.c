#include "tools/generate_prompts.h"

#include <stdio.h>
#include <stdlib.h>

#include "runtime/file.h"
#include "runtime/path.h"
#include "tools/command.h"
#include "train/data/unicode.h"

static status add(generate_prompts *p, const char *text, size_t bytes) {
    generate_prompt *grown = realloc(p->list, (size_t)(p->count + 1) * sizeof *grown);
    if (!grown) FAIL(MEM, "no memory for %ld prompts", p->count + 1);
    p->list = grown;
    char *copy = malloc(bytes + 1);
    if (!copy) FAIL(MEM, "no memory for a prompt of %zu bytes", bytes);
    memcpy(copy, text, bytes);
    copy[bytes] = 0;
    grown[p->count++] = (generate_prompt){copy, bytes};
    return STATUS_OK;
}

static status add_line(generate_prompts *p, const char *where, const char *line, size_t bytes) {
    json_t *o;
    TRY(json_parse(&o, where, line, bytes));
    const char *text = json_is_object(o) ? json_string_or_null(json_object_get(o, "prompt")) : NULL;
    status_code st =
        text ? add(p, text, strlen(text)) : ERROR(DATA, "%s: expected an object with a string under \"prompt\"", where);
    json_decref(o);
    return st;
}

static status add_lines(generate_prompts *p, const char *file, char *text) {
    char *line = text, *end;
    p->lines = true;
    for (i64 number = 1; *line; line = end, number++) {
        end = strchrnul(line, '\n');
        bool last = !*end;
        *end = 0;
        char where[4200];
        snprintf(where, sizeof where, "%s:%ld", file, number);
        if (line[strspn(line, " \t\r")]) TRY(add_line(p, where, line, (size_t)(end - line)));
        if (!last) end++;
    }
    if (!p->count) FAIL(DATA, "%s: found no prompts", file);
    return STATUS_OK;
}

status generate_prompts_read(generate_prompts *p, const char *text, const char *file) {
    char *read = NULL;
    size_t bytes;
    *p = (generate_prompts){0};
    if (text && file) FAIL(ARG, "--prompt and --prompt-file: expected one of them");
    if (!file) return add(p, text ? text : "", text ? strlen(text) : 0);
    TRY(file_read(file, &read, &bytes));
    bool lines = path_ends_with(file, ".jsonl");
    if (lines && memchr(read, 0, bytes)) {
        free(read);
        FAIL(DATA, "%s: holds a NUL byte; expected lines of JSON", file);
    }
    status_code st = lines ? add_lines(p, file, read) : add(p, read, bytes);
    free(read);
    return st;
}

void generate_prompts_free(generate_prompts *p) {
    for (i64 i = 0; i < p->count; i++) free(p->list[i].text);
    free(p->list);
    *p = (generate_prompts){0};
}

/* --- results --- */

static status add_text(json_t *o, const char *key, const generate_prompt *text) {
    static const char replacement[] = "\xef\xbf\xbd";
    char *valid = malloc(3 * text->bytes + 1), *to = valid;
    if (!valid) FAIL(MEM, "no memory for a text of %zu bytes", text->bytes);
    for (size_t at = 0; at < text->bytes;) {
        bool more;
        size_t n = unicode_valid(text->text + at, text->bytes - at, &more);
        const char *nul = memchr(text->text + at, 0, n); /* which no string of jansson holds */
        if (nul) n = (size_t)(nul - text->text) - at;
        memcpy(to, text->text + at, n);
        to += n, at += n;
        if (at == text->bytes) break;
        memcpy(to, replacement, 3);
        to += 3, at++;
    }
    *to = 0;
    status_code st = json_add_string(o, key, valid);
    free(valid);
    return st;
}

static status fill(json_t *o, const generate_prompt *prompt, const generate_result *r) {
    TRY(add_text(o, "prompt", prompt));
    TRY(add_text(o, "text", &r->text));
    TRY(json_add_i64(o, "tokens", r->tokens));
    return json_add_string(o, "end", r->stopped ? "stop" : "length");
}

status generate_prompts_print(const generate_prompt *prompt, const generate_result *r) {
    json_t *o = json_object();
    if (!o) FAIL(MEM, "no memory for a result");
    TRY(command_print_json(o, fill(o, prompt, r)));
    return command_flush();
}
