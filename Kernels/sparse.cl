// Arithmetic on sparse codes, by rows of the batch: of L latents each row keeps k.
//
// A code is `indices` and `values`, [rows, k], ascending in each row. Weights have a row of `width`
// values for each latent.
//
// Each operation is laid out in two ways. In the kernels named for CPUs a work-item of local size 1
// is a loop on one core; rows are drawn by ticket (tickets.cl), and eight rows of weights are added
// at once, so that a sum is read and written once for all of them. In those named for GPUs a
// work-group of GROUP neighbouring work-items takes a row, each work-item every GROUP-th column.
// Barriers are never under a condition.
//
// Preceded by tickets.cl, select.cl and sparse_sums.cl.

// Rows of the batch of one ticket.
#ifndef ROWS
#define ROWS 4
#endif

// MARK: The k largest

// Which of 16 entries are at least t, as bits: the sum of powers of two is exact.
static inline uint atLeast16(global const float *p, const float t) {
  const float16 bits = (float16)(0x1, 0x2, 0x4, 0x8, 0x10, 0x20, 0x40, 0x80, 0x100, 0x200, 0x400,
                                 0x800, 0x1000, 0x2000, 0x4000, 0x8000);
  return (uint)sum16(vload16(0, p) >= t ? bits : (float16)(0.0f));
}

#define TOPK_ARGUMENTS                                                                       \
  SOURCE(float, a), TENSOR(uint, indices), TENSOR(float, values), const uint rows, const uint k, \
      const uint latents

#if CPU
kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void sparseTopKCPU(TOPK_ARGUMENTS, volatile global uint *tickets) {
  FOR_EACH_TICKET(block, (rows + ROWS - 1) / ROWS) {
    for (uint i = block * ROWS; i < min(rows, (block + 1) * ROWS); ++i) {
      global const float *row = a + aOffset + (ulong)i * latents;
      global uint *kept = indices + indicesOffset + (ulong)i * k;
      global float *z = values + valuesOffset + (ulong)i * k;
      const Selection selection = kthLargest(row, latents, k, LOWEST_KEY);
      // Most entries are below what is kept; where NaN is kept every one is looked at.
      const int skips = selection.threshold != LOWEST_KEY;
      const float least = skips ? valueOfKey(selection.threshold) : 0.0f;
      uint s = 0;
#define KEEP(j)                                    \
  if (s < k && isSelected(row[j], j, selection)) { \
    kept[s] = j;                                   \
    z[s++] = row[j] > 0.0f ? row[j] : 0.0f;        \
  }
      uint first = 0;
      for (; first + 16 <= latents && s < k; first += 16)
        for (uint left = skips ? atLeast16(row + first, least) : 0xffff; left != 0;
             left &= left - 1) {
          const uint j = first + 31 - clz(left & (0u - left));
          KEEP(j)
        }
      for (; first < latents; ++first) KEEP(first)
    }
  }
  RETURN_TICKETS
}
#else
// Global size: GROUP work-items a row. Each counts what is kept in a stretch of its own, and then
// knows where to write it.
kernel __attribute__((reqd_work_group_size(GROUP, 1, 1)))
void sparseTopKGPU(TOPK_ARGUMENTS) {
  local uint4 sums[GROUP];
  local uint counts[GROUP];
  const uint lane = get_local_id(0);
  a += aOffset + (ulong)get_group_id(0) * latents;
  indices += indicesOffset + (ulong)get_group_id(0) * k;
  values += valuesOffset + (ulong)get_group_id(0) * k;
  const Selection selection = kthLargestGroup(a, latents, k, LOWEST_KEY, sums);
  const uint stretch = (latents + GROUP - 1) / GROUP;
  const uint first = min(latents, lane * stretch), last = min(latents, first + stretch);
  uint own = 0;
  for (uint j = first; j < last; ++j) own += isSelected(a[j], j, selection) ? 1 : 0;
  counts[lane] = own;
  barrier(CLK_LOCAL_MEM_FENCE);
  uint s = 0;
  for (uint i = 0; i < lane; ++i) s += counts[i];
  for (uint j = first; j < last; ++j)
    if (isSelected(a[j], j, selection)) {
      indices[s] = j;
      values[s++] = a[j] > 0.0f ? a[j] : 0.0f;
    }
}
#endif

// MARK: The scatter

#if CPU
// z_(i, indices_is) = values_is, 0 elsewhere. Global size: one work-item a row.
kernel void sparseScatterCPU(SOURCE(uint, indices), SOURCE(float, values), TENSOR(float, z),
                             const uint rows, const uint k, const uint latents) {
  const uint row = get_global_id(0);
  if (row >= rows) return;
  indices += indicesOffset + (ulong)row * k;
  values += valuesOffset + (ulong)row * k;
  z += zOffset + (ulong)row * latents;
  for (uint j = 0; j < latents; ++j) z[j] = 0;
  for (uint s = 0; s < k; ++s) z[indices[s]] = values[s];
}
#else
// Global size: a work-item for each element of the dense code, which looks itself up.
kernel void sparseScatterGPU(SOURCE(uint, indices), SOURCE(float, values), TENSOR(float, z),
                             const uint rows, const uint k, const uint latents) {
  const uint j = get_global_id(0), row = get_global_id(1);
  if (row >= rows || j >= latents) return;
  indices += indicesOffset + (ulong)row * k;
  // The first s with indices_s >= j.
  uint first = 0, last = k;
  while (first < last) {
    const uint middle = first + (last - first) / 2;
    if (indices[middle] < j)
      first = middle + 1;
    else
      last = middle;
  }
  const uint s = min(first, k - 1);
  z[zOffset + (ulong)row * latents + j] =
      indices[s] == j ? values[valuesOffset + (ulong)row * k + s] : 0.0f;
}
#endif

// MARK: The reconstruction

// y = bias + sum over s of values_s w_(indices_s)
BODY void decodeRow(global const uint *indices, global const float *values,
                    global const float *w, global const float *bias, global float *y,
                    const uint k, const uint width) {
  global const float *from = bias;
  for (uint s = 0; s < k; s += 8) {
#define KEPT(i)                                                                    \
  global const float *w##i = w + (ulong)indices[min(s + i, k - 1)] * width;         \
  const float v##i = s + i < k ? values[s + i] : 0.0f;
    EACH8(KEPT)
    ADD_ROWS(EACH8, from, y, width)
    from = y;
  }
}

#define DECODE_ARGUMENTS                                                                      \
  SOURCE(uint, indices), SOURCE(float, values), SOURCE(float, w), SOURCE(float, bias),         \
      TENSOR(float, y), const uint rows, const uint k, const uint width

#if CPU
kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void sparseDecodeCPU(DECODE_ARGUMENTS, volatile global uint *tickets) {
  FOR_EACH_TICKET(block, (rows + ROWS - 1) / ROWS) {
    for (uint row = block * ROWS; row < min(rows, (block + 1) * ROWS); ++row)
      decodeRow(indices + indicesOffset + (ulong)row * k, values + valuesOffset + (ulong)row * k,
                w + wOffset, bias + biasOffset, y + yOffset + (ulong)row * width, k, width);
  }
  RETURN_TICKETS
}
#else
// Global size: GROUP work-items a row.
kernel __attribute__((reqd_work_group_size(GROUP, 1, 1)))
void sparseDecodeGPU(DECODE_ARGUMENTS) {
  const uint row = get_group_id(0);
  indices += indicesOffset + (ulong)row * k;
  values += valuesOffset + (ulong)row * k;
  for (uint d = get_local_id(0); d < width; d += GROUP) {
    float sum = bias[biasOffset + d];
    for (uint s = 0; s < k; ++s)
      sum = fma(values[s], w[wOffset + (ulong)indices[s] * width + d], sum);
    y[yOffset + (ulong)row * width + d] = sum;
  }
}
#endif

// MARK: The pass: decode, loss, and the gradient of the code

#define PASS_ARGUMENTS                                                                          \
  SOURCE(uint, indices), SOURCE(float, values), SOURCE(float, w), SOURCE(float, bias),           \
      SOURCE(float, x), const float scale, TENSOR(float, gradient), TENSOR(float, codeGradient), \
      TENSOR(float, rowError), TENSOR(float, rowL0), const uint rows, const uint k,              \
      const uint width

// The loss of a row whose reconstruction y stands in `gradient`, which receives the gradient.
BODY float lossOfRow(global const float *x, global float *gradient, const float scale,
                     const uint width) {
  float16 sum = 0;
  uint d = 0;
  for (; d + 16 <= width; d += 16) {
    const float16 difference = vload16(0, gradient + d) - vload16(0, x + d);
    sum = fma(difference, difference, sum);
    vstore16(scale * difference, 0, gradient + d);
  }
  float rest = 0;
  for (; d < width; ++d) {
    const float difference = gradient[d] - x[d];
    rest = fma(difference, difference, rest);
    gradient[d] = scale * difference;
  }
  return sum16(sum) + rest;
}

#if CPU
// dz_s = the dot product of g with the row of weights of each latent that is above 0, else 0.
BODY void dotRows(global const uint *kept, global const float *z, global const float *w,
                  global const float *g, global float *dz, const uint k, const uint width) {
  for (uint s = 0; s < k; s += 8) {
#define DOT_ROW(i)                                                                 \
  global const float *w##i = w + (ulong)kept[min(s + i, k - 1)] * width;            \
  float16 a##i = 0;                                                                \
  float r##i = 0;
    EACH8(DOT_ROW)
    uint d = 0;
    for (; d + 16 <= width; d += 16) {
      const float16 slope = vload16(0, g + d);
#define DOT_VECTOR(i) a##i = fma(slope, vload16(0, w##i + d), a##i);
      EACH8(DOT_VECTOR)
    }
    for (; d < width; ++d) {
      const float slope = g[d];
#define DOT_VALUE(i) r##i = fma(slope, w##i[d], r##i);
      EACH8(DOT_VALUE)
    }
#define DOT_STORE(i) \
  if (s + i < k) dz[s + i] = z[s + i] > 0.0f ? sum16(a##i) + r##i : 0.0f;
    EACH8(DOT_STORE)
  }
}

kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void sparsePassCPU(PASS_ARGUMENTS, volatile global uint *tickets) {
  MOVE(w)
  MOVE(bias)
  FOR_EACH_TICKET(block, (rows + ROWS - 1) / ROWS) {
    for (uint row = block * ROWS; row < min(rows, (block + 1) * ROWS); ++row) {
      global const uint *kept = indices + indicesOffset + (ulong)row * k;
      global const float *z = values + valuesOffset + (ulong)row * k;
      global float *g = gradient + gradientOffset + (ulong)row * width;
      global float *dz = codeGradient + codeGradientOffset + (ulong)row * k;
      decodeRow(kept, z, w, bias, g, k, width);
      rowError[rowErrorOffset + row] =
          lossOfRow(x + xOffset + (ulong)row * width, g, scale, width);
      uint count = 0;
      for (uint s = 0; s < k; ++s) count += z[s] != 0.0f;
      rowL0[rowL0Offset + row] = (float)count;

      // The rows of weights are still in the core's cache.
      dotRows(kept, z, w, g, dz, k, width);
    }
  }
  RETURN_TICKETS
}
#else
// Global size: GROUP work-items a row. A work-item reads only its own columns of `gradient` again.
kernel __attribute__((reqd_work_group_size(GROUP, 1, 1)))
void sparsePassGPU(PASS_ARGUMENTS) {
  local float8 sums[GROUP];
  const uint row = get_group_id(0), lane = get_local_id(0);
  MOVE(w)
  MOVE(bias)
  indices += indicesOffset + (ulong)row * k;
  values += valuesOffset + (ulong)row * k;
  x += xOffset + (ulong)row * width;
  gradient += gradientOffset + (ulong)row * width;
  codeGradient += codeGradientOffset + (ulong)row * k;

  float error = 0;
  for (uint d = lane; d < width; d += GROUP) {
    float y = bias[d];
    for (uint s = 0; s < k; ++s) y = fma(values[s], w[(ulong)indices[s] * width + d], y);
    const float difference = y - x[d];
    error = fma(difference, difference, error);
    gradient[d] = scale * difference;
  }
  uint count = 0;
  for (uint s = lane; s < k; s += GROUP) count += values[s] != 0.0f;
  sums[lane] = (float8)(error, (float)count, 0, 0, 0, 0, 0, 0);
  REDUCE(lane, sums[lane] += sums[lane + step];)
  if (lane == 0) {
    rowError[rowErrorOffset + row] = sums[0].s0;
    rowL0[rowL0Offset + row] = sums[0].s1;
  }

  // Eight dot products at once.
  for (uint s = 0; s < k; s += 8) {
#define LANE_ROW(i) global const float *w##i = w + (ulong)indices[min(s + i, k - 1)] * width;
    EACH8(LANE_ROW)
    float8 dots = 0;
    for (uint d = lane; d < width; d += GROUP)
      dots = fma((float8)(gradient[d]),
                 (float8)(w0[d], w1[d], w2[d], w3[d], w4[d], w5[d], w6[d], w7[d]), dots);
    barrier(CLK_LOCAL_MEM_FENCE);
    sums[lane] = dots;
    REDUCE(lane, sums[lane] += sums[lane + step];)
    if (lane < 8 && s + lane < k) {
      local const float *all = (local const float *)sums;
      codeGradient[s + lane] = values[s + lane] > 0.0f ? all[lane] : 0.0f;
    }
  }
}
#endif
