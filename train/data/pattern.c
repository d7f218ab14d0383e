#include "train/data/pattern.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

enum { LONGEST = 1 << 14, STACK_FIRST = 32 << 10, STACK_MOST = 4 << 20 };
/* PCRE2 counts backtracking; a sensible pattern needs a few steps a byte */
enum { MOST_STEPS = 20 * 1000 * 1000 };

/* the property White_Space, as the inside of a class */
#define WHITE_SPACE                                                                                                    \
    "\\x09-\\x0d\\x20\\x85\\xa0\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"

struct pattern {
    pcre2_code *code;
    bool jit;
    char text[64]; /* its begin, for messages */
};

struct pattern_matcher {
    const pattern *p;
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
};

/* ---- translation ---- */

typedef struct {
    const char *regex, *at; /* what is read */
    char *out;
    bool in_class;
    int depth, any_case; /* of groups; that of the outermost (?i:, 0 if in none */
} translation;

static void put(translation *t, const char *text, size_t bytes) {
    memcpy(t->out, text, bytes);
    t->out += bytes;
}

static status refuse(const translation *t, const char *what) {
    FAIL(DATA, "the pattern \"%.60s\" has %s at character %ld, which tally does not support", t->regex, what,
         (long)(t->at - t->regex) + 1);
}

/* \p{L} or \P{Lu} or \p{^N}: a general category */
static status property(translation *t) {
    static const char *const categories[] = {"L",  "Lu", "Ll", "Lt", "Lm", "Lo", "M",  "Mn", "Mc", "Me", "N",  "Nd",
                                             "Nl", "No", "P",  "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "S",  "Sm",
                                             "Sc", "Sk", "So", "Z",  "Zs", "Zl", "Zp", "C",  "Cc", "Cf", "Co", "Cn"};
    const char *open = t->at + 2;
    if (*open != '{') return refuse(t, "a property without braces");
    const char *name = open + 1 + (open[1] == '^'), *close = strchr(name, '}');
    for (size_t i = 0; close && i < sizeof categories / sizeof *categories; i++)
        if (strlen(categories[i]) == (size_t)(close - name) &&
            strncmp(name, categories[i], (size_t)(close - name)) == 0) {
            put(t, t->at, (size_t)(close + 1 - t->at));
            t->at = close + 1;
            return STATUS_OK;
        }
    return refuse(t, "a property that is not a general category");
}

static status escape(translation *t) {
    static const char space[] = WHITE_SPACE;
    char c = t->at[1];
    if (c == 'p' || c == 'P') return property(t);
    if (c == 's' || (c == 'S' && !t->in_class)) {
        if (!t->in_class) put(t, c == 's' ? "[" : "[^", c == 's' ? 1 : 2);
        put(t, space, sizeof space - 1);
        if (!t->in_class) put(t, "]", 1);
    } else if (c == 'd' || c == 'D') {
        put(t, c == 'd' ? "\\p{Nd}" : "\\P{Nd}", 6);
    } else if (c && strchr("rntf", c)) {
        put(t, t->at, 2);
    } else if (c == 'x' && t->at[2] == '{') {
        if (t->any_case) return refuse(t, "an \\x{ in (?i:");
        const char *close = t->at + 3 + strspn(t->at + 3, "0123456789abcdefABCDEF");
        if (*close != '}') return refuse(t, "an unfinished \\x{");
        put(t, t->at, (size_t)(close + 1 - t->at));
        t->at = close + 1;
        return STATUS_OK;
    } else if (ispunct((unsigned char)c)) {
        put(t, t->at, 2);
    } else {
        return refuse(t, "an escape");
    }
    if (t->in_class && t->at[2] == '-' && t->at[3] != ']' && strchr("sdD", c)) return refuse(t, "a range of sets");
    t->at += 2;
    return STATUS_OK;
}

static status group(translation *t) {
    static const char *const kinds[] = {"?:", "?=", "?!", "?>", "?i:"};
    size_t bytes = 1;
    if (t->at[1] == '?' || t->at[1] == '*') {
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
            if (strncmp(t->at + 1, kinds[i], strlen(kinds[i])) == 0) bytes = 1 + strlen(kinds[i]);
        if (bytes == 1) return refuse(t, "a group of a rare kind");
    }
    t->depth++;
    if (bytes == 4 && !t->any_case) t->any_case = t->depth; /* (?i: */
    put(t, t->at, bytes);
    t->at += bytes;
    return STATUS_OK;
}

/* For Oniguruma "ss" and "\u00df" are equal but for their case, and so are other letters of one and of several characters. */
static status check_case(const translation *t) {
    int c = tolower((unsigned char)t->at[0]), next = tolower((unsigned char)t->at[1]);
    if (c >= 0x80) return refuse(t, "a character that is not ASCII in (?i:");
    if (!t->in_class && next && ((c == 'f' && strchr("fil", next)) || (c == 's' && strchr("st", next))))
        return refuse(t, "two letters in (?i: that may be one character");
    return STATUS_OK;
}

/* a{2}? is (?:a{2})? for Oniguruma, but a{2} for PCRE2 */
static bool is_lazy_number(const translation *t) {
    const char *open = t->at;
    if (t->at[0] != '}' || t->at[1] != '?') return false;
    while (open > t->regex && isdigit((unsigned char)open[-1])) open--;
    return open < t->at && open > t->regex && open[-1] == '{';
}

/* out: room for 128 bytes for each byte of the pattern */
static status translate(translation *t) {
    while (*t->at) {
        char c = *t->at;
        if (c == '\\') {
            TRY(escape(t));
            continue;
        }
        if (!t->in_class && c == '(') {
            TRY(group(t));
            continue;
        }
        if (t->in_class && c == '[') return refuse(t, "a set in a set");
        if (t->in_class && c == '&' && t->at[1] == '&') return refuse(t, "an intersection of sets");
        if (!t->in_class && strchr("^$.", c)) return refuse(t, "^, $ or .");
        if (!t->in_class && c == '}' && t->at[1] == '+') return refuse(t, "a possessive {}");
        if (!t->in_class && is_lazy_number(t)) return refuse(t, "a {} that is lazy");
        if (t->any_case) TRY(check_case(t));
        if (!t->in_class && c == ')' && t->depth-- == t->any_case) t->any_case = 0;
        if (!t->in_class && c == '{' && t->at[1] == ',') return refuse(t, "{ without a number");
        put(t, t->at++, 1);
        if (t->in_class && c == ']') t->in_class = false;
        else if (!t->in_class && c == '[') {
            t->in_class = true;
            if (*t->at == '^') put(t, t->at++, 1);
            if (*t->at == ']') return refuse(t, "] as the first of a set");
        }
    }
    *t->out = 0;
    return STATUS_OK;
}

/* ---- matching ---- */

static status compile(pattern *p, const char *regex, const char *translated) {
    int error;
    size_t at;
    uint32_t empty, behind, options = PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C | PCRE2_NO_AUTO_CAPTURE;
    unsigned char message[128];
    snprintf(p->text, sizeof p->text, "%.60s", regex);
    p->code = pcre2_compile((PCRE2_SPTR)translated, PCRE2_ZERO_TERMINATED, options, &error, &at, NULL);
    if (!p->code) {
        pcre2_get_error_message(error, message, sizeof message);
        FAIL(DATA, "the pattern \"%s\" is not valid: %s", p->text, (char *)message);
    }
    pcre2_pattern_info(p->code, PCRE2_INFO_MATCHEMPTY, &empty);
    if (empty) FAIL(DATA, "the pattern \"%s\" matches the empty string, expected one that does not", p->text);
    pcre2_pattern_info(p->code, PCRE2_INFO_MAXLOOKBEHIND, &behind);
    if (behind) FAIL(DATA, "the pattern \"%s\" looks behind, expected one that does not", p->text);
    p->jit = pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE | PCRE2_JIT_PARTIAL_HARD) == 0;
    return STATUS_OK;
}

status pattern_open(pattern **p, const char *regex) {
    *p = NULL;
    size_t bytes = strlen(regex);
    if (!bytes || bytes > LONGEST) FAIL(DATA, "a pattern is %zu bytes long, expected 1 to %d", bytes, LONGEST);
    pattern *opened = calloc(1, sizeof *opened);
    char *translated = malloc(128 * bytes + 1);
    status_code st = STATUS_OK;
    if (!opened || !translated) FAIL_DONE(MEM, "no memory for a pattern of %zu bytes", bytes);
    TRY_DONE(translate(&(translation){.regex = regex, .at = regex, .out = translated}));
    TRY_DONE(compile(opened, regex, translated));
    *p = opened;
done:
    free(translated);
    if (st) pattern_close(opened);
    return st;
}

status pattern_open_literal(pattern **p, const char *text) {
    *p = NULL;
    char *escaped = calloc(2 * strlen(text) + 1, 1), *to = escaped;
    if (!escaped) FAIL(MEM, "no memory for a pattern");
    for (const char *from = text; *from; from++) {
        if (strchr("\\^$.[]|()?*+{}", *from)) *to++ = '\\';
        *to++ = *from;
    }
    status_code st = pattern_open(p, escaped);
    free(escaped);
    return st;
}

void pattern_close(pattern *p) {
    if (!p) return;
    pcre2_code_free(p->code);
    free(p);
}

status pattern_matcher_open(pattern_matcher **m, const pattern *p) {
    *m = NULL;
    pattern_matcher *opened = calloc(1, sizeof *opened);
    if (!opened) FAIL(MEM, "no memory to match a pattern");
    opened->p = p;
    opened->data = pcre2_match_data_create(1, NULL);
    opened->context = pcre2_match_context_create(NULL);
    if (p->jit) opened->stack = pcre2_jit_stack_create(STACK_FIRST, STACK_MOST, NULL);
    if (!opened->data || !opened->context || (p->jit && !opened->stack)) {
        pattern_matcher_close(opened);
        FAIL(MEM, "no memory to match a pattern");
    }
    if (p->jit) pcre2_jit_stack_assign(opened->context, NULL, opened->stack);
    pcre2_set_match_limit(opened->context, MOST_STEPS);
    *m = opened;
    return STATUS_OK;
}

void pattern_matcher_close(pattern_matcher *m) {
    if (!m) return;
    pcre2_match_data_free(m->data);
    pcre2_match_context_free(m->context);
    pcre2_jit_stack_free(m->stack);
    free(m);
}

status pattern_find(pattern_matcher *m, pattern_found *found, const char *text, size_t bytes, size_t from, bool more) {
    uint32_t options = more ? PCRE2_PARTIAL_HARD : 0;
    PCRE2_SPTR subject = (PCRE2_SPTR)text;
    int rc = m->p->jit
                 ? pcre2_jit_match(m->p->code, subject, bytes, from, options, m->data, m->context)
                 : pcre2_match(m->p->code, subject, bytes, from, options | PCRE2_NO_UTF_CHECK, m->data, m->context);
    if (rc == PCRE2_ERROR_NOMATCH) {
        *found = (pattern_found){.kind = PATTERN_NONE, .start = bytes, .end = bytes};
        return STATUS_OK;
    }
    if (rc < 0 && rc != PCRE2_ERROR_PARTIAL) {
        unsigned char message[128];
        pcre2_get_error_message(rc, message, sizeof message);
        FAIL(DATA, "the pattern \"%s\" fails on a text: %s", m->p->text, (char *)message);
    }
    const size_t *range = pcre2_get_ovector_pointer(m->data);
    *found = (pattern_found){.kind = rc < 0 ? PATTERN_PARTIAL : PATTERN_MATCH, .start = range[0], .end = range[1]};
    return STATUS_OK;
}
