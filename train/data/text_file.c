#include "train/data/text_file.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "runtime/file.h"

static bool ends_in(const char *text, size_t n, const char *end) {
    size_t m = strlen(end);
    return n >= m && !strncasecmp(text + n - m, end, m);
}

static size_t ending_bytes(text_file_packing p) { return p == TEXT_FILE_GZIP ? 3 : p == TEXT_FILE_ZSTD ? 4 : 0; }

bool text_file_named(const text_file *f, const char *ending) {
    size_t n = strlen(f->path), packed = ending_bytes(f->packing);
    return ends_in(f->path, n > packed ? n - packed : 0, ending);
}

/* ---- opening ---- */

static void begin(text_file *f) {
    f->member_ended = f->pending = false;
    f->input_bytes = 0;
    f->input_left = 0;
    f->bytes = 0;
    f->chunk_bytes = 0;
    f->not_utf8_at = -1;
    f->sequence.due = 0;
}

static status open_packing(text_file *f) {
    f->z = (z_stream){0};
    f->zstd = NULL;
    if (f->packing == TEXT_FILE_GZIP && inflateInit2(&f->z, 15 + 16) != Z_OK) /* 15: largest window, + 16: gzip */
        FAIL(MEM, "%s: no memory for zlib", f->path);
    if (f->packing == TEXT_FILE_ZSTD && !(f->zstd = ZSTD_createDCtx())) FAIL(MEM, "%s: no memory for zstd", f->path);
    return STATUS_OK;
}

static status open_stream(text_file *f, const char *path, int fd) {
    f->path = path;
    begin(f);
    f->file = fdopen(fd, "rb");
    if (f->file) return STATUS_OK;
    close(fd);
    FAIL(MEM, "%s: %s", path, strerror(errno));
}

status text_file_open(text_file *f, const char *path) {
    int fd;
    size_t size;
    TRY(file_open(&fd, path, &size));
    TRY(open_stream(f, path, fd));
    f->is_input = false;
    f->packing = ends_in(path, strlen(path), ".gz")    ? TEXT_FILE_GZIP
                 : ends_in(path, strlen(path), ".zst") ? TEXT_FILE_ZSTD
                                                       : TEXT_FILE_PLAIN;
    status_code st = open_packing(f);
    if (st) fclose(f->file);
    return st;
}

static status refill(text_file *f) {
    f->input = f->raw;
    f->input_left = fread(f->raw, 1, TEXT_FILE_CHUNK, f->file);
    f->input_bytes += (i64)f->input_left;
    if (ferror(f->file)) FAIL(IO, "%s: %s", f->path, strerror(errno));
    return STATUS_OK;
}

static bool starts_with(const text_file *f, const char *bytes, size_t count) {
    return f->input_left >= count && !memcmp(f->input, bytes, count);
}

status text_file_open_input(text_file *f, const char *name) {
    int fd = dup(STDIN_FILENO);
    if (fd < 0) FAIL(IO, "%s: %s", name, strerror(errno));
    TRY(open_stream(f, name, fd));
    f->is_input = true;
    status_code st = refill(f);
    f->packing = starts_with(f, "\x1f\x8b", 2)           ? TEXT_FILE_GZIP
                 : starts_with(f, "\x28\xb5\x2f\xfd", 4) ? TEXT_FILE_ZSTD
                                                         : TEXT_FILE_PLAIN;
    if (!st) st = open_packing(f);
    if (st) fclose(f->file);
    return st;
}

void text_file_rewind(text_file *f) {
    rewind(f->file);
    if (f->packing == TEXT_FILE_GZIP) inflateReset(&f->z);
    if (f->packing == TEXT_FILE_ZSTD) ZSTD_DCtx_reset(f->zstd, ZSTD_reset_session_only);
    begin(f);
}

void text_file_close(text_file *f) {
    if (f->packing == TEXT_FILE_GZIP) inflateEnd(&f->z);
    ZSTD_freeDCtx(f->zstd);
    fclose(f->file);
}

/* ---- decompression ---- */

/* at the end of the file none is left, which must not be within a member or frame */
static status refill_packed(text_file *f, const char *library, const char *stream) {
    TRY(refill(f));
    if (!f->input_left && !f->member_ended)
        FAIL(DATA, "%s: %s: unexpected end of file, expected a whole %s stream", f->path, library, stream);
    return STATUS_OK;
}

/* After a member: like gzip and Python, skips zero bytes, with which tapes and block devices pad. */
static status skip_padding(text_file *f) {
    while (f->input_left && !*f->input) f->input++, f->input_left--;
    if (f->input_left && *f->input != 0x1f)
        FAIL(DATA,
             "%s: found 0x%02x at byte %ld after the last gzip member; expected another member, zero bytes or the end",
             f->path, *f->input, f->input_bytes - (i64)f->input_left);
    return STATUS_OK;
}

/* zlib's gzread takes a damaged header after the first member for the end of the data, and text without a header for plain
 * text; here both are errors. */
static status inflate_chunk(text_file *f) {
    f->z.next_out = (unsigned char *)f->buffer;
    f->z.avail_out = TEXT_FILE_CHUNK;
    while (f->z.avail_out > 0) {
        if (f->input_left == 0) TRY(refill_packed(f, "zlib", "gzip"));
        if (f->input_left == 0) break;
        if (f->member_ended) {
            TRY(skip_padding(f));
            if (f->input_left == 0) continue;
        }
        f->z.next_in = (unsigned char *)f->input;
        f->z.avail_in = (uInt)f->input_left;
        int code = inflate(&f->z, Z_NO_FLUSH); /* there is input and room, so never Z_BUF_ERROR */
        f->input = f->z.next_in;
        f->input_left = f->z.avail_in;
        if (code != Z_OK && code != Z_STREAM_END)
            FAIL(DATA, "%s: zlib: %s, expected a whole gzip stream", f->path, f->z.msg ? f->z.msg : zError(code));
        f->member_ended = code == Z_STREAM_END;
        if (f->member_ended) inflateReset(&f->z);
    }
    f->chunk_bytes = TEXT_FILE_CHUNK - f->z.avail_out;
    return STATUS_OK;
}

static status unzstd_chunk(text_file *f) {
    ZSTD_outBuffer out = {f->buffer, TEXT_FILE_CHUNK, 0};
    while (out.pos < out.size) {
        if (f->input_left == 0 && !f->pending) TRY(refill_packed(f, "zstd", "zstd"));
        if (f->input_left == 0 && !f->pending) break;
        ZSTD_inBuffer in = {f->input, f->input_left, 0};
        size_t due = ZSTD_decompressStream(f->zstd, &out, &in);
        if (ZSTD_isError(due))
            FAIL(DATA, "%s: zstd: %s, expected a whole zstd stream", f->path, ZSTD_getErrorName(due));
        f->input += in.pos;
        f->input_left -= in.pos;
        f->member_ended = due == 0;
        f->pending = due > 0 && out.pos == out.size;
    }
    f->chunk_bytes = out.pos;
    return STATUS_OK;
}

/* ---- UTF-8 ---- */

static size_t skip_ascii(const unsigned char *s, size_t i, size_t n) {
    for (uint64_t eight; i + sizeof eight <= n; i += sizeof eight) {
        memcpy(&eight, s + i, sizeof eight);
        if (eight & 0x8080808080808080) break;
    }
    while (i < n && s[i] < 0x80) i++;
    return i;
}

/* stops at the first byte that is not UTF-8; before: bytes of the file before the chunk */
static void check_utf8(text_file *f, i64 before) {
    const unsigned char *s = (const unsigned char *)f->chunk;
    size_t i = 0, n = f->chunk_bytes;
    bool fits = f->not_utf8_at < 0 && !(n == 0 && f->sequence.due);
    while (fits && f->not_utf8_at < 0) {
        if (!f->sequence.due) {
            i = skip_ascii(s, i, n);
            if (i == n) return;
            unsigned char b = f->sequence.first = s[i];
            f->sequence.at = before + (i64)i;
            f->sequence.due = b >= 0xc2 && b <= 0xdf ? 1 : b >= 0xe0 && b <= 0xef ? 2 : b >= 0xf0 && b <= 0xf4 ? 3 : 0;
            f->sequence.low = b == 0xe0 ? 0xa0 : b == 0xf0 ? 0x90 : 0x80;  /* overlong forms */
            f->sequence.high = b == 0xed ? 0x9f : b == 0xf4 ? 0x8f : 0xbf; /* surrogates; above U+10FFFF */
            fits = f->sequence.due > 0;
        } else {
            if (i == n) return;
            fits = s[i] >= f->sequence.low && s[i] <= f->sequence.high;
            f->sequence.low = 0x80, f->sequence.high = 0xbf;
            f->sequence.due--;
        }
        i++;
    }
    if (f->not_utf8_at >= 0) return;
    f->not_utf8_at = f->sequence.at;
    f->not_utf8 = f->sequence.first;
}

/* ---- chunks ---- */

status text_file_read(text_file *f) {
    i64 before = f->bytes;
    f->chunk = f->buffer;
    if (f->packing == TEXT_FILE_GZIP) {
        TRY(inflate_chunk(f));
    } else if (f->packing == TEXT_FILE_ZSTD) {
        TRY(unzstd_chunk(f));
    } else {
        if (f->input_left == 0) TRY(refill(f));
        f->chunk = (const char *)f->input;
        f->chunk_bytes = f->input_left;
        f->input_left = 0;
    }
    f->bytes += (i64)f->chunk_bytes;
    check_utf8(f, before);
    if (before == 0 && f->chunk_bytes >= 3 && !memcmp(f->chunk, "\xef\xbb\xbf", 3)) f->chunk += 3, f->chunk_bytes -= 3;
    return STATUS_OK;
}

/* of a plain file, on the disk */
static bool seek(text_file *f, i64 bytes) {
    struct stat info;
    if (f->packing != TEXT_FILE_PLAIN || f->is_input || f->bytes >= bytes) return false;
    if (fstat(fileno(f->file), &info) || info.st_size < bytes || fseeko(f->file, bytes, SEEK_SET)) return false;
    f->bytes = f->input_bytes = bytes;
    f->chunk_bytes = f->input_left = 0;
    f->sequence.due = 0;
    return true;
}

status text_file_skip_to(text_file *f, i64 bytes) {
    if (seek(f, bytes)) return text_file_read(f);
    while (f->bytes < bytes) {
        TRY(text_file_read(f));
        if (!f->chunk_bytes)
            FAIL(DATA, "%s: has %ld bytes of text, expected at least %ld; it has become shorter", f->path, f->bytes,
                 bytes);
    }
    size_t left = (size_t)(f->bytes - bytes);
    f->chunk += f->chunk_bytes - left;
    f->chunk_bytes = left;
    return left ? STATUS_OK : text_file_read(f);
}

status text_file_drain(text_file *f) {
    do TRY(text_file_read(f));
    while (f->chunk_bytes > 0);
    return STATUS_OK;
}

/* ---- what it looks like ---- */

typedef struct {
    const char *name, *start;
    size_t bytes;
} signature;

static const char *find(const signature *list, size_t count, const text_file *f) {
    for (size_t i = 0; i < count; i++)
        if (f->chunk_bytes >= list[i].bytes && !memcmp(f->chunk, list[i].start, list[i].bytes)) return list[i].name;
    return NULL;
}

/* by the byte-order mark, or by NUL in every second byte, as of mostly ASCII text */
const char *text_file_wide(const text_file *f) {
    static const signature marks[] = {{"UTF-32LE", "\xff\xfe\0\0", 4},
                                      {"UTF-32BE", "\0\0\xfe\xff", 4},
                                      {"UTF-16LE", "\xff\xfe", 2},
                                      {"UTF-16BE", "\xfe\xff", 2}};
    const char *name = find(marks, sizeof marks / sizeof *marks, f);
    if (name) return name;
    size_t n = f->chunk_bytes < 4096 ? f->chunk_bytes : 4096, nul[2] = {0};
    for (size_t i = 0; i < n; i++) nul[i % 2] += !f->chunk[i];
    if (n >= 8 && nul[1] > n / 4 && !nul[0]) return "UTF-16LE";
    return n >= 8 && nul[0] > n / 4 && !nul[1] ? "UTF-16BE" : NULL;
}

const char *text_file_looks_like(const text_file *f) {
    static const signature kinds[] = {{"gzip", "\x1f\x8b", 2},        {"zstd", "\x28\xb5\x2f\xfd", 4},
                                      {"xz", "\xfd\x37zXZ", 5},       {"bzip2", "BZh", 3},
                                      {"a zip archive", "PK\3\4", 4}, {"a PDF", "%PDF-", 5},
                                      {"Parquet", "PAR1", 4},         {"a program or library", "\x7f\x45LF", 4},
                                      {"a PNG image", "\x89PNG", 4}};
    const char *wide = text_file_wide(f);
    return wide ? wide : find(kinds, sizeof kinds / sizeof *kinds, f);
}
