// Forms a batch from the resident set of bytes:
//
//   x_ij = scale * pixels[order[start + i], j] + shift, less mean_j where CENTRED is 1.
//
// Launch: global size (ceil(width / BLOCK), ceil(batch / ROWS)); a work-item converts BLOCK
// consecutive pixels of ROWS rows: several whole rows on a CPU, eight pixels of one on a GPU.

#pragma OPENCL FP_CONTRACT OFF

#ifndef BLOCK
#define BLOCK 8
#endif
#ifndef ROWS
#define ROWS 1
#endif
#ifndef CENTRED
#define CENTRED 0
#endif

#if CENTRED
#define MINUS_MEAN(load) - (load)
#else
#define MINUS_MEAN(load)
#endif

kernel void gather(global const uchar *restrict pixels, const uint pixelsOffset,
                   global const uint *restrict order, const uint orderOffset,
                   global float *restrict x, const uint xOffset, const uint batch,
                   const uint width, const float scale, const float shift
#if CENTRED
                   , global const float *restrict mean, const uint meanOffset
#endif
) {
#if CENTRED
  mean += meanOffset;
#endif
  const uint first = get_global_id(0) * BLOCK;
  const uint last = min(first + BLOCK, width);
  const uint firstRow = get_global_id(1) * ROWS;
  for (uint row = firstRow; row < min(firstRow + ROWS, batch); ++row) {
    // The set may have more than 2^32 pixels.
    global const uchar *source = pixels + pixelsOffset + (ulong)order[orderOffset + row] * width;
    global float *target = x + xOffset + (ulong)row * width;
    uint j = first;
    for (; j + 8 <= last; j += 8) {
      const float8 values = convert_float8(vload8(0, source + j));
      vstore8(fma(values, (float8)(scale), (float8)(shift)) MINUS_MEAN(vload8(0, mean + j)), 0,
              target + j);
    }
    for (; j < last; ++j)
      target[j] = fma((float)source[j], scale, shift) MINUS_MEAN(mean[j]);
  }
}
