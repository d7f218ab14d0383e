#include "runtime/onednn.h"

#include <dnnl.h>
#include <dnnl_debug.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

struct matmul {
    matmul_shape shape;
    dnnl_primitive_t primitive;
    dnnl_memory_t a, b, bias, d, residual, scratch; /* their data is set before each execution */
    size_t scratch_bytes, own_bytes;
    dnnl_primitive_t pack; /* plain_b -> b, where b has a layout of oneDNN's own */
    dnnl_memory_t plain_b;
    size_t packed_bytes;
};

struct onednn {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    matmul **slots; /* open addressing, a power of two, at most half full */
    size_t slot_count, used;
};

#define TRY_DNNL(call)                                                                                                 \
    do {                                                                                                               \
        dnnl_status_t try_ = (call);                                                                                   \
        if (try_ != dnnl_success) return dnnl_failed(try_, #call, __LINE__);                                           \
    } while (0)
#define TRY_DNNL_DONE(call)                                                                                            \
    do {                                                                                                               \
        dnnl_status_t try_ = (call);                                                                                   \
        if (try_ != dnnl_success) {                                                                                    \
            st = dnnl_failed(try_, #call, __LINE__);                                                                   \
            goto done;                                                                                                 \
        }                                                                                                              \
    } while (0)

static status_code dnnl_failed(dnnl_status_t code, const char *call, int line) {
    status_code st = code == dnnl_out_of_memory ? STATUS_MEM : STATUS_DEVICE;
    return status_fail(st, __FILE__, line, "oneDNN: %.60s: %s", call, dnnl_status2str(code));
}

/* --- differences between versions: in 3, memory descriptors are opaque and operation descriptors no longer exist */

#if DNNL_VERSION_MAJOR >= 3
typedef const_dnnl_memory_desc_t layout;
typedef struct {
    dnnl_memory_desc_t desc;
} own_layout;

static layout layout_of(const own_layout *l) { return l->desc; }
static void layout_free(own_layout *l) {
    if (l->desc) dnnl_memory_desc_destroy(l->desc);
}
static dnnl_status_t layout_strided(own_layout *l, int n, const dnnl_dims_t dims, dnnl_data_type_t type,
                                    const dnnl_dims_t strides) {
    return dnnl_memory_desc_create_with_strides(&l->desc, n, dims, type, strides);
}
static dnnl_status_t layout_any(own_layout *l, int n, const dnnl_dims_t dims, dnnl_data_type_t type) {
    return dnnl_memory_desc_create_with_tag(&l->desc, n, dims, type, dnnl_format_tag_any);
}
static bool layout_is_blocked(layout l) {
    dnnl_format_kind_t kind;
    int blocks = 0;
    dnnl_memory_desc_query(l, dnnl_query_format_kind, &kind);
    if (kind == dnnl_blocked) dnnl_memory_desc_query(l, dnnl_query_inner_nblks_s32, &blocks);
    return kind != dnnl_blocked || blocks > 0;
}
static dnnl_status_t append_sum(dnnl_post_ops_t ops) {
    return dnnl_post_ops_append_sum(ops, 1.0f, 0, dnnl_data_type_undef);
}
static dnnl_status_t describe_matmul(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, layout a, layout b, layout bias,
                                     layout d, dnnl_primitive_attr_t attr) {
    return dnnl_matmul_primitive_desc_create(pd, engine, a, b, bias, d, attr);
}
enum { AVX2_BF16 = dnnl_cpu_isa_avx2_vnni_2 };
#else
typedef const dnnl_memory_desc_t *layout;
typedef struct {
    dnnl_memory_desc_t desc;
} own_layout;

static layout layout_of(const own_layout *l) { return l->desc.ndims ? &l->desc : NULL; }
static void layout_free(own_layout *l) { (void)l; }
static dnnl_status_t layout_strided(own_layout *l, int n, const dnnl_dims_t dims, dnnl_data_type_t type,
                                    const dnnl_dims_t strides) {
    return dnnl_memory_desc_init_by_strides(&l->desc, n, dims, type, strides);
}
static dnnl_status_t layout_any(own_layout *l, int n, const dnnl_dims_t dims, dnnl_data_type_t type) {
    return dnnl_memory_desc_init_by_tag(&l->desc, n, dims, type, dnnl_format_tag_any);
}
static bool layout_is_blocked(layout l) {
    return l->format_kind != dnnl_blocked || l->format_desc.blocking.inner_nblks > 0;
}
static dnnl_status_t append_sum(dnnl_post_ops_t ops) { return dnnl_post_ops_append_sum(ops, 1.0f); }
static dnnl_status_t describe_matmul(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, layout a, layout b, layout bias,
                                     layout d, dnnl_primitive_attr_t attr) {
    dnnl_matmul_desc_t op;
    dnnl_status_t code = dnnl_matmul_desc_init(&op, a, b, bias, d);
    return code == dnnl_success ? dnnl_primitive_desc_create(pd, &op, attr, engine, NULL) : code;
}
enum { AVX2_BF16 = 0 }; /* not in its enum */
#endif

/* --- primitives */

static dnnl_data_type_t dnnl_type(i64 t) { return t == F32 ? dnnl_f32 : dnnl_bf16; }

/* rows x columns of dtype t, stored with row stride ld, or transposed with ld between columns */
static dnnl_status_t layout_matrix(own_layout *l, i64 rows, i64 columns, i64 ld, bool transposed, i64 t) {
    dnnl_dims_t dims = {rows, columns}, strides = {transposed ? 1 : ld, transposed ? ld : 1};
    return layout_strided(l, 2, dims, dnnl_type(t), strides);
}

/* pd: the matmul with B in its stored layout, or (any_b) in the layout that oneDNN prefers */
static status describe(onednn *nn, dnnl_primitive_desc_t *pd, const matmul_shape *s, bool any_b) {
    status_code st = STATUS_OK;
    own_layout a = {0}, b = {0}, bias = {0}, d = {0};
    dnnl_post_ops_t ops = NULL;
    dnnl_primitive_attr_t attr = NULL;
    TRY_DNNL_DONE(layout_matrix(&a, s->M, s->K, s->lda, s->trans_a, s->ab));
    if (any_b) {
        dnnl_dims_t dims = {s->K, s->N};
        TRY_DNNL_DONE(layout_any(&b, 2, dims, dnnl_type(s->ab)));
    } else {
        TRY_DNNL_DONE(layout_matrix(&b, s->K, s->N, s->ldb, s->trans_b, s->ab));
    }
    if (s->has_bias) TRY_DNNL_DONE(layout_matrix(&bias, 1, s->N, s->N, false, s->ab));
    TRY_DNNL_DONE(layout_matrix(&d, s->M, s->N, s->ldd, false, s->d));
    TRY_DNNL_DONE(dnnl_post_ops_create(&ops));
    if (s->add == ADD_TO_D) TRY_DNNL_DONE(append_sum(ops));
    if (s->add == ADD_RESIDUAL) TRY_DNNL_DONE(dnnl_post_ops_append_binary(ops, dnnl_binary_add, layout_of(&d)));
    TRY_DNNL_DONE(dnnl_primitive_attr_create(&attr));
    TRY_DNNL_DONE(dnnl_primitive_attr_set_post_ops(attr, ops));
    /* ONEDNN_DEFAULT_FPMATH_MODE must not round f32 operands to bf16 or TF32 */
    TRY_DNNL_DONE(dnnl_primitive_attr_set_fpmath_mode(attr, dnnl_fpmath_mode_strict));
    TRY_DNNL_DONE(dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user));
    TRY_DNNL_DONE(describe_matmul(pd, nn->engine, layout_of(&a), layout_of(&b), layout_of(&bias), layout_of(&d), attr));
done:
    if (attr) dnnl_primitive_attr_destroy(attr);
    if (ops) dnnl_post_ops_destroy(ops);
    layout_free(&d);
    layout_free(&bias);
    layout_free(&b);
    layout_free(&a);
    return st;
}

static void matmul_free(matmul *m) {
    if (!m) return;
    dnnl_memory_t memories[] = {m->a, m->b, m->bias, m->d, m->residual, m->scratch, m->plain_b};
    for (size_t i = 0; i < sizeof memories / sizeof *memories; i++)
        if (memories[i]) dnnl_memory_destroy(memories[i]);
    if (m->primitive) dnnl_primitive_destroy(m->primitive);
    if (m->pack) dnnl_primitive_destroy(m->pack);
    free(m);
}

/* makes m->pack and m->plain_b: from the shape's layout of B to the layout that the matmul takes */
static status make_pack(onednn *nn, matmul *m, layout wanted) {
    status_code st = STATUS_OK;
    const matmul_shape *s = &m->shape;
    own_layout plain = {0};
    dnnl_primitive_desc_t pd = NULL;
    TRY_DNNL_DONE(layout_matrix(&plain, s->K, s->N, s->ldb, s->trans_b, s->ab));
    TRY_DNNL_DONE(dnnl_memory_create(&m->plain_b, layout_of(&plain), nn->engine, DNNL_MEMORY_NONE));
    TRY_DNNL_DONE(dnnl_reorder_primitive_desc_create(&pd, layout_of(&plain), nn->engine, wanted, nn->engine, NULL));
    TRY_DNNL_DONE(dnnl_primitive_create(&m->pack, pd));
    m->packed_bytes = dnnl_memory_desc_get_size(wanted);
done:
    if (pd) dnnl_primitive_desc_destroy(pd);
    layout_free(&plain);
    return st;
}

static i64 at_most(i64 x, i64 limit) { return x < limit ? x : limit; }

/* oneDNN 2.6 and 3, src/cpu/x64/gemm: a thread's buffers in gemm_kernel_driver (gemm_driver.cpp), with the block sizes of f32 on
 * AVX2 (gemm_info.cpp). Its matrices are column-major: its m is our N. The threads are assumed to divide m. */
static size_t own_bytes_of(dnnl_primitive_desc_t pd, const matmul_shape *s) {
    enum { UNIT = 24, BLOCK_M = 10008, BLOCK_N = 384, BLOCK_K = 192, WHOLE_K = 256, LEAST_K = 128, PAGES = 4 * 4096 };
    const char *name = "";
    dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name);
    if (strcmp(name, "gemm:jit") != 0) return 0;
    i64 threads = omp_get_max_threads(), m = (s->N + threads - 1) / threads;
    i64 k = s->K <= WHOLE_K ? s->K : s->K < 2 * BLOCK_K ? (s->K + 1) / 2 : BLOCK_K;
    if (s->K <= WHOLE_K && k < LEAST_K) k = LEAST_K;
    m = at_most((m + UNIT - 1) / UNIT * UNIT, BLOCK_M);
    return (size_t)threads * ((size_t)((m + at_most(s->M, BLOCK_N)) * k) * 4 + PAGES);
}

static status matmul_make(onednn *nn, matmul **out, const matmul_shape *shape) {
    status_code st = STATUS_OK;
    dnnl_primitive_desc_t pd = NULL;
    matmul *m = calloc(1, sizeof *m);
    if (!m) FAIL(MEM, "no memory for a matmul");
    m->shape = *shape;
    if (shape->may_pack) {
        TRY_DONE(describe(nn, &pd, shape, true));
        layout b = dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0);
        /* a layout that differs only in strides is no faster (measured on AVX2): not worth a copy */
        if (layout_is_blocked(b)) {
            TRY_DONE(make_pack(nn, m, b));
        } else {
            dnnl_primitive_desc_destroy(pd);
            pd = NULL;
        }
    }
    if (!pd) TRY_DONE(describe(nn, &pd, shape, false));

    struct {
        dnnl_memory_t *memory;
        dnnl_query_t what;
        int wanted;
    } operands[] = {
        {&m->a, dnnl_query_src_md, 1},
        {&m->b, dnnl_query_weights_md, 1},
        {&m->bias, dnnl_query_weights_md, shape->has_bias != 0},
        {&m->d, dnnl_query_dst_md, 1},
        {&m->residual, dnnl_query_dst_md, shape->add == ADD_RESIDUAL},
        {&m->scratch, dnnl_query_scratchpad_md, 1},
    };
    for (size_t i = 0; i < sizeof operands / sizeof *operands; i++) {
        if (!operands[i].wanted) continue;
        layout l = dnnl_primitive_desc_query_md(pd, operands[i].what, operands[i].memory == &m->bias);
        TRY_DNNL_DONE(dnnl_memory_create(operands[i].memory, l, nn->engine, DNNL_MEMORY_NONE));
    }
    m->scratch_bytes = dnnl_memory_desc_get_size(dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0));
    TRY_DNNL_DONE(dnnl_primitive_create(&m->primitive, pd));
    m->own_bytes = own_bytes_of(pd, shape);
    *out = m;
    m = NULL;
done:
    if (pd) dnnl_primitive_desc_destroy(pd);
    matmul_free(m);
    return st;
}

size_t onednn_scratch_bytes(const matmul *m) { return m->scratch_bytes; }
size_t onednn_own_bytes(const matmul *m) { return m->own_bytes; }
size_t onednn_packed_bytes(const matmul *m) { return m->packed_bytes; }

static layout layout_of_memory(dnnl_memory_t memory) {
    layout l = NULL;
    dnnl_memory_get_memory_desc(memory, &l);
    return l;
}

bool onednn_same_packing(const matmul *a, const matmul *b) {
    return a == b || dnnl_memory_desc_equal(layout_of_memory(a->b), layout_of_memory(b->b));
}

/* dnnl_memory_set_data_handle takes no const pointer, hence the cast */
static status execute(onednn *nn, dnnl_primitive_t primitive, int n, const dnnl_exec_arg_t *args,
                      const void *const *data) {
    for (int i = 0; i < n; i++) TRY_DNNL(dnnl_memory_set_data_handle(args[i].memory, (void *)(uintptr_t)data[i]));
    TRY_DNNL(dnnl_primitive_execute(primitive, nn->stream, n, args));
    TRY_DNNL(dnnl_stream_wait(nn->stream));
    return STATUS_OK;
}

status onednn_run(onednn *nn, matmul *m, void *D, const void *A, const void *B, const void *bias, const void *residual,
                  void *scratch) {
    dnnl_exec_arg_t args[6] = {{DNNL_ARG_SRC, m->a}, {DNNL_ARG_WEIGHTS, m->b}, {DNNL_ARG_DST, m->d}};
    const void *data[6] = {A, B, D};
    int n = 3;
    if (m->bias) args[n] = (dnnl_exec_arg_t){DNNL_ARG_BIAS, m->bias}, data[n++] = bias;
    if (m->residual) {
        args[n] = (dnnl_exec_arg_t){DNNL_ARG_ATTR_MULTIPLE_POST_OP(0) | DNNL_ARG_SRC_1, m->residual};
        data[n++] = residual;
    }
    if (m->scratch_bytes) args[n] = (dnnl_exec_arg_t){DNNL_ARG_SCRATCHPAD, m->scratch}, data[n++] = scratch;
    TRY(execute(nn, m->primitive, n, args, data));
    return STATUS_OK;
}

status onednn_pack(onednn *nn, matmul *m, void *packed, const void *B) {
    dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, m->plain_b}, {DNNL_ARG_TO, m->b}};
    const void *data[] = {B, packed};
    TRY(execute(nn, m->pack, 2, args, data));
    return STATUS_OK;
}

/* --- the cache */

static uint64_t hash_of(const matmul_shape *shape) {
    uint64_t h = 0;
    const i64 *words = (const i64 *)shape;
    for (size_t i = 0; i < sizeof *shape / sizeof *words; i++) {
        h = (h ^ (uint64_t)words[i]) * 0x9E3779B97F4A7C15u;
        h ^= h >> 29;
    }
    return h;
}

/* the slot of the shape, or the empty slot for it */
static size_t find_slot(matmul **slots, size_t slot_count, const matmul_shape *shape) {
    size_t i = hash_of(shape) & (slot_count - 1);
    while (slots[i] && memcmp(&slots[i]->shape, shape, sizeof *shape)) i = (i + 1) & (slot_count - 1);
    return i;
}

static status grow(onednn *nn) {
    size_t count = nn->slot_count ? 2 * nn->slot_count : 64;
    matmul **slots = calloc(count, sizeof *slots);
    if (!slots) FAIL(MEM, "no memory for a cache of %zu matmuls", count);
    for (size_t i = 0; i < nn->slot_count; i++)
        if (nn->slots[i]) slots[find_slot(slots, count, &nn->slots[i]->shape)] = nn->slots[i];
    free(nn->slots);
    nn->slots = slots;
    nn->slot_count = count;
    return STATUS_OK;
}

status onednn_matmul(onednn *nn, matmul **m, const matmul_shape *shape) {
    if (2 * nn->used >= nn->slot_count) TRY(grow(nn));
    size_t i = find_slot(nn->slots, nn->slot_count, shape);
    if (!nn->slots[i]) {
        TRY(matmul_make(nn, &nn->slots[i], shape));
        nn->used++;
    }
    *m = nn->slots[i];
    return STATUS_OK;
}

/* --- opening */

/* whether oneDNN has a faster implementation than its reference loop */
static bool has_own_kernel(onednn *nn, const matmul_shape *shape) {
    dnnl_primitive_desc_t pd = NULL;
    if (describe(nn, &pd, shape, false)) return false;
    const char *implementation = "ref";
    dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &implementation);
    bool own = strncmp(implementation, "ref", 3) != 0;
    dnnl_primitive_desc_destroy(pd);
    return own;
}

/* The number of an instruction set contains the bits of its subsets. AVX-512 without BF16 emulates bf16 GEMMs with shifts and
 * f32 multiplications, which is slower than widening once and multiplying in f32. */
static bool multiplies_bf16(onednn *nn) {
#if defined(__x86_64__)
    int isa = (int)dnnl_get_effective_cpu_isa();
    bool avx512 = (isa & dnnl_cpu_isa_avx512_core_bf16) == dnnl_cpu_isa_avx512_core_bf16;
    bool avx2 = AVX2_BF16 && (isa & AVX2_BF16) == AVX2_BF16;
    if (!avx512 && !avx2) return false;
#endif
    matmul_shape forward = {.M = 64, .N = 64, .K = 64, .lda = 64, .ldb = 64, .ldd = 64, .ab = BF16, .d = BF16};
    matmul_shape wgrad = forward;
    forward.trans_b = forward.has_bias = true, forward.add = ADD_RESIDUAL;
    wgrad.trans_a = true, wgrad.d = F32, wgrad.add = ADD_TO_D;
    return has_own_kernel(nn, &forward) && has_own_kernel(nn, &wgrad);
}

void onednn_version(char *text, size_t bytes) {
    const dnnl_version_t *v = dnnl_version();
    snprintf(text, bytes, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
}

status onednn_open(onednn **out, char *isa, size_t isa_bytes, bool *bf16_products) {
    onednn *nn = calloc(1, sizeof *nn);
    if (!nn) FAIL(MEM, "no memory for oneDNN's state");
    status_code st = STATUS_OK;
    TRY_DNNL_DONE(dnnl_engine_create(&nn->engine, dnnl_cpu, 0));
    TRY_DNNL_DONE(dnnl_stream_create(&nn->stream, nn->engine, dnnl_stream_default_flags));
    TRY_DONE(grow(nn));
#if defined(__x86_64__)
    const char *name = dnnl_cpu_isa2str(dnnl_get_effective_cpu_isa());
    snprintf(isa, isa_bytes, "%s", strncmp(name, "cpu_isa_", 8) == 0 ? name + 8 : name);
#elif defined(__aarch64__)
    snprintf(isa, isa_bytes, "aarch64");
#else
    snprintf(isa, isa_bytes, "generic");
#endif
    *bf16_products = multiplies_bf16(nn);
    *out = nn;
    nn = NULL;
done:
    onednn_close(nn);
    return st;
}

void onednn_close(onednn *nn) {
    if (!nn) return;
    for (size_t i = 0; i < nn->slot_count; i++) matmul_free(nn->slots[i]);
    free(nn->slots);
    if (nn->stream) dnnl_stream_destroy(nn->stream);
    if (nn->engine) dnnl_engine_destroy(nn->engine);
    free(nn);
}
