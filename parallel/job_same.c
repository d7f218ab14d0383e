#include "parallel/job_same.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "runtime/options_changes.h"

/* variables that change what libraries compute */
static const char *const environment[] = {"ONEDNN_MAX_CPU_ISA",         "DNNL_MAX_CPU_ISA",
                                          "ONEDNN_DEFAULT_FPMATH_MODE", "NVIDIA_TF32_OVERRIDE",
                                          "CUBLAS_WORKSPACE_CONFIG",    "DNNL_DEFAULT_FPMATH_MODE"};
enum { ENVIRONMENT = sizeof environment / sizeof *environment };

/* length: of the name in front of the tab */
static const char *find_value(const char *text, const char *name, size_t length) {
    for (const char *line = text; *line;) {
        if (strncmp(line, name, length) == 0 && line[length] == '\t') return line + length + 1;
        line += strcspn(line, "\n");
        line += *line == '\n';
    }
    return "not given";
}

static bool same_value(const char *a, const char *b) {
    size_t n = strcspn(a, "\n");
    return n == strcspn(b, "\n") && memcmp(a, b, n) == 0;
}

/* "ranks 1, 3": the ranks with the value of rank `as`; a long list is shortened */
static void print_ranks(FILE *f, const char *const *values, int ranks, int as) {
    enum { MOST = 8 };
    int count = 0, printed = 0;
    for (int r = 0; r < ranks; r++) count += same_value(values[r], values[as]);
    fputs(count > 1 ? "ranks " : "rank ", f);
    for (int r = 0; r < ranks && printed < MOST; r++)
        if (same_value(values[r], values[as])) fprintf(f, "%s%d", printed++ ? ", " : "", r);
    if (count > printed) fprintf(f, " and %d more", count - printed);
}

static void print_value(FILE *f, const char *value) {
    enum { MOST = 200 };
    size_t n = strcspn(value, "\n");
    fprintf(f, "%.*s%s on ", (int)(n < MOST ? n : MOST), value, n > MOST ? "..." : "");
}

/* values: [ranks] room */
static bool differs(const char *const *texts, const char **values, int ranks, const char *name, size_t length,
                    int *other) {
    for (int r = 0; r < ranks; r++) values[r] = find_value(texts[r], name, length);
    *other = 1;
    while (*other < ranks && same_value(values[*other], values[0])) ++*other;
    return *other < ranks;
}

static status compare(const char *const *texts, const char **values, int ranks) {
    int odd = 1;
    while (odd < ranks && strcmp(texts[odd], texts[0]) == 0) odd++;
    if (odd == ranks) return STATUS_OK;
    for (int r = 0; r < ranks; r += r ? 1 : odd) /* of rank 0, and of other ranks, which may have a line more */
        for (const char *line = texts[r]; *line;) {
            size_t length = strcspn(line, "\t"), size;
            int other;
            if (differs(texts, values, ranks, line, length, &other)) {
                char *text = NULL;
                FILE *f = open_memstream(&text, &size);
                if (!f) FAIL(MEM, "no memory to compare ranks");
                fprintf(f, "%.*s: ", (int)length, line);
                print_value(f, values[0]);
                print_ranks(f, values, ranks, 0);
                fputs(", ", f);
                print_value(f, values[other]);
                print_ranks(f, values, ranks, other);
                status_code st = fclose(f) ? ERROR(MEM, "no memory to compare ranks")
                                           : ERROR(ARG, "%s; expected the same on all ranks", text);
                free(text);
                return st;
            }
            line += strcspn(line, "\n");
            line += *line == '\n';
        }
    return STATUS_OK;
}

status job_same(comm *world, const char *text) {
    int ranks = world->ranks;
    if (ranks == 1) return STATUS_OK;
    status_code st = STATUS_OK;
    size_t row;
    char *all = NULL;
    const char **texts = calloc((size_t)ranks, sizeof *texts), **values = calloc((size_t)ranks, sizeof *values);
    TRY_DONE(comm_agree(world, texts && values ? STATUS_OK : ERROR(MEM, "no memory for %d ranks", ranks)));
    TRY_DONE(comm_gather_texts(world, &all, &row, text));
    for (int r = 0; r < ranks; r++) texts[r] = all + row * (size_t)r;
    st = compare(texts, values, ranks);
done:
    free(all);
    free(texts);
    free(values);
    return st;
}

void job_same_program(FILE *f) {
    unsigned char block[1 << 16];
    uLong crc = 0;
    FILE *self = fopen("/proc/self/exe", "rb");
    for (size_t n; self && (n = fread(block, 1, sizeof block, self)) > 0;) crc = crc32(crc, block, (uInt)n);
    if (self) fclose(self);
    fprintf(f, "the program, by the crc32 of its file\t%08lx\n", crc);
    for (int i = 0; i < ENVIRONMENT; i++) {
        const char *value = getenv(environment[i]);
        fprintf(f, "%s\t%s\n", environment[i], value ? value : "not given");
    }
}

static bool is_own(const char *line, const char *const *own, int count) {
    size_t length = strcspn(line, "\t") - 2; /* behind the dashes */
    for (int i = 0; i < count; i++)
        if (strlen(own[i]) == length && strncmp(line + 2, own[i], length) == 0) return true;
    return false;
}

status job_same_options(FILE *f, const options *o, const char *const *own, int own_count) {
    char *lines;
    TRY(options_changes_lines(&lines, o));
    for (const char *line = lines; *line;) {
        int length = (int)strcspn(line, "\n");
        if (!is_own(line, own, own_count)) fprintf(f, "%.*s\n", length, line);
        line += length + (line[length] == '\n');
    }
    free(lines);
    return STATUS_OK;
}
