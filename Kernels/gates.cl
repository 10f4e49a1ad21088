// Hard concrete gates on a rectified code. `Compute/CodeOperations.swift` has the formulas.
//
// Preceded by activation.cl and logarithm.cl. Kernels named ...Group and ...Tile are for GPUs, ...Row and
// ...Columns for CPUs. Macros: GROUP, the work-items of a group.

#pragma OPENCL FP_CONTRACT OFF

#ifndef GROUP
#define GROUP 64
#endif
#define TILE 8

// As in Compute/HardConcrete.swift.
#define STRETCH_LOW (-0.1f)
#define STRETCH 1.2f
#define INVERSE_TEMPERATURE 1.5f
// ln(-gamma / zeta): above it a gate in test is above 0; and tau times it.
#define CLOSED_LOG_ALPHA (-2.3978952727983707f)
#define PENALTY_SHIFT (-1.5985968485322470f)
#define SMALLEST_UNIFORM 0x1p-20f

#define PHILOX_ROUND(UL, ROUND)                                                \
  {                                                                            \
    const UL product = left * (UL)(0xD256D193ul);                              \
    left = (product >> 32) ^ (UL)((ulong)(key + ROUND * 0x9E3779B9u)) ^ right; \
    right = product & (UL)(0xFFFFFFFFul);                                      \
  }

// The first word of Philox2x32-10 with the counter (row, column). The words stay in the lower halves
// of long lanes, where the products are formed.
#define DEFINE_PHILOX(U, UL, TO_U, TO_UL)                                       \
  static inline U philox_##U(const uint key, const uint row, const U column) {  \
    UL left = (UL)((ulong)row), right = TO_UL(column);                          \
    PHILOX_ROUND(UL, 0)                                                         \
    PHILOX_ROUND(UL, 1)                                                         \
    PHILOX_ROUND(UL, 2)                                                         \
    PHILOX_ROUND(UL, 3)                                                         \
    PHILOX_ROUND(UL, 4)                                                         \
    PHILOX_ROUND(UL, 5)                                                         \
    PHILOX_ROUND(UL, 6)                                                         \
    PHILOX_ROUND(UL, 7)                                                         \
    PHILOX_ROUND(UL, 8)                                                         \
    PHILOX_ROUND(UL, 9)                                                         \
    return TO_U(left);                                                          \
  }
DEFINE_PHILOX(uint, ulong, convert_uint, convert_ulong)
DEFINE_PHILOX(uint4, ulong4, convert_uint4, convert_ulong4)

// In halves: wider vectors of long than a register make PoCL warn about its own functions.
static inline uint8 philox_uint8(const uint key, const uint row, const uint8 column) {
  return (uint8)(philox_uint4(key, row, column.lo), philox_uint4(key, row, column.hi));
}

// The logit of the uniform number of (row, column): of the word the upper 23 bits make an odd
// multiple of 2^-24, so that u and 1 - u are exact.
#define DEFINE_NOISE(F, U, AS_I, TO_F)                                             \
  static inline F noiseLogit_##F(const uint key, const uint row, const U column) { \
    const F upper = TO_F(AS_I(philox_##U(key, row, column) >> 9));                 \
    const F u = fma(upper, (F)(0x1p-23f), (F)(0x1p-24f));                          \
    const F inside =                                                               \
        fmin(fmax(u, (F)(SMALLEST_UNIFORM)), (F)(1.0f - SMALLEST_UNIFORM));        \
    return logarithm_##F(inside / ((F)(1.0f) - inside));                           \
  }
DEFINE_NOISE(float, uint, as_int, convert_float)
DEFINE_NOISE(float8, uint8, as_int8, convert_float8)

// The gate before it is clipped.
#define DEFINE_STRETCHED(F)                                       \
  static inline F stretched_##F(const F sigmoid) {                \
    return fma(sigmoid, (F)(STRETCH), (F)(STRETCH_LOW));          \
  }                                                               \
  static inline F clipped_##F(const F gate) {                     \
    return fmin(fmax(gate, (F)(0.0f)), (F)(1.0f));                \
  }
DEFINE_STRETCHED(float)
DEFINE_STRETCHED(float8)

// One entry of z; `noisy` is 0 in test.
#define DEFINE_GATED(F, U)                                                                 \
  static inline F gated_##F(const F a, const F logAlpha, const int noisy, const uint key,  \
                            const uint row, const U column) {                              \
    F argument = logAlpha;                                                                 \
    if (noisy)                                                                             \
      argument = (noiseLogit_##F(key, row, column) + logAlpha) * (F)(INVERSE_TEMPERATURE); \
    return fmax(a, (F)(0.0f)) * clipped_##F(stretched_##F(sigmoid_##F(argument)));         \
  }
DEFINE_GATED(float, uint)
DEFINE_GATED(float8, uint8)

#define EIGHT ((uint8)(0, 1, 2, 3, 4, 5, 6, 7))

#define GATE_ARGUMENTS                                                                         \
  global const float *restrict a, const uint aOffset, global const float *restrict slope,      \
      const uint slopeOffset, global const float *restrict offset, const uint offsetOffset,    \
      const int noisy, const uint key, global float *restrict z, const uint zOffset,           \
      global float *restrict rowL0, const uint rowL0Offset, const uint batch, const uint width, \
      const uint rowsPerItem

#if CPU
// Launch: global size ceil(batch / rowsPerItem), local size 1.
kernel void hardConcreteRow(GATE_ARGUMENTS) {
  const uint first = get_global_id(0) * rowsPerItem;
  slope += slopeOffset;
  offset += offsetOffset;
  for (uint row = first; row < min(first + rowsPerItem, batch); ++row) {
    global const float *source = a + aOffset + (ulong)row * width;
    global float *target = z + zOffset + (ulong)row * width;
    // Counted in floats: see loss_row.cl.
    float8 open8 = 0;
    uint j = 0;
    for (; j + 8 <= width; j += 8) {
      const float8 value = vload8(0, source + j);
      const float8 logAlpha = fma(vload8(0, slope + j), value, vload8(0, offset + j));
      const float8 open = logAlpha > CLOSED_LOG_ALPHA ? (float8)(1.0f) : (float8)(0.0f);
      open8 += value > 0.0f ? open : (float8)(0.0f);
      vstore8(gated_float8(value, logAlpha, noisy, key, row, (uint8)(j) + EIGHT), 0, target + j);
    }
    const float4 open4 = open8.lo + open8.hi;
    uint open = (uint)(open4.x + open4.y + open4.z + open4.w);
    for (; j < width; ++j) {
      const float logAlpha = fma(slope[j], source[j], offset[j]);
      open += source[j] > 0.0f && logAlpha > CLOSED_LOG_ALPHA ? 1 : 0;
      target[j] = gated_float(source[j], logAlpha, noisy, key, row, j);
    }
    rowL0[rowL0Offset + row] = (float)open;
  }
}
#else
// Launch: global size batch * GROUP, local size GROUP. The last argument is not used here.
kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void hardConcreteGroup(GATE_ARGUMENTS) {
  local uint counts[GROUP];
  const uint row = get_group_id(0), lane = get_local_id(0);
  a += aOffset + (ulong)row * width;
  z += zOffset + (ulong)row * width;
  uint open = 0;
  for (uint j = lane; j < width; j += GROUP) {
    const float logAlpha = fma(slope[slopeOffset + j], a[j], offset[offsetOffset + j]);
    open += a[j] > 0.0f && logAlpha > CLOSED_LOG_ALPHA ? 1 : 0;
    z[j] = gated_float(a[j], logAlpha, noisy, key, row, j);
  }
  counts[lane] = open;
  for (uint step = GROUP / 2; step > 0; step /= 2) {
    barrier(CLK_LOCAL_MEM_FENCE);
    if (lane < step) counts[lane] += counts[lane + step];
  }
  if (lane == 0) rowL0[rowL0Offset + row] = (float)counts[0];
}
#endif

// The gradient with respect to logAlpha and, in *gate, the gate. Where a <= 0 both are 0.
#define DEFINE_GATE_BACKWARD(F, U)                                                             \
  static inline F gateBackward_##F(const F g, const F a, const F logAlpha, const float weight, \
                                   const uint key, const uint row, const U column, F *gate) {  \
    const F s = sigmoid_##F((noiseLogit_##F(key, row, column) + logAlpha)                      \
                            * (F)(INVERSE_TEMPERATURE));                                       \
    const F raw = stretched_##F(s), clipped = clipped_##F(raw);                                \
    const F steep = s * ((F)(1.0f) - s) * (F)(STRETCH * INVERSE_TEMPERATURE);                  \
    const F expected = sigmoid_##F(logAlpha - (F)(PENALTY_SHIFT));                             \
    const F penalty = (F)(weight) * (expected * ((F)(1.0f) - expected));                       \
    const F total = raw == clipped ? fma(g * a, steep, penalty) : penalty;                     \
    *gate = a > (F)(0.0f) ? clipped : (F)(0.0f);                                               \
    return a > (F)(0.0f) ? total : (F)(0.0f);                                                  \
  }
DEFINE_GATE_BACKWARD(float, uint)
DEFINE_GATE_BACKWARD(float8, uint8)

#define GATE_BACKWARD_ARGUMENTS                                                                  \
  global const float *g, const uint gOffset, global const float *restrict a, const uint aOffset, \
      global const float *restrict slope, const uint slopeOffset,                                \
      global const float *restrict offset, const uint offsetOffset, const uint key,              \
      global const float *restrict penalty, const uint penaltyOffset, const float scale,         \
      global float *da, const uint daOffset, global float *restrict slopeGradient,               \
      const uint slopeGradientOffset, global float *restrict offsetGradient,                     \
      const uint offsetGradientOffset, const uint batch, const uint width

#if CPU
// A work-item takes eight columns. Launch: global size ceil(width / 8), local size 1.
kernel void hardConcreteBackwardColumns(GATE_BACKWARD_ARGUMENTS) {
  const uint first = get_global_id(0) * 8;
  const float weight = penalty[penaltyOffset] * scale;
  g += gOffset;
  a += aOffset;
  slope += slopeOffset;
  offset += offsetOffset;
  da += daOffset;
  slopeGradient += slopeGradientOffset;
  offsetGradient += offsetGradientOffset;
  if (first + 8 <= width) {
    const float8 slopes = vload8(0, slope + first), offsets = vload8(0, offset + first);
    float8 slopeSum = 0, offsetSum = 0, gate;
    for (uint row = 0; row < batch; ++row) {
      const ulong place = (ulong)row * width + first;
      const float8 above = vload8(0, g + place), value = vload8(0, a + place);
      const float8 change = gateBackward_float8(above, value, fma(slopes, value, offsets), weight,
                                                key, row, (uint8)(first) + EIGHT, &gate);
      slopeSum = fma(change, value, slopeSum);
      offsetSum += change;
      vstore8(fma(change, slopes, above * gate), 0, da + place);
    }
    vstore8(slopeSum, 0, slopeGradient + first);
    vstore8(offsetSum, 0, offsetGradient + first);
    return;
  }
  for (uint j = first; j < width; ++j) {
    float slopeSum = 0, offsetSum = 0, gate;
    for (uint row = 0; row < batch; ++row) {
      const ulong place = (ulong)row * width + j;
      const float above = g[place], value = a[place];
      const float change = gateBackward_float(above, value, fma(slope[j], value, offset[j]),
                                              weight, key, row, j, &gate);
      slopeSum = fma(change, value, slopeSum);
      offsetSum += change;
      da[place] = fma(change, slope[j], above * gate);
    }
    slopeGradient[j] = slopeSum;
    offsetGradient[j] = offsetSum;
  }
}
#else
// A group takes TILE columns and passes over the batch TILE rows at a time.
// Launch: global size (width rounded up to TILE, TILE), local size (TILE, TILE).
kernel __attribute__((reqd_work_group_size(TILE, TILE, 1))) void hardConcreteBackwardTile(
    GATE_BACKWARD_ARGUMENTS) {
  local float2 sums[TILE][TILE];
  const uint column = get_local_id(0), lane = get_local_id(1), j = get_global_id(0);
  const float weight = penalty[penaltyOffset] * scale;
  const float slopeHere = j < width ? slope[slopeOffset + j] : 0.0f;
  const float offsetHere = j < width ? offset[offsetOffset + j] : 0.0f;
  float2 sum = 0;
  if (j < width) {
    for (uint row = lane; row < batch; row += TILE) {
      const ulong place = (ulong)row * width + j;
      const float above = g[gOffset + place], value = a[aOffset + place];
      float gate;
      const float change = gateBackward_float(above, value, fma(slopeHere, value, offsetHere),
                                              weight, key, row, j, &gate);
      sum += (float2)(change * value, change);
      da[daOffset + place] = fma(change, slopeHere, above * gate);
    }
  }
  sums[lane][column] = sum;
  for (uint step = TILE / 2; step > 0; step /= 2) {
    barrier(CLK_LOCAL_MEM_FENCE);
    if (lane < step) sums[lane][column] += sums[lane + step][column];
  }
  if (lane == 0 && j < width) {
    slopeGradient[slopeGradientOffset + j] = sums[0][column].x;
    offsetGradient[offsetGradientOffset + j] = sums[0][column].y;
  }
}
#endif
