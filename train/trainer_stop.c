/* How a signal stops a run. A step of less than LOOK_S seconds is completed. In a longer step, and in an evaluation, the ranks
 * exchange about every LOOK_S seconds, between two units of the model, whether a signal was received; if so, all of them leave
 * the step at the same unit. The weights are still those of the last complete step, which is saved. */
#include "train/trainer_parts.h"

#include "runtime/stop.h"

enum { LOOK_S = 2 };

bool trainer_stopped(const trainer *t) {
    if (t->world->ranks == 1) return stop_signal() != 0;
    for (int r = 0; r < t->world->ranks; r++)
        if (t->all[r].stop) {
            stop_request((int)t->all[r].stop);
            return true;
        }
    return false;
}

/* All ranks must exchange at the same unit, so clocks cannot decide. The last step time of the slowest rank is known to all. */
void trainer_look_begin(trainer *t) {
    i64 micro_batches = t->global_batch / (t->o->batch * t->o->seq_len * t->world->ranks);
    double slowest = 0;
    for (int r = 0; r < t->world->ranks; r++)
        if (t->all[r].step_s > slowest) slowest = t->all[r].step_s;
    double looks = (double)(micro_batches * (2 * t->c.L + 1)), every = slowest > 0 ? looks / slowest * LOOK_S : 1;
    t->look_every = stop_is_tested() || every < 1 ? 1 : every < 1e9 ? (uint64_t)every : 1000000000;
    t->looks = 0;
}

/* signal: one that some rank has received, or 0; the same on all ranks */
static status ask(trainer *t, uint64_t *signal) {
    meter *clock = t->peers->root->clock;
    *signal = (uint64_t)stop_signal();
    if (t->world->ranks == 1) return STATUS_OK;
    uint64_t mine = *signal;
    if (t->dev->kind != DEVICE_CPU) comm_set_meter(t->peers, NULL); /* a GPU continues to compute meanwhile */
    TRY(comm_allgather_host(t->world, t->asked, &mine, sizeof mine));
    comm_set_meter(t->peers, clock);
    t->asked_bytes += sizeof mine * (uint64_t)(t->world->ranks - 1);
    for (int r = 0; r < t->world->ranks && !*signal; r++) *signal = t->asked[r];
    return STATUS_OK;
}

status trainer_look(void *context) {
    trainer *t = context;
    uint64_t signal;
    if (++t->looks % t->look_every) return STATUS_OK;
    TRY(ask(t, &signal));
    if (!signal) return STATUS_OK;
    stop_request((int)signal);
    FAIL(STOPPED, "stopped by %s", stop_name((int)signal));
}

void trainer_begin_work(trainer *t) {
    meter_settle(&t->bill.time);
    memcpy(t->work_began, t->bill.time.booked_ns, sizeof t->work_began);
}

/* The resumed run repeats the step. */
void trainer_lose_work(trainer *t) {
    static const booking of_steps[] = {BOOK_USEFUL, BOOK_RECOMPUTE, BOOK_COMMUNICATION, BOOK_DATA};
    meter *m = &t->bill.time;
    meter_settle(m);
    for (size_t i = 0; i < sizeof of_steps / sizeof *of_steps; i++) {
        uint64_t now = m->booked_ns[of_steps[i]], then = t->work_began[of_steps[i]];
        if (now > then)
            meter_move(m, of_steps[i], BOOK_LOST,
                       now - then); /* it can be less if time in which the process was stopped was deducted */
    }
}
