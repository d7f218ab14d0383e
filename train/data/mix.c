#include "train/data/mix.h"

#include <math.h>

mix mix_init(const double *weights, int count) {
    mix m = {.count = count};
    double sum = 0;
    for (int i = 0; i < count; i++) sum += weights[i];
    for (int i = 0; i < count; i++) {
        m.share[i] = (uint64_t)fmax(1, round(weights[i] / sum * 0x1p40));
        m.shares += m.share[i];
    }
    return m;
}

int mix_next(const mix *m, mix_position *p) {
    int next = 0;
    if (m->count > 1) {
        __extension__ typedef __int128 wide;
        wide most = 0;
        for (int i = 0; i < m->count; i++) {
            wide lag = (wide)m->share[i] * (p->windows + 1) - (wide)m->shares * p->used[i];
            if (i == 0 || lag > most) most = lag, next = i;
        }
    }
    p->windows++;
    p->used[next]++;
    return next;
}
