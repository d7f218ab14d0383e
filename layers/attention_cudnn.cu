/* cuDNN's attention, in builds with -DTALLY_CUDNN=ON: one graph per shape and direction, made with NVIDIA's frontend headers.
 *
 * This file has been compiled and linked, with cudnn-frontend 1.32 and cuDNN 9.19, but never run, for lack of a GPU. Tested
 * without a GPU: cuDNN's check_support accepts these graphs for the properties of an H100 and an A100, D 8 to 128. Not tested:
 * building plans and everything after that. tests/test_cuda_cudnn.c compares with our own kernels.
 *
 * The backward requests determinism. On Hopper, according to the frontend's source, it then keeps ds of all heads in bf16:
 * 2*B*H*T*T bytes of workspace with T rounded up to 64. From cuDNN 9.25 on, CUDNN_FRONTEND_ATTN_DP_WORKSPACE_LIMIT=0 in the
 * environment saves that memory at the cost of time. */
#include <cudnn_frontend.h> /* before ours, where `status` is a macro */

#include <algorithm>
#include <memory>

#include "layers/attention.cuh"

namespace fe = cudnn_frontend;

enum { MOST_D = 128 };
/* ids, by which execute maps a graph's tensors to addresses */
enum tensor { Q = 1, K, V, O, LSE, D_O, DQ, DK, DV, TENSORS };

struct cudnn_plan {
    cudnn_plan *next;
    attention_shape s;
    bool backward;
    fe::graph::Graph graph;
};

struct cudnn_state {
    bool chosen;
    cudnnHandle_t handle;
    void *workspace; /* one for all graphs: they run on one stream */
    size_t bytes;
    cudnn_plan *plans;
};

/* the frontend's message has cuDNN's reason on further lines */
static std::string one_line(std::string text) {
    std::replace(text.begin(), text.end(), '\n', ' ');
    return text;
}

#define FE_TRY(call)                                                                                                   \
    do {                                                                                                               \
        fe::error_t error_ = (call);                                                                                   \
        if (error_.is_bad()) FAIL(DEVICE, "cuDNN, %s: %s", #call, one_line(error_.get_message()).c_str());             \
    } while (0)

/* --- graphs --- */

typedef fe::graph::Tensor_attributes attributes;

/* rows of `heads` heads, described as cuDNN's [B,heads,T,D] */
static attributes &lay_out(attributes &x, tensor uid, i64 heads, i64 ld, const attention_shape &s) {
    return x.set_uid(uid).set_dim({s.B, heads, s.Tq, s.D}).set_stride({s.Tq * ld, s.D, ld, 1});
}

static attributes &lay_out_lse(attributes &x, const attention_shape &s) {
    x.set_uid(LSE).set_dim({s.B, s.H, s.Tq, 1}).set_stride({s.H * s.Tq, s.Tq, 1, 1});
    return x.set_data_type(fe::DataType_t::FLOAT);
}

static std::shared_ptr<attributes> input(fe::graph::Graph &g, tensor uid, i64 heads, i64 ld, const attention_shape &s) {
    attributes x;
    return g.tensor(lay_out(x, uid, heads, ld, s));
}

template <class T> static T causal(const attention_shape &s) {
    T options;
    options.set_attn_scale(s.scale);
    options.set_diagonal_alignment(fe::DiagonalAlignment_t::TOP_LEFT).set_diagonal_band_right_bound(0);
    return options;
}

static void describe_forward(fe::graph::Graph &g, const attention_shape &s) {
    auto options = causal<fe::graph::SDPA_attributes>(s).set_name("attention").set_generate_stats(true);
    auto q = input(g, Q, s.H, s.ldq, s), k = input(g, K, s.K, s.ldk, s), v = input(g, V, s.K, s.ldk, s);
    auto [o, lse] = g.sdpa(q, k, v, options);
    lay_out(*o, O, s.H, s.ldo, s).set_output(true);
    lay_out_lse(*lse, s).set_output(true);
}

static void describe_backward(fe::graph::Graph &g, const attention_shape &s) {
    auto options = causal<fe::graph::SDPA_backward_attributes>(s);
    options.set_name("attention_backward").set_deterministic_algorithm(true);
    auto q = input(g, Q, s.H, s.ldq, s), k = input(g, K, s.K, s.ldk, s), v = input(g, V, s.K, s.ldk, s);
    auto o = input(g, O, s.H, s.ldo, s), d_o = input(g, D_O, s.H, s.ldo, s);
    attributes lse;
    auto [dq, dk, dv] = g.sdpa_backward(q, k, v, o, d_o, g.tensor(lay_out_lse(lse, s)), options);
    lay_out(*dq, DQ, s.H, s.ldq, s).set_output(true);
    lay_out(*dk, DK, s.K, s.ldk, s).set_output(true);
    lay_out(*dv, DV, s.K, s.ldk, s).set_output(true);
}

static status build(fe::graph::Graph &g, cudnnHandle_t handle) {
    FE_TRY(g.validate());
    FE_TRY(g.build_operation_graph(handle));
    FE_TRY(g.create_execution_plans({fe::HeurMode_t::A}));
    FE_TRY(g.check_support());
    FE_TRY(g.build_plans());
    return STATUS_OK;
}

static cudnn_state *state_of(const device *dev) { return (cudnn_state *)dev->libraries[DEVICE_ATTENTION].state; }

static status grow_workspace(device *dev, cudnn_state *c, size_t bytes) {
    if (bytes <= c->bytes) return STATUS_OK;
    TRY(dev->ops->synchronize(dev)); /* queued graphs use the old one */
    dev->ops->free(dev, c->workspace, c->bytes);
    c->workspace = NULL;
    c->bytes = dev->libraries[DEVICE_ATTENTION].bytes = 0;
    TRY(dev->ops->alloc(dev, &c->workspace, bytes));
    c->bytes = dev->libraries[DEVICE_ATTENTION].bytes = bytes;
    return STATUS_OK;
}

static bool same_shape(const attention_shape &a, const attention_shape &b) {
    return a.B == b.B && a.Tq == b.Tq && a.Tk == b.Tk && a.H == b.H && a.K == b.K && a.D == b.D && a.ldq == b.ldq &&
           a.ldk == b.ldk && a.ldo == b.ldo && a.scale == b.scale;
}

/* made at the first use of a shape, kept until the device closes */
static status find_plan(device *dev, cudnn_state *c, cudnn_plan **found, const attention_shape &s, bool backward) {
    for (*found = c->plans; *found; *found = (*found)->next)
        if ((*found)->backward == backward && same_shape((*found)->s, s)) return STATUS_OK;
    std::unique_ptr<cudnn_plan> p(new cudnn_plan{c->plans, s, backward, {}});
    fe::graph::Graph &g = p->graph;
    int64_t bytes = 0;
    g.set_io_data_type(fe::DataType_t::BFLOAT16);
    g.set_intermediate_data_type(fe::DataType_t::FLOAT).set_compute_data_type(fe::DataType_t::FLOAT);
    if (backward) describe_backward(g, s);
    else describe_forward(g, s);
    TRY(build(g, c->handle));
    FE_TRY(g.get_workspace_size(bytes));
    TRY(grow_workspace(dev, c, (size_t)bytes));
    *found = c->plans = p.release();
    return STATUS_OK;
}

/* the callers are C: no exception may leave */
static status run(device *dev, const attention_shape &s, bool backward, void *const at[TENSORS]) try {
    cudnn_state *c = state_of(dev);
    cudnn_plan *p;
    std::unordered_map<int64_t, void *> tensors;
    TRY(find_plan(dev, c, &p, s, backward));
    for (int i = Q; i < TENSORS; i++)
        if (at[i]) tensors[i] = at[i];
    FE_TRY(p->graph.execute(c->handle, tensors, c->workspace));
    return STATUS_OK;
} catch (const std::exception &error) { FAIL(DEVICE, "cuDNN: %s", one_line(error.what()).c_str()); }

/* --- attention.cuh --- */

static bool aligned(const void *p, i64 ld) { return fits_16(BF16, p, ld); }

static status check(dtype t, const void *q, const void *k, const void *v, const void *o, const attention_shape &s) {
    if (t != BF16 || s.D % 8 || s.D > MOST_D || s.Tq < 2)
        FAIL(ARG,
             "--attention cudnn: %s, head size %ld, sequences of %ld; expected bf16, a head size that is a multiple "
             "of 8 and at most %d, sequences of 2 tokens or more; else --attention own",
             dtype_name(t), s.D, s.Tq, MOST_D);
    if (s.window || s.starts)
        FAIL(ARG, "--attention cudnn: a %s, expected neither window nor --mask-documents; else --attention own",
             s.window ? "model with a sliding window" : "batch with documents that are masked");
    if (!aligned(q, s.ldq) || !aligned(k, s.ldk) || !aligned(v, s.ldk) || !aligned(o, s.ldo))
        FAIL(ARG,
             "--attention cudnn: pointers %p, %p, %p, %p, rows of %ld, %ld and %ld elements; expected multiples of "
             "16 bytes; else --attention own",
             q, k, v, o, s.ldq, s.ldk, s.ldo);
    return STATUS_OK;
}

status attention_forward_cudnn(device *dev, dtype t, void *o, float *lse, const void *q, const void *k, const void *v,
                               attention_shape s) {
    void *at[TENSORS] = {NULL};
    TRY(check(t, q, k, v, o, s));
    at[Q] = (void *)q, at[K] = (void *)k, at[V] = (void *)v;
    at[O] = o, at[LSE] = lse;
    return run(dev, s, false, at);
}

status attention_backward_cudnn(device *dev, dtype t, const attention_gradients *d, const attention_tensors *x,
                                attention_shape s) {
    void *at[TENSORS] = {NULL};
    TRY(check(t, x->q, x->k, x->v, x->o, s));
    TRY(check(t, d->dq, d->dk, d->dv, d->d_o, s));
    at[Q] = (void *)x->q, at[K] = (void *)x->k, at[V] = (void *)x->v;
    at[O] = (void *)x->o, at[D_O] = (void *)d->d_o, at[LSE] = (void *)x->lse;
    at[DQ] = d->dq, at[DK] = d->dk, at[DV] = d->dv;
    return run(dev, s, true, at);
}

static void close_cudnn(device *dev) {
    cudnn_state *c = state_of(dev);
    (void)cudaStreamSynchronize(cuda_stream(dev)); /* queued graphs use the workspace */
    for (cudnn_plan *p = c->plans, *next; p; p = next) {
        next = p->next;
        delete p;
    }
    dev->ops->free(dev, c->workspace, c->bytes);
    if (c->handle) (void)cudnnDestroy(c->handle);
    free(c);
    dev->libraries[DEVICE_ATTENTION] = device_library{};
}

static status open_cudnn(device *dev) {
    cudnn_state *c = (cudnn_state *)calloc(1, sizeof *c);
    if (!c) FAIL(MEM, "--attention cudnn");
    dev->libraries[DEVICE_ATTENTION] = device_library{c, 0, close_cudnn};
    cudnnStatus_t code = cudnnCreate(&c->handle);
    if (!code) code = cudnnSetStream(c->handle, cuda_stream(dev));
    if (code) {
        close_cudnn(dev);
        FAIL(DEVICE, "--attention cudnn: %s", cudnnGetErrorString(code));
    }
    return STATUS_OK;
}

status attention_choose_cudnn(device *dev, bool on) {
    if (on && !state_of(dev)) TRY(open_cudnn(dev));
    if (state_of(dev)) state_of(dev)->chosen = on;
    return STATUS_OK;
}

bool attention_is_cudnn(const device *dev) { return state_of(dev) && state_of(dev)->chosen; }
