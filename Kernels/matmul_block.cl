/* One block of a single-precision matrix product, as one work-item of a CPU
 * device computes it: what matmul_cpu.cl and dense_cpu.cl are made of.
 * Append to the activation functions (activate_*, timesDerivative_*) and tickets.cl.
 *
 *   C[M,N] = epilogue(op(A)[M,K] * op(B)[K,N])
 *
 * All matrices are dense and row-major.  A is stored [M,K], or [K,M] with
 * TRANSPOSE_A; B is stored [K,N], or [N,K] with TRANSPOSE_B.  Offsets count
 * elements.  Every M, N, K >= 1 is allowed; nothing outside the matrices is
 * read or written.
 *
 * A call computes rows [mFirst, mLast) and columns [nFirst, nLast) of C, where
 * nFirst is a multiple of 16.  For each block of up to KC values of k:
 *   - with PACK_A, its rows of op(A) are copied to aPack, in groups of MR rows,
 *     k by k, so that the inner loop reads one contiguous stream;
 *   - for each panel of 16 columns, that part of op(B) is copied to bPack, a
 *     float16 per k (transposing it if need be), which stays in a near cache
 *     while every group of MR rows passes over it;
 *   - MR x 16 results are held in MR float16 during the k loop: one register each
 *     where there are 512 bits, which halves the instructions that a core has
 *     to take in, and with them the time it waits for the caches; else two.
 * At the bottom edge the last row is repeated to fill a group of MR rows: the
 * repeated rows compute, and store, the very same values again.  At the right
 * edge loads and stores are guarded.
 *
 * Numerics.  Each element of C is one chain acc = fma(a[k], b[k], acc), k
 * ascending, starting from 0.  Between blocks of k the chain rests in C itself,
 * exactly.  So no tile macro changes any bit of the result.
 *
 * epilogue:  0  store
 *            1  store f(value + extra[n])                  (extra: bias [N])
 *            2  store value * f'(.), from outputs extra[m,n] (extra: [M,N])
 *            3  store; also columnSums[n] = sum of op(B)[k,n], k ascending
 * extra is not read with epilogues 0 and 3, columnSums not written but with 3.
 *
 * Macros (each may be given with -D):
 *   MR   rows held in registers: 6 fits sixteen 256-bit registers, 8 is for 512 bits
 *   MB   with PACK_A, the most rows of a block; a multiple of MR
 *   KC   values of k per block, a multiple of 8; bPack takes 64*KC bytes
 *   PACK_A  1: copy A too (for large N); aPack takes 64*KC*MB/MR bytes
 * The packs are private arrays, on the stack of the thread that runs the
 * work-item.
 */
#pragma OPENCL FP_CONTRACT OFF

#ifndef TRANSPOSE_A
#define TRANSPOSE_A 0
#endif
#ifndef TRANSPOSE_B
#define TRANSPOSE_B 0
#endif
#ifndef MR
#define MR 6
#endif
#ifndef MB
#define MB 48
#endif
#ifndef KC
#define KC 400
#endif
#ifndef PACK_A
#define PACK_A 0
#endif

#if MB % MR != 0 || KC % 8 != 0
#error "MB must be a multiple of MR and KC of 8"
#endif

#if MR == 8
#define EACH_ROW(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#elif MR == 6
#define EACH_ROW(X) X(0) X(1) X(2) X(3) X(4) X(5)
#else
#error "MR must be 6 or 8"
#endif

/* A program may hold this file several times, for several forms of MATMUL_BLOCK. */
#ifndef MATMUL_HELPERS
#define MATMUL_HELPERS

DEFINE_ALL(float16, int16, as_int16, as_float16)

/* Up to 16 elements; missing ones repeat the last (all are 0 where count is 0). */
float16 load16(global const float *p, const uint count)
{
    if (count >= 16)
        return vload16(0, p);
    if (count == 0)
        return (float16)(0.0f);
    float t[16];
    for (uint i = 0; i < 16; i++)
        t[i] = p[min(i, count - 1)];
    return vload16(0, t);
}

void store16(const float16 v, global float *p, const uint count)
{
    if (count >= 16) {
        vstore16(v, 0, p);
    } else {
        float t[16];
        vstore16(v, 0, t);
        for (uint i = 0; i < count; i++)
            p[i] = t[i];
    }
}

/* Eight rows of eight values, transposed: out[2*j] = column j. */
void transpose8(const float8 r0, const float8 r1, const float8 r2, const float8 r3,
                       const float8 r4, const float8 r5, const float8 r6, const float8 r7,
                       float8 *out)
{
    /* Interleave within halves, exactly what unpack and shuffle instructions do. */
    const float8 a0 = (float8)(r0.s0, r1.s0, r0.s1, r1.s1, r0.s4, r1.s4, r0.s5, r1.s5);
    const float8 a1 = (float8)(r0.s2, r1.s2, r0.s3, r1.s3, r0.s6, r1.s6, r0.s7, r1.s7);
    const float8 a2 = (float8)(r2.s0, r3.s0, r2.s1, r3.s1, r2.s4, r3.s4, r2.s5, r3.s5);
    const float8 a3 = (float8)(r2.s2, r3.s2, r2.s3, r3.s3, r2.s6, r3.s6, r2.s7, r3.s7);
    const float8 a4 = (float8)(r4.s0, r5.s0, r4.s1, r5.s1, r4.s4, r5.s4, r4.s5, r5.s5);
    const float8 a5 = (float8)(r4.s2, r5.s2, r4.s3, r5.s3, r4.s6, r5.s6, r4.s7, r5.s7);
    const float8 a6 = (float8)(r6.s0, r7.s0, r6.s1, r7.s1, r6.s4, r7.s4, r6.s5, r7.s5);
    const float8 a7 = (float8)(r6.s2, r7.s2, r6.s3, r7.s3, r6.s6, r7.s6, r6.s7, r7.s7);
    const float8 b0 = (float8)(a0.s01, a2.s01, a0.s45, a2.s45);
    const float8 b1 = (float8)(a0.s23, a2.s23, a0.s67, a2.s67);
    const float8 b2 = (float8)(a1.s01, a3.s01, a1.s45, a3.s45);
    const float8 b3 = (float8)(a1.s23, a3.s23, a1.s67, a3.s67);
    const float8 b4 = (float8)(a4.s01, a6.s01, a4.s45, a6.s45);
    const float8 b5 = (float8)(a4.s23, a6.s23, a4.s67, a6.s67);
    const float8 b6 = (float8)(a5.s01, a7.s01, a5.s45, a7.s45);
    const float8 b7 = (float8)(a5.s23, a7.s23, a5.s67, a7.s67);
    out[0] = (float8)(b0.lo, b4.lo);
    out[2] = (float8)(b1.lo, b5.lo);
    out[4] = (float8)(b2.lo, b6.lo);
    out[6] = (float8)(b3.lo, b7.lo);
    out[8] = (float8)(b0.hi, b4.hi);
    out[10] = (float8)(b1.hi, b5.hi);
    out[12] = (float8)(b2.hi, b6.hi);
    out[14] = (float8)(b3.hi, b7.hi);
}

/* Eight vectors of a matrix stored with the k dimension contiguous, for k in
 * [0, kCount): out[2*k] = (row 0 at k, ..., row 7 at k).  Rows beyond the last
 * valid one repeat it. */
void packEightTransposed(global const float *source, const size_t stride, const uint rows,
                         const uint kCount, float8 *out)
{
    global const float *p0 = source;
    global const float *p1 = source + min(1u, rows - 1) * stride;
    global const float *p2 = source + min(2u, rows - 1) * stride;
    global const float *p3 = source + min(3u, rows - 1) * stride;
    global const float *p4 = source + min(4u, rows - 1) * stride;
    global const float *p5 = source + min(5u, rows - 1) * stride;
    global const float *p6 = source + min(6u, rows - 1) * stride;
    global const float *p7 = source + min(7u, rows - 1) * stride;
    uint k = 0;
    for (; k + 8 <= kCount; k += 8)
        transpose8(vload8(0, p0 + k), vload8(0, p1 + k), vload8(0, p2 + k), vload8(0, p3 + k),
                   vload8(0, p4 + k), vload8(0, p5 + k), vload8(0, p6 + k), vload8(0, p7 + k),
                   out + 2 * k);
    for (; k < kCount; k++)
        out[2 * k] = (float8)(p0[k], p1[k], p2[k], p3[k], p4[k], p5[k], p6[k], p7[k]);
}

/* Sixteen of them: out[k] = (row 0 at k, ..., row 15 at k). */
void packTransposed(global const float *source, const size_t stride, const uint rows,
                    const uint kCount, float16 *out)
{
    packEightTransposed(source, stride, min(rows, 8u), kCount, (float8 *)out);
    const uint second = min(8u, rows - 1);
    packEightTransposed(source + second * stride, stride, rows - second, kCount,
                        (float8 *)out + 1);
}

/* The same for a matrix stored with the k dimension strided. */
void packStraight(global const float *source, const size_t stride, const uint columns,
                  const uint kCount, float16 *out)
{
    if (columns >= 16) {
        for (uint k = 0; k < kCount; k++)
            out[k] = vload16(0, source + k * stride);
    } else {
        for (uint k = 0; k < kCount; k++)
            out[k] = load16(source + k * stride, columns);
    }
}

#endif

#ifndef MATMUL_BLOCK
#define MATMUL_BLOCK matmulBlock
#endif

/* `a` may be what an earlier call of the same work-item wrote, so that nothing
 * here is `restrict`. */
BODY void MATMUL_BLOCK(global const float *a, global const float *b, global float *c,
                      global const float *extra, global float *columnSums, const uint M,
                      const uint N, const uint K, const uint mFirst, const uint mLast,
                      const uint nFirst, const uint nLast, const int epilogue,
                      const int activation)
{
    float16 bPack[KC];
#if PACK_A
    float16 aPack[KC * (MB / MR)];
#endif

    /* Blocks of k of about equal size, so that no short one is left over. */
    const uint kBlocks = (K - 1) / KC + 1;
    const uint kStep = ((K - 1) / kBlocks / 8 + 1) * 8;
    for (uint kFirst = 0; kFirst < K; kFirst += kStep) {
        const uint kCount = min(K - kFirst, kStep);
        const int isLast = kFirst + kCount == K;

#if PACK_A
        for (uint m = mFirst, g = 0; m < mLast; m += MR, g++) {
#if TRANSPOSE_A
            packStraight(a + (size_t)kFirst * M + m, M, M - m, kCount, aPack + g * KC);
#else
            packTransposed(a + (size_t)m * K + kFirst, K, M - m, kCount, aPack + g * KC);
#endif
        }
#endif

        for (uint n = nFirst; n < nLast; n += 16) {
            const uint width = min(N - n, 16u);  /* valid columns of this panel */
#if TRANSPOSE_B
            packTransposed(b + (size_t)n * K + kFirst, K, N - n, kCount, bPack);
#else
            packStraight(b + (size_t)kFirst * N + n, N, N - n, kCount, bPack);
#endif
            if (epilogue == 3 && mFirst == 0) {
                float16 sum = kFirst > 0 ? load16(columnSums + n, width) : (float16)(0.0f);
                for (uint k = 0; k < kCount; k++)
                    sum += bPack[k];
                store16(sum, columnSums + n, width);
            }

            for (uint m = mFirst; m < mLast; m += MR) {
                const uint rows = mLast - m;  /* may exceed MR */
#define ROW_INDEX(i) const size_t row##i = min((uint)i, rows - 1);
                EACH_ROW(ROW_INDEX)
#define DECLARE(i) float16 x##i;
                EACH_ROW(DECLARE)
                global float *cTile = c + (size_t)m * N + n;

                if (kFirst == 0) {
#define CLEAR(i) x##i = (float16)(0.0f);
                    EACH_ROW(CLEAR)
                } else if (width == 16) {
#define RELOAD(i) x##i = vload16(0, cTile + row##i * N);
                    EACH_ROW(RELOAD)
                } else {
                    /* Rarely taken, and a loop is compiled sooner than its rows. */
                    float16 edge[MR];
#pragma unroll 1
                    for (uint r = 0; r < MR; r++)
                        edge[r] = load16(cTile + (size_t)min(r, rows - 1) * N, width);
#define TAKE(i) x##i = edge[i];
                    EACH_ROW(TAKE)
                }

                {
                    const float16 *bp = bPack;
                    const float16 *const bEnd = bPack + kCount;
#if PACK_A
                    const float *ap = (const float *)(aPack + (m - mFirst) / MR * KC);
#define A_VALUE(i) ap[i]
#define A_STEP 16
#elif TRANSPOSE_A
                    global const float *ap = a + (size_t)kFirst * M + m;
#define A_VALUE(i) ap[row##i]
#define A_STEP M
#else
                    global const float *ap = a + (size_t)m * K + kFirst;
#define A_ROW(i) const size_t aRow##i = row##i * K;
                    EACH_ROW(A_ROW)
#define A_VALUE(i) ap[aRow##i]
#define A_STEP 1
#endif
#define MULTIPLY(i) x##i = fma((float16)(A_VALUE(i)), b16, x##i);
                    /* The form of this loop matters: counted and unrolled
                     * variants of it were up to twice as slow for some of the
                     * transpositions.  Compare timings after any change. */
                    do {
                        const float16 b16 = *bp;
                        EACH_ROW(MULTIPLY)
                        ap += A_STEP;
                        bp++;
                    } while (bp != bEnd);
                }

                if (!isLast || epilogue == 0 || epilogue == 3) {
                    if (width == 16) {
#define STORE(i) vstore16(x##i, 0, cTile + row##i * N);
                        EACH_ROW(STORE)
                        continue;
                    }
                }
                /* Everything else goes through memory. */
                float16 tile[MR];
#define SPILL(i) tile[i] = x##i;
                EACH_ROW(SPILL)
                const int mode = isLast ? epilogue : 0;
                const uint valid = min(rows, (uint)MR);
                if (mode == 1) {
                    const float16 bias = load16(extra + n, width);
                    for (uint r = 0; r < MR; r++)
                        tile[r] += bias;
                    activateAll_float16(tile, MR, activation);
                } else if (mode == 2) {
                    for (uint r = 0; r < valid; r++)
                        tile[r] = timesDerivative_float16(
                            tile[r], load16(extra + (size_t)(m + r) * N + n, width), activation);
                }
                for (uint r = 0; r < valid; r++)
                    store16(tile[r], c + (size_t)(m + r) * N + n, width);
            }
        }
    }
}

#undef A_VALUE
#undef A_STEP
