/* One seeded bug a case: `simt_bad N` prints "clean" and exits with 0 where nothing notices it. test_simt.sh knows which
 * modes must. The kernels' comments say what is wrong. */
#include <cstdio>
#include <cstdlib>

#include "runtime/kernel.cuh"
#include "layers/mma.cuh"

enum { N = 128, WARP = 32 };

/* no barrier between writing and reading */
static __global__ void no_barrier_kernel(float *y) {
    SHARED(float, s, [N]);
    s[threadIdx.x] = (float)threadIdx.x;
    y[threadIdx.x] = s[N - 1 - threadIdx.x];
}

/* one barrier of two: the next turn's write meets this turn's read */
static __global__ void half_a_barrier_kernel(float *y) {
    SHARED(float, s, [N]);
    float a = 0;
    for (int i = 0; i < 4; i++) {
        s[threadIdx.x] = (float)(i * (int)threadIdx.x);
        __syncthreads();
        a += s[N - 1 - threadIdx.x];
    }
    y[threadIdx.x] = a;
}

/* cp.async that nobody waits for */
static __global__ void no_wait_kernel(float *y, const float *x) {
    DYN_SHARED(memory);
    float *s = (float *)memory;
    if (threadIdx.x < WARP) cp_async_16(s + threadIdx.x * 4, x + threadIdx.x * 4, true);
    cp_async_commit();
    __syncthreads();
    y[threadIdx.x] = s[threadIdx.x];
}

/* two halves of the block at two barriers */
static __global__ void divergent_barrier_kernel(float *y) {
    if (threadIdx.x < N / 2) __syncthreads();
    else __syncthreads();
    y[threadIdx.x] = 0;
}

/* a shuffle of the whole warp that half of it calls */
static __global__ void half_a_shuffle_kernel(float *y) {
    float a = (float)threadIdx.x;
    if (threadIdx.x % WARP < WARP / 2) a += __shfl_xor_sync(~0u, a, 1);
    __syncthreads();
    y[threadIdx.x] = a;
}

/* reads one element beyond x */
static __global__ void one_too_far_kernel(float *y, const float *x) { y[threadIdx.x] = x[threadIdx.x + 1]; }

/* writes one element beyond a shared array */
static __global__ void beyond_shared_kernel(float *y) {
    SHARED(float, s, [N]);
    s[threadIdx.x + 1] = 1;
    __syncthreads();
    y[threadIdx.x] = s[threadIdx.x / 2 + 1];
}

/* wants more dynamic shared memory than it is launched with */
static __global__ void too_little_shared_kernel(float *y) {
    DYN_SHARED(memory);
    float *s = (float *)memory;
    s[threadIdx.x] = 1;
    __syncthreads();
    y[threadIdx.x] = s[threadIdx.x ^ (N / 2)];
}

/* 16 bytes at an address that is not a multiple of 16 */
static __global__ void misaligned_kernel(float *y, const bf16 *x) { *(uint4 *)y = *(const uint4 *)(x + 4); }

/* a shared array aligned as its floats are, read 16 bytes at a time: as SHARED would be without its alignment */
static __global__ void misaligned_shared_kernel(float *y) {
    static const char tag = 0;
    float *s = (float *)simt::shared_alloc(&tag, N * sizeof(float), alignof(float));
    s[threadIdx.x] = 1;
    __syncthreads();
    if (threadIdx.x < N / 4) ((uint4 *)y)[threadIdx.x] = ((const uint4 *)s)[threadIdx.x];
}

/* shared memory of which a part is never written */
static __global__ void unwritten_shared_kernel(float *y) {
    SHARED(float, s, [N]);
    if (threadIdx.x < 100) s[threadIdx.x] = 0;
    __syncthreads();
    y[threadIdx.x] = s[threadIdx.x] * 0;
}

/* nothing is wrong here, but with what it is called with, or when */
static __global__ void copy_kernel(float *y, const float *x) { y[threadIdx.x] = x[threadIdx.x]; }

/* all blocks add to the same elements */
static __global__ void blocks_race_kernel(float *y) { y[threadIdx.x] += 1; }

/* lanes of a warp that take each other to go in step */
static __global__ void no_syncwarp_kernel(float *y) {
    SHARED(float, s, [WARP]);
    s[threadIdx.x] = (float)threadIdx.x;
    y[threadIdx.x] = s[WARP - 1 - threadIdx.x];
}

/* rows of 128 bytes, not swizzled: all in the same banks */
static __global__ void no_swizzle_kernel(float *y) {
    DYN_SHARED(memory);
    bf16 *s = (bf16 *)memory;
    for (int i = (int)threadIdx.x; i < 32 * 64; i += WARP) s[i] = 0;
    __syncthreads();
    unsigned r[4];
    ldmatrix_x4(r, s + (threadIdx.x & 15) * 64 + (threadIdx.x >> 4) * 8);
    y[threadIdx.x] = (float)r[0];
}

/* a block that waits for another one */
static __global__ void spin_kernel(int *flag) {
    if (blockIdx.x == 0)
        while (*(volatile int *)flag == 0) __nanosleep(20);
    else *flag = 1;
}

/* --- the cases --- */

static float *x, *y; /* x: N elements 0, 1, ...; y: 2 N zeros */
static cudaStream_t first, second;

/* what is at p must be i * step + from */
static void expect(const float *p, int n, float from, float step) {
    float host[2 * N];
    cudaDeviceSynchronize();
    cudaMemcpy(host, p, (size_t)n * 4, cudaMemcpyDeviceToHost);
    for (int i = 0; i < n; i++)
        if (!(host[i] == from + (float)i * step)) {
            printf("wrong result\n");
            exit(1);
        }
}

/* host memory is handed to a kernel */
static void host_pointer(void) {
    float *host = (float *)malloc(N * 4);
    LAUNCH(copy_kernel, 1, N, 0, 0, y, host);
    cudaDeviceSynchronize();
    free(host);
}

/* the second stream reads what the first writes, without an event */
static void no_event(void) {
    LAUNCH(copy_kernel, 1, N, 0, first, y, x);
    LAUNCH(copy_kernel, 1, N, 0, second, y + N, y);
    expect(y + N, N, 0, 1);
}

/* pinned memory is written anew before it has been copied from */
static void pinned_too_early(void) {
    float *pinned;
    cudaMallocHost((void **)&pinned, N * 4);
    for (int i = 0; i < N; i++) pinned[i] = (float)i;
    cudaMemcpyAsync(y, pinned, N * 4, cudaMemcpyHostToDevice, first);
    pinned[5] = 99;
    expect(y, N, 0, 1);
}

static void wrong_direction(void) {
    float host[N] = {0};
    cudaMemcpy(host, x, N * 4, cudaMemcpyHostToDevice);
}

static void run(int number) {
    switch (number) {
    case 1: LAUNCH(no_barrier_kernel, 1, N, 0, 0, y); return expect(y, N, N - 1, -1);
    case 2: LAUNCH(half_a_barrier_kernel, 1, N, 0, 0, y); return expect(y, N, 6 * (N - 1), -6);
    case 3: LAUNCH(no_wait_kernel, 1, N, N * 4, 0, y, x); return expect(y, N, 0, 1);
    case 4: LAUNCH(divergent_barrier_kernel, 1, N, 0, 0, y); return;
    case 5: LAUNCH(half_a_shuffle_kernel, 1, N, 0, 0, y); return;
    case 6: LAUNCH(one_too_far_kernel, 1, N, 0, 0, y, x); return;
    case 7: LAUNCH(beyond_shared_kernel, 1, N, 0, 0, y); return;
    case 8: LAUNCH(too_little_shared_kernel, 1, N, N * 2, 0, y); return;
    case 9: LAUNCH(misaligned_kernel, 1, 1, 0, 0, y, (const bf16 *)x); return;
    case 10: LAUNCH(unwritten_shared_kernel, 1, N, 0, 0, y); return expect(y, N, 0, 0);
    case 11: printf("%g\n", x[0]); return; /* the host reads device memory */
    case 12: return host_pointer();
    case 13: LAUNCH(too_little_shared_kernel, 1, N, 100000, 0, y); return; /* without cudaFuncSetAttribute */
    case 14: return no_event();
    case 15: LAUNCH(blocks_race_kernel, 16, N, 0, 0, y); return expect(y, N, 16, 0);
    case 16: LAUNCH(no_syncwarp_kernel, 1, WARP, 0, 0, y); return expect(y, WARP, WARP - 1, -1);
    case 17: LAUNCH(no_swizzle_kernel, 1, WARP, 4096, 0, y); return;
    case 18: LAUNCH(spin_kernel, 2, 1, 0, 0, (int *)y); return;
    case 19: return wrong_direction();
    case 20: return pinned_too_early();
    case 21: LAUNCH(misaligned_shared_kernel, 1, N, 0, 0, y); return;
    default: printf("no such case\n"); exit(2);
    }
}

int main(int argc, char **argv) {
    float host[N];
    for (int i = 0; i < N; i++) host[i] = (float)i;
    cudaMalloc((void **)&x, N * 4);
    cudaMalloc((void **)&y, 2 * N * 4);
    cudaMemcpy(x, host, N * 4, cudaMemcpyHostToDevice);
    cudaMemset(y, 0, 2 * N * 4);
    cudaStreamCreate(&first);
    cudaStreamCreate(&second);
    run(argc > 1 ? atoi(argv[1]) : 0);
    cudaError_t e = cudaDeviceSynchronize();
    if (!e) e = cudaGetLastError();
    if (e) {
        printf("%s\n", cudaGetErrorString(e));
        return 1;
    }
    printf("clean\n");
    return 0;
}
