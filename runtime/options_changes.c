#include "runtime/options_changes.h"

#include <stdlib.h>
#include <string.h>

/* an item of options_to_json, as a user would type it; malloc'ed */
static status print_value(char **text, const cJSON *item) {
    size_t size;
    if (cJSON_IsNumber(item)) return json_print(text, item, JSON_ONE_LINE);
    FILE *f = open_memstream(text, &size);
    if (!f) FAIL(MEM, "no memory to compare options");
    if (cJSON_IsNull(item)) fputs("not given", f);
    if (cJSON_IsBool(item)) fputs(cJSON_IsTrue(item) ? "on" : "off", f);
    if (cJSON_IsString(item)) fputs(item->valuestring, f);
    for (const cJSON *word = item->child; word; word = word->next)
        fprintf(f, "%s%s", word == item->child ? "" : " ", word->valuestring);
    if (!fclose(f)) return STATUS_OK;
    free(*text);
    *text = NULL;
    FAIL(MEM, "no memory to compare options");
}

static void print_name(FILE *f, const cJSON *item) {
    fputs("--", f);
    for (const char *c = item->string; *c; c++) fputc(*c == '_' ? '-' : *c, f);
}

static status print_change(FILE *f, const cJSON *then, const cJSON *now) {
    char *was = NULL, *is = NULL;
    status_code st = STATUS_OK;
    TRY_DONE(print_value(&was, then));
    TRY_DONE(print_value(&is, now));
    if (strcmp(was, is) == 0) goto done;
    print_name(f, now);
    fprintf(f, " was %s, is now %s\n", was, is);
done:
    free(was);
    free(is);
    return st;
}

status options_changes(char **lines, const options *then, const options *now) {
    cJSON *a = NULL, *b = NULL;
    size_t size;
    *lines = NULL;
    FILE *f = open_memstream(lines, &size);
    if (!f) FAIL(MEM, "no memory to compare options");
    status_code st = STATUS_OK;
    TRY_DONE(options_to_json(&a, then));
    TRY_DONE(options_to_json(&b, now));
    /* two objects of one table: the same keys in the same order */
    for (const cJSON *x = a->child, *y = b->child; x && y; x = x->next, y = y->next) TRY_DONE(print_change(f, x, y));
done:
    if (fclose(f) && !st) st = ERROR(MEM, "no memory to compare options");
    cJSON_Delete(a);
    cJSON_Delete(b);
    if (st) free(*lines), *lines = NULL;
    return st;
}

status options_changes_lines(char **lines, const options *o) {
    cJSON *json = NULL;
    size_t size;
    *lines = NULL;
    FILE *f = open_memstream(lines, &size);
    if (!f) FAIL(MEM, "no memory to list options");
    status_code st = STATUS_OK;
    TRY_DONE(options_to_json(&json, o));
    for (const cJSON *x = json->child; x; x = x->next) {
        char *value;
        TRY_DONE(print_value(&value, x));
        print_name(f, x);
        fprintf(f, "\t%s\n", value);
        free(value);
    }
done:
    if (fclose(f) && !st) st = ERROR(MEM, "no memory to list options");
    cJSON_Delete(json);
    if (st) free(*lines), *lines = NULL;
    return st;
}
