/* PTX instructions for matmuls on tensor cores, sm_80 and newer, one function each. tests/simt/include/simt_mma.h has the same
 * functions for the emulation.
 *
 * A warp's fragments, with g = lane / 4 and t = lane % 4 (PTX ISA, mma.m16n8k16):
 *   a [16,16] bf16: registers 0..3 hold rows g, g+8, g, g+8, columns 2t and 2t+1 of the left half (0, 1)
 *     and the right (2, 3)
 *   b [16,8] bf16: registers 0, 1 hold column g, rows 2t and 2t+1 of the upper half and the lower
 *   c [16,8] f32: 0, 1 row g, 2, 3 row g+8, columns 2t and 2t+1 */
#ifndef TALLY_MMA_CUH
#define TALLY_MMA_CUH

#include "runtime/kernel.cuh"

#ifdef __CUDACC__

DEVICE_INLINE unsigned shared_address(const void *p) { return (unsigned)__cvta_generic_to_shared(p); }

/* copies 16 bytes from global to shared memory, complete after cp_async_wait; zeros if not valid */
DEVICE_INLINE void cp_async_16(void *to, const void *from, bool valid) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from),
                 "r"(valid ? 16 : 0)
                 : "memory");
}

DEVICE_INLINE void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

/* waits until at most N of this thread's groups are in flight; other threads' copies are visible after a barrier */
template <int N> DEVICE_INLINE void cp_async_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }

/* four 8x8 matrices of 16-bit elements; lanes 8i to 8i+7 point at the rows of matrix i */
DEVICE_INLINE void ldmatrix_x4(unsigned (&r)[4], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

DEVICE_INLINE void ldmatrix_x4_trans(unsigned (&r)[4], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

/* c += a b */
DEVICE_INLINE void mma_16816(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* 2^x within 2 ulp; subnormal results are 0 */
DEVICE_INLINE float exp2_approx(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/* The compiler then computes values derived from x again instead of keeping many of them in registers. */
DEVICE_INLINE void forget(int &x) { asm volatile("" : "+r"(x)); }

#else
#include <simt_mma.h>
#endif

/* two f32 as one register of two bf16, a in the lower half */
DEVICE_INLINE unsigned pack_bf16(float a, float b) {
    __nv_bfloat162 both = __floats2bfloat162_rn(a, b);
    return *(unsigned *)&both;
}

#endif
