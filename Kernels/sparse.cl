// Arithmetic on sparse codes: of L latents each row of the batch keeps k.
//
// A code is `indices` and `values`, [rows, k], ascending in each row. Weights have a row of `width`
// values for each latent. Entry e = i k + s stands for the s-th kept latent of row i.
//
// Each operation is laid out in two ways. In the kernels named for CPUs a work-item of local size 1
// is a loop on one core; rows or latents are drawn by ticket (tickets.cl), and eight or four rows of
// weights are added at once, so that a sum is read and written once for all of them. In those named
// for GPUs a work-group of GROUP neighbouring work-items takes a row of the batch or a latent, each
// work-item every GROUP-th column. Barriers are never under a condition.
//
// Numerics. Sums over entries are one chain of fma in the order of the entries, so that grouping
// them changes no bit; entries added to fill a group have the weight 0. Dot products over a row
// have an order fixed by the width alone.
//
// Preceded by tickets.cl and select.cl.

#pragma OPENCL FP_CONTRACT OFF

#ifndef GROUP
#define GROUP 64
#endif
// Columns of gradients that a work-item of the CPU layout holds; a multiple of 8.
#ifndef CHUNK
#define CHUNK 4096
#endif
// Rows of the batch, or latents, of one ticket.
#ifndef ROWS
#define ROWS 4
#endif
#ifndef LATENTS
#define LATENTS 8
#endif

#define TENSOR(T, name) global T *restrict name, const uint name##Offset
#define SOURCE(T, name) global const T *restrict name, const uint name##Offset
#define MOVE(name) name += name##Offset;

inline float sum16(const float16 v) {
  const float8 v8 = v.lo + v.hi;
  const float4 v4 = v8.lo + v8.hi;
  const float2 v2 = v4.lo + v4.hi;
  return v2.x + v2.y;
}

// MARK: Adam, as elementwise.cl has it

#define SPARSE_ADAM(T, P, G, M, V)                                 \
  M = fma((T)(beta1), M, (T)(rest1) * G);                          \
  V = fma((T)(beta2), V, (T)(rest2) * (G * G));                    \
  P = P - (T)(stepSize) * M / fma(sqrt(V), (T)(secondMomentScale), (T)(epsilon));

#define ADAM_PARAMETERS                                                                        \
  const float beta1, const float rest1, const float beta2, const float rest2,                  \
      const float stepSize, const float secondMomentScale, const float epsilon
#define ADAM_NUMBERS beta1, rest1, beta2, rest2, stepSize, secondMomentScale, epsilon
// The encoder's: the same but for the size of the step.
#define ENCODER_NUMBERS beta1, rest1, beta2, rest2, encoderStepSize, secondMomentScale, epsilon

inline void adamScalar(global float *p, global float *m, global float *v, const float slope,
                       ADAM_PARAMETERS) {
  float parameter = *p, mean = *m, square = *v;
  SPARSE_ADAM(float, parameter, slope, mean, square)
  *p = parameter;
  *m = mean;
  *v = square;
}

// MARK: The k largest

// Which of 16 entries are at least t, as bits: the sum of powers of two is exact.
inline uint atLeast16(global const float *p, const float t) {
  const float16 bits = (float16)(0x1, 0x2, 0x4, 0x8, 0x10, 0x20, 0x40, 0x80, 0x100, 0x200, 0x400,
                                 0x800, 0x1000, 0x2000, 0x4000, 0x8000);
  return (uint)sum16(vload16(0, p) >= t ? bits : (float16)(0.0f));
}

#define TOPK_ARGUMENTS                                                                       \
  SOURCE(float, a), TENSOR(uint, indices), TENSOR(float, values), const uint rows, const uint k, \
      const uint latents

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

// MARK: The scatter

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

// MARK: Sums of rows, on a CPU

#define EACH4(X) X(0) X(1) X(2) X(3)
#define EACH8(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)

#define ADD_VECTOR(i) sum = fma((float16)(v##i), vload16(0, w##i + d), sum);
#define ADD_VALUE(i) sum = fma(v##i, w##i[d], sum);
#define ADD_ROWS(EACH, from, into, count)                           \
  {                                                                 \
    uint d = 0;                                                     \
    for (; d + 16 <= count; d += 16) {                              \
      float16 sum = vload16(0, from + d);                           \
      EACH(ADD_VECTOR)                                              \
      vstore16(sum, 0, into + d);                                   \
    }                                                               \
    for (; d < count; ++d) {                                        \
      float sum = from[d];                                          \
      EACH(ADD_VALUE)                                               \
      into[d] = sum;                                                \
    }                                                               \
  }

// y = bias + sum over s of values_s w_(indices_s)
inline void decodeRow(global const uint *indices, global const float *values,
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

kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void sparseDecodeCPU(DECODE_ARGUMENTS, volatile global uint *tickets) {
  FOR_EACH_TICKET(block, (rows + ROWS - 1) / ROWS) {
    for (uint row = block * ROWS; row < min(rows, (block + 1) * ROWS); ++row)
      decodeRow(indices + indicesOffset + (ulong)row * k, values + valuesOffset + (ulong)row * k,
                w + wOffset, bias + biasOffset, y + yOffset + (ulong)row * width, k, width);
  }
  RETURN_TICKETS
}

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

// MARK: The pass: decode, loss, and the gradient of the code

#define PASS_ARGUMENTS                                                                          \
  SOURCE(uint, indices), SOURCE(float, values), SOURCE(float, w), SOURCE(float, bias),           \
      SOURCE(float, x), const float scale, TENSOR(float, gradient), TENSOR(float, codeGradient), \
      TENSOR(float, rowError), TENSOR(float, rowL0), const uint rows, const uint k,              \
      const uint width

// The loss of a row whose reconstruction y stands in `gradient`, which receives the gradient.
inline float lossOfRow(global const float *x, global float *gradient, const float scale,
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
  }
  RETURN_TICKETS
}

// A sum over the work-group by halving: ADD adds what lies `step` further on. All work-items take
// part.
#define REDUCE(lane, ADD)                            \
  for (uint step = GROUP / 2; step > 0; step /= 2) { \
    barrier(CLK_LOCAL_MEM_FENCE);                    \
    if (lane < step) {                               \
      ADD                                            \
    }                                                \
  }                                                  \
  barrier(CLK_LOCAL_MEM_FENCE);

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

// MARK: Grouping by latent

#define GROUP_ARGUMENTS                                                                          \
  SOURCE(uint, indices), SOURCE(float, values), TENSOR(uint, offsets), TENSOR(uint, entries),    \
      TENSOR(uint, firings), const uint count, const uint latents

// A sort by counting, in one work-item: some ten thousand entries take as long as a launch or two.
kernel void sparseGroupCPU(GROUP_ARGUMENTS) {
  MOVE(indices)
  MOVE(values)
  MOVE(offsets)
  MOVE(entries)
  MOVE(firings)
  for (uint j = 0; j < latents; ++j) offsets[j] = 0;
  for (uint e = 0; e < count; ++e)
    if (values[e] > 0.0f) offsets[indices[e]] += 1;
  uint start = 0;
  for (uint j = 0; j < latents; ++j) {
    const uint own = offsets[j];
    firings[j] += own;
    offsets[j] = start;
    start += own;
  }
  for (uint e = 0; e < count; ++e)
    if (values[e] > 0.0f) {
      const uint j = indices[e];
      const uint place = offsets[j];
      entries[place] = e;
      offsets[j] = place + 1;
    }
  // Every offset has moved on to the next latent's.
  for (uint j = latents; j > 0; --j) offsets[j] = offsets[j - 1];
  offsets[0] = 0;
}

// A work-item for each latent, rounded up to whole groups. All entries pass by in local memory,
// twice: once to be counted, with those of lower latents, which come before; once to be placed.
kernel __attribute__((reqd_work_group_size(GROUP, 1, 1)))
void sparseGroupGPU(GROUP_ARGUMENTS) {
  local uint latentOf[GROUP];
  const uint lane = get_local_id(0), j = get_global_id(0);
  MOVE(indices)
  MOVE(values)
  MOVE(offsets)
  MOVE(entries)
  MOVE(firings)
  uint lower = 0, own = 0;
  for (uint first = 0; first < count; first += GROUP) {
    const uint e = min(first + lane, count - 1);
    const int isKept = first + lane < count && values[e] > 0.0f;
    barrier(CLK_LOCAL_MEM_FENCE);
    latentOf[lane] = isKept ? indices[e] : 0xffffffffu;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint i = 0; i < GROUP; ++i) {
      lower += latentOf[i] < j;
      own += latentOf[i] == j;
    }
  }
  uint place = lower;
  for (uint first = 0; first < count; first += GROUP) {
    const uint e = min(first + lane, count - 1);
    const int isKept = first + lane < count && values[e] > 0.0f;
    barrier(CLK_LOCAL_MEM_FENCE);
    latentOf[lane] = isKept ? indices[e] : 0xffffffffu;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint i = 0; i < GROUP; ++i)
      if (latentOf[i] == j && j < latents) entries[place++] = first + i;
  }
  if (j < latents) {
    offsets[j] = lower;
    firings[j] += own;
    if (j == latents - 1) offsets[latents] = lower + own;
  }
}

// MARK: Gradients by latent

// sums_d = sum over the entries of weights_e rows_(e / k, first + d), d < count
inline void addEntries(global const uint *entries, const uint entryCount,
                       global const float *weights, const uint k, global const float *rows,
                       const uint width, const uint count, float *sums) {
  for (uint d = 0; d < count; ++d) sums[d] = 0;
  uint n = 0;
#define ENTRY(i)                                              \
  const uint e##i = entries[min(n + i, entryCount - 1)];      \
  global const float *w##i = rows + (ulong)(e##i / k) * width; \
  const float v##i = n + i < entryCount ? weights[e##i] : 0.0f;
  for (; n + 8 <= entryCount; n += 8) {
    EACH8(ENTRY)
    ADD_ROWS(EACH8, sums, sums, count)
  }
  for (; n < entryCount; n += 4) {
    EACH4(ENTRY)
    ADD_ROWS(EACH4, sums, sums, count)
  }
}

inline float sumOfEntries(global const uint *entries, const uint entryCount,
                          global const float *weights) {
  float sum = 0;
  for (uint n = 0; n < entryCount; ++n) sum += weights[entries[n]];
  return sum;
}

#define BATCH_ARGUMENTS                                                                        \
  SOURCE(uint, offsets), SOURCE(uint, entries), SOURCE(float, values),                         \
      SOURCE(float, codeGradient), SOURCE(float, x), SOURCE(float, gradient), const uint k,    \
      const uint width, const uint latents
#define MOVE_BATCH MOVE(offsets) MOVE(entries) MOVE(values) MOVE(codeGradient) MOVE(x) MOVE(gradient)

#define GRADIENT_ARGUMENTS BATCH_ARGUMENTS, TENSOR(float, dD), TENSOR(float, dE), TENSOR(float, db)

kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void sparseGradientsCPU(GRADIENT_ARGUMENTS, volatile global uint *tickets) {
  float16 store[CHUNK / 16];
  float *sums = (float *)store;
  MOVE_BATCH
  FOR_EACH_TICKET(block, (latents + LATENTS - 1) / LATENTS) {
    for (uint j = block * LATENTS; j < min(latents, (block + 1) * LATENTS); ++j) {
      global const uint *own = entries + offsets[j];
      const uint n = offsets[j + 1] - offsets[j];
      if (n == 0) continue;
      global float *toD = dD + dDOffset + (ulong)j * width;
      global float *toE = dE + dEOffset + (ulong)j * width;
      for (uint first = 0; first < width; first += CHUNK) {
        const uint count = min(width - first, (uint)CHUNK);
        addEntries(own, n, values, k, gradient + first, width, count, sums);
        for (uint d = 0; d < count; ++d) toD[first + d] = sums[d];
        addEntries(own, n, codeGradient, k, x + first, width, count, sums);
        for (uint d = 0; d < count; ++d) toE[first + d] = sums[d];
      }
      db[dbOffset + j] = sumOfEntries(own, n, codeGradient);
    }
  }
  RETURN_TICKETS
}

// sum over the entries of weights_e rows_(e / k, d): one column.
inline float columnOfEntries(global const uint *entries, const uint entryCount,
                             global const float *weights, const uint k,
                             global const float *rows, const uint width, const uint d) {
  float sum = 0;
  for (uint n = 0; n < entryCount; ++n)
    sum = fma(weights[entries[n]], rows[(ulong)(entries[n] / k) * width + d], sum);
  return sum;
}

// Global size: GROUP work-items a latent.
kernel __attribute__((reqd_work_group_size(GROUP, 1, 1)))
void sparseGradientsGPU(GRADIENT_ARGUMENTS) {
  const uint j = get_group_id(0), lane = get_local_id(0);
  MOVE_BATCH
  global const uint *own = entries + offsets[j];
  const uint n = offsets[j + 1] - offsets[j];
  if (n == 0) return;
  for (uint d = lane; d < width; d += GROUP) {
    dD[dDOffset + (ulong)j * width + d] =
        columnOfEntries(own, n, values, k, gradient, width, d);
    dE[dEOffset + (ulong)j * width + d] = columnOfEntries(own, n, codeGradient, k, x, width, d);
  }
  if (lane == 0) db[dbOffset + j] = sumOfEntries(own, n, codeGradient);
}

// MARK: The optimizer's step in the same visit

#define UPDATE_ARGUMENTS                                                                         \
  BATCH_ARGUMENTS, TENSOR(float, decoder), TENSOR(float, decoderMean),                           \
      TENSOR(float, decoderSquare), TENSOR(float, encoder), TENSOR(float, encoderMean),          \
      TENSOR(float, encoderSquare), TENSOR(float, bias), TENSOR(float, biasMean),                \
      TENSOR(float, biasSquare), const uint unitNorm, ADAM_PARAMETERS, const float encoderStepSize
#define MOVE_STATE                                                                            \
  MOVE(decoder) MOVE(decoderMean) MOVE(decoderSquare) MOVE(encoder) MOVE(encoderMean)          \
  MOVE(encoderSquare) MOVE(bias) MOVE(biasMean) MOVE(biasSquare)

// 1 / norm; 1 where the norm is 0 or not finite, so that such a row stays as it is.
inline float inverseNorm(const float square) {
  const float norm = sqrt(square);
  return norm > 0.0f && norm < INFINITY ? 1.0f / norm : 1.0f;
}

// sum over d of a_d b_d
inline float dotOfRow(const float *a, global const float *b, const uint count) {
  float16 sum0 = 0, sum1 = 0;
  uint d = 0;
  for (; d + 32 <= count; d += 32) {
    sum0 = fma(vload16(0, a + d), vload16(0, b + d), sum0);
    sum1 = fma(vload16(0, a + d + 16), vload16(0, b + d + 16), sum1);
  }
  float rest = 0;
  for (; d < count; ++d) rest = fma(a[d], b[d], rest);
  return sum16(sum0 + sum1) + rest;
}

// Adam on a row with the slopes g_d - along p_d; the sum of the squares of what p becomes.
inline float adamRow(global float *p, global float *m, global float *v, const float *g,
                     const float along, const uint count, ADAM_PARAMETERS) {
  float16 sum = 0;
  uint d = 0;
  for (; d + 16 <= count; d += 16) {
    float16 parameter = vload16(0, p + d), mean = vload16(0, m + d), square = vload16(0, v + d);
    const float16 slope = fma((float16)(-along), parameter, vload16(0, g + d));
    SPARSE_ADAM(float16, parameter, slope, mean, square)
    sum = fma(parameter, parameter, sum);
    vstore16(parameter, 0, p + d);
    vstore16(mean, 0, m + d);
    vstore16(square, 0, v + d);
  }
  float rest = 0;
  for (; d < count; ++d) {
    adamScalar(p + d, m + d, v + d, fma(-along, p[d], g[d]), ADAM_NUMBERS);
    rest = fma(p[d], p[d], rest);
  }
  return sum16(sum) + rest;
}

// Adam on a row whose slopes are the sums over the entries, g_d = sum of weights_e rows_(e / k, d):
// the last entries are added as the step is made, while the divisions keep the core busy.
inline void adamOfEntries(global float *p, global float *m, global float *v,
                          global const uint *entries, const uint entryCount,
                          global const float *weights, const uint k, global const float *rows,
                          const uint width, const uint count, float *sums, ADAM_PARAMETERS) {
  uint n = (entryCount - 1) / 8 * 8;
  addEntries(entries, n, weights, k, rows, width, count, sums);
#define ADAM_ROWS(EACH)                                                                       \
  {                                                                                           \
    EACH(ENTRY)                                                                               \
    uint d = 0;                                                                               \
    for (; d + 16 <= count; d += 16) {                                                        \
      float16 sum = vload16(0, sums + d);                                                     \
      float16 parameter = vload16(0, p + d), mean = vload16(0, m + d);                        \
      float16 square = vload16(0, v + d);                                                     \
      EACH(ADD_VECTOR)                                                                        \
      SPARSE_ADAM(float16, parameter, sum, mean, square)                                      \
      vstore16(parameter, 0, p + d);                                                          \
      vstore16(mean, 0, m + d);                                                               \
      vstore16(square, 0, v + d);                                                             \
    }                                                                                         \
    for (; d < count; ++d) {                                                                  \
      float sum = sums[d];                                                                    \
      EACH(ADD_VALUE)                                                                         \
      adamScalar(p + d, m + d, v + d, sum, ADAM_NUMBERS);                                     \
    }                                                                                         \
  }
  if (entryCount - n > 4)
    ADAM_ROWS(EACH8)
  else
    ADAM_ROWS(EACH4)
}

kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void sparseUpdateCPU(UPDATE_ARGUMENTS, volatile global uint *tickets) {
  float16 store[CHUNK / 16];
  float *sums = (float *)store;
  MOVE_BATCH
  MOVE_STATE
  FOR_EACH_TICKET(block, (latents + LATENTS - 1) / LATENTS) {
    for (uint j = block * LATENTS; j < min(latents, (block + 1) * LATENTS); ++j) {
      global const uint *own = entries + offsets[j];
      const uint n = offsets[j + 1] - offsets[j];
      if (n == 0) continue;
      const ulong row = (ulong)j * width;
      // Of a row wider than a chunk the sums are formed twice: the projection needs all of it.
      float along = 0, square = 0;
      if (unitNorm)
        for (uint first = 0; first < width; first += CHUNK) {
          const uint count = min(width - first, (uint)CHUNK);
          addEntries(own, n, values, k, gradient + first, width, count, sums);
          along += dotOfRow(sums, decoder + row + first, count);
        }
      for (uint first = 0; first < width; first += CHUNK) {
        const uint count = min(width - first, (uint)CHUNK);
        if (!unitNorm || width > CHUNK)
          addEntries(own, n, values, k, gradient + first, width, count, sums);
        square += adamRow(decoder + row + first, decoderMean + row + first,
                          decoderSquare + row + first, sums, along, count, ADAM_NUMBERS);
      }
      if (unitNorm) {
        const float inverse = inverseNorm(square);
        for (uint d = 0; d < width; ++d) decoder[row + d] *= inverse;
      }
      for (uint first = 0; first < width; first += CHUNK) {
        const uint count = min(width - first, (uint)CHUNK);
        adamOfEntries(encoder + row + first, encoderMean + row + first,
                      encoderSquare + row + first, own, n, codeGradient, k, x + first, width,
                      count, sums, ENCODER_NUMBERS);
      }
      adamScalar(bias + j, biasMean + j, biasSquare + j, sumOfEntries(own, n, codeGradient),
                 ADAM_NUMBERS);
    }
  }
  RETURN_TICKETS
}

// Global size: GROUP work-items a latent. Latents without entries take part in the barriers alone.
kernel __attribute__((reqd_work_group_size(GROUP, 1, 1)))
void sparseUpdateGPU(UPDATE_ARGUMENTS) {
  local float sums[GROUP];
  const uint j = get_group_id(0), lane = get_local_id(0);
  MOVE_BATCH
  MOVE_STATE
  global const uint *own = entries + offsets[j];
  const uint n = offsets[j + 1] - offsets[j];
  const uint columns = n > 0 ? width : 0;
  const ulong row = (ulong)j * width;

  float along = 0;
  for (uint d = lane; d < (unitNorm ? columns : 0); d += GROUP)
    along = fma(columnOfEntries(own, n, values, k, gradient, width, d), decoder[row + d], along);
  sums[lane] = along;
  REDUCE(lane, sums[lane] += sums[lane + step];)
  along = sums[0];

  float square = 0;
  for (uint d = lane; d < columns; d += GROUP) {
    global float *p = decoder + row + d;
    const float slope =
        fma(-along, *p, columnOfEntries(own, n, values, k, gradient, width, d));
    adamScalar(p, decoderMean + row + d, decoderSquare + row + d, slope, ADAM_NUMBERS);
    square = fma(*p, *p, square);
    adamScalar(encoder + row + d, encoderMean + row + d, encoderSquare + row + d,
               columnOfEntries(own, n, codeGradient, k, x, width, d), ENCODER_NUMBERS);
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  sums[lane] = square;
  REDUCE(lane, sums[lane] += sums[lane + step];)
  const float inverse = inverseNorm(sums[0]);
  for (uint d = lane; d < (unitNorm ? columns : 0); d += GROUP) decoder[row + d] *= inverse;
  if (lane == 0 && n > 0)
    adamScalar(bias + j, biasMean + j, biasSquare + j, sumOfEntries(own, n, codeGradient),
               ADAM_NUMBERS);
}
