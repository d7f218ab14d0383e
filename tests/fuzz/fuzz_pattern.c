/* A pattern and a text. What opens splits the text alike, whatever the cut. */
#include "tests/fuzz/fuzz.h"

#include "train/data/pattern.h"
#include "train/data/unicode.h"

enum { LONGEST_TEXT = 512, MATCHES = LONGEST_TEXT + 1 };

int fuzz_seeds(fuzz_input seeds[FUZZ_SEEDS]) {
    static const char *const regexes[] = {
        PATTERN_GPT2, "(?i:'s|'t)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
        "[!-/:-@\\[-`{-~\\p{P}]+", "(?>a|ab)c*?(?=b)", "\\x{61}{2,3}|[^\\x{0}-\\x{7f}]"};
    enum { COUNT = sizeof regexes / sizeof *regexes };
    for (int i = 0; i < COUNT; i++) {
        char text[512];
        snprintf(text, sizeof text, "%s%sIt's  12ab,\n\n \u00e4x \u3000 aabcc", regexes[i], FUZZ_CUT);
        seeds[i] = fuzz_text(text);
    }
    return COUNT;
}

/* the ends of the matches; -1: the pattern gave up */
static int split(size_t ends[MATCHES], const pattern *p, const char *text, size_t bytes, size_t cut) {
    pattern_matcher *m;
    int count = 0;
    size_t at = 0, given = cut;
    FUZZ_CHECK(pattern_matcher_open(&m, p) == STATUS_OK);
    while (at < bytes) {
        pattern_found f;
        if (pattern_find(m, &f, text, given, at, given < bytes) != STATUS_OK) {
            count = -1;
            break;
        }
        FUZZ_CHECK(f.start >= at && f.end >= f.start && f.end <= given);
        if (f.kind == PATTERN_MATCH) {
            FUZZ_CHECK(f.end > f.start && count < MATCHES);
            ends[count++] = f.end;
            at = f.end;
        } else {
            FUZZ_CHECK(f.kind == PATTERN_NONE || given < bytes);
            at = f.start;
            if (given == bytes) break;
            given = bytes;
        }
    }
    pattern_matcher_close(m);
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    fuzz_piece rest = {data, bytes}, regex, text = {0};
    pattern *p;
    bool more;
    if (!fuzz_next(&rest, &regex)) return 0;
    (void)fuzz_next(&rest, &text);
    char *source = strndup((const char *)regex.data, regex.bytes);
    FUZZ_CHECK(source);
    if (pattern_open(&p, source) == STATUS_OK) {
        size_t valid =
            unicode_valid((const char *)text.data, text.bytes < LONGEST_TEXT ? text.bytes : LONGEST_TEXT, &more);
        size_t whole[MATCHES], parts[MATCHES];
        int count = split(whole, p, (const char *)text.data, valid, valid);
        for (size_t cut = 0; count >= 0 && cut < valid; cut += 1 + valid / 8) {
            if ((text.data[cut] & 0xc0) == 0x80) continue;
            int again = split(parts, p, (const char *)text.data, valid, cut);
            if (again < 0) continue;
            FUZZ_CHECK(again == count && memcmp(whole, parts, (size_t)count * sizeof *whole) == 0);
        }
        pattern_close(p);
    }
    free(source);
    return 0;
}
