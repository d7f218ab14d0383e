#include "runtime/options.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/nearest.h"

enum { FROM_DEFAULT, FROM_FILE, FROM_COMMAND_LINE };
enum { NAME_BYTES = 64, HELP_COLUMN = 32, HELP_WIDTH = 100 };

/* where a value was found, for messages: `--steps` or `run.json: "steps"` */
typedef struct {
    status_code code;
    char text[512];
} place;

#define FAIL_AT(place, ...) return status_fail((place)->code, __FILE__, __LINE__, __VA_ARGS__)

static void *value_of(const options *o, const option *row) { return (char *)o->values + row->offset; }

/* placeholder of the value in help and messages; "" for a flag */
static const char *argument_of(const option *row) {
    return row->type == OPT_CHOICE ? row->choices : row->argument ? row->argument : "";
}

static void key_of(char key[NAME_BYTES], const char *name) {
    snprintf(key, NAME_BYTES, "%s", name);
    for (char *c = key; *c; c++)
        if (*c == '-') *c = '_';
}

static const option *find(const options *o, const char *name, size_t length) {
    for (int i = 0; i < o->count; i++)
        if (strlen(o->table[i].name) == length && !memcmp(o->table[i].name, name, length)) return &o->table[i];
    return NULL;
}

static const option *find_key(const options *o, const char *wanted) {
    char key[NAME_BYTES];
    for (int i = 0; i < o->count; i++) {
        key_of(key, o->table[i].name);
        if (!strcmp(key, wanted)) return &o->table[i];
    }
    return NULL;
}

static const char *nearest(const options *o, const char *name) {
    const char **names = malloc((size_t)o->count * sizeof *names);
    if (!names) return "";
    for (int i = 0; i < o->count; i++) names[i] = o->table[i].name;
    const char *best = nearest_name(name, names, o->count);
    free(names);
    return best ? best : "";
}

/* ---- one value ---- */

static status append(string_list *words, const char *word) {
    char **list = realloc(words->list, ((size_t)words->count + 1) * sizeof *list);
    if (list) words->list = list;
    if (!list || !(list[words->count] = strdup(word))) FAIL(MEM, "no memory for the word %s", word);
    words->count++;
    return STATUS_OK;
}

static void clear(string_list *words) {
    for (int i = 0; i < words->count; i++) free(words->list[i]);
    free(words->list);
    *words = (string_list){0};
}

/* Decimal arithmetic on integers: exact up to 2^63, where a double would round from 2^53 on. */
static bool parse_integer(const char *s, i64 *v) {
    i64 n = 0;
    long exponent = 0;
    int digits = 0;
    bool negative = *s == '-', point = false;
    if (*s == '-' || *s == '+') s++;
    for (; (*s >= '0' && *s <= '9') || (*s == '.' && !point); s++) {
        if (*s == '.') {
            point = true;
            continue;
        }
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, *s - '0', &n)) return false;
        exponent -= point;
        digits++;
    }
    if (!digits) return false;
    if (*s == 'e' || *s == 'E') {
        s++;
        if (strspn(s + (*s == '-' || *s == '+'), "0123456789") == 0) return false;
        char *end;
        long e = strtol(s, &end, 10);
        if (e < -99 || e > 99) return false;
        exponent += e;
        s = end;
    }
    if (*s == 'k' || *s == 'M' || *s == 'G') exponent += *s == 'k' ? 3 : *s == 'M' ? 6 : 9, s++;
    if (*s) return false;
    for (; n && exponent > 0; exponent--)
        if (__builtin_mul_overflow(n, 10, &n)) return false;
    for (; n && exponent < 0; exponent++, n /= 10)
        if (n % 10) return false;
    *v = negative ? -n : n;
    return true;
}

static bool parse_number(const char *s, double *v) {
    char *end;
    if (!*s || strspn(s, "+-.0123456789eE") != strlen(s)) return false; /* no hexadecimal, no inf or nan */
    errno = 0;
    *v = strtod(s, &end);
    return !*end && isfinite(*v) && !(errno == ERANGE && *v == 0);
}

int options_choice(const char *choices, const char *text) {
    size_t length = strlen(text);
    for (int i = 0;; i++) {
        size_t n = strcspn(choices, "|");
        if (n == length && !memcmp(choices, text, n)) return i;
        if (!choices[n]) return -1;
        choices += n + 1;
    }
}

static void choice_name(char name[NAME_BYTES], const char *choices, int index) {
    for (; index > 0; index--) choices += strcspn(choices, "|") + 1;
    snprintf(name, NAME_BYTES, "%.*s", (int)strcspn(choices, "|"), choices);
}

static status_code unfit(const option *row, const place *at, const char *found) {
    char range[64] = "";
    if (row->min < row->max && isinf(row->max)) snprintf(range, sizeof range, " of %.15g or more", row->min);
    else if (row->min < row->max) snprintf(range, sizeof range, " from %.15g to %.15g", row->min, row->max);
    const char *quote =
        found[0] && !strpbrk(found, " \t\n") ? "" : "\""; /* an empty or blank value would not be visible */
    FAIL_AT(at, "%s is %s%s%s, expected %s%s", at->text, quote, found, quote,
            row->type == OPT_CHOICE ? row->choices
            : row->type == OPT_I64  ? "an integer"
                                    : "a number",
            range);
}

static bool in_range(const option *row, double v) { return !(row->min < row->max) || (v >= row->min && v <= row->max); }

static status set_text(const options *o, const option *row, const char *text, const place *at) {
    void *value = value_of(o, row);
    char *copy;
    if (!*text && (row->type == OPT_STRING || row->type == OPT_LIST) && strcmp(argument_of(row), "TEXT") != 0)
        FAIL_AT(at, "%s is \"\", expected %s", at->text, argument_of(row));
    switch (row->type) {
    case OPT_I64:
        if (!parse_integer(text, value) || !in_range(row, (double)*(i64 *)value)) return unfit(row, at, text);
        break;
    case OPT_F64:
        if (!parse_number(text, value) || !in_range(row, *(double *)value)) return unfit(row, at, text);
        break;
    case OPT_CHOICE:
        if ((*(int *)value = options_choice(row->choices, text)) < 0) return unfit(row, at, text);
        break;
    case OPT_STRING:
        if (!(copy = strdup(text))) FAIL(MEM, "no memory for the value of %s", at->text);
        free(*(char **)value);
        *(char **)value = copy;
        break;
    case OPT_FLAG: *(bool *)value = !strcmp(text, "on"); break;
    case OPT_LIST: return append(value, text);
    }
    return STATUS_OK;
}

/* ---- where values come from ---- */

static void clear_values(const options *o) {
    static const size_t bytes[] = {
        [OPT_I64] = sizeof(i64),    [OPT_F64] = sizeof(double), [OPT_STRING] = sizeof(char *),
        [OPT_CHOICE] = sizeof(int), [OPT_FLAG] = sizeof(bool),  [OPT_LIST] = sizeof(string_list)};
    for (int i = 0; i < o->count; i++) {
        const option *row = &o->table[i];
        assert(strlen(row->name) < NAME_BYTES);
        memset(value_of(o, row), 0, bytes[row->type]);
        if (row->type == OPT_CHOICE) *(int *)value_of(o, row) = -1;
    }
}

static status set_defaults(const options *o) {
    for (int i = 0; i < o->count; i++) {
        const option *row = &o->table[i];
        place at = {.code = STATUS_ARG};
        snprintf(at.text, sizeof at.text, "the default of --%s", row->name);
        if (row->default_text) TRY(set_text(o, row, row->default_text, &at));
    }
    return STATUS_OK;
}

static status set_from_json(const options *o, const option *row, const json_t *json, const char *path,
                            const char *key) {
    place at = {.code = STATUS_DATA};
    snprintf(at.text, sizeof at.text, "%s: \"%s\"", path, key);
    char text[4096];
    void *value = value_of(o, row);
    json_t *array, *item;
    size_t i;
    switch (row->type) {
    case OPT_I64: return json_get_i64(json, path, key, value);
    case OPT_F64: return json_get_double(json, path, key, value);
    case OPT_STRING:
    case OPT_CHOICE: TRY(json_get_string(json, path, key, text, sizeof text)); return set_text(o, row, text, &at);
    case OPT_FLAG: return json_get_bool(json, path, key, value);
    case OPT_LIST:
        TRY(json_get_array(json, path, key, &array));
        clear(value);
        json_array_foreach(array, i, item) {
            const char *word = json_string_or_null(item);
            if (!word) FAIL(DATA, "%s: found an element that is not a string, expected strings only", at.text);
            TRY(set_text(o, row, word, &at));
        }
    }
    return STATUS_OK;
}

static status read_config(options *o, const char *path) {
    status_code st = STATUS_OK;
    json_t *json = NULL, *item;
    const char *key;
    TRY(json_read_file(&json, path));
    if (!json_is_object(json)) FAIL_DONE(DATA, "%s: expected a JSON object {\"option\": value, ...}", path);
    json_object_foreach(json, key, item) {
        const option *row = find_key(o, key);
        if (!row) {
            char near[NAME_BYTES];
            key_of(near, nearest(o, key));
            FAIL_DONE(DATA, "%s: key \"%s\": unknown; the nearest is \"%s\"", path, key, near);
        }
        if (row->not_in_file) FAIL_DONE(DATA, "%s: key \"%s\": is allowed on the command line only", path, key);
        if (json_is_null(item)) continue; /* as if absent */
        TRY_DONE(set_from_json(o, row, json, path, key));
        o->source[row - o->table] = FROM_FILE;
    }
done:
    json_decref(json);
    return st;
}

/* Checks only values that the command line has not overridden: a resumed run may have a stored value that was valid when the
 * range was wider. */
static status check_file_ranges(const options *o, const char *path) {
    for (int i = 0; i < o->count; i++) {
        const option *row = &o->table[i];
        if (o->source[i] != FROM_FILE || (row->type != OPT_I64 && row->type != OPT_F64)) continue;
        char key[NAME_BYTES], text[64];
        const void *value = value_of(o, row);
        if (row->type == OPT_I64) snprintf(text, sizeof text, "%ld", *(const i64 *)value);
        else snprintf(text, sizeof text, "%.15g", *(const double *)value);
        place at = {.code = STATUS_DATA};
        key_of(key, row->name);
        snprintf(at.text, sizeof at.text, "%s: \"%s\"", path, key);
        if (!in_range(row, row->type == OPT_I64 ? (double)*(const i64 *)value : *(const double *)value))
            return unfit(row, &at, text);
    }
    return STATUS_OK;
}

static status set_from_words(options *o, const option *row, char **values, int count) {
    place at = {.code = STATUS_ARG};
    snprintf(at.text, sizeof at.text, "--%s", row->name);
    unsigned char *source = &o->source[row - o->table];
    if (row->type == OPT_LIST && *source != FROM_COMMAND_LINE) clear(value_of(o, row)); /* replaces the file's list */
    for (int i = 0; i < count; i++) TRY(set_text(o, row, values[i], &at));
    *source = FROM_COMMAND_LINE;
    return STATUS_OK;
}

/* The row that a word names. inline_value: the text after its '=', or NULL. */
static status match(const options *o, char *word, const option **row, bool *negated, char **inline_value) {
    const char *name = !strcmp(word, "-h") ? "help" : !strncmp(word, "--", 2) ? word + 2 : word;
    size_t length = strcspn(name, "=");
    *inline_value = name[length] ? strchr(word, '=') + 1 : NULL;
    *row = find(o, name, length);
    *negated = !*row && !strncmp(name, "no-", 3);
    if (*negated) *row = find(o, name + 3, length - 3);
    if (!*row || (*negated && (*row)->type != OPT_FLAG)) {
        char typed[256];
        snprintf(typed, sizeof typed, "%.*s", (int)length, name);
        FAIL(ARG, "%.*s: unknown option; the nearest is --%s", (int)strcspn(word, "="), word, nearest(o, typed));
    }
    return STATUS_OK;
}

static bool is_value(const char *word) { return word[0] != '-' || !word[1]; }

/* Runs twice over the same words: first for --config only, then, when the file's values are set, for all other options. */
static status read_command_line(options *o, int argc, char **argv, bool config_only) {
    bool ended = false;
    for (int i = 0; i < argc;) {
        char *word = argv[i++], *value;
        if (ended || is_value(word)) {
            if (!config_only) TRY(append(&o->words, word));
            continue;
        }
        if (!strcmp(word, "--")) {
            ended = true;
            continue;
        }
        const option *row;
        bool negated;
        TRY(match(o, word, &row, &negated, &value));
        char *single[] = {value}, **values = single;
        int count = value ? 1 : 0;
        if (row->type == OPT_FLAG) {
            if (value)
                FAIL(ARG, "--%s=%s: takes no value; write --%s or --no-%s", row->name, value, row->name, row->name);
            single[0] = negated ? "off" : "on";
            count = 1;
        } else if (!value) { /* a single value may begin with a minus sign, a list's words may not */
            values = argv + i;
            if (row->type == OPT_LIST)
                while (i < argc && is_value(argv[i])) i++, count++;
            else if (i < argc && strncmp(argv[i], "--", 2)) i++, count = 1;
            if (!count)
                FAIL(ARG, "--%s: found %s, expected %s", row->name, i < argc ? argv[i] : "nothing", argument_of(row));
        }
        if (!strcmp(row->name, "config") == config_only) TRY(set_from_words(o, row, values, count));
    }
    return STATUS_OK;
}

status options_parse(options *o, const option *table, int count, void *values, int argc, char **argv) {
    *o = (options){.table = table, .count = count, .values = values};
    o->source = calloc((size_t)count, 1); /* FROM_DEFAULT */
    clear_values(o);                      /* first, so that options_free can free whatever follows */
    if (!o->source) FAIL(MEM, "no memory for %d options", count);
    TRY(set_defaults(o));
    TRY(read_command_line(o, argc, argv, true));
    const option *config = find(o, "config", strlen("config"));
    const char *path = config ? *(char **)value_of(o, config) : NULL;
    if (path) TRY(read_config(o, path));
    TRY(read_command_line(o, argc, argv, false));
    return path ? check_file_ranges(o, path) : STATUS_OK;
}

void options_free(options *o) {
    for (int i = 0; i < o->count; i++) {
        void *value = value_of(o, &o->table[i]);
        if (o->table[i].type == OPT_LIST) clear(value);
        if (o->table[i].type == OPT_STRING) free(*(char **)value), *(char **)value = NULL;
    }
    clear(&o->words);
    free(o->source);
    *o = (options){0};
}

status options_take_word(options *o, const char *name) {
    const option *row = find(o, name, strlen(name));
    assert(row && row->type == OPT_LIST);
    string_list *list = value_of(o, row);
    if (o->words.count || list->count < 2 || o->source[row - o->table] != FROM_COMMAND_LINE) return STATUS_OK;
    TRY(append(&o->words, list->list[list->count - 1]));
    free(list->list[--list->count]);
    return STATUS_OK;
}

bool options_given(const options *o, const char *name) {
    const option *row = find(o, name, strlen(name));
    assert(row);
    return o->source[row - o->table] != FROM_DEFAULT;
}

void options_unset(options *o, const char *name) {
    const option *row = find(o, name, strlen(name));
    assert(row && !row->default_text && (row->type == OPT_I64 || row->type == OPT_F64));
    memset(value_of(o, row), 0, sizeof(i64));
    o->source[row - o->table] = FROM_DEFAULT;
}

/* ---- writing ---- */

static status add_to_json(json_t *json, const options *o, const option *row) {
    char key[NAME_BYTES], choice[NAME_BYTES];
    key_of(key, row->name);
    const void *value = value_of(o, row);
    const string_list *words = value;
    json_t *array;
    bool unset = !row->default_text && o->source[row - o->table] == FROM_DEFAULT;
    if (unset && row->type != OPT_FLAG && row->type != OPT_LIST) {
        if (json_object_set_new(json, key, json_null())) FAIL(MEM, "no memory for \"%s\"", key);
        return STATUS_OK;
    }
    switch (row->type) {
    case OPT_I64: return json_add_i64(json, key, *(const i64 *)value);
    case OPT_F64: return json_add_double(json, key, *(const double *)value);
    case OPT_STRING: return json_add_string(json, key, *(char *const *)value);
    case OPT_FLAG: return json_add_bool(json, key, *(const bool *)value);
    case OPT_CHOICE: choice_name(choice, row->choices, *(const int *)value); return json_add_string(json, key, choice);
    case OPT_LIST:
        if (!(array = json_add_array(json, key))) FAIL(MEM, "no memory for \"%s\"", key);
        for (int i = 0; i < words->count; i++)
            if (json_array_append_new(array, json_string_nocheck(words->list[i])))
                FAIL(MEM, "no memory for \"%s\"", key);
    }
    return STATUS_OK;
}

status options_to_json(json_t **json, const options *o) {
    status_code st = STATUS_OK;
    *json = json_object();
    if (!*json) FAIL(MEM, "no memory for the options");
    for (int i = 0; i < o->count; i++)
        if (!o->table[i].not_in_file) TRY_DONE(add_to_json(*json, o, &o->table[i]));
    return STATUS_OK;
done:
    json_decref(*json);
    *json = NULL;
    return st;
}

static void print_wrapped(FILE *out, const char *text) {
    int column = HELP_COLUMN;
    while (*text) {
        int length = (int)strcspn(text, " ");
        if (column > HELP_COLUMN && column + 1 + length > HELP_WIDTH) {
            fprintf(out, "\n%*s", HELP_COLUMN, "");
            column = HELP_COLUMN;
        }
        column += fprintf(out, "%s%.*s", column > HELP_COLUMN ? " " : "", length, text);
        text += length + strspn(text + length, " ");
    }
    fputc('\n', out);
}

static void print_row(FILE *out, const option *row) {
    char left[256], text[1024];
    if (row->type == OPT_FLAG) snprintf(left, sizeof left, "  --%s%s", row->not_in_file ? "" : "[no-]", row->name);
    else snprintf(left, sizeof left, "  --%s %s%s", row->name, argument_of(row), row->type == OPT_LIST ? "..." : "");
    if (strlen(left) + 2 > HELP_COLUMN) fprintf(out, "%s\n%*s", left, HELP_COLUMN, "");
    else fprintf(out, "%-*s", HELP_COLUMN, left);
    if (row->default_text) snprintf(text, sizeof text, "%s (default %s)", row->help, row->default_text);
    else snprintf(text, sizeof text, "%s", row->help);
    print_wrapped(out, text);
}

void options_print_help(FILE *out, const option *table, int count) {
    for (int i = 0; i < count; i++) {
        if (table[i].group) fprintf(out, "%s%s\n", i ? "\n" : "", table[i].group);
        print_row(out, &table[i]);
    }
}

static void print_limit(FILE *out, const option *row, double limit) {
    if (row->min < row->max && isfinite(limit)) fprintf(out, "%.15g", limit);
    fputc('\t', out);
}

void options_print_table(FILE *out, const option *table, int count) {
    static const char *const types[] = {[OPT_I64] = "integer",   [OPT_F64] = "number", [OPT_STRING] = "text",
                                        [OPT_CHOICE] = "choice", [OPT_FLAG] = "flag",  [OPT_LIST] = "list"};
    const char *group = "";
    for (int i = 0; i < count; i++) {
        const option *row = &table[i];
        char key[NAME_BYTES] = "";
        if (!row->not_in_file) key_of(key, row->name);
        if (row->group) group = row->group;
        fprintf(out, "%s\t%s\t%s\t%s\t", row->name, types[row->type], argument_of(row),
                row->default_text ? row->default_text : "");
        print_limit(out, row, row->min);
        print_limit(out, row, row->max);
        fprintf(out, "%s\t%s\t%s\n", key, group, row->help);
    }
}
