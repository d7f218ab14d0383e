#include "tools/model_folder.h"

#include <stdio.h>
#include <sys/stat.h>

static bool exists(const char *folder, const char *name, path_text *path) {
    struct stat info;
    snprintf(path->text, sizeof path->text, "%.4000s/%s", folder, name);
    return stat(path->text, &info) == 0;
}

status model_folder_find(model_folder *f, const char *path) {
    path_text probe;
    *f = (model_folder){0};
    snprintf(f->folder.text, sizeof f->folder.text, "%.4000s", path);
    if (exists(path, "checkpoints", &probe)) {
        int found;
        TRY(checkpoint_newest(path, &found, &f->folder));
        if (!found) FAIL(DATA, "%s: a run without a checkpoint yet", path);
        f->checkpoint = true; /* verified on the way */
    } else if (exists(path, "MANIFEST", &probe)) {
        TRY(checkpoint_verify(path));
        f->checkpoint = true;
    }
    if (!exists(f->folder.text, "model.safetensors", &f->weights))
        FAIL(DATA, "%s: found no checkpoints and no model.safetensors; expected a run, a checkpoint or a model folder",
             path);
    return model_config_load(&f->config, f->folder.text);
}
