// Arithmetic on sparse codes, by latents: the entries of a batch grouped by latent, each latent's
// gradients, and the optimizer's step in the same visit.
//
// Entry e = i k + s stands for the s-th kept latent of row i of the batch; weights have a row of
// `width` values for each latent. The kernels' two layouts are those of sparse.cl, with a latent in
// the place of a row, and eight or four rows of the batch added at once.
//
// Preceded by tickets.cl and sparse_sums.cl.

// Columns of gradients that a work-item of the CPU layout holds; a multiple of 8.
#ifndef CHUNK
#define CHUNK 4096
#endif
// Latents of one ticket.
#ifndef LATENTS
#define LATENTS 8
#endif

// MARK: Grouping by latent

#define GROUP_ARGUMENTS                                                                          \
  SOURCE(uint, indices), SOURCE(float, values), TENSOR(uint, offsets), TENSOR(uint, entries),    \
      TENSOR(uint, firings), const uint count, const uint latents

#if CPU
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
#else
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
#endif

// MARK: Gradients by latent

// sums_d = sum over the entries of weights_e rows_(e / k, first + d), d < count
BODY void addEntries(global const uint *entries, const uint entryCount,
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

static inline float sumOfEntries(global const uint *entries, const uint entryCount,
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

#if CPU
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
#endif

// sum over the entries of weights_e rows_(e / k, d): one column.
static inline float columnOfEntries(global const uint *entries, const uint entryCount,
                                    global const float *weights, const uint k,
                                    global const float *rows, const uint width, const uint d) {
  float sum = 0;
  for (uint n = 0; n < entryCount; ++n)
    sum = fma(weights[entries[n]], rows[(ulong)(entries[n] / k) * width + d], sum);
  return sum;
}

#if !CPU
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
#endif

// MARK: Adam, as adam.cl has it

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

static inline void adamScalar(global float *p, global float *m, global float *v, const float slope,
                              ADAM_PARAMETERS) {
  float parameter = *p, mean = *m, square = *v;
  SPARSE_ADAM(float, parameter, slope, mean, square)
  *p = parameter;
  *m = mean;
  *v = square;
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
static inline float inverseNorm(const float square) {
  const float norm = sqrt(square);
  return norm > 0.0f && norm < INFINITY ? 1.0f / norm : 1.0f;
}

// sum over d of a_d b_d
BODY float dotOfRow(const float *a, global const float *b, const uint count) {
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
BODY float adamRow(global float *p, global float *m, global float *v, const float *g,
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
BODY void adamOfEntries(global float *p, global float *m, global float *v,
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

#if CPU
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
#else
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
#endif
