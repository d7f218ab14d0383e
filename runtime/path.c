#include "runtime/path.h"

#include <stdio.h>
#include <string.h>

static path_text put(const char *first, const char *between, const char *second) {
    path_text p;
    if (snprintf(p.text, sizeof p.text, "%s%s%s", first, between, second) >= (int)sizeof p.text) p.text[0] = 0;
    return p;
}

path_text path_join(const char *folder, const char *name) { return put(folder, "/", name); }

path_text path_add_ending(const char *path, const char *ending) { return put(path, "", ending); }

path_text path_last(const char *path) {
    path_text p = path_add_ending(path, "");
    for (size_t n = strlen(p.text); n > 1 && p.text[n - 1] == '/';) p.text[--n] = 0;
    const char *slash = strrchr(p.text, '/');
    return slash && slash[1] ? path_add_ending(slash + 1, "") : p;
}

bool path_ends_with(const char *path, const char *ending) {
    size_t n = strlen(path), m = strlen(ending);
    return n >= m && strcmp(path + n - m, ending) == 0;
}
