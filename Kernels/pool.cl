// The largest of each window of SIZE x SIZE pixels, there and back.
// `Compute/FeatureOperations.swift` has the formulas.
//
// Kernels named ...Row are for CPUs: a work-item takes a row of the output. Those named ...Each are
// for GPUs: a work-item takes one entry of the output. Preceded by strips.cl. A map is a buffer, the offset of its first
// entry and the pitch from one pixel to the next; `width` is the output's.

#ifndef SIZE
#define SIZE 2
#endif

// One window. A comparison with NaN is false: NaN replaces what is there and is not replaced.
#define DEFINE_POOL(F)                                                                              \
  static inline F largest_##F(global const float *x, const ulong pitch, const ulong rowPitch) {     \
    F largest = LOAD_##F(x);                                                                        \
    for (uint u = 0; u < SIZE; ++u)                                                                 \
      for (uint v = 0; v < SIZE; ++v) {                                                             \
        const F value = LOAD_##F(x + u * rowPitch + v * pitch);                                     \
        const F larger = value > largest ? value : largest;                                         \
        largest = value == value ? larger : value;                                                  \
      }                                                                                             \
    return largest;                                                                                 \
  }                                                                                                 \
  static inline void toLargest_##F(const F g, const F y, global const float *x, const ulong xPitch, \
                                   const ulong xRowPitch, const int accumulating,                   \
                                   global float *dx, const ulong dxPitch, const ulong dxRowPitch) { \
    F rest = g;                                                                                     \
    for (uint u = 0; u < SIZE; ++u)                                                                 \
      for (uint v = 0; v < SIZE; ++v) {                                                             \
        const F value = LOAD_##F(x + u * xRowPitch + v * xPitch);                                   \
        F slope = value == y ? rest : (F)(0.0f);                                                    \
        rest = value == y ? (F)(0.0f) : rest;                                                       \
        global float *place = dx + u * dxRowPitch + v * dxPitch;                                    \
        if (accumulating) slope += LOAD_##F(place);                                                 \
        STORE_##F(slope, place);                                                                    \
      }                                                                                             \
  }
DEFINE_POOL(float)
DEFINE_POOL(float8)

#define POOL_ARGUMENTS                                                                   \
  global const float *x, const uint xOffset, const uint xPitch, const uint rows,         \
      const uint width, const uint channels, global float *y, const uint yOffset,        \
      const uint yPitch

#if CPU
// Launch: global size rows, which are N H', local size 1.
BODY void poolRow(POOL_ARGUMENTS, const ulong row) {
  const ulong xRowPitch = (ulong)width * SIZE * xPitch;
  x += xOffset + row * SIZE * xRowPitch;
  y += yOffset + row * width * yPitch;
  for (uint j = 0; j < width; ++j) {
#define POOL_STRIP(F) STORE_##F(largest_##F(x + c, xPitch, xRowPitch), y + c);
    FOR_STRIPS(POOL_STRIP)
    x += SIZE * xPitch;
    y += yPitch;
  }
}

kernel void maxPoolRow(POOL_ARGUMENTS) {
  poolRow(x, xOffset, xPitch, rows, width, channels, y, yOffset, yPitch, get_global_id(0));
}
#else
// Launch: global size rows * width * channels.
kernel void maxPoolEach(POOL_ARGUMENTS) {
  const uint id = (uint)get_global_id(0), pixel = id / channels, c = id - pixel * channels;
  const uint j = pixel % width, row = pixel / width;
  const ulong xRowPitch = (ulong)width * SIZE * xPitch;
  if (row < rows)
    y[yOffset + (ulong)pixel * yPitch + c] = largest_float(
        x + xOffset + row * SIZE * xRowPitch + j * SIZE * (ulong)xPitch + c, xPitch, xRowPitch);
}
#endif

#define POOL_BACKWARD_ARGUMENTS                                                           \
  global const float *g, const uint gOffset, const uint gPitch, global const float *y,    \
      const uint yOffset, const uint yPitch, global const float *x, const uint xOffset,   \
      const uint xPitch, const uint rows, const uint width, const uint channels,          \
      const int accumulating, global float *dx, const uint dxOffset, const uint dxPitch

#if CPU
// Launch: global size rows, local size 1.
BODY void poolRowBackward(POOL_BACKWARD_ARGUMENTS, const ulong row) {
  const ulong xRowPitch = (ulong)width * SIZE * xPitch, dxRowPitch = (ulong)width * SIZE * dxPitch;
  g += gOffset + row * width * gPitch;
  y += yOffset + row * width * yPitch;
  x += xOffset + row * SIZE * xRowPitch;
  dx += dxOffset + row * SIZE * dxRowPitch;
  for (uint j = 0; j < width; ++j) {
#define POOL_BACKWARD_STRIP(F)                                                               \
  toLargest_##F(LOAD_##F(g + c), LOAD_##F(y + c), x + c, xPitch, xRowPitch, accumulating, dx + c, \
                dxPitch, dxRowPitch);
    FOR_STRIPS(POOL_BACKWARD_STRIP)
    g += gPitch;
    y += yPitch;
    x += SIZE * xPitch;
    dx += SIZE * dxPitch;
  }
}

kernel void maxPoolBackwardRow(POOL_BACKWARD_ARGUMENTS) {
  poolRowBackward(g, gOffset, gPitch, y, yOffset, yPitch, x, xOffset, xPitch, rows, width,
                  channels, accumulating, dx, dxOffset, dxPitch, get_global_id(0));
}
#else
// Launch: global size rows * width * channels.
kernel void maxPoolBackwardEach(POOL_BACKWARD_ARGUMENTS) {
  const uint id = (uint)get_global_id(0), pixel = id / channels, c = id - pixel * channels;
  const uint j = pixel % width, row = pixel / width;
  const ulong xRowPitch = (ulong)width * SIZE * xPitch, dxRowPitch = (ulong)width * SIZE * dxPitch;
  if (row < rows)
    toLargest_float(g[gOffset + (ulong)pixel * gPitch + c], y[yOffset + (ulong)pixel * yPitch + c],
                    x + xOffset + row * SIZE * xRowPitch + j * SIZE * (ulong)xPitch + c, xPitch,
                    xRowPitch, accumulating,
                    dx + dxOffset + row * SIZE * dxRowPitch + j * SIZE * (ulong)dxPitch + c,
                    dxPitch, dxRowPitch);
}
#endif
