/* Parameters whose elements are functions of their name and index, so that loaded values can be checked without a copy. */
#ifndef TALLY_FILLED_PARAMETERS_H
#define TALLY_FILLED_PARAMETERS_H

#include <zlib.h>

#include "tests/tiny_model.h"

/* element i of a buffer ("weights", "master", "m", "v") of a parameter: one of 2^24 floats; in bf16 the nearest */
static inline float filled_value(const char *buffer, const param *p, i64 i) {
    param_name name = param_table_name(p);
    uint64_t x = crc32(crc32(0, (const void *)name.text, (unsigned)strlen(name.text)), (const void *)buffer,
                       (unsigned)strlen(buffer));
    x = (x << 32 | (uint64_t)i) * 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 32) * 0xd6e8feb86659fd93u;
    return (float)(x >> 40) * 0x1p-24f - 0.5f;
}

typedef void filled_visit(void *element, dtype t, float value, const char *what, const param *p, i64 i);

static inline void filled_set(void *element, dtype t, float value, const char *what, const param *p, i64 i) {
    (void)what, (void)p, (void)i;
    if (t == BF16) *(bf16 *)element = bf16_from_f32(value);
    else *(float *)element = value;
}

static inline void filled_check(void *element, dtype t, float value, const char *what, const param *p, i64 i) {
    float got = t == BF16 ? bf16_to_f32(*(bf16 *)element) : *(float *)element;
    if (t == BF16) value = bf16_to_f32(bf16_from_f32(value));
    if (memcmp(&got, &value, 4) != 0)
        fail_msg("%s of %s, element %ld: found %.9g, expected %.9g", what, param_table_name(p).text, i, got, value);
}

/* every element that this rank owns */
static inline void filled_each(parameters *s, filled_visit *visit) {
    for (int k = 0; k < s->p.count; k++) {
        const param *p = &s->p.list[k];
        owned_part o = parameters_owned(s, p);
        for (i64 i = 0; i < o.count; i++) {
            i64 e = o.first + i;
            visit(tensor_at(o.weights, s->o.t, i), s->o.t, filled_value("weights", p, e), "weights", p, e);
            if (!s->o.training) continue;
            if (s->master) visit(s->master + o.at + i, F32, filled_value("master", p, e), "master", p, e);
            visit(tensor_at(s->m, s->o.moments, o.at + i), s->o.moments, filled_value("m", p, e), "m", p, e);
            visit(tensor_at(s->v, s->o.moments, o.at + i), s->o.moments, filled_value("v", p, e), "v", p, e);
        }
    }
}

/* the weights of all ranks, as they are gathered to be saved */
static inline void filled_check_whole(parameters *s) {
    for (int u = 0; u < s->p.unit_count; u++) {
        unit_views v;
        OK(parameters_whole(s, u, &v));
        for (int kind = 0; kind < P_KINDS; kind++) {
            const param *p = param_table_find(&s->p, u, (param_kind)kind);
            for (i64 i = 0; p && i < p->rows * p->cols; i++)
                filled_check(tensor_at(v.w[kind], s->o.t, i), s->o.t, filled_value("weights", p, i), "whole weights", p,
                             i);
        }
    }
    parameters_whole_end(s);
}

#endif
