// The code layers: TopK, BatchTopK, JumpReLU, the L1 penalty's gradient and the loop that controls
// a penalty. `Compute/CodeOperations.swift` has the formulas.
//
// Preceded by select.cl. Kernels named ...Group and ...Tile are for GPUs, ...Row, ...Whole and
// ...Columns for CPUs; the others serve both. Macros:
//   GROUP         work-items of a group: 1 on a CPU
//   BLOCK         consecutive elements that a work-item of addL1Gradient takes
//   COLUMN_BLOCK  columns and rows that a work-item of jumpReLU takes: thousands and eight on a
//   ROW_BLOCK     CPU, one and one on a GPU

#pragma OPENCL FP_CONTRACT OFF

#ifndef BLOCK
#define BLOCK 8
#endif
#ifndef COLUMN_BLOCK
#define COLUMN_BLOCK 8
#endif
#ifndef ROW_BLOCK
#define ROW_BLOCK 1
#endif
#define TILE 8

// z_j = a_j where it is selected, 0 elsewhere; the threshold of the selection is not negative, and
// no entry of 0 is selected. Returns the least of what is kept, or NaN: fmin prefers what is not.
BODY float keepSelected(global const float *a, global float *z, const uint count,
                        const Selection selection) {
  const float threshold = valueOfKey(selection.threshold);
  float8 least8 = (float8)(NAN);
  float least = NAN;
  uint j = 0;
  // Before the bound equals are kept too: the loops differ in the comparison alone.
  for (; j + 8 <= selection.bound; j += 8) {
    const float8 value = vload8(0, a + j);
    least8 = fmin(least8, value >= threshold ? value : (float8)(NAN));
    vstore8(value >= threshold ? value : (float8)(0.0f), 0, z + j);
  }
  for (; j < selection.bound; ++j) {
    const bool kept = a[j] >= threshold;
    z[j] = kept ? a[j] : 0.0f;
    least = fmin(least, kept ? a[j] : NAN);
  }
  for (; j + 8 <= count; j += 8) {
    const float8 value = vload8(0, a + j);
    least8 = fmin(least8, value > threshold ? value : (float8)(NAN));
    vstore8(value > threshold ? value : (float8)(0.0f), 0, z + j);
  }
  for (; j < count; ++j) {
    const bool kept = a[j] > threshold;
    z[j] = kept ? a[j] : 0.0f;
    least = fmin(least, kept ? a[j] : NAN);
  }
  const float4 least4 = fmin(least8.lo, least8.hi);
  const float2 least2 = fmin(least4.lo, least4.hi);
  return fmin(least, fmin(least2.x, least2.y));
}

#if CPU
// Launch: global size ceil(batch / rowsPerItem), local size 1.
kernel void topKRow(global const float *restrict a, const uint aOffset, global float *restrict z,
                    const uint zOffset, const uint k, const uint batch, const uint width,
                    const uint rowsPerItem) {
  const uint first = get_global_id(0) * rowsPerItem;
  for (uint row = first; row < min(first + rowsPerItem, batch); ++row) {
    global const float *source = a + aOffset + (ulong)row * width;
    keepSelected(source, z + zOffset + (ulong)row * width, width,
                 kthLargest(source, width, k, 0));
  }
}
#else
// Launch: global size batch * GROUP, local size GROUP. The last argument is not used here.
kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void topKGroup(
    global const float *restrict a, const uint aOffset, global float *restrict z,
    const uint zOffset, const uint k, const uint batch, const uint width, const uint rowsPerItem) {
  local uint4 sums[GROUP];
  a += aOffset + (ulong)get_group_id(0) * width;
  z += zOffset + (ulong)get_group_id(0) * width;
  const Selection selection = kthLargestGroup(a, width, k, 0, sums);
  for (uint j = get_local_id(0); j < width; j += GROUP)
    z[j] = isSelected(a[j], j, selection) && a[j] > 0.0f ? a[j] : 0.0f;
}
#endif

// The whole batch as one row of `count` entries.
#if CPU
// Launch: one work-item.
kernel void batchTopKWhole(global const float *restrict a, const uint aOffset,
                           global float *restrict z, const uint zOffset,
                           global float *restrict threshold, const uint thresholdOffset,
                           const uint k, const uint count) {
  a += aOffset;
  const float least = keepSelected(a, z + zOffset, count, kthLargest(a, count, k, 0));
  threshold[thresholdOffset] = isnan(least) ? 0.0f : least;
}
#else
// Launch: one group.
kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void batchTopKGroup(
    global const float *restrict a, const uint aOffset, global float *restrict z,
    const uint zOffset, global float *restrict threshold, const uint thresholdOffset, const uint k,
    const uint count) {
  local uint4 sums[GROUP];
  local float leasts[GROUP];
  const uint lane = get_local_id(0);
  a += aOffset;
  z += zOffset;
  const Selection selection = kthLargestGroup(a, count, k, 0, sums);
  float least = NAN;
  for (uint j = lane; j < count; j += GROUP) {
    const bool kept = isSelected(a[j], j, selection) && a[j] > 0.0f;
    z[j] = kept ? a[j] : 0.0f;
    least = fmin(least, kept ? a[j] : NAN);
  }
  leasts[lane] = least;
  for (uint step = GROUP / 2; step > 0; step /= 2) {
    barrier(CLK_LOCAL_MEM_FENCE);
    if (lane < step) leasts[lane] = fmin(leasts[lane], leasts[lane + step]);
  }
  if (lane == 0) threshold[thresholdOffset] = isnan(leasts[0]) ? 0.0f : leasts[0];
}
#endif

// Launch: global size (ceil(width / COLUMN_BLOCK), ceil(batch / ROW_BLOCK)).
kernel void jumpReLU(global const float *restrict a, const uint aOffset,
                     global const float *restrict theta, const uint thetaOffset,
                     global float *restrict z, const uint zOffset, const uint batch,
                     const uint width) {
  const uint first = get_global_id(0) * COLUMN_BLOCK, last = min(first + COLUMN_BLOCK, width);
  const uint firstRow = get_global_id(1) * ROW_BLOCK;
  theta += thetaOffset;
  for (uint row = firstRow; row < min(firstRow + ROW_BLOCK, batch); ++row) {
    global const float *source = a + aOffset + (ulong)row * width;
    global float *target = z + zOffset + (ulong)row * width;
    uint j = first;
    for (; j + 8 <= last; j += 8) {
      const float8 value = vload8(0, source + j);
      vstore8(value > vload8(0, theta + j) ? value : (float8)(0.0f), 0, target + j);
    }
    for (; j < last; ++j) target[j] = source[j] > theta[j] ? source[j] : 0.0f;
  }
}

// What an entry adds to -bandwidth dtheta.
#define DEFINE_JUMP_TERM(T)                                                                    \
  static inline T jumpTerm_##T(const T g, const T a, const T theta, const float halfBandwidth, \
                               const float weight) {                                           \
    return fabs(a - theta) < (T)(halfBandwidth) ? fma(theta, g, (T)(weight)) : (T)(0.0f);      \
  }
DEFINE_JUMP_TERM(float)
DEFINE_JUMP_TERM(float8)

#define JUMP_BACKWARD_ARGUMENTS                                                                  \
  global const float *g, const uint gOffset, global const float *restrict a, const uint aOffset, \
      global const float *restrict theta, const uint thetaOffset, const float bandwidth,         \
      global const float *restrict penalty, const uint penaltyOffset, const float scale,         \
      global float *da, const uint daOffset, global float *restrict dtheta,                      \
      const uint dthetaOffset, const uint batch, const uint width

#if CPU
// A work-item takes eight columns. Launch: global size ceil(width / 8), local size 1.
kernel void jumpReLUBackwardColumns(JUMP_BACKWARD_ARGUMENTS) {
  const uint first = get_global_id(0) * 8;
  const float weight = penalty[penaltyOffset] * scale, halfBandwidth = 0.5f * bandwidth;
  g += gOffset;
  a += aOffset;
  theta += thetaOffset;
  da += daOffset;
  dtheta += dthetaOffset;
  if (first + 8 <= width) {
    const float8 threshold = vload8(0, theta + first);
    float8 sum = 0;
    for (uint row = 0; row < batch; ++row) {
      const ulong place = (ulong)row * width + first;
      const float8 slope = vload8(0, g + place), value = vload8(0, a + place);
      sum += jumpTerm_float8(slope, value, threshold, halfBandwidth, weight);
      vstore8(value > threshold ? slope : (float8)(0.0f), 0, da + place);
    }
    vstore8(-sum / bandwidth, 0, dtheta + first);
    return;
  }
  for (uint j = first; j < width; ++j) {
    float sum = 0;
    for (uint row = 0; row < batch; ++row) {
      const ulong place = (ulong)row * width + j;
      const float slope = g[place];
      sum += jumpTerm_float(slope, a[place], theta[j], halfBandwidth, weight);
      da[place] = a[place] > theta[j] ? slope : 0.0f;
    }
    dtheta[j] = -sum / bandwidth;
  }
}
#else
// A group takes TILE columns and passes over the batch TILE rows at a time.
// Launch: global size (width rounded up to TILE, TILE), local size (TILE, TILE).
kernel __attribute__((reqd_work_group_size(TILE, TILE, 1))) void jumpReLUBackwardTile(
    JUMP_BACKWARD_ARGUMENTS) {
  local float sums[TILE][TILE];
  const uint column = get_local_id(0), lane = get_local_id(1), j = get_global_id(0);
  const float weight = penalty[penaltyOffset] * scale, halfBandwidth = 0.5f * bandwidth;
  const float threshold = j < width ? theta[thetaOffset + j] : 0.0f;
  float sum = 0;
  if (j < width) {
    for (uint row = lane; row < batch; row += TILE) {
      const ulong place = (ulong)row * width + j;
      const float slope = g[gOffset + place], value = a[aOffset + place];
      sum += jumpTerm_float(slope, value, threshold, halfBandwidth, weight);
      da[daOffset + place] = value > threshold ? slope : 0.0f;
    }
  }
  sums[lane][column] = sum;
  for (uint step = TILE / 2; step > 0; step /= 2) {
    barrier(CLK_LOCAL_MEM_FENCE);
    if (lane < step) sums[lane][column] += sums[lane + step][column];
  }
  if (lane == 0 && j < width) dtheta[dthetaOffset + j] = -sums[0][column] / bandwidth;
}
#endif

// Launch: global size ceil(count / BLOCK).
kernel void addL1Gradient(global const float *restrict z, const uint zOffset,
                          global const float *restrict penalty, const uint penaltyOffset,
                          const float scale, global float *restrict g, const uint gOffset,
                          const uint count) {
  const uint first = get_global_id(0) * BLOCK, last = min(first + BLOCK, count);
  const float weight = penalty[penaltyOffset] * scale;
  z += zOffset;
  g += gOffset;
  uint i = first;
  for (; i + 8 <= last; i += 8) {
    const float8 slope = vload8(0, g + i);
    vstore8(vload8(0, z + i) > 0.0f ? slope + weight : slope, 0, g + i);
  }
  for (; i < last; ++i) g[i] += z[i] > 0.0f ? weight : 0.0f;
}

// Launch: one group.
kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void controlPenalty(
    global const float *restrict rowL0, const uint rowL0Offset, global float *restrict control,
    const uint controlOffset, const float target, const float proportionalGain,
    const float integralGain, const float lower, const float upper, const uint batch) {
  local float sums[GROUP];
  const uint lane = get_local_id(0);
  float sum = 0;
  for (uint i = lane; i < batch; i += GROUP) sum += rowL0[rowL0Offset + i];
  sums[lane] = sum;
  for (uint step = GROUP / 2; step > 0; step /= 2) {
    barrier(CLK_LOCAL_MEM_FENCE);
    if (lane < step) sums[lane] += sums[lane + step];
  }
  if (lane == 0) {
    const float excess = sums[0] / (float)batch / target - 1.0f;
    const float e = fmin(1.0f, fmax(-1.0f, excess));
    const float integral =
        fmin(upper, fmax(lower, fma(integralGain, e, control[controlOffset + 1])));
    control[controlOffset + 1] = integral;
    control[controlOffset] = exp(fma(proportionalGain, e, integral));
  }
}
