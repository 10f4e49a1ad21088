// Convolutions and their adjoints for devices with many work-items, as matrix products whose left
// operand is read from the image when it is needed. Append to activation.cl and tile_gpu.cl.
//
//   M: the pixels of the output, image by image and row by row; N: its channels;
//   K: u, v and the input's channels, the last fastest
//
// Images lie pixel by pixel, `pitch` floats apart. Entries beyond an image's edge are zeros that
// are multiplied like others, and K is filled up with zeros to a multiple of TILE_K, so that the
// order of a sum is that of K, whatever the tiles and wherever the pixel lies.
//
// The adjoint of a stride of s is s x s convolutions of stride 1, one for each place of the
// output's pixel within a stride (its phase), with the taps that reach it, turned around: `packTaps`
// of convolution_parts_gpu.cl lays them out as [phase, taps, O, C]. In what follows the source is
// the image that is read and the target the one that is made.
//
// Launch: local size as in tile_gpu.cl; global size (ceil(channels / TILE_N) * local[0],
// ceil(largest phase's pixels / TILE_M) * local[1], phases). LOCAL_COUNT is a multiple of
// TILE_K / VECTOR_X. Macros besides the tile's, each 1 or 4, the elements that are moved at once:
//   VECTOR_X  4 where the source's channels, pitch and offset are multiples of 4
//   VECTOR_Y  4 where the target's channels, pitch and offset and the weights' offset are

#ifndef VECTOR_X
#define VECTOR_X 1
#endif
#ifndef VECTOR_Y
#define VECTOR_Y 1
#endif
#if VECTOR_X == 4
#define SOURCE_PART float4
#else
#define SOURCE_PART float
#endif
#if VECTOR_Y == 4
#define WEIGHT_PART float4
#else
#define WEIGHT_PART float
#endif
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

// The parts of a pixel's share of a block, and how many pixels and parts of the weights a work-item
// stages.
#define SOURCE_PARTS (TILE_K / VECTOR_X)
#define PIXEL_STEP (LOCAL_COUNT / SOURCE_PARTS)
#define PIXEL_SLOTS ((TILE_M + PIXEL_STEP - 1) / PIXEL_STEP)
#define WEIGHT_PARTS (TILE_N / VECTOR_Y)
#define WEIGHT_SLOTS ((TILE_K * WEIGHT_PARTS + LOCAL_COUNT - 1) / LOCAL_COUNT)
#if LOCAL_COUNT % SOURCE_PARTS != 0
#error "the group must take whole pixels at a time"
#endif
#define NOWHERE 0x40000000u

kernel __attribute__((reqd_work_group_size(LOCAL_X, LOCAL_Y, 1))) void convolve(
    global const float *restrict source, const uint sourceOffset, const uint sourcePitch,
    global const float *restrict w, const uint wOffset, global const float *restrict bias,
    const uint biasOffset, const uint hasBias, const int activation,
    global float *restrict target, const uint targetOffset, const uint targetPitch,
    const uint batch, const uint sourceHeight, const uint sourceWidth, const uint depth,
    const uint targetHeight, const uint targetWidth, const uint channels,
    const uint kernelHeight, const uint kernelWidth, const uint stride, const uint padding,
    const uint isAdjoint) {
  local float aBlocks[2][TILE_K * STRIDE_A] __attribute__((aligned(16)));
  local float bBlocks[2][TILE_K * STRIDE_B] __attribute__((aligned(16)));
  const uint x = (uint)get_local_id(0), y = (uint)get_local_id(1);
  const uint id = y * LOCAL_X + x;
  const uint mFirst = (uint)get_group_id(1) * TILE_M, nFirst = (uint)get_group_id(0) * TILE_N;
  w += wOffset;

  // The phase's own convolution: source pixel (step i + firstRow + u, ...) for target pixel
  // (side i + downPhase, ...).
  uint side = 1, step = stride, downPhase = 0, acrossPhase = 0;
  uint tapRows = kernelHeight, tapColumns = kernelWidth;
  uint firstRow = -padding, firstColumn = -padding;
  uint gridHeight = targetHeight, gridWidth = targetWidth;
  if (isAdjoint) {
    const uint phase = (uint)get_group_id(2);
    side = stride;
    step = 1;
    downPhase = phase / side;
    acrossPhase = phase % side;
    w += phase * ((kernelHeight - 1) / side + 1) * ((kernelWidth - 1) / side + 1) * depth *
         channels;
    tapRows = (kernelHeight + side - 1 - (downPhase + padding) % side) / side;
    tapColumns = (kernelWidth + side - 1 - (acrossPhase + padding) % side) / side;
    firstRow = (downPhase + padding) / side + 1 - tapRows;
    firstColumn = (acrossPhase + padding) / side + 1 - tapColumns;
    gridHeight = (targetHeight + side - 1 - downPhase) / side;
    gridWidth = (targetWidth + side - 1 - acrossPhase) / side;
  }
  const uint gridArea = gridHeight * gridWidth, positions = batch * gridArea;
  const uint terms = tapRows * tapColumns * depth;
  if (mFirst >= positions) return;

  // Of each pixel that this work-item stages: the source's row, column and pixel of its first tap.
  uint rows[PIXEL_SLOTS], columns[PIXEL_SLOTS], pixels[PIXEL_SLOTS];
#pragma unroll
  for (uint s = 0; s < PIXEL_SLOTS; ++s) {
    const uint m = id / SOURCE_PARTS + s * PIXEL_STEP, position = mFirst + m;
    const uint row = position / gridWidth, n = row / gridHeight;
    const bool isWanted = m < TILE_M && position < positions;
    rows[s] = isWanted ? (row - n * gridHeight) * step + firstRow : NOWHERE;
    columns[s] = (position - row * gridWidth) * step + firstColumn;
    pixels[s] = (n * sourceHeight + rows[s]) * sourceWidth + columns[s];
  }
  // The term that its part of a pixel starts with, as tap and channel.
  uint term = id % SOURCE_PARTS * VECTOR_X;
  uint c = term, u = 0, v = 0;
#define SETTLE_TAP()                \
  while (c >= depth) {              \
    c -= depth;                     \
    if (++v == tapColumns) {        \
      v = 0;                        \
      ++u;                          \
    }                               \
  }
  SETTLE_TAP()

  SOURCE_PART staged[PIXEL_SLOTS];
  WEIGHT_PART weights[WEIGHT_SLOTS];
  float acc[RM][RN];
  clearTile(acc);
  uint now = 0;
  for (uint kFirst = 0; kFirst < terms; kFirst += TILE_K) {
#pragma unroll
    for (uint s = 0; s < PIXEL_SLOTS; ++s) {
      staged[s] = 0;
      if (term < terms && rows[s] + u < sourceHeight && columns[s] + v < sourceWidth)
        staged[s] = JOIN(partOf_, SOURCE_PART)(
            source + (sourceOffset + (pixels[s] + u * sourceWidth + v) * sourcePitch + c));
    }
#pragma unroll
    for (uint s = 0; s < WEIGHT_SLOTS; ++s) {
      const uint e = id + s * LOCAL_COUNT;
      const uint k = kFirst + e / WEIGHT_PARTS, n = nFirst + e % WEIGHT_PARTS * VECTOR_Y;
      weights[s] = 0;
      if (k < terms && n < channels)
        weights[s] = JOIN(partOf_, WEIGHT_PART)(w + (k * channels + n));
    }
    term += TILE_K;
    c += TILE_K;
    SETTLE_TAP()

    // The products of the step before, while the reads of this one are under way.
    if (kFirst > 0) multiplyBlock(aBlocks[now ^ 1], bBlocks[now ^ 1], x, y, acc);

    local float *aBlock = aBlocks[now], *bBlock = bBlocks[now];
#pragma unroll
    for (uint s = 0; s < PIXEL_SLOTS; ++s) {
      const uint m = id / SOURCE_PARTS + s * PIXEL_STEP;
      if (TILE_M % PIXEL_STEP == 0 || m < TILE_M)
        JOIN(toColumn_, SOURCE_PART)
        (staged[s], aBlock + (id % SOURCE_PARTS * VECTOR_X * STRIDE_A + m), STRIDE_A);
    }
#pragma unroll
    for (uint s = 0; s < WEIGHT_SLOTS; ++s) {
      const uint e = id + s * LOCAL_COUNT;
      if (TILE_K * WEIGHT_PARTS % LOCAL_COUNT == 0 || e < TILE_K * WEIGHT_PARTS)
        JOIN(toRow_, WEIGHT_PART)
        (weights[s], bBlock + (e / WEIGHT_PARTS * STRIDE_B + e % WEIGHT_PARTS * VECTOR_Y));
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    now ^= 1;
  }
  if (terms > 0) multiplyBlock(aBlocks[now ^ 1], bBlocks[now ^ 1], x, y, acc);

#pragma unroll
  for (uint i = 0; i < RM; ++i) {
    uint pixel = mFirst + ROW_OF(i);
    if (pixel < positions) {
      if (side > 1) {
        const uint row = pixel / gridWidth, n = row / gridHeight;
        const uint down = (row - n * gridHeight) * side + downPhase;
        pixel = (n * targetHeight + down) * targetWidth +
                (pixel - row * gridWidth) * side + acrossPhase;
      }
      global float *place = target + (targetOffset + pixel * targetPitch);
#pragma unroll
      for (uint j = 0; j < RN; ++j) {
        const uint n = nFirst + COLUMN_OF(j);
        if (n < channels) {
          if (hasBias) acc[i][j] += bias[biasOffset + n];
          if (activation != ACTIVATION_IDENTITY)
            acc[i][j] = activate_float(acc[i][j], activation);
        }
      }
#if VECTOR_Y == 4 && RN % 4 == 0
#pragma unroll
      for (uint j = 0; j < RN; j += 4) {
        const uint n = nFirst + COLUMN_OF(j);
        if (n < channels)
          *(global float4 *)(place + n) =
              (float4)(acc[i][j], acc[i][j + 1], acc[i][j + 2], acc[i][j + 3]);
      }
#else
#pragma unroll
      for (uint j = 0; j < RN; ++j) {
        const uint n = nFirst + COLUMN_OF(j);
        if (n < channels) place[n] = acc[i][j];
      }
#endif
    }
  }
}
