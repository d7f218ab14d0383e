/* Small files tokenizer.json for tests: a byte-level one with the 256 bytes, and one of characters with byte fallback. */
#ifndef TALLY_TINY_TOKENIZER_H
#define TALLY_TINY_TOKENIZER_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/data/byte_level.h"

typedef struct {
    bool byte_level;
    bool arrays;                                                   /* merges as ["a", "b"] */
    const char *normalizer, *pre_tokenizer, *post, *added, *model; /* JSON; NULL: the usual. model: more of its keys */
} tiny_tokenizer;

/* left and right of each merge, in the order of rank. The tokens have the ids from TINY_BYTE_MERGE or TINY_MERGE on. */
static const char *const tiny_byte_merges[][2] = {{"h", "e"},   {"l", "l"},           {"\u0120", "w"},      {"o", "r"},
                                                  {"he", "ll"}, {"hell", "o"},        {"\u0120w", "or"},    {"a", "a"},
                                                  {"aa", "aa"}, {"\u00c3", "\u00a4"}, {"\u0120", "\u0120"}, {"l", "o"},
                                                  {"1", "2"},   {"\u010a", "\u010a"}};
static const char *const tiny_merges[][2] = {{"h", "e"},   {"l", "l"},    {"\u2581", "w"},      {"o", "r"},
                                             {"he", "ll"}, {"hell", "o"}, {"\u2581w", "or"},    {"a", "a"},
                                             {"aa", "aa"}, {"l", "o"},    {"\u2581", "\u2581"}, {"\u2581", "he"}};
static const char *const tiny_characters[] = {"\u2581", "h", "e",      "l", "o", "w", "r",
                                              "d",      "a", "\u00e4", "1", "2", ","};
enum {
    TINY_BYTE_MERGES = sizeof tiny_byte_merges / sizeof *tiny_byte_merges,
    TINY_MERGES = sizeof tiny_merges / sizeof *tiny_merges,
    TINY_CHARACTERS = sizeof tiny_characters / sizeof *tiny_characters,
    TINY_BYTE_MERGE = 256,
    TINY_BYTE = 3, /* of the token <0x00> */
    TINY_CHARACTER = TINY_BYTE + 256,
    TINY_MERGE = TINY_CHARACTER + TINY_CHARACTERS
};

static inline void tiny_quote(FILE *out, const char *text) {
    putc('"', out);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') putc('\\', out);
        putc(*text, out);
    }
    putc('"', out);
}

static inline void tiny_vocabulary(FILE *out, bool byte_level) {
    int count = byte_level ? TINY_BYTE_MERGES : TINY_MERGES;
    fputs(byte_level ? "{" : "{\"<unk>\":0,\"<s>\":1,\"</s>\":2,", out);
    for (int i = 0; i < 256; i++) {
        char name[8] = "";
        if (byte_level) name[byte_level_write(name, &(char){(char)i}, 1)] = 0;
        else snprintf(name, sizeof name, "<0x%02X>", (unsigned)i);
        tiny_quote(out, name);
        fprintf(out, ":%d,", byte_level ? i : TINY_BYTE + i);
    }
    for (int i = 0; !byte_level && i < TINY_CHARACTERS; i++) {
        tiny_quote(out, tiny_characters[i]);
        fprintf(out, ":%d,", TINY_CHARACTER + i);
    }
    for (int i = 0; i < count; i++) {
        const char *const *merge = byte_level ? tiny_byte_merges[i] : tiny_merges[i];
        fprintf(out, "%s\"%s%s\":%d", i ? "," : "", merge[0], merge[1],
                (byte_level ? TINY_BYTE_MERGE : TINY_MERGE) + i);
    }
    fputs("}", out);
}

static inline void tiny_print(FILE *out, const tiny_tokenizer *t) {
    bool b = t->byte_level;
    fprintf(out, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":%s,\n",
            t->added ? t->added
            : b      ? "[{\"id\":270,\"content\":\"<|endoftext|>\",\"special\":true,\"normalized\":false}]"
                : "[{\"id\":0,\"content\":\"<unk>\",\"special\":true},{\"id\":1,\"content\":\"<s>\",\"special\":true},"
                  "{\"id\":2,\"content\":\"</s>\",\"special\":true}]");
    fprintf(out, "\"normalizer\":%s,\n\"pre_tokenizer\":%s,\n\"post_processor\":%s,\n",
            t->normalizer ? t->normalizer
            : b           ? "null"
                          : "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"\u2581\"},"
                            "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\u2581\"}]}",
            t->pre_tokenizer ? t->pre_tokenizer
            : b              ? "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}"
                             : "null",
            t->post ? t->post : "null");
    fprintf(
        out, "\"decoder\":%s,\n",
        b ? "{\"type\":\"ByteLevel\"}"
          : "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"\u2581\"},"
            "\"content\":"
            "\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\" \",\"start\":1,"
            "\"stop\":0}]}");
    fprintf(out, "\"model\":{\"type\":\"BPE\",%s%s\"vocab\":", t->model ? t->model : "",
            b ? "" : "\"unk_token\":\"<unk>\",\"fuse_unk\":true,\"byte_fallback\":true,");
    tiny_vocabulary(out, b);
    fputs(",\"merges\":[", out);
    for (int i = 0; i < (b ? TINY_BYTE_MERGES : TINY_MERGES); i++) {
        const char *const *merge = b ? tiny_byte_merges[i] : tiny_merges[i];
        fprintf(out, t->arrays ? "%s[\"%s\", \"%s\"]" : "%s\"%s %s\"", i ? "," : "", merge[0], merge[1]);
    }
    fputs("]}}\n", out);
}

/* malloc'ed */
static inline char *tiny_text(const tiny_tokenizer *t) {
    char *text;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    if (!out) abort();
    tiny_print(out, t);
    if (fclose(out)) abort();
    return text;
}

#endif
