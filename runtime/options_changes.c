#include "runtime/options_changes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* an item of options_to_json, as a user would type it; malloc'ed */
static status print_value(char **text, const json_t *item) {
    size_t size, i;
    const json_t *word;
    if (!isnan(json_number_or_nan(item))) return json_print(text, item, JSON_ONE_LINE);
    FILE *f = open_memstream(text, &size);
    if (!f) FAIL(MEM, "no memory to compare options");
    if (json_is_null(item)) fputs("not given", f);
    if (json_is_boolean(item)) fputs(json_is_true(item) ? "on" : "off", f);
    if (json_string_or_null(item)) fputs(json_string_or_null(item), f);
    json_array_foreach(item, i, word) fprintf(f, "%s%s", i ? " " : "", json_string_or_null(word));
    if (!fclose(f)) return STATUS_OK;
    free(*text);
    *text = NULL;
    FAIL(MEM, "no memory to compare options");
}

static void print_name(FILE *f, const char *key) {
    fputs("--", f);
    for (; *key; key++) fputc(*key == '_' ? '-' : *key, f);
}

static status print_change(FILE *f, const char *key, const json_t *then, const json_t *now) {
    char *was = NULL, *is = NULL;
    status_code st = STATUS_OK;
    TRY_DONE(print_value(&was, then));
    TRY_DONE(print_value(&is, now));
    if (strcmp(was, is) == 0) goto done;
    print_name(f, key);
    fprintf(f, " was %s, is now %s\n", was, is);
done:
    free(was);
    free(is);
    return st;
}

status options_changes(char **lines, const options *then, const options *now) {
    json_t *a = NULL, *b = NULL, *now_value;
    const char *key;
    size_t size;
    *lines = NULL;
    FILE *f = open_memstream(lines, &size);
    if (!f) FAIL(MEM, "no memory to compare options");
    status_code st = STATUS_OK;
    TRY_DONE(options_to_json(&a, then));
    TRY_DONE(options_to_json(&b, now));
    /* two objects of one table: the same keys */
    json_object_foreach(b, key, now_value) TRY_DONE(print_change(f, key, json_object_get(a, key), now_value));
done:
    if (fclose(f) && !st) st = ERROR(MEM, "no memory to compare options");
    json_decref(a);
    json_decref(b);
    if (st) free(*lines), *lines = NULL;
    return st;
}

status options_changes_lines(char **lines, const options *o) {
    json_t *json = NULL, *item;
    const char *key;
    size_t size;
    *lines = NULL;
    FILE *f = open_memstream(lines, &size);
    if (!f) FAIL(MEM, "no memory to list options");
    status_code st = STATUS_OK;
    TRY_DONE(options_to_json(&json, o));
    json_object_foreach(json, key, item) {
        char *value;
        TRY_DONE(print_value(&value, item));
        print_name(f, key);
        fprintf(f, "\t%s\n", value);
        free(value);
    }
done:
    if (fclose(f) && !st) st = ERROR(MEM, "no memory to list options");
    json_decref(json);
    if (st) free(*lines), *lines = NULL;
    return st;
}
