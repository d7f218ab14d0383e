#include "train/checkpoint/safetensors.h"

#include <sys/mman.h>
#include <unistd.h>

#include "runtime/file.h"
#include "tests/check.h"

/* Written by the Python package safetensors 0.8.0 (torch.save_file, metadata {"format": "pt"}):
 *   wte.weight [2,3] F32 = 1, -2.5, 3e-8, inf, 0.1, -0    scalar [] F32 = 42    empty [0,4] F32
 *   h.0.bias [5] BF16 = 0.5, -1.25, 3.140625, 256, -0.0078125 */
static const char fixture[] = "tests/fixtures/tiny.safetensors";

/* A file in memory, so that tens of thousands of variants are quick. */
static int memory_fd = -1;
static char memory_path[64];

static void set_memory(const void *bytes, size_t count) {
    if (memory_fd < 0) {
        memory_fd = memfd_create("test_safetensors", 0);
        snprintf(memory_path, sizeof memory_path, "/proc/self/fd/%d", memory_fd);
    }
    assert_int_equal(ftruncate(memory_fd, 0), 0);
    assert_int_equal(pwrite(memory_fd, bytes, count, 0), count);
}

/* header text (the length is prepended), and `bytes` zero bytes of data */
static void set_file(const char *header, size_t data_bytes) {
    unsigned char file[4096] = {0};
    uint64_t length = strlen(header);
    assert_true(8 + length + data_bytes <= sizeof file);
    for (int i = 0; i < 8; i++) file[i] = (unsigned char)(length >> 8 * i);
    memcpy(file + 8, header, length);
    set_memory(file, 8 + length + data_bytes);
}

static void reads_what_python_wrote(void **state) {
    (void)state;
    safetensors s;
    OK(safetensors_open(&s, fixture));
    assert_int_equal(s.count, 4);
    static const char *const order[] = {"empty", "scalar", "wte.weight", "h.0.bias"};
    for (int i = 0; i < 4; i++) assert_string_equal(s.list[i].name, order[i]);

    const safetensor *t = safetensors_find(&s, "wte.weight");
    assert_true(t->type == F32 && t->dims == 2 && t->shape[0] == 2 && t->shape[1] == 3 && t->bytes == 24);
    static const float weight[] = {1, -2.5f, 3e-8f, INFINITY, 0.1f, -0.0f};
    assert_memory_equal(safetensors_data(&s, t), weight, sizeof weight);

    t = safetensors_find(&s, "h.0.bias");
    assert_true(t->type == BF16 && t->dims == 1 && t->shape[0] == 5 && t->bytes == 10);
    static const float bias[] = {0.5f, -1.25f, 3.140625f, 256, -0.0078125f};
    for (int i = 0; i < 5; i++) assert_true(bf16_to_f32(((const bf16 *)safetensors_data(&s, t))[i]) == bias[i]);

    t = safetensors_find(&s, "scalar");
    assert_true(t->dims == 0 && t->bytes == 4 && *(const float *)safetensors_data(&s, t) == 42);
    t = safetensors_find(&s, "empty");
    assert_true(t->dims == 2 && t->shape[0] == 0 && t->shape[1] == 4 && t->bytes == 0);
    assert_null(safetensors_find(&s, "wte"));
    assert_null(safetensors_find(&s, "__metadata__"));
    safetensors_close(&s);
    safetensors_close(&s); /* twice is harmless */
}

static void writes_what_python_writes(void **state) {
    (void)state;
    safetensor list[] = {{.name = "empty", .type = F32, .dims = 2, .shape = {0, 4}},
                         {.name = "scalar", .type = F32},
                         {.name = "wte.weight", .type = F32, .dims = 2, .shape = {2, 3}},
                         {.name = "h.0.bias", .type = BF16, .dims = 1, .shape = {5}}};
    char *header, *file;
    size_t header_bytes, file_bytes;
    OK(safetensors_layout(list, 4, (const char *const[]){"format", "pt", NULL}, &header, &header_bytes));
    assert_true(list[3].offset == 28 && list[3].bytes == 10);
    OK(file_read(fixture, &file, &file_bytes));
    assert_int_equal(header_bytes + 38, file_bytes);
    assert_memory_equal(header, file, header_bytes);
    free(header), free(file);

    OK(safetensors_layout(NULL, 0, NULL, &header, &header_bytes));
    assert_int_equal(header_bytes, 16);
    assert_memory_equal(header, "\x08\0\0\0\0\0\0\0{}      ", 16);
    set_memory(header, header_bytes);
    safetensors s;
    OK(safetensors_open(&s, memory_path));
    assert_int_equal(s.count, 0);
    safetensors_close(&s);
    free(header);
}

static void refuses_bad_layouts(void **state) {
    (void)state;
    char *header;
    size_t bytes;
    safetensor huge = {.name = "w", .type = F32, .dims = 4, .shape = {1 << 30, 1 << 30, 1 << 30, 1 << 30}};
    FAILS(ARG, "tensor \"w\": found a bad shape", safetensors_layout(&huge, 1, NULL, &header, &bytes));
    safetensor negative = {.name = "w", .type = F32, .dims = 1, .shape = {-1}};
    FAILS(ARG, "tensor \"w\": found a bad shape", safetensors_layout(&negative, 1, NULL, &header, &bytes));
    safetensor odd[] = {{.name = "b", .type = BF16, .dims = 1, .shape = {3}}, {.name = "f", .type = F32}};
    FAILS(ARG, "tensor \"f\": F32 is misaligned at byte 6", safetensors_layout(odd, 2, NULL, &header, &bytes));
    assert_null(header);
}

static void refuses_bad_headers(void **state) {
    (void)state;
#define TENSOR(dtype, shape, offsets) "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"
#define GOOD "\"a\":" TENSOR("F32", "[2]", "[0,8]")
#define LONG_NAME "0123456789012345678901234567890123456789012345678901234567890123"
    static const struct {
        const char *header, *message;
        size_t data_bytes;
    } cases[] = {
        {"", "found the end", 0},
        {"[]", "not a JSON object", 0},
        {"{" GOOD, "found the end", 8},
        {"{" GOOD "}x", "found x", 8},
        {"{" GOOD "," GOOD "}", "expected JSON (duplicate object key)", 8},
        {"{\"a\":1}", "tensor \"a\": expected an object", 0},
        {"{\"a\":{}}", "\"dtype\" is missing, expected a string", 0},
        {"{\"a\":" TENSOR("F64", "[1]", "[0,8]") "}", "tensor \"a\": dtype is F64, expected F32, BF16 or F16", 8},
        {"{\"a\":" TENSOR("F32", "2", "[0,8]") "}", "\"shape\" is 2, expected an array", 8},
        {"{\"a\":" TENSOR("F32", "[-2]", "[0,8]") "}", "\"shape\" holds another value", 8},
        {"{\"a\":" TENSOR("F32", "[2.5]", "[0,8]") "}", "\"shape\" holds another value", 8},
        {"{\"a\":" TENSOR("F32", "[\"2\"]", "[0,8]") "}", "\"shape\" holds another value", 8},
        {"{\"a\":" TENSOR("F32", "[1e300]", "[0,8]") "}", "\"shape\" holds another value", 8},
        {"{\"a\":" TENSOR("F32", "[1,1,1,1,2]", "[0,8]") "}", "\"shape\" has more than 4", 8},
        {"{\"a\":" TENSOR("F32", "[2]", "[0]") "}", "\"data_offsets\" has 1 integers, expected 2", 8},
        {"{\"a\":" TENSOR("F32", "[2]", "[0,8,8]") "}", "\"data_offsets\" has more than 2", 8},
        {"{\"a\":" TENSOR("F32", "[2]", "[8,0]") "}", "data_offsets are 8 and 0, expected increasing", 8},
        {"{\"a\":" TENSOR("F32", "[2]", "[0,8]") "}",
         "data_offsets are 0 and 8, expected increasing offsets of at most 7", 7},
        {"{\"a\":" TENSOR("F32", "[3]", "[0,8]") "}", "data_offsets span 8 bytes, but its shape takes 12", 8},
        {"{\"a\":" TENSOR("BF16", "[2]", "[0,8]") "}", "data_offsets span 8 bytes, but its shape takes 4", 8},
        /* 2^62 * 4 elements wrap to 0 in 64 bits, and 2^32 * 2^32 too */
        {"{\"a\":" TENSOR("F32", "[4503599627370496,4096]", "[0,0]") "}", "too many elements", 0},
        {"{\"a\":" TENSOR("F32", "[4294967296,4294967296]", "[0,0]") "}", "too many elements", 0},
        {"{\"a\":" TENSOR("F32", "[2]", "[0,8]") "}", "tensors end at byte 8 of the data, but the file ends at 9", 9},
        {"{\"a\":" TENSOR("F32", "[1]", "[4,8]") "}", "begins at byte 4 of the data, expected 0: a gap", 8},
        {"{" GOOD ",\"b\":" TENSOR("F32", "[1]", "[4,8]") "}",
         "\"b\" begins at byte 4 of the data, expected 8: an overlap", 8},
        {"{" GOOD ",\"b\":" TENSOR("F32", "[2]", "[0,8]") "}", "an overlap", 8},
        {"{\"" LONG_NAME LONG_NAME "\":" TENSOR("F32", "[2]", "[0,8]") "}",
         "name is 128 bytes long, expected at most 127", 8},
        {"{\"a\\u001b\":" TENSOR("F32", "[2]", "[0,8]") "}", "control character", 8},
        {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[0,4]}}",
         "expected JSON (duplicate object key)", 4},
    };
    safetensors s;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        set_file(cases[i].header, cases[i].data_bytes);
        FAILS(DATA, cases[i].message, safetensors_open(&s, memory_path));
        if (!strstr(status_message(), memory_path)) fail_msg("does not name the file: %s", status_message());
        assert_true(!s.map && !s.list);
    }
    set_file("{" GOOD "}", 8);
    OK(safetensors_open(&s, memory_path));
    safetensors_close(&s);

    FAILS(DATA, "absent: No such file", safetensors_open(&s, "tests/absent"));
    FAILS(DATA, "tests: is a folder, expected a regular file", safetensors_open(&s, "tests"));
    set_memory("\xff\xff\xff\xff\xff\xff\xff\xff{}", 10);
    FAILS(DATA, "header length is 18446744073709551615, expected at most 100000000", safetensors_open(&s, memory_path));
    set_memory("\x03\0\0\0\0\0\0\0{}", 10);
    FAILS(DATA, "header length is 3, but only 2 bytes follow", safetensors_open(&s, memory_path));
}

/* The data section begins at 8 + an odd header, and "f" behind three bf16. */
static void reads_what_is_not_aligned(void **state) {
    (void)state;
    const char *header = "{\"b\":" TENSOR("BF16", "[3]", "[0,6]") ",\"f\":" TENSOR("F32", "[2]", "[6,14]") " }";
    char file[256];
    size_t length = strlen(header) | 1; /* odd, with a space more where the text is even */
    memset(file, ' ', sizeof file);
    memcpy(file, (char[8]){(char)length}, 8);
    memcpy(file + 8, header, strlen(header));
    const float f[] = {1.5f, -2};
    const bf16 b[] = {bf16_from_f32(3), bf16_from_f32(4), bf16_from_f32(5)};
    memcpy(file + 8 + length, b, 6);
    memcpy(file + 8 + length + 6, f, 8);
    set_memory(file, 8 + length + 14);
    safetensors s;
    OK(safetensors_open(&s, memory_path));
    float mine[2], half[3];
    assert_int_equal((uintptr_t)safetensors_data(&s, safetensors_find(&s, "f")) % 2, 1);
    safetensors_widen(mine, &s, safetensors_find(&s, "f"), 0, 2);
    safetensors_widen(half, &s, safetensors_find(&s, "b"), 1, 2);
    assert_memory_equal(mine, f, sizeof f);
    assert_true(half[0] == 4 && half[1] == 5);
    safetensors_close(&s);
}

/* older models have their causal masks in the file */
static void masks_are_listed(void **state) {
    (void)state;
    const char *header = "{\"b\":" TENSOR("BOOL", "[1,3]", "[0,3]") ",\"u\":" TENSOR(
        "U8", "[2]", "[3,5]") ",\"f\":" TENSOR("F32", "[1]", "[5,9]") "}";
    char file[256] = {(char)strlen(header)};
    memcpy(file + 8, header, strlen(header));
    set_memory(file, 8 + strlen(header) + 9);
    safetensors s;
    OK(safetensors_open(&s, memory_path));
    assert_true(s.list[0].mask && s.list[0].bytes == 3 && s.list[1].mask && s.list[1].bytes == 2 && !s.list[2].mask);
    safetensors_close(&s);
}

/* (-1)^sign * 2^(exponent-15) * (1 + fraction/1024); exponent 0: 2^-14 * fraction/1024; 31: infinity or NaN */
static void every_f16_is_read(void **state) {
    (void)state;
    static char file[8 + 64 + 2 * 65536];
    const char *header = "{\"h\":" TENSOR("F16", "[65536]", "[0,131072]") "}";
    size_t length = strlen(header);
    memcpy(file, &(uint64_t){length}, 8);
    memcpy(file + 8, header, length);
    for (unsigned i = 0; i < 65536; i++) memcpy(file + 8 + length + 2 * i, &(uint16_t){(uint16_t)i}, 2);
    set_memory(file, 8 + length + 2 * 65536);
    static float values[65536];
    safetensors s;
    OK(safetensors_open(&s, memory_path));
    safetensors_widen(values, &s, &s.list[0], 0, 65536);
    for (unsigned i = 0; i < 65536; i++) {
        unsigned exponent = i >> 10 & 31, fraction = i & 1023;
        double v = exponent ? ldexp(1024 + fraction, (int)exponent - 25) : ldexp(fraction, -24);
        if (exponent == 31 && fraction) assert_true(isnan(values[i]));
        else assert_true(fabsf(values[i]) == (exponent == 31 ? INFINITY : v));
        assert_int_equal(signbit(values[i]) != 0, i >> 15);
    }
    safetensors_close(&s);
}

/* The file is refused with a message that names it, or every byte of every tensor can be read and lies in the file.
 * Returns whether it was accepted. */
static int is_safe(size_t file_bytes) {
    safetensors s;
    if (safetensors_open(&s, memory_path)) {
        if (!strstr(status_message(), memory_path)) fail_msg("does not name the file: %s", status_message());
        return 0;
    }
    i64 total = 0;
    volatile unsigned char sum = 0;
    for (int i = 0; i < s.count; i++) {
        const safetensor *t = &s.list[i];
        assert_true(memchr(t->name, 0, sizeof t->name) && t->dims >= 0 && t->dims <= 4);
        i64 bytes = (i64)dtype_bytes(t->type);
        for (int d = 0; d < t->dims; d++) bytes *= t->shape[d];
        assert_int_equal(bytes, t->bytes);
        for (i64 k = 0; k < t->bytes; k++) sum ^= ((const unsigned char *)safetensors_data(&s, t))[k];
        total += t->bytes;
    }
    (void)sum;
    assert_true(total < (i64)file_bytes);
    safetensors_close(&s);
    return 1;
}

static void survives_every_truncation_and_corruption(void **state) {
    (void)state;
    char *file;
    size_t bytes;
    OK(file_read(fixture, &file, &bytes));
    for (size_t n = 0; n < bytes; n++) {
        set_memory(file, n);
        if (is_safe(n)) fail_msg("%zu of %zu bytes are taken for a file", n, bytes);
    }
    set_memory(file, bytes);
    assert_true(is_safe(bytes));
    int taken = 0;
    for (size_t at = 0; at < bytes - 38; at++)
        for (int flip = 1; flip < 256; flip++) {
            unsigned char bad = (unsigned char)file[at] ^ (unsigned char)flip;
            assert_int_equal(pwrite(memory_fd, &bad, 1, (off_t)at), 1);
            taken += is_safe(bytes);
            assert_int_equal(pwrite(memory_fd, &file[at], 1, (off_t)at), 1);
        }
    assert_true(taken > 0); /* other names, notes and spaces are fine */
    free(file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_python_wrote),   cmocka_unit_test(writes_what_python_writes),
        cmocka_unit_test(refuses_bad_layouts),       cmocka_unit_test(refuses_bad_headers),
        cmocka_unit_test(reads_what_is_not_aligned), cmocka_unit_test(masks_are_listed),
        cmocka_unit_test(every_f16_is_read),         cmocka_unit_test(survives_every_truncation_and_corruption),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
