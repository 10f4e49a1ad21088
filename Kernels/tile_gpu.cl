// A tile of a matrix product, in local memory and registers: what matmul_gpu.cl, convolution_gpu.cl
// and convolution_gradient_gpu.cl share. They differ in how they stage the operands' blocks.
//
//   C[M,N] = A[M,K] B[K,N], each element one chain acc = fma(a, b, acc) over ascending k
//
// A work-group makes TILE_M x TILE_N elements, each of its work-items RM x RN of them in registers:
//     local size = (TILE_N / RN, TILE_M / RM)
// Terms are taken TILE_K at a time. The two blocks lie in local memory with the term slowest, so
// that the inner loop reads contiguous m and n; rows are padded by PAD elements, since staging an
// operand that is contiguous along k writes columns, which without padding would all fall in one
// bank. Of each block there are two, one filled while the other is in use: a barrier for each step,
// and global reads for the next step under way during the products of this one. In all
//     8 TILE_K (TILE_M + TILE_N + 2 PAD) bytes of local memory.
//
// In registers, a work-item's rows and columns go in quads (all of them where RM or RN is below 4):
// its q-th quad of columns starts at q*4*(TILE_N/RN) + 4*x, so that the float4 reads of neighbouring
// work-items are adjacent. Rows of the blocks start at multiples of 4 elements.
//
// Functions that take such a tile are inlined and their loops unrolled by order: a compiler that does
// as it likes, as Clang for AMD and NVIDIA does of large tiles, keeps the tile in memory.
//
// Macros: TILE_M, TILE_N multiples of 4 and of RM, RN; RM, RN each 1, 2 or a multiple of 4.
#pragma OPENCL FP_CONTRACT OFF

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
#define PAD 4
#define INLINED static inline __attribute__((always_inline))

#define LOCAL_X (TILE_N / RN)
#define LOCAL_Y (TILE_M / RM)
#define LOCAL_COUNT (LOCAL_X * LOCAL_Y)
#define STRIDE_A (TILE_M + PAD)
#define STRIDE_B (TILE_N + PAD)
#define QUAD_M (RM % 4 == 0 ? 4 : RM)
#define QUAD_N (RN % 4 == 0 ? 4 : RN)

#if TILE_M % RM != 0 || TILE_N % RN != 0 || TILE_M % 4 != 0 || TILE_N % 4 != 0
#error "tile sizes must be multiples of the register tile and of 4"
#endif
#if (RM > 2 && RM % 4 != 0) || (RN > 2 && RN % 4 != 0)
#error "RM and RN must be 1, 2 or multiples of 4"
#endif

// Rows (columns) of the tile that register i (j) of work-item y (x) stands for.
#define ROW_OF(i) ((i) / QUAD_M * (QUAD_M * LOCAL_Y) + y * QUAD_M + (i) % QUAD_M)
#define COLUMN_OF(j) ((j) / QUAD_N * (QUAD_N * LOCAL_X) + x * QUAD_N + (j) % QUAD_N)

// One element or four, as they are read from global memory and written to a row of a block or, one
// below the other, into a column.
#define DEFINE_PARTS(F, COLUMN)                                                          \
  static inline F partOf_##F(global const float *p) { return *(global const F *)p; }     \
  static inline void toRow_##F(const F v, local float *p) { *(local F *)p = v; }         \
  static inline void toColumn_##F(const F v, local float *p, const uint stride) { COLUMN }
DEFINE_PARTS(float, p[0] = v;)
DEFINE_PARTS(float4, p[0] = v.x; p[stride] = v.y; p[2 * stride] = v.z; p[3 * stride] = v.w;)

// One term: RM + RN values from local memory, RM RN products.
INLINED void multiplyTerm(local const float *aRow, local const float *bRow, const uint x,
                          const uint y, float acc[RM][RN]) {
  float av[RM], bv[RN];
#if RM % 4 == 0
#pragma unroll
  for (uint q = 0; q < RM / 4; ++q) {
    const float4 v = *(local const float4 *)(aRow + q * 4 * LOCAL_Y + 4 * y);
    av[4 * q] = v.x;
    av[4 * q + 1] = v.y;
    av[4 * q + 2] = v.z;
    av[4 * q + 3] = v.w;
  }
#else
#pragma unroll
  for (uint i = 0; i < RM; ++i) av[i] = aRow[RM * y + i];
#endif
#if RN % 4 == 0
#pragma unroll
  for (uint q = 0; q < RN / 4; ++q) {
    const float4 v = *(local const float4 *)(bRow + q * 4 * LOCAL_X + 4 * x);
    bv[4 * q] = v.x;
    bv[4 * q + 1] = v.y;
    bv[4 * q + 2] = v.z;
    bv[4 * q + 3] = v.w;
  }
#else
#pragma unroll
  for (uint j = 0; j < RN; ++j) bv[j] = bRow[RN * x + j];
#endif
#pragma unroll
  for (uint i = 0; i < RM; ++i)
#pragma unroll
    for (uint j = 0; j < RN; ++j) acc[i][j] = fma(av[i], bv[j], acc[i][j]);
}

// TILE_K terms. Of more than eight at a time, Clang for AMD reads so many ahead that the registers do
// not suffice.
INLINED void multiplyBlock(local const float *aBlock, local const float *bBlock, const uint x,
                           const uint y, float acc[RM][RN]) {
#pragma unroll 8
  for (uint k = 0; k < TILE_K; ++k)
    multiplyTerm(aBlock + k * STRIDE_A, bBlock + k * STRIDE_B, x, y, acc);
}

INLINED void clearTile(float acc[RM][RN]) {
#pragma unroll
  for (uint i = 0; i < RM; ++i)
#pragma unroll
    for (uint j = 0; j < RN; ++j) acc[i][j] = 0.0f;
}
