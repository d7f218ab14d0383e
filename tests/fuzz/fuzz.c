#include "tests/fuzz/fuzz.h"

#include <unistd.h>

#include "runtime/durable.h"
#include "runtime/file.h"
#include "runtime/log.h"

static char folder[64];

static void remove_own(void) {
    if (durable_remove_folder(folder)) fprintf(stderr, "%s: %s\n", folder, status_message());
}

const char *fuzz_folder(void) {
    if (folder[0]) return folder;
    strcpy(folder, "/dev/shm/tally-fuzz-XXXXXX"); /* in memory: no waiting for fsync */
    if (!mkdtemp(folder)) {
        strcpy(folder, "/tmp/tally-fuzz-XXXXXX");
        FUZZ_CHECK(mkdtemp(folder));
    }
    atexit(remove_own);
    log_set_rank(1, 2); /* rank 0 alone is heard */
    return folder;
}

const char *fuzz_path(const char *name) {
    static char paths[8][128];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", fuzz_folder(), name);
    return path;
}

void fuzz_put(const char *name, const void *data, size_t bytes) {
    FILE *f = fopen(fuzz_path(name), "wb");
    FUZZ_CHECK(f);
    FUZZ_CHECK(fwrite(data, 1, bytes, f) == bytes);
    FUZZ_CHECK(fclose(f) == 0);
}

bool fuzz_next(fuzz_piece *rest, fuzz_piece *piece) {
    enum { CUT = sizeof FUZZ_CUT - 1 };
    if (!rest->data) return false;
    const uint8_t *cut = memmem(rest->data, rest->bytes, FUZZ_CUT, CUT);
    *piece = (fuzz_piece){rest->data, cut ? (size_t)(cut - rest->data) : rest->bytes};
    *rest = cut ? (fuzz_piece){cut + CUT, rest->bytes - piece->bytes - CUT} : (fuzz_piece){0};
    return true;
}

void fuzz_put_all(fuzz_piece rest, const char *const *names) {
    fuzz_piece piece;
    for (; *names; names++)
        if (fuzz_next(&rest, &piece)) fuzz_put(*names, piece.data, piece.bytes);
        else unlink(fuzz_path(*names));
}

fuzz_input fuzz_text(const char *text) { return (fuzz_input){strdup(text), strlen(text)}; }

fuzz_input fuzz_files(const char *head, const char *const *paths) {
    fuzz_input all = {0};
    FILE *out = open_memstream(&all.data, &all.bytes);
    FUZZ_CHECK(out);
    fputs(head, out);
    for (int i = 0; paths[i]; i++) {
        char *text;
        size_t bytes;
        FUZZ_CHECK(file_read(paths[i], &text, &bytes) == STATUS_OK);
        if (i) fputs(FUZZ_CUT, out);
        fwrite(text, 1, bytes, out);
        free(text);
    }
    FUZZ_CHECK(fclose(out) == 0);
    return all;
}
