#include "train/data/added_tokens.h"

#include <stdlib.h>
#include <string.h>

#include "train/data/unicode.h"

struct added_node {
    i64 child, sibling; /* 0: none */
    i64 token;          /* its index + 1; 0: none ends here */
    char byte;
};

static status new_node(added_tokens *a, char byte, i64 *node) {
    if (a->node_count == a->node_room) {
        i64 room = a->node_room ? 2 * a->node_room : 256;
        struct added_node *larger = realloc(a->nodes, (size_t)room * sizeof *larger);
        if (!larger) FAIL(MEM, "no memory for %ld added tokens", a->count);
        a->nodes = larger;
        a->node_room = room;
        if (!a->node_count) a->nodes[a->node_count++] = (struct added_node){0};
    }
    a->nodes[a->node_count] = (struct added_node){.byte = byte};
    *node = a->node_count++;
    return STATUS_OK;
}

static i64 find_child(const added_tokens *a, i64 node, char byte) {
    if (!node) return a->first[(unsigned char)byte];
    i64 child = a->nodes[node].child;
    while (child && a->nodes[child].byte != byte) child = a->nodes[child].sibling;
    return child;
}

static status add_child(added_tokens *a, i64 node, char byte, i64 *child) {
    TRY(new_node(a, byte, child));
    if (!node) {
        a->first[(unsigned char)byte] = *child;
        a->firsts++;
        a->only_first = byte;
    } else {
        a->nodes[*child].sibling = a->nodes[node].child;
        a->nodes[node].child = *child;
    }
    return STATUS_OK;
}

status added_tokens_add(added_tokens *a, const char *content, size_t bytes, added_token t) {
    i64 node = 0;
    if (!bytes) FAIL(DATA, "the added token with the id %d is empty, expected text", t.id);
    if (bytes > ADDED_TOKENS_LONGEST)
        FAIL(DATA, "the added token with the id %d is %zu bytes long, expected at most %d", t.id, bytes,
             ADDED_TOKENS_LONGEST);
    for (size_t i = 0; i < bytes; i++) {
        i64 child = find_child(a, node, content[i]);
        if (!child) TRY(add_child(a, node, content[i], &child));
        node = child;
    }
    if (a->nodes[node].token)
        FAIL(DATA, "the added token \"%.*s\" occurs twice", bytes < 40 ? (int)bytes : 40, content);
    if (a->count == a->room) {
        i64 room = a->room ? 2 * a->room : 64;
        added_token *larger = realloc(a->list, (size_t)room * sizeof *larger);
        if (!larger) FAIL(MEM, "no memory for %ld added tokens", room);
        a->list = larger;
        a->room = room;
    }
    a->list[a->count++] = t;
    a->nodes[node].token = a->count;
    a->strip_left |= t.strip_left;
    a->strip_right |= t.strip_right;
    a->begins_with_space |= unicode_is_space(unicode_read(content));
    return STATUS_OK;
}

void added_tokens_free(added_tokens *a) {
    free(a->nodes);
    free(a->list);
    *a = (added_tokens){0};
}

size_t added_tokens_next(const added_tokens *a, const char *text, size_t bytes, size_t from) {
    if (a->firsts == 1) {
        const char *at = memchr(text + from, a->only_first, bytes - from);
        return at ? (size_t)(at - text) : bytes;
    }
    while (from < bytes && !a->first[(unsigned char)text[from]]) from++;
    return from;
}

size_t added_tokens_match(const added_tokens *a, const char *text, size_t bytes, const added_token **token,
                          bool *more) {
    size_t length = 0;
    i64 node = 0;
    *token = NULL;
    *more = false;
    for (size_t i = 0; i < bytes; i++) {
        node = find_child(a, node, text[i]);
        if (!node) return length;
        if (!a->nodes[node].token) continue;
        *token = &a->list[a->nodes[node].token - 1];
        length = i + 1;
    }
    *more = bytes && a->nodes[node].child;
    return length;
}
