/* The switches that all models of a family share, and the shapes of published models by name. */
#ifndef TALLY_PRESETS_H
#define TALLY_PRESETS_H

#include "train/model/model_config.h"

/* Sets c->arch and the switches of that family. Leaves sizes, tied and rope. */
void presets_apply_architecture(model_config *c, architecture arch);

int presets_count(void);
const char *presets_name(int i);
void presets_get(model_config *c, int i);

#endif
