#include "train/checkpoint/checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "runtime/durable.h"
#include "runtime/json.h"
#include "runtime/log.h"
#include "runtime/path.h"
#include "train/checkpoint/finite.h"
#include "train/checkpoint/manifest.h"
#include "train/checkpoint/optimizer_file.h"
#include "train/checkpoint/weights.h"

path_text checkpoint_path(const char *run, uint64_t step) {
    char name[64];
    snprintf(name, sizeof name, "checkpoints/step-%lu", step);
    return path_join(run, name);
}

/* a folder of the same step that is not yet, or no longer, a checkpoint */
static path_text hidden_path(const char *run, uint64_t step, const char *suffix) {
    char name[64];
    snprintf(name, sizeof name, "checkpoints/.step-%lu.%s", step, suffix);
    return path_join(run, name);
}

/* --- reading --- */

/* Checks the size of every file and this rank's share of the blocks: block b of file i belongs to rank (i + b) % ranks. */
static status verify_share(const char *folder, int rank, int ranks) {
    manifest m;
    TRY(manifest_read(&m, folder));
    status_code st = STATUS_OK;
    for (int i = 0; !st && i < m.count; i++)
        st = blockfile_check_some(folder, &m.files[i], (rank + ranks - i % ranks) % ranks, ranks);
    manifest_free(&m);
    return st;
}

static status verify(comm *world, const char *folder) {
    return comm_agree(world, verify_share(folder, world->rank, world->ranks));
}

status checkpoint_verify(const char *folder) { return verify_share(folder, 0, 1); }

status checkpoint_progress(const char *folder, progress *p) {
    return progress_read(p, path_join(folder, "progress.json").text);
}

static status load_optimizer(const char *folder, parameters *s,
                             status_code (*read)(parameters *s, const char *folder, const path_text *, int)) {
    manifest m;
    int count = 0;
    TRY(manifest_read(&m, folder));
    status_code st = STATUS_OK;
    path_text *files = malloc((size_t)m.count * sizeof *files);
    if (!files) FAIL_DONE(MEM, "%s: no memory for %d files", folder, m.count);
    for (int i = 0; i < m.count; i++)
        if (strncmp(m.files[i].name, "optimizer", 9) == 0) files[count++] = path_join(folder, m.files[i].name);
    st = read(s, folder, files, count);
done:
    free(files);
    manifest_free(&m);
    return st;
}

status checkpoint_load(const char *folder, parameters *s, const model_config *c) {
    TRY(weights_read(s, c, folder));
    return comm_agree(s->o.shard.world, load_optimizer(folder, s, optimizer_file_read));
}

status checkpoint_load_weights(const char *folder, parameters *s, const model_config *c) {
    TRY(weights_read(s, c, folder));
    return s->o.t == F32 ? load_optimizer(folder, s, optimizer_file_read_master) : STATUS_OK;
}

/* --- writing --- */

/* Writes this rank's files; *text: their lines of the manifest. */
static status write_share(char **text, const char *folder, parameters *s, const model_config *c) {
    blockfile_sums weights = {0}, optimizer = {0};
    size_t size;
    FILE *lines = NULL;
    *text = NULL;
    status_code st = weights_write(s, c, folder, &weights); /* collective: nothing that can fail may come before it */
    if (!st) st = optimizer_file_write(s, folder, &optimizer);
    if (st) goto done;
    if (!(lines = open_memstream(text, &size))) FAIL_DONE(MEM, "%s: no memory for its manifest", folder);
    manifest_line(lines, &weights);
    manifest_line(lines, &optimizer);
    if (fclose(lines)) FAIL_DONE(MEM, "%s: no memory for its manifest", folder);
done:
    free(weights.crc);
    free(optimizer.crc);
    return st;
}

/* Replaces *text by the texts of all ranks in a row, on every rank. */
static status join_texts(comm *world, char **text) {
    char *all;
    size_t row, joined = 0;
    if (world->ranks == 1) return STATUS_OK;
    TRY(comm_gather_texts(world, &all, &row, *text));
    for (int r = 0; r < world->ranks; r++) {
        const char *from = all + row * (size_t)r;
        size_t length = strlen(from);
        memmove(all + joined, from, length);
        joined += length;
    }
    all[joined] = 0;
    free(*text);
    *text = all;
    return STATUS_OK;
}

/* Writes what one rank writes for all, after all ranks have written their files. */
static status write_common(const char *folder, const parameters *s, const checkpoint_contents *with,
                           const char *shares) {
    bool several = s->o.shard.world->ranks > 1;
    char *text, *all = NULL;
    size_t size;
    FILE *lines = open_memstream(&all, &size);
    if (!lines) FAIL(MEM, "%s: no memory for its manifest", folder);
    status_code st = STATUS_OK;
    TRY_DONE(model_files_write(lines, folder, with->files, with->config, s->o.t, with->progress));
    fputs(shares, lines);
    if (several) {
        TRY_DONE(weights_index(&text, s, with->config));
        TRY_DONE(model_files_put(lines, folder, "model.safetensors.index.json", text));
    }
    TRY_DONE(progress_text(&text, with->progress));
    TRY_DONE(model_files_put(lines, folder, "progress.json", text));
    if (fflush(lines)) FAIL_DONE(MEM, "%s: no memory for its manifest", folder);
    TRY_DONE(manifest_write(folder, MANIFEST_FREE, all));
    st = durable_sync_folder(folder);
done:
    fclose(lines);
    free(all);
    return st;
}

typedef struct {
    path_text final, temporary;
    path_text old;
    bool exists; /* there is a checkpoint of the same step */
} target;

static status set_aside(const target *to) {
    TRY(durable_remove_folder(to->old.text));
    return durable_rename(to->final.text, to->old.text);
}

static status save_into(const target *to, parameters *s, const checkpoint_contents *with) {
    comm *world = s->o.shard.world;
    bool first = world->rank == 0;
    char *shares = NULL;
    status_code st = STATUS_OK;
    if (first) st = durable_remove_folder(to->temporary.text);
    if (first && !st) st = durable_make_folders(to->temporary.text);
    TRY_DONE(comm_agree(world, st));
    TRY_DONE(comm_agree(world, write_share(&shares, to->temporary.text, s, with->config)));
    TRY_DONE(join_texts(world, &shares));
    if (first) st = write_common(to->temporary.text, s, with, shares);
    if (first && !st && to->exists) st = set_aside(to);
    if (first && !st) st = durable_rename(to->temporary.text, to->final.text);
    if (first && !st && to->exists) st = durable_remove_folder(to->old.text);
    st = comm_agree(world, st);
done:
    free(shares);
    return st;
}

status checkpoint_save(const char *run, parameters *s, const checkpoint_contents *with) {
    comm *world = s->o.shard.world;
    const progress *p = with->progress;
    target to = {.final = checkpoint_path(run, p->step),
                 .temporary = hidden_path(run, p->step, "tmp"),
                 .old = hidden_path(run, p->step, "old")};
    struct stat info;
    to.exists = stat(to.final.text, &info) == 0;
    TRY(comm_broadcast_host(world, &to.exists, sizeof to.exists));
    status_code st = save_into(&to, s, with);
    if (!st) return STATUS_OK;
    char message[1024];
    snprintf(message, sizeof message, "%s", status_message());
    /* best effort: frees space on a full disk */
    if (world->rank == 0) (void)!durable_remove_folder(to.temporary.text);
    if (st == STATUS_NUMERIC)
        FAIL(NUMERIC, "step %lu is not saved: %s; earlier checkpoints are unchanged", p->step, message);
    return status_fail(st == STATUS_COMM || st == STATUS_ARG ? st : STATUS_IO, __FILE__, __LINE__, "%s", message);
}

/* --- the checkpoints of a run --- */

static int newest_first(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* Steps of the folders named step-N, newest first. *leftovers: interrupted saves have left folders. */
static status list_steps(const char *run, uint64_t **steps, int *count, bool *leftovers) {
    path_text folder = path_join(run, "checkpoints");
    *steps = NULL;
    *count = 0;
    *leftovers = false;
    DIR *d = opendir(folder.text);
    if (!d && errno == ENOENT) return STATUS_OK;
    if (!d) FAIL(IO, "%s: %s", folder.text, strerror(errno));
    for (struct dirent *e; (e = readdir(d));) {
        uint64_t step;
        int used = 0;
        if (strncmp(e->d_name, ".step-", 6) == 0) *leftovers = true;
        if (sscanf(e->d_name, "step-%lu%n", &step, &used) != 1 || e->d_name[used]) continue;
        uint64_t *grown = realloc(*steps, (size_t)(*count + 1) * sizeof *grown);
        if (!grown) {
            closedir(d);
            free(*steps);
            FAIL(MEM, "%s: no memory for %d checkpoints", folder.text, *count + 1);
        }
        *steps = grown;
        grown[(*count)++] = step;
    }
    closedir(d);
    if (*count) qsort(*steps, (size_t)*count, sizeof **steps, newest_first);
    return STATUS_OK;
}

static status remove_leftovers(const char *run) {
    path_text folder = path_join(run, "checkpoints");
    DIR *d = opendir(folder.text);
    if (!d) FAIL(IO, "%s: %s", folder.text, strerror(errno));
    status_code st = STATUS_OK;
    for (struct dirent *e; !st && (e = readdir(d));)
        if (strncmp(e->d_name, ".step-", 6) == 0) st = durable_remove_folder(path_join(folder.text, e->d_name).text);
    closedir(d);
    return st;
}

static status prune(const char *run, uint64_t step, int64_t keep) {
    uint64_t *steps;
    int count;
    bool leftovers;
    TRY(list_steps(run, &steps, &count, &leftovers));
    status_code st = STATUS_OK;
    for (int i = 0; i < count; i++) {
        progress p;
        /* a checkpoint whose progress cannot be read counts as good */
        bool bad = checkpoint_progress(checkpoint_path(run, steps[i]).text, &p) == STATUS_OK && p.finite == 0;
        if (bad ? steps[i] == step : steps[i] <= step && keep-- > 0) continue;
        /* renamed first, because a half-removed folder must not look like a checkpoint */
        TRY_DONE(durable_rename(checkpoint_path(run, steps[i]).text, hidden_path(run, steps[i], "old").text));
        leftovers = true;
    }
    if (leftovers) TRY_DONE(remove_leftovers(run));
done:
    free(steps);
    return st;
}

status checkpoint_prune(comm *world, const char *run, uint64_t step, int64_t keep) {
    return comm_agree(world, world->rank == 0 ? prune(run, step, keep) : STATUS_OK);
}

/* The list of rank 0, on all ranks. */
static status share_steps(comm *world, const char *run, uint64_t **steps, int *count) {
    bool leftovers, first = world->rank == 0;
    status_code st = STATUS_OK;
    *steps = NULL;
    *count = 0;
    TRY(comm_agree(world, first ? list_steps(run, steps, count, &leftovers) : STATUS_OK));
    TRY_DONE(comm_broadcast_host(world, count, sizeof *count));
    if (!first && !(*steps = calloc((size_t)*count + 1, sizeof **steps)))
        st = ERROR(MEM, "%s: no memory for %d checkpoints", run, *count);
    TRY_DONE(comm_agree(world, st));
    if (*count) TRY_DONE(comm_broadcast_host(world, *steps, (size_t)*count * sizeof **steps));
done:
    if (st) free(*steps);
    return st;
}

/* what can be found out about a checkpoint before training on from it */
typedef enum { GOOD, NOT_FINITE, BROKEN } condition;

static status judge(condition *c, progress *p, comm *world, const char *folder) {
    *c = BROKEN;
    bool mine = true;
    status_code st = verify(world, folder);
    if (!st) st = comm_agree(world, checkpoint_progress(folder, p));
    bool look = !st && p->finite == PROGRESS_FINITE_UNKNOWN;
    if (look) st = comm_agree(world, finite_model(&mine, folder, world->rank, world->ranks));
    if (st == STATUS_DATA && world->rank == 0) log_line("skipped a damaged checkpoint: %s", status_message());
    if (st) return st == STATUS_DATA ? STATUS_OK : st; /* a checkpoint that cannot be read now need not be damaged */
    if (look) {
        double bad = !mine;
        TRY(comm_sum_f64(world, &bad, 1));
        p->finite = bad == 0;
    }
    *c = p->finite ? GOOD : NOT_FINITE;
    return STATUS_OK;
}

/* A skipped step does not change the weights, which may be why its loss was not finite. */
static bool same_weights(const progress *a, const progress *b) { return a->updates == b->updates; }

/* The newest good checkpoint whose weights differ from those of a newer one that is not finite; else the newest complete one. */
static status choose(comm *world, const char *run, const uint64_t *steps, int count, path_text *folder) {
    progress p, bad = {0};
    path_text newest = {""}, of_bad;
    for (int i = 0; i < count; i++) {
        condition c;
        *folder = checkpoint_path(run, steps[i]);
        TRY(judge(&c, &p, world, folder->text));
        if (c == BROKEN) continue;
        if (c == GOOD && !(newest.text[0] && same_weights(&p, &bad))) return STATUS_OK;
        if (c == GOOD) log_line("skipped %s: it has the weights of %s", folder->text, of_bad.text);
        else {
            log_line("skipped %s: its loss or its weights are not finite", folder->text);
            of_bad = *folder;
            bad = p;
        }
        if (!newest.text[0]) newest = *folder;
    }
    if (!newest.text[0]) FAIL(DATA, "%s/checkpoints: none of the %d checkpoints is complete", run, count);
    log_line("warning: there is no other checkpoint; using %s", newest.text);
    *folder = newest;
    return STATUS_OK;
}

status checkpoint_newest(comm *world, const char *run, int *found, path_text *folder) {
    uint64_t *steps;
    int count;
    *found = 0;
    TRY(share_steps(world, run, &steps, &count));
    status_code st = count ? choose(world, run, steps, count, folder) : STATUS_OK;
    *found = !st && count;
    free(steps);
    return st;
}
