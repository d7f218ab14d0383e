/* The body of tile_product for one vector width. tile.h includes it once per width, with TILE_W (floats) and TILE_TARGET (the
 * attribute of the instruction set) defined. It has no include guard on purpose. */
#define TILE_JOIN_(a, b) a##b
#define TILE_JOIN(a, b) TILE_JOIN_(a, b)
#define TILE_VEC TILE_JOIN(tile_vec, TILE_W)
#define TILE_BLOCK TILE_JOIN(tile_block, TILE_W)
#define TILE_STRIP TILE_JOIN(tile_strip, TILE_W)
#define TILE_PRODUCT TILE_JOIN(tile_product, TILE_W)

typedef float TILE_VEC __attribute__((vector_size(4 * TILE_W), aligned(4), may_alias));

/* C[rows, vecs * TILE_W], summed in registers; rows, vecs and trans_a are constants where this is inlined */
TILE_TARGET SIMD_INLINE void TILE_BLOCK(int rows, int vecs, bool trans_a, tile_view C, tile_view A, tile_view B, i64 K,
                                        bool accumulate) {
    TILE_VEC sum[TILE_ROWS][2];
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
        for (int v = 0; v < vecs; v++)
            sum[r][v] = accumulate ? *(const TILE_VEC *)(C.x + r * C.ld + v * TILE_W) : (TILE_VEC){0};
    for (i64 k = 0; k < K; k++) {
        const TILE_VEC *b = (const TILE_VEC *)(B.x + k * B.ld);
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            float a = trans_a ? A.x[k * A.ld + r] : A.x[r * A.ld + k];
#pragma GCC unroll 2
            for (int v = 0; v < vecs; v++) sum[r][v] += a * b[v];
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
        for (int v = 0; v < vecs; v++) *(TILE_VEC *)(C.x + r * C.ld + v * TILE_W) = sum[r][v];
}

TILE_TARGET SIMD_INLINE void TILE_STRIP(int rows, bool trans_a, tile_view C, tile_view A, tile_view B, i64 N, i64 K,
                                        bool accumulate) {
    i64 n = 0;
    for (; n + 2 * TILE_W <= N; n += 2 * TILE_W, C.x += 2 * TILE_W, B.x += 2 * TILE_W)
        TILE_BLOCK(rows, 2, trans_a, C, A, B, K, accumulate);
    if (n < N) TILE_BLOCK(rows, 1, trans_a, C, A, B, K, accumulate);
}

TILE_TARGET static void TILE_PRODUCT(tile_view C, tile_view A, bool trans_a, tile_view B, i64 M, i64 N, i64 K,
                                     bool accumulate) {
    i64 blocks = (M + TILE_ROWS - 1) / TILE_ROWS;
    for (i64 m = 0; m < M; blocks--) {
        i64 rows = (M - m + blocks - 1) / blocks; /* equal heights: a thin last block would be bound by latency */
        const tile_view c = {C.x + m * C.ld, C.ld}, a = {A.x + m * (trans_a ? 1 : A.ld), A.ld};
        switch (rows * 2 + trans_a) {
#define X(r)                                                                                                           \
    case r * 2: TILE_STRIP(r, false, c, a, B, N, K, accumulate); break;                                                \
    case r * 2 + 1: TILE_STRIP(r, true, c, a, B, N, K, accumulate); break;
            X(1) X(2) X(3) X(4) X(5) X(6)
#undef X
        }
        m += rows;
    }
}

#undef TILE_JOIN_
#undef TILE_JOIN
#undef TILE_VEC
#undef TILE_BLOCK
#undef TILE_STRIP
#undef TILE_PRODUCT
#undef TILE_W
#undef TILE_TARGET
