/* Several matrix products in one launch for CPU devices, where each launch costs
 * as much as a small product.  Append to matmul_block.cl.
 *
 * Both kernels take up to four products; slots that are not used get any buffer.
 * Local size 1, no barriers.
 */

/* Consecutive dense layers, forward (CHAIN_EPILOGUE 1) or backward (2, with
 * TRANSPOSE_B):
 *     y_i = epilogue(op(B_i) y_(i-1)),  y_0 = x [M, K],  y_i [M, n_i]
 * where extra_i is the bias or the outputs at which the derivative is taken.
 * A work-item takes `blockRows` rows through all layers, since rows do not
 * depend on each other: global size ceil(M / blockRows).
 */
#if defined(CHAIN_EPILOGUE)
#define CHAIN_LAYER(i)                                                         \
    global const float *b##i, const uint b##i##Offset,                         \
    global const float *extra##i, const uint extra##i##Offset,                 \
    global float *y##i, const uint y##i##Offset,                               \
    const uint n##i, const int activation##i

kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void denseChain(global const float *x, const uint xOffset, CHAIN_LAYER(0), CHAIN_LAYER(1),
                CHAIN_LAYER(2), CHAIN_LAYER(3), const uint layers, const uint M, const uint K,
                const uint blockRows)
{
    const uint mFirst = (uint)get_global_id(0) * blockRows;
    if (mFirst >= M)
        return;
    global const float *const bs[4] = {b0 + b0Offset, b1 + b1Offset, b2 + b2Offset, b3 + b3Offset};
    global const float *const extras[4] = {extra0 + extra0Offset, extra1 + extra1Offset,
                                           extra2 + extra2Offset, extra3 + extra3Offset};
    global float *const ys[4] = {y0 + y0Offset, y1 + y1Offset, y2 + y2Offset, y3 + y3Offset};
    const uint widths[4] = {n0, n1, n2, n3};
    const int activations[4] = {activation0, activation1, activation2, activation3};

    global const float *a = x + xOffset;
    uint depth = K;
    for (uint layer = 0; layer < layers; layer++) {
        matmulBlock(a, bs[layer], ys[layer], extras[layer], ys[layer], M, widths[layer], depth,
                    mFirst, mFirst + min(M - mFirst, blockRows), 0, widths[layer],
                    CHAIN_EPILOGUE, activations[layer]);
        a = ys[layer];
        depth = widths[layer];
    }
}
#endif

/* Independent products with column sums (epilogue 3; with TRANSPOSE_A the
 * gradients of dense layers): C_i = op(A_i) B_i and sums_i.
 * A work-item takes one block of MB x 16 of one product:
 *     global size = sum over i of ceil(M_i / MB) * ceil(N_i / 16).
 */
#if defined(GROUP_PRODUCTS)
#define GROUP_PRODUCT(i)                                                       \
    global const float *a##i, const uint a##i##Offset,                         \
    global const float *b##i, const uint b##i##Offset,                         \
    global float *c##i, const uint c##i##Offset,                               \
    global float *sums##i, const uint sums##i##Offset,                         \
    const uint M##i, const uint N##i, const uint K##i

kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void denseGroup(GROUP_PRODUCT(0), GROUP_PRODUCT(1), GROUP_PRODUCT(2), GROUP_PRODUCT(3),
                const uint products)
{
    global const float *const as[4] = {a0 + a0Offset, a1 + a1Offset, a2 + a2Offset, a3 + a3Offset};
    global const float *const bs[4] = {b0 + b0Offset, b1 + b1Offset, b2 + b2Offset, b3 + b3Offset};
    global float *const cs[4] = {c0 + c0Offset, c1 + c1Offset, c2 + c2Offset, c3 + c3Offset};
    global float *const sums[4] = {sums0 + sums0Offset, sums1 + sums1Offset, sums2 + sums2Offset,
                                   sums3 + sums3Offset};
    const uint rows[4] = {M0, M1, M2, M3};
    const uint columns[4] = {N0, N1, N2, N3};
    const uint depths[4] = {K0, K1, K2, K3};

    uint block = get_global_id(0);
    for (uint i = 0; i < products; i++) {
        const uint across = (columns[i] + 15) / 16;
        const uint blocks = across * ((rows[i] + MB - 1) / MB);
        if (block < blocks) {
            const uint mFirst = block / across * MB;
            const uint nFirst = block % across * 16;
            matmulBlock(as[i], bs[i], cs[i], cs[i], sums[i], rows[i], columns[i], depths[i],
                        mFirst, mFirst + min(rows[i] - mFirst, (uint)MB),
                        nFirst, nFirst + min(columns[i] - nFirst, 16u), 3, 0);
            return;
        }
        block -= blocks;
    }
}
#endif
