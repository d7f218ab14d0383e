/* A model of which only the number of parameters, the layers and the width are known. */
#ifndef TALLY_PLAN_SHAPE_H
#define TALLY_PLAN_SHAPE_H

#include "train/model/model_config.h"

typedef struct {
    double parameters;
    i64 layers, width, vocabulary, context;
} plan_shape;

/* A model of the Llama family: SwiGLU, RMS norm, RoPE, untied, every head its own keys and values, heads of 128 channels (64 where
 * the width is not a multiple of 128). The feed-forward is chosen so that the parameters come nearest to those asked for. ARG if
 * they are too few for embedding, head and attention, or model_config_check refuses the shape. */
status plan_shape_find(model_config *c, const plan_shape *s);

#endif
