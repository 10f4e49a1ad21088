/* Single-precision matrix product for GPU-like devices: tiles in local memory.
 * Append to the activation functions (activate_*, timesDerivative_*) and tile_gpu.cl.
 *
 *   C[M,N] = epilogue(op(A)[M,K] * op(B)[K,N])
 *
 * Same arguments, same layouts and same results, bit for bit, as the CPU
 * family: all matrices dense and row-major; A stored [M,K], or [K,M] with
 * TRANSPOSE_A; B stored [K,N], or [N,K] with TRANSPOSE_B; offsets in elements;
 * each element of C is one chain acc = fma(a[k], b[k], acc), k ascending from
 * acc = 0, whatever the tile sizes.  (k beyond K is skipped, not padded with
 * zeros: fma(0, 0, -0) would turn a negative zero positive.)
 *
 *     local size  = (TILE_N / RN, TILE_M / RM)
 *     global size = (ceil(N / TILE_N) * local[0], ceil(M / TILE_M) * local[1])
 * No local-memory arguments.  Global reads follow the contiguous direction of
 * the stored matrix, neighbouring work-items reading neighbouring elements.
 * Barriers are reached by every work-item of a group.
 *
 * epilogue:  0  store
 *            1  store f(value + extra[n])                  (extra: bias [N])
 *            2  store value * f'(.), from outputs extra[m,n] (extra: [M,N])
 *            3  store; also columnSums[n] = sum of op(B)[k,n], k ascending
 *               (added up from local memory by the groups that own row 0)
 *
 * Macros besides the tile's, each 1 or 4, the elements that are read at once:
 *   VECTOR_A  4 where A's rows as stored and its offset are multiples of 4
 *   VECTOR_B  4 where B's are
 */
#ifndef TRANSPOSE_A
#define TRANSPOSE_A 0
#endif
#ifndef TRANSPOSE_B
#define TRANSPOSE_B 0
#endif
#ifndef VECTOR_A
#define VECTOR_A 1
#endif
#ifndef VECTOR_B
#define VECTOR_B 1
#endif
#if VECTOR_A == 4
#define A_PART float4
#else
#define A_PART float
#endif
#if VECTOR_B == 4
#define B_PART float4
#else
#define B_PART float
#endif
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

/* How many parts of a block a work-item stages. */
#define SLOTS(TILE, VECTOR) ((TILE * TILE_K / VECTOR + LOCAL_COUNT - 1) / LOCAL_COUNT)

/* Staging of an operand stored [SIZE,K]: load_NAME reads this work-item's parts
 * of the block at (first, kFirst), zeros beyond the matrix; store_NAME writes
 * them to the block, a column of it for each part. */
#define DEFINE_STAGING_ALONG_K(NAME, F, VECTOR, TILE, STRIDE)                  \
INLINED void load_##NAME(F staged[SLOTS(TILE, VECTOR)], global const float *p, \
                         const uint size, const uint K, const uint first,      \
                         const uint kFirst, const uint id)                     \
{                                                                              \
    _Pragma("unroll")                                                          \
    for (uint s = 0; s < SLOTS(TILE, VECTOR); s++) {                           \
        const uint e = id + s * LOCAL_COUNT;                                   \
        const uint m = first + e / (TILE_K / VECTOR);                          \
        const uint k = kFirst + e % (TILE_K / VECTOR) * VECTOR;                \
        staged[s] = 0;                                                         \
        if (m < size && k < K) staged[s] = JOIN(partOf_, F)(p + (m * K + k));  \
    }                                                                          \
}                                                                              \
INLINED void store_##NAME(const F staged[SLOTS(TILE, VECTOR)],                 \
                          local float *block, const uint id)                   \
{                                                                              \
    _Pragma("unroll")                                                          \
    for (uint s = 0; s < SLOTS(TILE, VECTOR); s++) {                           \
        const uint e = id + s * LOCAL_COUNT;                                   \
        if (TILE * TILE_K / VECTOR % LOCAL_COUNT == 0 ||                       \
            e < TILE * TILE_K / VECTOR)                                        \
            JOIN(toColumn_, F)(staged[s],                                      \
                block + (e % (TILE_K / VECTOR) * VECTOR * STRIDE               \
                         + e / (TILE_K / VECTOR)), STRIDE);                    \
    }                                                                          \
}
/* The same of an operand stored [K,SIZE]; a piece of a row for each part. */
#define DEFINE_STAGING_ACROSS_K(NAME, F, VECTOR, TILE, STRIDE)                 \
INLINED void load_##NAME(F staged[SLOTS(TILE, VECTOR)], global const float *p, \
                         const uint size, const uint K, const uint first,      \
                         const uint kFirst, const uint id)                     \
{                                                                              \
    _Pragma("unroll")                                                          \
    for (uint s = 0; s < SLOTS(TILE, VECTOR); s++) {                           \
        const uint e = id + s * LOCAL_COUNT;                                   \
        const uint n = first + e % (TILE / VECTOR) * VECTOR;                   \
        const uint k = kFirst + e / (TILE / VECTOR);                           \
        staged[s] = 0;                                                         \
        if (n < size && k < K)                                                 \
            staged[s] = JOIN(partOf_, F)(p + (k * size + n));                  \
    }                                                                          \
}                                                                              \
INLINED void store_##NAME(const F staged[SLOTS(TILE, VECTOR)],                 \
                          local float *block, const uint id)                   \
{                                                                              \
    _Pragma("unroll")                                                          \
    for (uint s = 0; s < SLOTS(TILE, VECTOR); s++) {                           \
        const uint e = id + s * LOCAL_COUNT;                                   \
        if (TILE * TILE_K / VECTOR % LOCAL_COUNT == 0 ||                       \
            e < TILE * TILE_K / VECTOR)                                        \
            JOIN(toRow_, F)(staged[s],                                         \
                block + (e / (TILE / VECTOR) * STRIDE                          \
                         + e % (TILE / VECTOR) * VECTOR));                     \
    }                                                                          \
}
#if TRANSPOSE_A
DEFINE_STAGING_ACROSS_K(a, A_PART, VECTOR_A, TILE_M, STRIDE_A)
#else
DEFINE_STAGING_ALONG_K(a, A_PART, VECTOR_A, TILE_M, STRIDE_A)
#endif
#if TRANSPOSE_B
DEFINE_STAGING_ALONG_K(b, B_PART, VECTOR_B, TILE_N, STRIDE_B)
#else
DEFINE_STAGING_ACROSS_K(b, B_PART, VECTOR_B, TILE_N, STRIDE_B)
#endif

#define SUM_SLOTS ((TILE_N + LOCAL_COUNT - 1) / LOCAL_COUNT)

/* `count` of a block's terms, and what they add to the sums of B's columns, if
 * these are wanted: work-item id sums columns id, id + LOCAL_COUNT, ... */
INLINED void multiplyTerms(local const float *aBlock, local const float *bBlock,
                           const uint count, const uint x, const uint y, float acc[RM][RN],
                           const bool addsColumns, float sums[SUM_SLOTS])
{
    if (count == TILE_K) {
        multiplyBlock(aBlock, bBlock, x, y, acc);
    } else {
        for (uint k = 0; k < count; k++)
            multiplyTerm(aBlock + k * STRIDE_A, bBlock + k * STRIDE_B, x, y, acc);
    }
    if (addsColumns)
#pragma unroll
        for (uint s = 0; s < SUM_SLOTS; s++) {
            const uint n = y * LOCAL_X + x + s * LOCAL_COUNT;
            if (n < TILE_N)
                for (uint k = 0; k < count; k++)
                    sums[s] += bBlock[k * STRIDE_B + n];
        }
}

kernel __attribute__((reqd_work_group_size(LOCAL_X, LOCAL_Y, 1)))
void matmul(global const float *restrict a, const uint aOffset,
            global const float *restrict b, const uint bOffset,
            global float *restrict c, const uint cOffset,
            global const float *restrict extra, const uint extraOffset,
            global float *restrict columnSums, const uint columnSumsOffset,
            const uint M, const uint N, const uint K,
            const int epilogue, const int activation)
{
    local float aBlocks[2][TILE_K * STRIDE_A] __attribute__((aligned(16)));
    local float bBlocks[2][TILE_K * STRIDE_B] __attribute__((aligned(16)));

    const uint x = (uint)get_local_id(0);
    const uint y = (uint)get_local_id(1);
    const uint id = y * LOCAL_X + x;
    const uint mFirst = (uint)get_group_id(1) * TILE_M;
    const uint nFirst = (uint)get_group_id(0) * TILE_N;
    const bool addsColumns = epilogue == 3 && mFirst == 0;
    a += aOffset;
    b += bOffset;
    c += cOffset;
    extra += extraOffset;
    columnSums += columnSumsOffset;

    float acc[RM][RN];
    clearTile(acc);
    float sums[SUM_SLOTS];
#pragma unroll
    for (uint s = 0; s < SUM_SLOTS; s++)
        sums[s] = 0.0f;
    A_PART aStaged[SLOTS(TILE_M, VECTOR_A)];
    B_PART bStaged[SLOTS(TILE_N, VECTOR_B)];

    uint now = 0;
    uint kFirst = 0;
    for (; kFirst < K; kFirst += TILE_K) {
        load_a(aStaged, a, M, K, mFirst, kFirst, id);
        load_b(bStaged, b, N, K, nFirst, kFirst, id);
        /* The step before, while these reads are under way. */
        if (kFirst > 0)
            multiplyTerms(aBlocks[now ^ 1], bBlocks[now ^ 1], TILE_K, x, y, acc,
                          addsColumns, sums);
        store_a(aStaged, aBlocks[now], id);
        store_b(bStaged, bBlocks[now], id);
        barrier(CLK_LOCAL_MEM_FENCE);
        now ^= 1;
    }
    multiplyTerms(aBlocks[now ^ 1], bBlocks[now ^ 1], K + TILE_K - kFirst, x, y,
                  acc, addsColumns, sums);

    if (addsColumns)
#pragma unroll
        for (uint s = 0; s < SUM_SLOTS; s++) {
            const uint n = id + s * LOCAL_COUNT;
            if (n < TILE_N && nFirst + n < N)
                columnSums[nFirst + n] = sums[s];
        }

#pragma unroll
    for (uint i = 0; i < RM; i++) {
        const uint m = mFirst + ROW_OF(i);
#pragma unroll
        for (uint j = 0; j < RN; j++) {
            const uint n = nFirst + COLUMN_OF(j);
            if (m < M && n < N) {
                const uint at = m * N + n;
                float value = acc[i][j];
                if (epilogue == 1)
                    value = activate_float(value + extra[n], activation);
                else if (epilogue == 2)
                    value = timesDerivative_float(value, extra[at], activation);
                c[at] = value;
            }
        }
    }
}
