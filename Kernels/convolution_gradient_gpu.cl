// The gradient of a convolution's weights for devices with many work-items, as a matrix product.
// Append to tile_gpu.cl.
//
//   M: u, v and the channels of x, the last fastest; N: the channels of g;
//   K: the pixels of g, image by image and row by row
//
// K is cut into bands, by the shape alone, each of which leaves its own sums; `addBands` of
// convolution_parts_gpu.cl adds them up. Within a band the sum goes from its first pixel to its
// last; it is filled up with zeros to a multiple of TILE_K, and entries beyond x's edge are zeros.
//
// Launch: local size as in tile_gpu.cl; global size (ceil(outputs / TILE_N) * local[0],
// ceil(taps inputs / TILE_M) * local[1], bands). LOCAL_COUNT is at least TILE_K and a multiple of
// TILE_M / VECTOR_X. Macros besides the tile's, each 1 or 4, the elements that are moved at once:
//   VECTOR_X  4 where the channels, the pitch and the offset of x are multiples of 4
//   VECTOR_G  4 where those of g are

#ifndef VECTOR_X
#define VECTOR_X 1
#endif
#ifndef VECTOR_G
#define VECTOR_G 1
#endif
#if VECTOR_X == 4
#define X_PART float4
#else
#define X_PART float
#endif
#if VECTOR_G == 4
#define G_PART float4
#else
#define G_PART float
#endif
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

#define X_PARTS (TILE_M / VECTOR_X)
#define X_STEP (LOCAL_COUNT / X_PARTS)
#define X_SLOTS ((TILE_K + X_STEP - 1) / X_STEP)
#define G_PARTS (TILE_N / VECTOR_G)
#define G_SLOTS ((TILE_K * G_PARTS + LOCAL_COUNT - 1) / LOCAL_COUNT)
#if LOCAL_COUNT % X_PARTS != 0 || LOCAL_COUNT < TILE_K
#error "the group must take whole pixels at a time, and have a work-item for each of a block"
#endif
#define NOWHERE 0x40000000u

kernel __attribute__((reqd_work_group_size(LOCAL_X, LOCAL_Y, 1))) void convolutionGradient(
    global const float *restrict x, const uint xOffset, const uint xPitch,
    global const float *restrict g, const uint gOffset, const uint gPitch,
    global float *restrict parts, const uint partsOffset, const uint batch, const uint height,
    const uint width, const uint inputs, const uint outputHeight, const uint outputWidth,
    const uint outputs, const uint kernelHeight, const uint kernelWidth, const uint stride,
    const uint padding, const uint bandPositions) {
  local float aBlocks[2][TILE_K * STRIDE_A] __attribute__((aligned(16)));
  local float bBlocks[2][TILE_K * STRIDE_B] __attribute__((aligned(16)));
  // Of each pixel of a block: row, column and pixel of x at the first tap.
  local uint places[2][3][TILE_K];
  const uint lx = (uint)get_local_id(0), ly = (uint)get_local_id(1);
  const uint id = ly * LOCAL_X + lx;
  const uint mFirst = (uint)get_group_id(1) * TILE_M, nFirst = (uint)get_group_id(0) * TILE_N;
  const uint taps = kernelHeight * kernelWidth * inputs;
  const uint band = (uint)get_group_id(2), begin = band * bandPositions;
  const uint end = min(begin + bandPositions, batch * outputHeight * outputWidth);

  // What this work-item stages of every pixel of x.
  const uint m = mFirst + id % X_PARTS * VECTOR_X;
  const uint tap = m / inputs, c = m - tap * inputs;
  const uint u = tap / kernelWidth, v = tap - u * kernelWidth;
  const bool isTap = m < taps;
  const uint shift = (u * width + v) * xPitch + c;

#define PLACE(first, block)                                                   \
  if (id < TILE_K) {                                                          \
    const uint position = (first) + id;                                       \
    const uint row = position / outputWidth, n = row / outputHeight;          \
    const uint a = (row - n * outputHeight) * stride - padding;               \
    const uint b = (position - row * outputWidth) * stride - padding;         \
    places[block][0][id] = position < end ? a : NOWHERE;                      \
    places[block][1][id] = b;                                                 \
    places[block][2][id] = xOffset + ((n * height + a) * width + b) * xPitch; \
  }

  X_PART staged[X_SLOTS];
  G_PART slopes[G_SLOTS];
  float acc[RM][RN];
  clearTile(acc);
  uint now = 0;
  PLACE(begin, 0)
  barrier(CLK_LOCAL_MEM_FENCE);
  for (uint first = begin; first < end; first += TILE_K) {
#pragma unroll
    for (uint s = 0; s < X_SLOTS; ++s) {
      const uint k = min(id / X_PARTS + s * X_STEP, (uint)TILE_K - 1);
      staged[s] = 0;
      if (isTap && places[now][0][k] + u < height && places[now][1][k] + v < width)
        staged[s] = JOIN(partOf_, X_PART)(x + (places[now][2][k] + shift));
    }
#pragma unroll
    for (uint s = 0; s < G_SLOTS; ++s) {
      const uint e = id + s * LOCAL_COUNT;
      const uint k = first + e / G_PARTS, n = nFirst + e % G_PARTS * VECTOR_G;
      slopes[s] = 0;
      if (k < end && n < outputs)
        slopes[s] = JOIN(partOf_, G_PART)(g + (gOffset + k * gPitch + n));
    }

    // The products of the step before, while the reads of this one are under way.
    if (first > begin) multiplyBlock(aBlocks[now ^ 1], bBlocks[now ^ 1], lx, ly, acc);

    local float *aBlock = aBlocks[now], *bBlock = bBlocks[now];
#pragma unroll
    for (uint s = 0; s < X_SLOTS; ++s) {
      const uint k = id / X_PARTS + s * X_STEP;
      if (TILE_K % X_STEP == 0 || k < TILE_K)
        JOIN(toRow_, X_PART)(staged[s], aBlock + (k * STRIDE_A + id % X_PARTS * VECTOR_X));
    }
#pragma unroll
    for (uint s = 0; s < G_SLOTS; ++s) {
      const uint e = id + s * LOCAL_COUNT;
      if (TILE_K * G_PARTS % LOCAL_COUNT == 0 || e < TILE_K * G_PARTS)
        JOIN(toRow_, G_PART)(slopes[s], bBlock + (e / G_PARTS * STRIDE_B + e % G_PARTS * VECTOR_G));
    }
    now ^= 1;
    PLACE(first + TILE_K, now)
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  multiplyBlock(aBlocks[now ^ 1], bBlocks[now ^ 1], lx, ly, acc);

  parts += partsOffset + (ulong)band * taps * outputs;
  {
    const uint x = lx, y = ly;
#pragma unroll
    for (uint i = 0; i < RM; ++i) {
      const uint row = mFirst + ROW_OF(i);
#pragma unroll
      for (uint j = 0; j < RN; ++j) {
        const uint n = nFirst + COLUMN_OF(j);
        if (row < taps && n < outputs) parts[row * outputs + n] = acc[i][j];
      }
    }
  }
}
