#include "tools/plan_step.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "train/model/cost.h"
#include "train/step.h"

/* --- a virtual device --- */

typedef struct {
    device d;
    virtual_clock *clock;
    double memory;
} virtual_device;

static status virtual_alloc(device *dev, void **memory, size_t bytes) {
    (void)dev;
    void *p = mmap(NULL, bytes ? bytes : 1, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) FAIL(MEM, "could not reserve %zu bytes of addresses", bytes);
    *memory = p;
    return STATUS_OK;
}

static void virtual_free(device *dev, void *memory, size_t bytes) {
    (void)dev;
    if (memory) munmap(memory, bytes ? bytes : 1);
}

static status virtual_zero(device *dev, void *memory, size_t bytes) {
    virtual_device *v = (virtual_device *)dev;
    (void)memory;
    simulated_comm_work(v->clock, (double)bytes / v->memory);
    return STATUS_OK;
}

static status virtual_copy(device *dev, void *to, const void *from, size_t bytes) {
    (void)to, (void)from;
    return virtual_zero(dev, NULL, 2 * bytes);
}

static status virtual_synchronize(device *dev) {
    (void)dev;
    return STATUS_OK;
}

static void virtual_close(device *dev) { (void)dev; }

static const device_ops virtual_ops = {.alloc = virtual_alloc,
                                       .free = virtual_free,
                                       .zero = virtual_zero,
                                       .copy = virtual_copy,
                                       .synchronize = virtual_synchronize,
                                       .close = virtual_close};

/* A device with addresses and no memory: an access is a fault. */
static status open_virtual_device(device **dev, virtual_clock *k, double memory) {
    virtual_device *v = calloc(1, sizeof *v);
    if (!v) FAIL(MEM, "no memory for a device");
    *v = (virtual_device){
        .d = {.kind = DEVICE_CUDA, .ops = &virtual_ops, .name = "virtual", .threads = 1}, .clock = k, .memory = memory};
    *dev = &v->d;
    return STATUS_OK;
}

/* --- FLOPs and bytes of each unit --- */

/* a model of this layer alone; layer -1: of none */
static flop_counter flops_of(const step_plan *plan, i64 layer) {
    model_config c = plan->c;
    recompute_policy r = plan->s.recompute;
    bool there = layer >= 0;
    c.L = there;
    c.window = there ? model_config_window(&plan->c, layer) : 0;
    c.full_layers[0] = 0;
    r.blocks = there && recompute_of_block(plan->s.recompute, layer) == RECOMPUTE_BLOCK;
    return cost_training_flops(&c, r, plan->s.B, plan->s.T);
}

static double block_flops(const step_plan *plan, i64 layer, pass p) {
    flop_counter with = flops_of(plan, layer), without = flops_of(plan, -1);
    u128 forward = with.work[WORK_FORWARD] - without.work[WORK_FORWARD];
    if (p == PASS_FORWARD) return (double)forward;
    return (double)(meter_flops_executed(&with) - meter_flops_executed(&without) - forward);
}

static double head_flops(const step_plan *plan) {
    flop_counter f = flops_of(plan, -1);
    return (double)meter_flops_executed(&f);
}

/* forward reads a row and writes one; backward reads the gradient and adds to a row in f32 */
static double embedding_bytes(const step_plan *plan, pass p) {
    double elements = (double)(plan->s.B * plan->s.T) * (double)plan->c.C, t = (double)dtype_bytes(plan->o.t);
    return elements * (p == PASS_FORWARD ? 2 * t : t + 8);
}

static double update_bytes(const parameters *s) {
    double t = (double)dtype_bytes(s->o.t), moments = (double)dtype_bytes(s->o.moments);
    double weights = s->o.master ? 8 + t : 2 * t;
    i64 own = s->p.size / s->f.pieces;
    return (double)own * (2 * 4 + 2 * 2 * moments + weights);
}

/* --- the callbacks of the walk: each advances the clock --- */

typedef struct {
    const parameters *s;
    const step_plan *plan;
    const machine *m;
    virtual_clock *clock;
} simulation;

static status gemms_of(const simulation *s, double flops) {
    simulated_comm_work(s->clock, flops / s->m->flops);
    return STATUS_OK;
}

static status traffic_of(const simulation *s, double bytes) {
    simulated_comm_work(s->clock, bytes / s->m->memory);
    return STATUS_OK;
}

static status forward_embedding(void *context, const walk_unit *u) {
    const simulation *s = context;
    (void)u;
    return traffic_of(s, embedding_bytes(s->plan, PASS_FORWARD));
}

static status forward_block(void *context, const walk_unit *u) {
    const simulation *s = context;
    return gemms_of(s, block_flops(s->plan, u->layer, PASS_FORWARD));
}

static status head_loss(void *context, const walk_unit *u) {
    const simulation *s = context;
    (void)u;
    return gemms_of(s, head_flops(s->plan));
}

static status backward_block(void *context, const walk_unit *u) {
    const simulation *s = context;
    return gemms_of(s, block_flops(s->plan, u->layer, PASS_BACKWARD));
}

static status backward_embedding(void *context, const walk_unit *u) {
    const simulation *s = context;
    (void)u;
    return traffic_of(s, embedding_bytes(s->plan, PASS_BACKWARD));
}

static status update(void *context, const step_sums *all) {
    const simulation *s = context;
    (void)all;
    return traffic_of(s, update_bytes(s->s));
}

static status simulate_step(parameters *s, const step_plan *plan, const machine *m, virtual_clock *k) {
    static const walk_ops ops = {.embed_forward = forward_embedding,
                                 .block_forward = forward_block,
                                 .head_loss = head_loss,
                                 .block_backward = backward_block,
                                 .embed_backward = backward_embedding};
    static const walk_end_ops end_ops = {.update = update};
    step_sums none; /* no data moves */
    walk_sums sums = {.mine = &none, .all = &none};
    simulation context = {s, plan, m, k};
    walk w = {s, &ops, &context};
    for (i64 i = 0; i < plan->micro_batches; i++) TRY(walk_train(&w, i == 0, i + 1 == plan->micro_batches));
    return walk_end_step(s, &sums, &end_ops, &context);
}

/* --- one step --- */

enum { STEPS_BEFORE = 2 };

static status simulate_steps(prediction *p, parameters *s, const step_plan *plan, const machine *m, virtual_clock *k) {
    parameters_weights_changed(s);
    for (int i = 0; i < STEPS_BEFORE; i++) TRY(simulate_step(s, plan, m, k));
    virtual_clock since = *k;
    comm_totals before = comm_read_totals(s->o.shard.world);
    TRY(simulate_step(s, plan, m, k));
    comm_totals after = comm_read_totals(s->o.shard.world);
    if (k->overflow)
        FAIL(ARG, "predicted time or bytes sent: above %.3g ns or bytes in %d steps, expected less", 0x1p62,
             STEPS_BEFORE + 1);
    p->step_ns = k->now_ns - since.now_ns;
    p->compute_ns = k->compute_ns - since.compute_ns;
    p->exposed_ns = after.waited_ns - before.waited_ns;
    p->communication_ns = after.busy_ns - before.busy_ns;
    p->bytes_sent = after.bytes_sent - before.bytes_sent;
    return STATUS_OK;
}

static bool known(network_link l) { return !isnan(l.bandwidth) && !isnan(l.latency); }

/* Nothing crosses a link that is not known: then its speed does not matter. */
static status check_links(network *net, int ranks) {
    static const network_link unused = {INFINITY, 0};
    if (ranks > 1 && net->per_node > 1 && !known(net->inside))
        FAIL(ARG,
             "%d devices: no link inside a node is known; expected --node-link, or --node-bandwidth and --node-latency",
             ranks);
    if (ranks > net->per_node && !known(net->between))
        FAIL(ARG,
             "%d devices: no network between nodes is known; expected --network, or --network-bandwidth and "
             "--network-latency",
             ranks);
    if (!known(net->inside)) net->inside = unused;
    if (!known(net->between)) net->between = unused;
    return STATUS_OK;
}

static status predict_all(prediction *p, const step_plan *plan, const machine *m) {
    status_code st = STATUS_OK;
    virtual_clock k = {.blocking = m->blocking};
    device *dev = NULL;
    comm *world = NULL;
    parameters s = {0};
    arena memory = {0};
    parameters_options o = plan->o;
    network net = m->net;
    int pieces;
    TRY(check_links(&net, o.shard.ranks));
    TRY_DONE(open_virtual_device(&dev, &k, m->memory));
    TRY_DONE(step_memory(p->memory, m->layout ? m->layout : dev, &plan->c, plan->s, o));
    TRY_DONE(fsdp_pieces(&pieces, &o.shard));
    TRY_DONE(simulated_comm_open(&world, &k, &net, o.shard.ranks, pieces));
    o.shard.world = world;
    TRY_DONE(parameters_init(&s, dev, &plan->c, o));
    parameters_layout(&s, &memory);
    TRY_DONE(arena_commit(&memory, dev));
    parameters_layout(&s, &memory);
    TRY_DONE(simulate_steps(p, &s, plan, m, &k));
done:
    arena_free(&memory);
    parameters_free(&s);
    comm_close(world);
    device_close(dev);
    return st;
}

/* Two slots alternate, so that from some micro-batch on every second one is like the one two before it: what they add is
 * multiplied instead of simulated. */
enum { SIMULATED_MICRO_BATCHES = 16 };

static bool extrapolate(uint64_t *to, uint64_t less, uint64_t more, i64 times) {
    uint64_t added;
    return !__builtin_mul_overflow(more - less, (uint64_t)times, &added) && !__builtin_add_overflow(more, added, to) &&
           *to < UINT64_C(1) << 62;
}

status plan_step_predict(prediction *p, const step_plan *plan, const machine *m) {
    prediction less, more;
    step_plan first = *plan;
    i64 pairs = (plan->micro_batches - SIMULATED_MICRO_BATCHES + 1) / 2;
    if (pairs <= 0) return predict_all(p, plan, m);
    first.micro_batches = plan->micro_batches - 2 * pairs;
    TRY(predict_all(&more, &first, m));
    first.micro_batches -= 2;
    TRY(predict_all(&less, &first, m));
    *p = more;
    if (!extrapolate(&p->step_ns, less.step_ns, more.step_ns, pairs) ||
        !extrapolate(&p->compute_ns, less.compute_ns, more.compute_ns, pairs) ||
        !extrapolate(&p->exposed_ns, less.exposed_ns, more.exposed_ns, pairs) ||
        !extrapolate(&p->communication_ns, less.communication_ns, more.communication_ns, pairs) ||
        !extrapolate(&p->bytes_sent, less.bytes_sent, more.bytes_sent, pairs))
        FAIL(ARG, "predicted time or bytes sent: above %.3g ns or bytes in a step, expected less", 0x1p62);
    return STATUS_OK;
}

status plan_step_memory(size_t memory[MEM_CATEGORIES], const step_plan *plan, const machine *m) {
    virtual_clock k = {0};
    device *dev = NULL;
    if (m->layout) return step_memory(memory, m->layout, &plan->c, plan->s, plan->o);
    TRY(open_virtual_device(&dev, &k, m->memory));
    status_code st = step_memory(memory, dev, &plan->c, plan->s, plan->o);
    device_close(dev);
    return st;
}
