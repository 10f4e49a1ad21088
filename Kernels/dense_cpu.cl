/* Several matrix products in one launch for CPU devices, where each launch costs
 * as much as a small product.  Append to three forms of matmul_block.cl:
 * matmulBlock, matmulBlockTransposed (TRANSPOSE_B) and matmulBlockGradient
 * (TRANSPOSE_A); and to loss_row.cl.
 *
 * Every kernel takes up to four products; slots that are not used get any buffer.
 * Local size 1, no barriers; blocks are drawn by ticket, so that the global size
 * is min(compute units, blocks).
 */

/* Consecutive dense layers, forward (epilogue 1) or backward (2, with op(B) = B^T):
 *     y_i = epilogue(op(B_i) y_(i-1)),  y_0 = x [M, K],  y_i [M, n_i]
 * where extra_i is the bias or the outputs at which the derivative is taken.
 * A block is `blockRows` rows, which go through all layers together, since rows
 * do not depend on each other.
 */
#define CHAIN_LAYER(i)                                                         \
    global const float *b##i, const uint b##i##Offset,                         \
    global const float *extra##i, const uint extra##i##Offset,                 \
    global float *y##i, const uint y##i##Offset,                               \
    const uint n##i, const int activation##i

#define DENSE_CHAIN(NAME, BLOCK, EPILOGUE)                                                        \
kernel __attribute__((reqd_work_group_size(1, 1, 1)))                                             \
void NAME(global const float *x, const uint xOffset, CHAIN_LAYER(0), CHAIN_LAYER(1),              \
          CHAIN_LAYER(2), CHAIN_LAYER(3), const uint layers, const uint M, const uint K,          \
          const uint blockRows, volatile global uint *tickets)                                    \
{                                                                                                 \
    global const float *const bs[4] = {b0 + b0Offset, b1 + b1Offset, b2 + b2Offset,               \
                                       b3 + b3Offset};                                            \
    global const float *const extras[4] = {extra0 + extra0Offset, extra1 + extra1Offset,          \
                                           extra2 + extra2Offset, extra3 + extra3Offset};         \
    global float *const ys[4] = {y0 + y0Offset, y1 + y1Offset, y2 + y2Offset, y3 + y3Offset};     \
    const uint widths[4] = {n0, n1, n2, n3};                                                      \
    const int activations[4] = {activation0, activation1, activation2, activation3};              \
                                                                                                  \
    FOR_EACH_TICKET(block, (M + blockRows - 1) / blockRows) {                                     \
        const uint mFirst = block * blockRows;                                                    \
        const uint mLast = mFirst + min(M - mFirst, blockRows);                                   \
        global const float *a = x + xOffset;                                                      \
        uint depth = K;                                                                           \
        for (uint layer = 0; layer < layers; layer++) {                                           \
            BLOCK(a, bs[layer], ys[layer], extras[layer], ys[layer], M, widths[layer], depth,     \
                  mFirst, mLast, 0, widths[layer], EPILOGUE, activations[layer]);                 \
            a = ys[layer];                                                                        \
            depth = widths[layer];                                                                \
        }                                                                                         \
    }                                                                                             \
    RETURN_TICKETS                                                                                \
}

DENSE_CHAIN(denseForward, matmulBlock, 1)
DENSE_CHAIN(denseBackward, matmulBlockTransposed, 2)

/* Forward through consecutive dense layers, the reconstruction loss, and the way
 * back: what `denseForward`, the loss and `denseBackward` give one after another,
 * with the rows of a block still in the cache.  A block is `blockRows` rows.
 */
#define PASS_LAYER(d, i)                                                       \
    global const float *d##b##i, const uint d##b##i##Offset,                   \
    global const float *d##e##i, const uint d##e##i##Offset,                   \
    global float *d##y##i, const uint d##y##i##Offset,                         \
    const uint d##n##i, const int d##a##i
#define PASS_LAYERS(d) PASS_LAYER(d, 0), PASS_LAYER(d, 1), PASS_LAYER(d, 2), PASS_LAYER(d, 3)
#define PASS_ARRAYS(d)                                                               \
    global const float *const d##bs[4] = {d##b0 + d##b0Offset, d##b1 + d##b1Offset,  \
                                          d##b2 + d##b2Offset, d##b3 + d##b3Offset}; \
    global const float *const d##es[4] = {d##e0 + d##e0Offset, d##e1 + d##e1Offset,  \
                                          d##e2 + d##e2Offset, d##e3 + d##e3Offset}; \
    global float *const d##ys[4] = {d##y0 + d##y0Offset, d##y1 + d##y1Offset,        \
                                    d##y2 + d##y2Offset, d##y3 + d##y3Offset};       \
    const uint d##ns[4] = {d##n0, d##n1, d##n2, d##n3};                              \
    const int d##as[4] = {d##a0, d##a1, d##a2, d##a3};

kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void densePass(global const float *x, const uint xOffset, PASS_LAYERS(f),
               const uint forwardLayers, global const float *target, const uint targetOffset,
               const int activation, global const float *z, const uint zOffset,
               const uint latents, const float scale, global float *gradient,
               const uint gradientOffset, global float *rowError, const uint rowErrorOffset,
               global float *rowL0, const uint rowL0Offset, PASS_LAYERS(r),
               const uint backwardLayers, const uint M, const uint K, const uint blockRows,
               volatile global uint *tickets)
{
    PASS_ARRAYS(f)
    PASS_ARRAYS(r)

    FOR_EACH_TICKET(block, (M + blockRows - 1) / blockRows) {
        const uint mFirst = block * blockRows;
        const uint mLast = mFirst + min(M - mFirst, blockRows);
        global const float *a = x + xOffset;
        uint depth = K;
        for (uint layer = 0; layer < forwardLayers; layer++) {
            matmulBlock(a, fbs[layer], fys[layer], fes[layer], fys[layer], M, fns[layer], depth,
                        mFirst, mLast, 0, fns[layer], 1, fas[layer]);
            a = fys[layer];
            depth = fns[layer];
        }
        for (uint row = mFirst; row < mLast; row++)
            reconstructionLossOfRow(
                a + (size_t)row * depth, target + targetOffset + (size_t)row * depth, activation,
                z + zOffset + (size_t)row * latents, scale,
                gradient + gradientOffset + (size_t)row * depth, rowError + rowErrorOffset + row,
                rowL0 + rowL0Offset + row, depth, latents);
        a = gradient + gradientOffset;
        for (uint layer = 0; layer < backwardLayers; layer++) {
            matmulBlockTransposed(a, rbs[layer], rys[layer], res[layer], rys[layer], M, rns[layer],
                                  depth, mFirst, mLast, 0, rns[layer], 2, ras[layer]);
            a = rys[layer];
            depth = rns[layer];
        }
    }
    RETURN_TICKETS
}

/* Independent products with column sums (epilogue 3), the gradients of dense
 * layers: C_i = A_i^T B_i and sums_i.  A block is MB x 16 of one product.
 */
#define GROUP_PRODUCT(i)                                                       \
    global const float *a##i, const uint a##i##Offset,                         \
    global const float *b##i, const uint b##i##Offset,                         \
    global float *c##i, const uint c##i##Offset,                               \
    global float *sums##i, const uint sums##i##Offset,                         \
    const uint M##i, const uint N##i, const uint K##i

kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void denseGroup(GROUP_PRODUCT(0), GROUP_PRODUCT(1), GROUP_PRODUCT(2), GROUP_PRODUCT(3),
                const uint products, volatile global uint *tickets)
{
    global const float *const as[4] = {a0 + a0Offset, a1 + a1Offset, a2 + a2Offset, a3 + a3Offset};
    global const float *const bs[4] = {b0 + b0Offset, b1 + b1Offset, b2 + b2Offset, b3 + b3Offset};
    global float *const cs[4] = {c0 + c0Offset, c1 + c1Offset, c2 + c2Offset, c3 + c3Offset};
    global float *const sums[4] = {sums0 + sums0Offset, sums1 + sums1Offset, sums2 + sums2Offset,
                                   sums3 + sums3Offset};
    const uint rows[4] = {M0, M1, M2, M3};
    const uint columns[4] = {N0, N1, N2, N3};
    const uint depths[4] = {K0, K1, K2, K3};

    uint blocks = 0;
    for (uint i = 0; i < products; i++)
        blocks += ((columns[i] + 15) / 16) * ((rows[i] + MB - 1) / MB);
    FOR_EACH_TICKET(ticket, blocks) {
        // Which product the block belongs to, and where in it.
        uint i = 0, block = ticket;
        uint across = (columns[0] + 15) / 16;
        uint own = across * ((rows[0] + MB - 1) / MB);
        while (block >= own) {
            block -= own;
            i++;
            across = (columns[i] + 15) / 16;
            own = across * ((rows[i] + MB - 1) / MB);
        }
        const uint mFirst = block / across * MB;
        const uint nFirst = block % across * 16;
        matmulBlockGradient(as[i], bs[i], cs[i], cs[i], sums[i], rows[i], columns[i], depths[i],
                            mFirst, mFirst + min(rows[i] - mFirst, (uint)MB),
                            nFirst, nFirst + min(columns[i] - nFirst, 16u), 3, 0);
    }
    RETURN_TICKETS
}
