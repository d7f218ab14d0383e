#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "runtime/log.h"
#include "runtime/path.h"
#include "runtime/tokens.h"
#include "train/model/presets.h"
#include "train/trainer_parts.h"

/* --- opening --- */

static bool model_has_tokenizer(const trainer *t) {
    static const char *const files[] = {"tokenizer.json", "vocab.json", "encoder.json"};
    bool has = false;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        has |= access(path_join(t->o->model, files[i]).text, F_OK) == 0;
    return has;
}

/* --tokenizer, or that of the model's folder. NULL: neither, or that of the folder is the one of bytes; text is then bytes. */
status trainer_open_tokenizer(trainer *t) {
    if (t->o->tokenizer) return tokenizer_open(&t->tokenizer, t->o->tokenizer);
    if (!model_has_tokenizer(t)) return STATUS_OK;
    /* trainer_choose_vocabulary compares its size with the model's */
    TRY(model_files_tokenizer(&t->tokenizer, t->o->model, INT32_MAX));
    if (strcmp(tokenizer_fingerprint(t->tokenizer), "bytes") != 0) return STATUS_OK;
    tokenizer_close(t->tokenizer);
    t->tokenizer = NULL;
    return STATUS_OK;
}

/* Turning text into tokens may take longer than --comm-timeout. So rank 0 does it in a thread, and tells the others to go on
 * waiting. */
typedef struct {
    trainer *t;
    const dataset_options *o;
    status_code st;
    char message[1024];
    atomic_bool ended;
} opening;

static void *open_in_thread(void *argument) {
    opening *a = argument;
    a->st = dataset_open(&a->t->data, a->o);
    snprintf(a->message, sizeof a->message, "%s", status_message());
    atomic_store(&a->ended, true);
    return NULL;
}

static status open_first(trainer *t, const dataset_options *o) {
    opening a = {.t = t, .o = o};
    pthread_t thread;
    uint64_t working = 1;
    status_code st = STATUS_OK;
    if (t->world->ranks == 1) return dataset_open(&t->data, o);
    bool started = !pthread_create(&thread, NULL, open_in_thread, &a);
    if (!started) open_in_thread(&a);
    for (int waits = 0; working && !st; waits++) {
        working = !atomic_load(&a.ended);
        if (!working || waits % 1000 == 999) st = comm_broadcast_host(t->world, &working, sizeof working);
        if (working) usleep(1000);
    }
    if (started) pthread_join(thread, NULL);
    TRY(st);
    return a.st ? status_fail(a.st, __FILE__, __LINE__, "%s", a.message) : STATUS_OK;
}

static status wait_for_first(const trainer *t) {
    uint64_t working = 1;
    while (working) TRY(comm_broadcast_host(t->world, &working, sizeof working));
    return STATUS_OK;
}

static status open_dataset(trainer *t) {
    const train_options *o = t->o;
    bool root = trainer_is_root(t);
    path_text folder = path_join(o->out, "data");
    dataset_options d = {.from = o->data,
                         .val_fraction = o->val_fraction,
                         .seed = o->seed,
                         .tokenizer = t->tokenizer,
                         .threads = t->dev->threads,
                         .folder = folder.text};
    TRY(comm_agree(t->world, root ? open_first(t, &d) : wait_for_first(t)));
    d.made = true;
    return comm_agree(t->world, root ? STATUS_OK : dataset_open(&t->data, &d));
}

typedef struct {
    uint64_t crc32, count, train_count;
} data_card;

static status check_same_data(const trainer *t) {
    const dataset *d = &t->data;
    int ranks = t->world->ranks, r = 1;
    data_card mine = {d->crc32, (uint64_t)d->tokens, (uint64_t)d->train_tokens},
              *all = calloc((size_t)ranks, sizeof *all);
    if (!all) FAIL(MEM, "no memory for %d ranks", ranks);
    status_code st = STATUS_OK;
    TRY_DONE(comm_allgather_host(t->world, all, &mine, sizeof mine));
    while (r < ranks && memcmp(&all[r], &all[0], sizeof *all) == 0) r++;
    if (r < ranks)
        FAIL_DONE(DATA,
                  "--data: rank %d reads %lu tokens, %lu of them to train on, with crc32 %08lx; rank 0 reads %lu, %lu, "
                  "%08lx; "
                  "expected the same files and --val-fraction on all ranks",
                  r, all[r].count, all[r].train_count, all[r].crc32, all[0].count, all[0].train_count, all[0].crc32);
done:
    free(all);
    return st;
}

/* --- the vocabulary --- */

static bool is_preset(const char *name) {
    for (int i = 0; i < presets_count(); i++)
        if (strcmp(presets_name(i), name) == 0) return true;
    return false;
}

static status check_vocabulary(const trainer *t, i64 of_model, i64 of_data) {
    if (of_data > of_model)
        FAIL(DATA,
             "%s %s: has a vocabulary of %ld tokens, but the tokenizer of the data has %ld; expected a model whose "
             "vocabulary holds them all",
             t->o->init ? "--init" : "--model", t->o->model, of_model, of_data);
    return STATUS_OK;
}

/* before text becomes tokens, which may take hours */
static status check_vocabulary_early(const trainer *t) {
    model_config c;
    if (!t->tokenizer || is_preset(t->o->model)) return STATUS_OK;
    TRY(model_config_load(&c, t->o->model));
    bool bytes = strcmp(tokenizer_fingerprint(t->tokenizer), "bytes") == 0;
    return bytes ? STATUS_OK : check_vocabulary(t, c.V, tokenizer_size(t->tokenizer));
}

/* Given weights know the tokens of some tokenizer. Only if they have the vocabulary of bytes, those are bytes. */
static void warn_of_bytes(const trainer *t) {
    if (!t->o->init || t->o->tokenizer || model_has_tokenizer(t) || t->c.V == BYTE_VOCABULARY) return;
    log_line("warning: --init %s: found no tokenizer.json, so tokens are bytes, though the vocabulary has %ld tokens; "
             "give --tokenizer PATH if they are not",
             t->o->init, t->c.V);
}

/* A preset takes the vocabulary of the data, since its weights are new; a config.json says how many tokens there are, perhaps
 * more than the tokenizer has, but with bytes it takes theirs too. Given weights keep their vocabulary. */
status trainer_choose_vocabulary(trainer *t) {
    const dataset *d = &t->data;
    model_config *c = &t->c;
    bool bytes = strcmp(d->fingerprint, "bytes") == 0, preset = is_preset(t->o->model);
    i64 before = c->V;
    if (bytes) warn_of_bytes(t);
    if (t->o->init) preset = bytes = false;
    if (bytes || (preset && (d->fingerprint[0] || d->vocabulary > c->V))) c->V = d->vocabulary;
    if (bytes && before != c->V)
        log_line("vocabulary: %ld, bytes and end-of-text, from the data (%s has %ld)", c->V, c->name, before);
    else if (before != c->V) log_line("vocabulary: %ld, from the data (%s has %ld)", c->V, c->name, before);
    return check_vocabulary(t, c->V, d->vocabulary);
}

status trainer_open_data(trainer *t) {
    TRY(comm_agree(t->world, check_vocabulary_early(t)));
    TRY(open_dataset(t));
    if (!t->tokenizer && strcmp(t->data.fingerprint, "bytes") == 0)
        TRY(comm_agree(t->world, tokenizer_open(&t->tokenizer, NULL)));
    return check_same_data(t);
}

status trainer_open_loader(trainer *t) {
    bool resumed = t->p.step > 0;
    loader_options o = {.B = t->o->batch,
                        .T = t->o->seq_len,
                        .seed = t->o->seed,
                        .rank = t->world->rank,
                        .ranks = t->world->ranks,
                        .documents = t->o->mask_documents,
                        .order = !resumed           ? LOADER_ORDER_CHOOSE
                                 : t->p.keyed_order ? LOADER_ORDER_KEYED
                                                    : LOADER_ORDER_TABLE};
    mix_position position = {.windows = (i64)t->p.windows};
    if (t->p.source_count && t->p.source_count != (uint64_t)t->data.count)
        FAIL(DATA, "the checkpoint has the positions of %lu sources, but --data has %d", t->p.source_count,
             t->data.count);
    if (!t->p.source_count) position.used[0] = position.windows;
    for (uint64_t i = 0; i < t->p.source_count; i++) position.used[i] = (i64)t->p.sources[i].windows;
    dataset_allow(&t->data, t->c.V);
    TRY(loader_open(&t->loader, t->data.sources, t->data.count, o, &position));
    t->p.keyed_order = loader_order_of(t->loader) == LOADER_ORDER_KEYED;
    trainer_set_position(t, &position);
    return STATUS_OK;
}

/* --- where the run is in its data --- */

void trainer_set_position(trainer *t, const mix_position *position) {
    t->p.windows = (uint64_t)position->windows;
    t->p.source_count = (uint64_t)t->data.count;
    for (int i = 0; i < t->data.count; i++) {
        const char *name = t->data.sources[i].name;
        size_t length = strlen(name), most = sizeof t->p.sources[i].data - 1;
        snprintf(t->p.sources[i].data, most + 1, "%s", length > most ? name + length - most : name);
        t->p.sources[i].windows = (uint64_t)position->used[i];
        t->p.sources[i].epochs = (double)position->used[i] / (double)loader_windows_per_epoch(t->loader, i);
    }
}

void trainer_log_epochs(const trainer *t) {
    for (int i = 0; i < t->data.count && t->data.count > 1; i++)
        log_line("data: %s: %.4g epochs, %lu sequences", t->data.sources[i].name, t->p.sources[i].epochs,
                 t->p.sources[i].windows);
}

/* --- held out --- */

bool trainer_holds_out(const trainer *t) {
    for (int i = 0; i < t->data.count; i++)
        if (source_held_out_batches(&t->data.sources[i], 1, 1)) return true;
    return false;
}

status trainer_evaluate(trainer *t, double *loss) {
    double sum = 0, weights = 0;
    if (t->data.count == 1) return step_evaluate(&t->m, t->data.sources, t->o->eval_batches, loss);
    for (int i = 0; i < t->data.count; i++) {
        source *s = &t->data.sources[i];
        double one;
        if (!source_held_out_batches(s, 1, 1)) continue;
        TRY(step_evaluate(&t->m, s, t->o->eval_batches, &one));
        log_line("held-out loss of %s: %.4f", s->name, one);
        sum += s->weight * one;
        weights += s->weight;
    }
    *loss = weights > 0 ? sum / weights : NAN;
    return STATUS_OK;
}
