// Forms a batch from the resident set of bytes:
//
//   x_ij = scale * pixels[order[start + i], j] + shift, less mean_j where `centred` is not 0.
//
// Launch: global size (ceil(width / GATHER_BLOCK), ceil(batch / GATHER_ROWS)); a work-item converts
// GATHER_BLOCK consecutive pixels of GATHER_ROWS rows: several whole rows on a CPU, eight pixels of
// one on a GPU.

#pragma OPENCL FP_CONTRACT OFF

#ifndef GATHER_BLOCK
#define GATHER_BLOCK 8
#endif
#ifndef GATHER_ROWS
#define GATHER_ROWS 1
#endif

#define GATHER_ARGUMENTS                                                                           \
  global const uchar *restrict pixels, const uint pixelsOffset, global const uint *restrict order, \
      const uint orderOffset, global float *restrict x, const uint xOffset, const uint batch,      \
      const uint width, const float scale, const float shift, const uint centred,                  \
      global const float *restrict mean, const uint meanOffset

BODY void gatherBlock(GATHER_ARGUMENTS, const uint column, const uint block) {
  mean += meanOffset;
  const uint first = column * GATHER_BLOCK;
  const uint last = min(first + GATHER_BLOCK, width);
  const uint firstRow = block * GATHER_ROWS;
  for (uint row = firstRow; row < min(firstRow + GATHER_ROWS, batch); ++row) {
    // The set may have more than 2^32 pixels.
    global const uchar *source = pixels + pixelsOffset + (ulong)order[orderOffset + row] * width;
    global float *target = x + xOffset + (ulong)row * width;
    uint j = first;
    for (; j + 8 <= last; j += 8) {
      float8 values = fma(convert_float8(vload8(0, source + j)), (float8)(scale), (float8)(shift));
      if (centred) values -= vload8(0, mean + j);
      vstore8(values, 0, target + j);
    }
    for (; j < last; ++j) {
      const float value = fma((float)source[j], scale, shift);
      target[j] = centred ? value - mean[j] : value;
    }
  }
}

kernel void gather(GATHER_ARGUMENTS) {
  gatherBlock(pixels, pixelsOffset, order, orderOffset, x, xOffset, batch, width, scale, shift,
              centred, mean, meanOffset, get_global_id(0), get_global_id(1));
}
