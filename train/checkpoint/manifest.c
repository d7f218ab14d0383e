#include "runtime/durable.h"
#include "runtime/file.h"
#include "runtime/path.h"
#include "train/checkpoint/manifest.h"

#include <stdbool.h>
#include <stdlib.h>
#include <zlib.h>

static const char *const alone[] = {"config.json", "generation_config.json", "model.safetensors",
                                    "optimizer.safetensors", "progress.json"};
static const char *const required[] = {"config.json", "progress.json"};
enum { ALONE = sizeof alone / sizeof *alone, REQUIRED = sizeof required / sizeof *required };

void manifest_line(FILE *lines, const blockfile_sums *sums) {
    if (!*sums->name) return;
    fprintf(lines, "file %s %ld", sums->name, sums->bytes);
    for (int b = 0; b < sums->blocks; b++) fprintf(lines, " %08x", sums->crc[b]);
    fputc('\n', lines);
}

static uint32_t crc_of(const char *text, size_t bytes) {
    return (uint32_t)crc32_z(0, (const unsigned char *)text, bytes);
}

status manifest_write(const char *folder, int format, const char *lines) {
    path_text path = path_join(folder, "MANIFEST");
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    if (!f) FAIL(MEM, "%s: no memory", path.text);
    fprintf(f, "tally-checkpoint %d block %d\n%s", format, BLOCKFILE_BLOCK, lines);
    bool failed = fflush(f) != 0;
    if (!failed) fprintf(f, "crc32 %08x\n", crc_of(text, size));
    failed = fclose(f) != 0 || failed;
    status_code st = failed ? ERROR(MEM, "%s: no memory", path.text) : durable_write_file(path.text, text, size);
    free(text);
    return st;
}

static status read_line(const char *path, const char *line, blockfile_sums *sums) {
    int used = 0;
    i64 bytes;
    *sums = (blockfile_sums){0};
    if (sscanf(line, "file %63s %ld%n", sums->name, &bytes, &used) != 2 || bytes < 0)
        FAIL(DATA, "%s: found \"%.60s\", expected the checksums of a file", path, line);
    i64 blocks = bytes / BLOCKFILE_BLOCK + (bytes % BLOCKFILE_BLOCK != 0);
    if ((size_t)blocks > strlen(line + used) / 9) /* checked before memory is allocated for them */
        FAIL(DATA, "%s: %s has fewer checksums than its %ld blocks", path, sums->name, blocks);
    sums->bytes = bytes;
    sums->blocks = (int)blocks;
    sums->crc = calloc((size_t)blocks + 1, sizeof *sums->crc);
    if (!sums->crc) FAIL(MEM, "%s: no memory for %ld blocks", path, blocks);
    const char *p = line + used;
    for (int b = 0; b < sums->blocks; b++) {
        int n = 0;
        if (sscanf(p, " %8x%n", &sums->crc[b], &n) != 1)
            FAIL(DATA, "%s: %s has no checksum of block %d", path, sums->name, b);
        p += n;
    }
    return STATUS_OK;
}

static bool holds(const manifest *m, const char *name) {
    for (int i = 0; i < m->count; i++)
        if (strcmp(m->files[i].name, name) == 0) return true;
    return false;
}

static status check_names(const manifest *m, const char *path, int format) {
    if (format == MANIFEST_FIXED) {
        int older = m->count == ALONE - 1; /* format 1 without generation_config.json */
        bool same = m->count == ALONE - older;
        for (int i = 0; same && i < m->count; i++) same = strcmp(m->files[i].name, alone[i + (i > 0 ? older : 0)]) == 0;
        if (!same) FAIL(DATA, "%s: expected exactly the files of format 1", path);
    }
    for (int i = 0; i < REQUIRED; i++)
        if (!holds(m, required[i])) FAIL(DATA, "%s: found no checksums for %s", path, required[i]);
    return STATUS_OK;
}

static status parse(manifest *m, const char *path, char *text, int lines) {
    int format, block;
    char *rest = NULL, *line = strtok_r(text, "\n", &rest);
    if (!line || sscanf(line, "tally-checkpoint %d block %d", &format, &block) != 2 || block != BLOCKFILE_BLOCK ||
        (format != MANIFEST_FIXED && format != MANIFEST_FREE))
        FAIL(DATA, "%s: found \"%.60s\", expected a checkpoint of format 1 or 2", path, line ? line : "");
    m->files = calloc((size_t)lines + 1, sizeof *m->files);
    if (!m->files) FAIL(MEM, "%s: no memory for %d files", path, lines);
    while ((line = strtok_r(NULL, "\n", &rest))) TRY(read_line(path, line, &m->files[m->count++]));
    return check_names(m, path, format);
}

status manifest_read(manifest *m, const char *folder) {
    enum { TAIL = sizeof "crc32 xxxxxxxx\n" - 1 };
    path_text path = path_join(folder, "MANIFEST");
    char *text = NULL, tail[TAIL + 1] = "";
    size_t size;
    *m = (manifest){0};
    TRY(file_read(path.text, &text, &size));
    status_code st = STATUS_OK;
    size_t body = size < TAIL ? 0 : size - TAIL;
    uint32_t crc = crc_of(text, body);
    snprintf(tail, sizeof tail, "crc32 %08x\n", crc);
    if (strcmp(text + body, tail) != 0)
        FAIL_DONE(DATA, "%s: damaged: it ends in \"%.14s\", expected \"crc32 %08x\"", path.text, text + body, crc);
    text[body] = 0;
    int lines = 0;
    for (const char *p = text; (p = strchr(p, '\n')); p++) lines++;
    st = parse(m, path.text, text, lines);
done:
    if (st) manifest_free(m);
    free(text);
    return st;
}

void manifest_free(manifest *m) {
    for (int i = 0; i < m->count; i++) free(m->files[i].crc);
    free(m->files);
    *m = (manifest){0};
}
