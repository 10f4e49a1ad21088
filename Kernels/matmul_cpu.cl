/* The matrix product for CPU devices.  Append to matmul_block.cl.
 *
 * Local size 1, no barriers.  Work-item (x, y) owns the block of C with rows
 * [y*MB, y*MB+MB) and columns [x*NB, x*NB+NB):
 *     global size = (ceil(N / NB), ceil(M / MB)), local size = (1, 1).
 * NB is a multiple of 16.
 */
#ifndef NB
#define NB 16
#endif
#if NB % 16 != 0
#error "NB must be a multiple of 16"
#endif

kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void matmul(global const float *restrict a, const uint aOffset,
            global const float *restrict b, const uint bOffset,
            global float *restrict c, const uint cOffset,
            global const float *restrict extra, const uint extraOffset,
            global float *restrict columnSums, const uint columnSumsOffset,
            const uint M, const uint N, const uint K,
            const int epilogue, const int activation)
{
    const uint mFirst = (uint)get_global_id(1) * MB;
    const uint nFirst = (uint)get_global_id(0) * NB;
    if (mFirst >= M || nFirst >= N)
        return;
    matmulBlock(a + aOffset, b + bOffset, c + cOffset, extra + extraOffset,
                columnSums + columnSumsOffset, M, N, K,
                mFirst, mFirst + min(M - mFirst, (uint)MB),
                nFirst, nFirst + min(N - nFirst, (uint)NB), epilogue, activation);
}
