#include "runtime/text.h"

#include <math.h>
#include <stdio.h>

static short_text scaled(double x, double base, const char *const *units, int count) {
    int u = 0;
    while (fabs(x) >= base && u + 1 < count) x /= base, u++;
    short_text s;
    int digits = u == 0 && x == floor(x) ? 0 : fabs(x) < 10 ? 2 : 1;
    snprintf(s.text, sizeof s.text, "%.*f%s", digits, x, units[u]);
    return s;
}

short_text text_bytes(double bytes) {
    static const char *const units[] = {" B", " KiB", " MiB", " GiB", " TiB"};
    return scaled(bytes, 1024, units, 5);
}

short_text text_count(double count) {
    static const char *const units[] = {"", "k", "M", "G", "T", "P", "E"};
    return scaled(count, 1000, units, 7);
}

short_text text_seconds(double seconds) {
    short_text s;
    if (!(fabs(seconds) < 1e15)) { /* a NaN too: it has no integer */
        snprintf(s.text, sizeof s.text, isnan(seconds) ? "unknown" : "%.3gs", seconds);
        return s;
    }
    long t = (long)(seconds + 0.5);
    if (seconds < 10) snprintf(s.text, sizeof s.text, "%.1fs", seconds);
    else if (t < 60) snprintf(s.text, sizeof s.text, "%lds", t);
    else if (t < 3600) snprintf(s.text, sizeof s.text, "%ldm %02lds", t / 60, t % 60);
    else if (t < 48 * 3600) snprintf(s.text, sizeof s.text, "%ldh %02ldm", t / 3600, t / 60 % 60);
    else snprintf(s.text, sizeof s.text, "%ldd %02ldh", t / 86400, t / 3600 % 24);
    return s;
}

short_text text_usd(double usd) {
    short_text s;
    snprintf(s.text, sizeof s.text, usd != 0 && fabs(usd) < 1 ? "$%.4f" : "$%.2f", usd);
    return s;
}
