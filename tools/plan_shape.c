#include "tools/plan_shape.h"

#include <math.h>
#include <string.h>

#include "train/model/presets.h"

status plan_shape_find(model_config *c, const plan_shape *s) {
    i64 D = s->width % 128 == 0 ? 128 : 64;
    if (s->width % D) FAIL(ARG, "--width %ld: expected a multiple of 64", s->width);
    *c = (model_config){.L = s->layers,
                        .C = s->width,
                        .H = s->width / D,
                        .K = s->width / D,
                        .D = D,
                        .V = s->vocabulary,
                        .context = s->context,
                        .norm_eps = 1e-5F,
                        .init_std = 0.02};
    strcpy(c->name, "shape as given");
    presets_apply_architecture(c, ARCH_LLAMA);
    c->rope.theta = 10000;
    double rest = (double)model_config_parameters(c), of_one = 3.0 * (double)s->layers * (double)s->width;
    double F = nearbyint((s->parameters - rest) / of_one);
    if (F < 1)
        FAIL(ARG,
             "--parameters %.4g: embedding, head and attention of --layers %ld, --width %ld, --vocabulary %ld "
             "alone have %.4g; expected more parameters, or a smaller shape",
             s->parameters, s->layers, s->width, s->vocabulary, rest);
    if (F > 1e9)
        FAIL(ARG, "--parameters %.4g: expected fewer for --layers %ld, --width %ld", s->parameters, s->layers,
             s->width);
    c->F = (i64)F;
    return model_config_check(c);
}
