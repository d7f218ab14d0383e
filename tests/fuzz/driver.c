/* main of a harness as a test: the seeds, cut-off seeds and FUZZ_RUNS mutations, by a generator with a fixed seed.
 * `fuzz_NAME --seeds FOLDER` writes the seeds as files instead, for libFuzzer. */
#include "tests/fuzz/fuzz.h"

enum { RUNS = 1000, LARGEST = 1 << 20 };

static uint64_t state = 0x9e3779b97f4a7c15u;

static size_t below(size_t n) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17; /* xorshift64 */
    return n ? (size_t)(state >> 11) % n : 0;
}

/* what parsers stumble over: ends of ranges, other types, brackets that do not match */
static const char *const words[] = {"0",
                                    "-1",
                                    "1e999",
                                    "1e-400",
                                    "9223372036854775807",
                                    "18446744073709551616",
                                    "null",
                                    "true",
                                    "\"\"",
                                    "[]",
                                    "{}",
                                    "[",
                                    "{",
                                    "}",
                                    "\"",
                                    "\\u0000",
                                    "\\ud800",
                                    ",",
                                    ":",
                                    "\n",
                                    "\xff",
                                    "1.5",
                                    "4294967296",
                                    FUZZ_CUT};
enum { WORDS = sizeof words / sizeof *words };

static void splice(fuzz_input *x, size_t at, size_t gone, const char *in, size_t bytes) {
    if (x->bytes + bytes > LARGEST) return;
    char *data = malloc(x->bytes + bytes + 1);
    FUZZ_CHECK(data);
    memcpy(data, x->data, at);
    memcpy(data + at, in, bytes);
    memcpy(data + at + bytes, x->data + at + gone, x->bytes - at - gone);
    free(x->data);
    *x = (fuzz_input){data, x->bytes + bytes - gone};
}

static size_t digits_at(const fuzz_input *x, size_t at) {
    size_t n = 0;
    while (at + n < x->bytes && x->data[at + n] >= '0' && x->data[at + n] <= '9') n++;
    return n;
}

static void mutate(fuzz_input *x, const fuzz_input *other) {
    size_t at = below(x->bytes + 1), left = x->bytes - at, some = below(left < 64 ? left + 1 : 64);
    const char *word = words[below(WORDS)];
    switch (below(7)) {
    case 0:
        if (left) x->data[at] ^= (char)(1 << below(8));
        break;
    case 1:
        if (left) x->data[at] = (char)below(256);
        break;
    case 2: splice(x, at, some, "", 0); break;
    case 3: splice(x, at, 0, word, strlen(word)); break;
    case 4: /* a number */
        while (at < x->bytes && !digits_at(x, at)) at++;
        splice(x, at, digits_at(x, at), word, strlen(word));
        break;
    case 5: splice(x, at, some, word, strlen(word)); break;
    case 6: { /* a part of another seed */
        size_t from = below(other->bytes + 1), bytes = below(other->bytes - from + 1);
        splice(x, at, some, other->data + from, bytes < 4096 ? bytes : 4096);
    }
    }
}

static fuzz_input copy_of(const fuzz_input *x, size_t bytes) {
    fuzz_input copy = {malloc(bytes + 1), bytes};
    FUZZ_CHECK(copy.data);
    memcpy(copy.data, x->data, bytes);
    return copy;
}

static void run(fuzz_input x) {
    fuzz_input exact = {malloc(x.bytes ? x.bytes : 1), x.bytes}; /* nothing behind it that could be read unnoticed */
    FUZZ_CHECK(exact.data);
    memcpy(exact.data, x.data, x.bytes);
    LLVMFuzzerTestOneInput((const uint8_t *)exact.data, exact.bytes);
    free(exact.data);
    free(x.data);
}

static void write_seeds(const char *to, const fuzz_input *seeds, int count) {
    char path[4096];
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/seed-%d", to, i);
        FILE *f = fopen(path, "wb");
        FUZZ_CHECK(f && fwrite(seeds[i].data, 1, seeds[i].bytes, f) == seeds[i].bytes && fclose(f) == 0);
    }
}

int main(int argc, char **argv) {
    fuzz_input seeds[FUZZ_SEEDS];
    int count = fuzz_seeds(seeds);
    const char *asked = getenv("FUZZ_RUNS");
    long runs = asked ? atol(asked) : RUNS;
    if (argc == 3 && strcmp(argv[1], "--seeds") == 0) {
        write_seeds(argv[2], seeds, count);
    } else {
        for (int i = 0; i < count; i++) run(copy_of(&seeds[i], seeds[i].bytes));
        printf("ok 1 - %d seeds\n", count);
        for (int i = 0; i < count; i++)
            for (int k = 0; k < 50; k++) run(copy_of(&seeds[i], below(seeds[i].bytes + 1)));
        printf("ok 2 - seeds that are cut off\n");
        for (long r = 0; r < runs; r++) {
            const fuzz_input *seed = &seeds[below((size_t)count)];
            fuzz_input x = copy_of(seed, seed->bytes);
            for (size_t n = 1 + below(4); n > 0; n--) mutate(&x, &seeds[below((size_t)count)]);
            run(x);
        }
        printf("ok 3 - %ld mutations\n1..3\n", runs);
    }
    for (int i = 0; i < count; i++) free(seeds[i].data);
    return 0;
}
