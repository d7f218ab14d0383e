/* A reading that goes on from a place gives the documents that were left there. The first byte chooses the file's name, the
 * second the place. */
#include "tests/fuzz/fuzz.h"

#include <unistd.h>

#include "train/data/documents.h"

static const char *const names[] = {"x.jsonl", "x.json", "x", "x.txt"};
enum { NAMES = sizeof names / sizeof *names };

typedef struct {
    document_summary *d;
    char *text; /* with a NUL behind each document: no text contains one */
    size_t bytes;
    i64 count, stop; /* place `stop` is kept */
    document_place place;
    size_t place_bytes;
} told;

static status_code tell(void *context, const char *text, size_t bytes) {
    told *t = context;
    t->text = realloc(t->text, t->bytes + bytes + 1);
    FUZZ_CHECK(t->text && !memchr(text, 0, bytes));
    memcpy(t->text + t->bytes, text, bytes);
    t->bytes += bytes;
    return STATUS_OK;
}

static status_code tell_end(void *context) {
    told *t = context;
    t->text[t->bytes++] = 0; /* a document is not empty, and there is room */
    if (t->count++ == t->stop) t->place = t->d->next, t->place_bytes = t->bytes;
    return STATUS_OK;
}

static status_code read_from(told *t, const text_source *from, document_place at) {
    document_summary d;
    t->d = &d;
    TRY(documents_read_from(&d, from, at, (document_sink){.context = t, .text = tell, .end = tell_end}));
    documents_free(&d);
    return STATUS_OK;
}

int fuzz_seeds(fuzz_input seeds[FUZZ_SEEDS]) {
    seeds[0] = fuzz_text("00{\"text\": \"one\"}\n{\"text\": \"two\"}\nodd\n\n{\"text\": \"three\"}");
    seeds[1] = fuzz_text("11[{\"text\": \"one\"} ,{\"text\": \"two\"}, 3, {\"text\":\"four\"} ]\n");
    seeds[2] = fuzz_text("20{\"text\": \"a line of an unnamed kind\"}\n\xef\xbb\xbf{\"text\": \"another\"}\n");
    seeds[3] = fuzz_text("30A text.\n");
    seeds[4] = fuzz_text("10{\"text\": \"one\"}\nodd\n{\"text\": \"two\"}\n"); /* lines in a .json */
    return 5;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    if (bytes < 2) return 0;
    const char *name = names[(unsigned)(data[0] - '0') % NAMES], *path = fuzz_path(name);
    text_source from = {.paths = &path, .count = 1, .max_bad_lines = 2};
    told whole = {.stop = data[1] % 4}, rest = {.stop = -1};
    fuzz_put(name, data + 2, bytes - 2);
    if (read_from(&whole, &from, (document_place){0}) == STATUS_OK && whole.count > whole.stop) {
        FUZZ_CHECK(read_from(&rest, &from, whole.place) == STATUS_OK);
        FUZZ_CHECK(rest.count == whole.count - whole.stop - 1 && rest.bytes == whole.bytes - whole.place_bytes);
        FUZZ_CHECK(!rest.bytes || !memcmp(rest.text, whole.text + whole.place_bytes, rest.bytes));
    }
    free(whole.text);
    free(rest.text);
    unlink(path);
    return 0;
}
