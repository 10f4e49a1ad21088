/* Single-precision matrix product for GPU-like devices: tiles in local memory.
 * Append to the activation functions (activate_*, timesDerivative_*).
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
 * A work-group computes TILE_M x TILE_N elements of C; each of its
 * (TILE_N/RN) x (TILE_M/RM) work-items computes RM x RN of them in registers:
 *     local size  = (TILE_N / RN, TILE_M / RM)
 *     global size = (ceil(N / TILE_N) * local[0], ceil(M / TILE_M) * local[1])
 * No local-memory arguments; the kernel declares
 *     4 * TILE_K * (TILE_M + TILE_N + 2 * PAD) bytes.
 *
 * Each step stages op(A)'s TILE_M x TILE_K and op(B)'s TILE_K x TILE_N blocks in
 * local memory with the k index slowest, so that the inner loop reads
 * contiguous m and n whatever the transpositions.  Rows are padded by PAD
 * elements: staging a k-contiguous matrix writes columns, which without padding
 * would all fall in one bank.  Global reads follow the contiguous direction of
 * the stored matrix, neighbouring work-items reading neighbouring elements;
 * they are scalar and guarded, so nothing is assumed about alignment or about
 * offsets.  Barriers are reached by every work-item of a group.
 *
 * In registers, a work-item's rows and columns go in quads (pairs where RM or RN
 * is 2): its q-th quad of columns starts at q*4*(TILE_N/RN) + 4*x, so that the
 * float4 reads of neighbouring work-items from local memory are adjacent.
 * These vector reads are aligned by construction: every row of the tiles starts
 * at a multiple of 4 elements.
 *
 * epilogue:  0  store
 *            1  store f(value + extra[n])                  (extra: bias [N])
 *            2  store value * f'(.), from outputs extra[m,n] (extra: [M,N])
 *            3  store; also columnSums[n] = sum of op(B)[k,n], k ascending
 *               (added up from local memory by the groups that own row 0)
 *
 * Macros: TILE_M, TILE_N multiples of RM, RN; RM, RN each 2 or a multiple of 4.
 *   128 x 128 x 8,  8 x 8 (256 work-items)
 *    64 x  64 x 16, 4 x 4 (256 work-items)
 *    32 x  32 x 16, 2 x 2 (256 work-items)
 */
#pragma OPENCL FP_CONTRACT OFF

#ifndef TRANSPOSE_A
#define TRANSPOSE_A 0
#endif
#ifndef TRANSPOSE_B
#define TRANSPOSE_B 0
#endif
#ifndef TILE_M
#define TILE_M 64
#endif
#ifndef TILE_N
#define TILE_N 64
#endif
#ifndef TILE_K
#define TILE_K 16
#endif
#ifndef RM
#define RM 4
#endif
#ifndef RN
#define RN 4
#endif
#ifndef PAD
#define PAD 4
#endif

#define LOCAL_X (TILE_N / RN)
#define LOCAL_Y (TILE_M / RM)
#define LOCAL_COUNT (LOCAL_X * LOCAL_Y)
#define QUAD_M (RM % 4 == 0 ? 4 : RM)
#define QUAD_N (RN % 4 == 0 ? 4 : RN)
#define STRIDE_A (TILE_M + PAD)
#define STRIDE_B (TILE_N + PAD)

#if TILE_M % RM != 0 || TILE_N % RN != 0 || PAD % 4 != 0 || TILE_M % 4 != 0 || TILE_N % 4 != 0
#error "tile sizes must be multiples of the register tile and of 4"
#endif
#if (RM != 2 && RM % 4 != 0) || (RN != 2 && RN % 4 != 0)
#error "RM and RN must be 2 or multiples of 4"
#endif

/* Rows (columns) of the tile that register i (j) of work-item y (x) stands for. */
#define ROW_OF(i) ((i) / QUAD_M * (QUAD_M * LOCAL_Y) + y * QUAD_M + (i) % QUAD_M)
#define COLUMN_OF(j) ((j) / QUAD_N * (QUAD_N * LOCAL_X) + x * QUAD_N + (j) % QUAD_N)

kernel __attribute__((reqd_work_group_size(LOCAL_X, LOCAL_Y, 1)))
void matmul(global const float *restrict a, const uint aOffset,
            global const float *restrict b, const uint bOffset,
            global float *restrict c, const uint cOffset,
            global const float *restrict extra, const uint extraOffset,
            global float *restrict columnSums, const uint columnSumsOffset,
            const uint M, const uint N, const uint K,
            const int epilogue, const int activation)
{
    local float aTile[TILE_K * STRIDE_A] __attribute__((aligned(16)));
    local float bTile[TILE_K * STRIDE_B] __attribute__((aligned(16)));

    const uint x = (uint)get_local_id(0);
    const uint y = (uint)get_local_id(1);
    const uint id = y * LOCAL_X + x;
    const uint mFirst = (uint)get_group_id(1) * TILE_M;
    const uint nFirst = (uint)get_group_id(0) * TILE_N;
    a += aOffset;
    b += bOffset;
    c += cOffset;
    extra += extraOffset;
    columnSums += columnSumsOffset;

    float acc[RM][RN];
    for (uint i = 0; i < RM; i++)
        for (uint j = 0; j < RN; j++)
            acc[i][j] = 0.0f;
    /* Work-item id sums columns id, id + LOCAL_COUNT, ... of the tile. */
    float sums[(TILE_N + LOCAL_COUNT - 1) / LOCAL_COUNT];
    for (uint s = 0; s < (TILE_N + LOCAL_COUNT - 1) / LOCAL_COUNT; s++)
        sums[s] = 0.0f;

    for (uint kFirst = 0; kFirst < K; kFirst += TILE_K) {
        const uint kCount = min(K - kFirst, (uint)TILE_K);

        for (uint e = id; e < TILE_M * TILE_K; e += LOCAL_COUNT) {
#if TRANSPOSE_A
            const uint m = e % TILE_M, k = e / TILE_M;
#else
            const uint k = e % TILE_K, m = e / TILE_K;
#endif
            float v = 0.0f;
            if (mFirst + m < M && k < kCount)
#if TRANSPOSE_A
                v = a[(size_t)(kFirst + k) * M + mFirst + m];
#else
                v = a[(size_t)(mFirst + m) * K + kFirst + k];
#endif
            aTile[k * STRIDE_A + m] = v;
        }
        for (uint e = id; e < TILE_N * TILE_K; e += LOCAL_COUNT) {
#if TRANSPOSE_B
            const uint k = e % TILE_K, n = e / TILE_K;
#else
            const uint n = e % TILE_N, k = e / TILE_N;
#endif
            float v = 0.0f;
            if (nFirst + n < N && k < kCount)
#if TRANSPOSE_B
                v = b[(size_t)(nFirst + n) * K + kFirst + k];
#else
                v = b[(size_t)(kFirst + k) * N + nFirst + n];
#endif
            bTile[k * STRIDE_B + n] = v;
        }
        barrier(CLK_LOCAL_MEM_FENCE);

/* One k: RM + RN values from local memory, RM * RN products. */
#define LOAD_QUADS(values, count, quad, tile, first, step)                     \
        if (quad == 4) {                                                       \
            for (uint q = 0; q < count / 4; q++)                               \
                vstore4(*(local const float4 *)(tile + q * step + first), q, values); \
        } else {                                                               \
            for (uint q = 0; q < count; q++)                                   \
                values[q] = tile[first + q];                                   \
        }
#define ONE_K(k) {                                                             \
            float av[RM], bv[RN];                                              \
            local const float *aRow = aTile + (k) * STRIDE_A;                  \
            local const float *bRow = bTile + (k) * STRIDE_B;                  \
            LOAD_QUADS(av, RM, QUAD_M, aRow, y * QUAD_M, (QUAD_M * LOCAL_Y))   \
            LOAD_QUADS(bv, RN, QUAD_N, bRow, x * QUAD_N, (QUAD_N * LOCAL_X))   \
            for (uint i = 0; i < RM; i++)                                      \
                for (uint j = 0; j < RN; j++)                                  \
                    acc[i][j] = fma(av[i], bv[j], acc[i][j]);                  \
        }
        if (kCount == TILE_K) {
            for (uint k = 0; k < TILE_K; k++)
                ONE_K(k)
        } else {
            for (uint k = 0; k < kCount; k++)
                ONE_K(k)
        }
        if (epilogue == 3 && mFirst == 0)
            for (uint s = 0; s < (TILE_N + LOCAL_COUNT - 1) / LOCAL_COUNT; s++)
                if (id + s * LOCAL_COUNT < TILE_N)
                    for (uint k = 0; k < kCount; k++)
                        sums[s] += bTile[k * STRIDE_B + id + s * LOCAL_COUNT];
        barrier(CLK_LOCAL_MEM_FENCE);
    }

    if (epilogue == 3 && mFirst == 0)
        for (uint s = 0; s < (TILE_N + LOCAL_COUNT - 1) / LOCAL_COUNT; s++) {
            const uint n = id + s * LOCAL_COUNT;
            if (n < TILE_N && nFirst + n < N)
                columnSums[nFirst + n] = sums[s];
        }

    for (uint i = 0; i < RM; i++) {
        const uint m = mFirst + ROW_OF(i);
        for (uint j = 0; j < RN; j++) {
            const uint n = nFirst + COLUMN_OF(j);
            if (m < M && n < N) {
                const size_t at = (size_t)m * N + n;
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
