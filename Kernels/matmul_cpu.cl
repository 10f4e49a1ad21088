/* The matrix product for CPU devices.  Append to matmul_block.cl.
 *
 * Local size 1, no barriers.  The blocks of C of MB rows and NB columns, NB a
 * multiple of 16, are drawn by ticket:
 *     global size = min(compute units, ceil(M / MB) * ceil(N / NB)).
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
            const int epilogue, const int activation, volatile global uint *tickets)
{
    const uint across = (N + NB - 1) / NB;
    FOR_EACH_TICKET(block, across * ((M + MB - 1) / MB)) {
        const uint mFirst = block / across * MB;
        const uint nFirst = block % across * NB;
        matmulBlock(a + aOffset, b + bOffset, c + cOffset, extra + extraOffset,
                    columnSums + columnSumsOffset, M, N, K,
                    mFirst, mFirst + min(M - mFirst, (uint)MB),
                    nFirst, nFirst + min(N - nFirst, (uint)NB), epilogue, activation);
    }
    RETURN_TICKETS
}
