// Forms a batch from the resident set of bytes: x_ij = scale * pixels[order[start + i], j] + shift.
//
// Launch: global size (ceil(width / BLOCK), batch); a work-item converts BLOCK consecutive pixels
// of one row: the whole row on a CPU, eight on a GPU.

#pragma OPENCL FP_CONTRACT OFF

#ifndef BLOCK
#define BLOCK 8
#endif

kernel void gather(global const uchar *restrict pixels, const uint pixelsOffset,
                   global const uint *restrict order, const uint orderOffset,
                   global float *restrict x, const uint xOffset, const uint width,
                   const float scale, const float shift) {
  const uint row = get_global_id(1);
  const uint first = get_global_id(0) * BLOCK;
  const uint last = min(first + BLOCK, width);
  // The set may have more than 2^32 pixels.
  pixels += pixelsOffset + (ulong)order[orderOffset + row] * width;
  x += xOffset + (ulong)row * width;
  uint j = first;
  for (; j + 8 <= last; j += 8)
    vstore8(fma(convert_float8(vload8(0, pixels + j)), (float8)(scale), (float8)(shift)), 0, x + j);
  for (; j < last; ++j) x[j] = fma((float)pixels[j], scale, shift);
}
