#include "tools/model_folder.h"

#include <stdio.h>
#include <sys/stat.h>

#include "runtime/path.h"
#include "train/checkpoint/tensor_set.h"

bool model_folder_holds(const char *folder, const char *name) {
    struct stat info;
    return stat(path_join(folder, name).text, &info) == 0;
}

status model_folder_newest(const char *run, int *found, path_text *folder) {
    comm *world;
    TRY(comm_open_self(&world));
    status_code st = checkpoint_newest(world, run, found, folder);
    comm_close(world);
    return st;
}

status model_folder_find(model_folder *f, const char *path) {
    *f = (model_folder){0};
    f->folder = path_add_ending(path, "");
    if (model_folder_holds(path, "checkpoints")) {
        int found;
        TRY(model_folder_newest(path, &found, &f->folder));
        if (!found) FAIL(DATA, "%s: the run has no checkpoint yet", path);
        f->checkpoint = true; /* checkpoint_newest has verified it */
    } else if (model_folder_holds(path, "MANIFEST")) {
        TRY(checkpoint_verify(path));
        f->checkpoint = true;
    }
    if (!tensor_set_model_in(f->folder.text))
        FAIL(DATA, "%s: found no checkpoints and no model.safetensors; expected a run, a checkpoint or a model folder",
             path);
    return model_config_load(&f->config, f->folder.text);
}
