/* What is known beforehand: the switches that all models of a family share, and published models by name. */
#ifndef TALLY_PRESETS_H
#define TALLY_PRESETS_H

#include "train/model/model_config.h"

void presets_apply_architecture(model_config *c,
                                architecture arch); /* sets arch and its switches; leaves sizes, tied and rope */

int presets_count(void);
const char *presets_name(int i);
void presets_get(model_config *c, int i);

#endif
