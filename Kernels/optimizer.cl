// What training does to parameters and gradients besides Adam: see OptimizerOperations.swift.
//
// Four shapes of work:
//  - on each element alone, as in adam.cl: a work-item takes BLOCK consecutive elements;
//    launch: global size ceil(count / BLOCK);
//  - sums over a whole array: parts first, then the total of the parts by one work-item (CPU) or one
//    work-group of GROUP (GPU);
//  - rows: a work-item takes ROWS whole rows (CPU; launch: ceil(rows / ROWS)), or a work-group of
//    GROUP takes one (GPU; launch: rows * GROUP);
//  - columns, as in columns.cl: a work-item takes COLUMNS neighbouring columns.
//
// Every sum is formed in an order that the shapes alone decide.

#pragma OPENCL FP_CONTRACT OFF

#ifndef BLOCK
#define BLOCK 8
#endif
#ifndef ROWS
#define ROWS 8
#endif
#ifndef COLUMNS
#define COLUMNS 8
#endif
#ifndef GROUP
#define GROUP 64
#endif

// v = momentum v + g;  p = p - rate v
kernel void momentumStep(global float *restrict p, const uint pOffset,
                         global const float *restrict g, const uint gOffset,
                         global float *restrict v, const uint vOffset, const uint count,
                         const float rate, const float momentum) {
  const uint first = get_global_id(0) * BLOCK;
  const uint last = min(first + BLOCK, count);
  p += pOffset;
  g += gOffset;
  v += vOffset;
  uint i = first;
  for (; i + 8 <= last; i += 8) {
    const float8 velocity = fma((float8)(momentum), vload8(0, v + i), vload8(0, g + i));
    vstore8(velocity, 0, v + i);
    vstore8(fma((float8)(-rate), velocity, vload8(0, p + i)), 0, p + i);
  }
  for (; i < last; ++i) {
    const float velocity = fma(momentum, v[i], g[i]);
    v[i] = velocity;
    p[i] = fma(-rate, velocity, p[i]);
  }
}

// average = decay average + rest p
kernel void accumulateAverage(global const float *restrict p, const uint pOffset,
                              global float *restrict average, const uint averageOffset,
                              const uint count, const float decay, const float rest) {
  const uint first = get_global_id(0) * BLOCK;
  const uint last = min(first + BLOCK, count);
  p += pOffset;
  average += averageOffset;
  uint i = first;
  for (; i + 8 <= last; i += 8) {
    const float8 added = rest * vload8(0, p + i);
    vstore8(fma((float8)(decay), vload8(0, average + i), added), 0, average + i);
  }
  for (; i < last; ++i) average[i] = fma(decay, average[i], rest * p[i]);
}

// p_i = max(p_i, bound); fmax would turn NaN into the bound.
kernel void clampBelow(global float *p, const uint pOffset, const uint count, const float bound) {
  const uint first = get_global_id(0) * BLOCK;
  const uint last = min(first + BLOCK, count);
  p += pOffset;
  uint i = first;
  for (; i + 8 <= last; i += 8) {
    const float8 value = vload8(0, p + i);
    vstore8(value < bound ? (float8)(bound) : value, 0, p + i);
  }
  for (; i < last; ++i) p[i] = p[i] < bound ? bound : p[i];
}

// g *= limit / norm where norm > limit; a norm of infinity or NaN says nothing of the direction.
kernel void scaleToNorm(global float *restrict g, const uint gOffset,
                        global const float *restrict norm, const uint normOffset, const uint count,
                        const float limit) {
  const float length = norm[normOffset];
  if (!(length > limit && length <= FLT_MAX)) return;
  const float factor = limit / length;
  const uint first = get_global_id(0) * BLOCK;
  const uint last = min(first + BLOCK, count);
  g += gOffset;
  uint i = first;
  for (; i + 8 <= last; i += 8) vstore8(factor * vload8(0, g + i), 0, g + i);
  for (; i < last; ++i) g[i] *= factor;
}

static inline float sumOfEight(const float8 v) {
  const float4 four = v.lo + v.hi;
  const float2 two = four.lo + four.hi;
  return two.x + two.y;
}

// a . b by one work-item, in four chains of eight, since each fma waits for the one before.
static inline float dotProduct(global const float *a, global const float *b, const uint count) {
  float8 sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
  uint i = 0;
  for (; i + 32 <= count; i += 32) {
    sum0 = fma(vload8(0, a + i), vload8(0, b + i), sum0);
    sum1 = fma(vload8(0, a + i + 8), vload8(0, b + i + 8), sum1);
    sum2 = fma(vload8(0, a + i + 16), vload8(0, b + i + 16), sum2);
    sum3 = fma(vload8(0, a + i + 24), vload8(0, b + i + 24), sum3);
  }
  for (; i + 8 <= count; i += 8) sum0 = fma(vload8(0, a + i), vload8(0, b + i), sum0);
  float rest = 0;
  for (; i < count; ++i) rest = fma(a[i], b[i], rest);
  return sumOfEight((sum0 + sum1) + (sum2 + sum3)) + rest;
}

// The sum of every work-item's value, given to all of the work-group. All must call it.
static inline float sumOfGroup(const float value, local float *sums) {
  const uint lane = get_local_id(0);
  sums[lane] = value;
  for (uint step = GROUP / 2; step > 0; step /= 2) {
    barrier(CLK_LOCAL_MEM_FENCE);
    if (lane < step) sums[lane] += sums[lane + step];
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  return sums[0];
}

// One work-item's share of a . b in a work-group.
static inline float dotProductOfLane(global const float *a, global const float *b,
                                     const uint count) {
  float sum = 0;
  for (uint i = get_local_id(0); i < count; i += GROUP) sum = fma(a[i], b[i], sum);
  return sum;
}

// parts_q = sum of x_i^2 over the q-th `share` elements. Launch: a work-item (CPU), or a work-group
// (GPU), for each part.
#if CPU
kernel void squareParts(global const float *restrict x, const uint xOffset,
                        global float *restrict parts, const uint partsOffset, const uint count,
                        const uint share) {
  const uint part = get_global_id(0);
  const uint first = part * share;
  x += xOffset + first;
  parts[partsOffset + part] = dotProduct(x, x, min(share, count - first));
}
#else
kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void squarePartsGroup(
    global const float *restrict x, const uint xOffset, global float *restrict parts,
    const uint partsOffset, const uint count, const uint share) {
  local float sums[GROUP];
  const uint part = get_group_id(0);
  const uint first = part * share;
  x += xOffset + first;
  const float sum = sumOfGroup(dotProductOfLane(x, x, min(share, count - first)), sums);
  if (get_local_id(0) == 0) parts[partsOffset + part] = sum;
}
#endif

// result = sum of the parts, or its square root. Launch: one work-item (CPU) or work-group (GPU).
#if CPU
kernel void total(global const float *restrict parts, const uint partsOffset,
                  global float *restrict result, const uint resultOffset, const uint count,
                  const uint root) {
  parts += partsOffset;
  float8 sum8 = 0;
  uint i = 0;
  for (; i + 8 <= count; i += 8) sum8 += vload8(0, parts + i);
  float sum = sumOfEight(sum8);
  for (; i < count; ++i) sum += parts[i];
  result[resultOffset] = root ? sqrt(sum) : sum;
}
#else
kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void totalGroup(
    global const float *restrict parts, const uint partsOffset, global float *restrict result,
    const uint resultOffset, const uint count, const uint root) {
  local float sums[GROUP];
  parts += partsOffset;
  float sum = 0;
  for (uint i = get_local_id(0); i < count; i += GROUP) sum += parts[i];
  sum = sumOfGroup(sum, sums);
  if (get_local_id(0) == 0) result[resultOffset] = root ? sqrt(sum) : sum;
}
#endif

// What a row whose squares add up to `square` is multiplied by: 1 where its norm cannot be told in
// single precision.
static inline float scaleToUnit(const float square) {
  return square >= FLT_MIN && square <= FLT_MAX ? 1 / sqrt(square) : 1;
}

// w_j /= ||w_j||
#if CPU
kernel void normaliseRows(global float *w, const uint wOffset, const uint rows, const uint width) {
  const uint first = get_global_id(0) * ROWS;
  for (uint row = first; row < min(first + ROWS, rows); ++row) {
    global float *weights = w + wOffset + (ulong)row * width;
    const float scale = scaleToUnit(dotProduct(weights, weights, width));
    uint i = 0;
    for (; i + 8 <= width; i += 8) vstore8(scale * vload8(0, weights + i), 0, weights + i);
    for (; i < width; ++i) weights[i] *= scale;
  }
}
#else
kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void normaliseRowsGroup(
    global float *w, const uint wOffset, const uint rows, const uint width) {
  local float sums[GROUP];
  global float *weights = w + wOffset + (ulong)get_group_id(0) * width;
  const float scale = scaleToUnit(sumOfGroup(dotProductOfLane(weights, weights, width), sums));
  for (uint i = get_local_id(0); i < width; i += GROUP) weights[i] *= scale;
}
#endif

// g_j -= (g_j . w_j) w_j
#if CPU
kernel void projectRows(global float *restrict g, const uint gOffset,
                        global const float *restrict w, const uint wOffset, const uint rows,
                        const uint width) {
  const uint first = get_global_id(0) * ROWS;
  for (uint row = first; row < min(first + ROWS, rows); ++row) {
    global float *slope = g + gOffset + (ulong)row * width;
    global const float *weights = w + wOffset + (ulong)row * width;
    const float along = -dotProduct(slope, weights, width);
    uint i = 0;
    for (; i + 8 <= width; i += 8)
      vstore8(fma((float8)(along), vload8(0, weights + i), vload8(0, slope + i)), 0, slope + i);
    for (; i < width; ++i) slope[i] = fma(along, weights[i], slope[i]);
  }
}
#else
kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void projectRowsGroup(
    global float *restrict g, const uint gOffset, global const float *restrict w,
    const uint wOffset, const uint rows, const uint width) {
  local float sums[GROUP];
  global float *slope = g + gOffset + (ulong)get_group_id(0) * width;
  global const float *weights = w + wOffset + (ulong)get_group_id(0) * width;
  const float along = -sumOfGroup(dotProductOfLane(slope, weights, width), sums);
  for (uint i = get_local_id(0); i < width; i += GROUP)
    slope[i] = fma(along, weights[i], slope[i]);
}
#endif

// The contractive gradient: with n_j the number of i with z_ij != 0, g_j += scale n_j w_j and
// parts_j = n_j ||w_j||^2. Three kernels with the same arguments.
#define CONTRACTIVE_ARGUMENTS                                                                   \
  global const float *restrict z, const uint zOffset, global const float *restrict w,           \
      const uint wOffset, global float *restrict g, const uint gOffset,                         \
      global float *restrict parts, const uint partsOffset, const uint batch,                   \
      const uint latents, const uint width, const float scale

// How often each of eight neighbouring latents is active, in floats: see loss_row.cl.
static inline float8 activeOfEight(global const float *z, const uint batch, const uint latents) {
  float8 count = 0;
  for (uint i = 0; i < batch; ++i)
    count += vload8(0, z + (ulong)i * latents) != 0.0f ? (float8)(1.0f) : (float8)(0.0f);
  return count;
}

static inline float activeOfOne(global const float *z, const uint batch, const uint latents) {
  uint count = 0;
  for (uint i = 0; i < batch; ++i) count += z[(ulong)i * latents] != 0.0f;
  return (float)count;
}

static inline float addScaledRow(global const float *weights, global float *slope, const uint width,
                                 const float factor) {
  uint i = 0;
  for (; i + 8 <= width; i += 8)
    vstore8(fma((float8)(factor), vload8(0, weights + i), vload8(0, slope + i)), 0, slope + i);
  for (; i < width; ++i) slope[i] = fma(factor, weights[i], slope[i]);
  return dotProduct(weights, weights, width);
}

#if CPU
// w and g [L, D], on a CPU: eight units for each work-item.
kernel void contractiveRows(CONTRACTIVE_ARGUMENTS) {
  const uint first = get_global_id(0) * 8;
  const uint last = min(first + 8, latents);
  float active[8];
  z += zOffset;
  if (first + 8 <= latents)
    vstore8(activeOfEight(z + first, batch, latents), 0, active);
  else
    for (uint j = first; j < last; ++j) active[j - first] = activeOfOne(z + j, batch, latents);
  for (uint j = first; j < last; ++j) {
    const float n = active[j - first];
    const ulong row = (ulong)j * width;
    parts[partsOffset + j] =
        n * addScaledRow(w + wOffset + row, g + gOffset + row, width, scale * n);
  }
}
#else
// w and g [L, D], on a GPU: a work-group for each unit.
kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void contractiveRowsGroup(
    CONTRACTIVE_ARGUMENTS) {
  local float counts[GROUP], sums[GROUP];
  const uint unit = get_group_id(0), lane = get_local_id(0);
  z += zOffset + unit;
  w += wOffset + (ulong)unit * width;
  g += gOffset + (ulong)unit * width;
  uint count = 0;
  for (uint i = lane; i < batch; i += GROUP) count += z[(ulong)i * latents] != 0.0f;
  const float n = sumOfGroup((float)count, counts);
  for (uint i = lane; i < width; i += GROUP) g[i] = fma(scale * n, w[i], g[i]);
  const float square = sumOfGroup(dotProductOfLane(w, w, width), sums);
  if (lane == 0) parts[partsOffset + unit] = n * square;
}
#endif

// w and g [D, L].
kernel void contractiveColumns(CONTRACTIVE_ARGUMENTS) {
  const uint first = get_global_id(0) * COLUMNS;
  z += zOffset;
  w += wOffset;
  g += gOffset;
  parts += partsOffset;
#if COLUMNS == 8
  if (first + 8 <= latents) {
    const float8 n = activeOfEight(z + first, batch, latents);
    float8 square = 0;
    for (uint d = 0; d < width; ++d) {
      const ulong place = (ulong)d * latents + first;
      const float8 weights = vload8(0, w + place);
      square = fma(weights, weights, square);
      vstore8(fma(scale * n, weights, vload8(0, g + place)), 0, g + place);
    }
    vstore8(n * square, 0, parts + first);
    return;
  }
#endif
  for (uint j = first; j < min(first + COLUMNS, latents); ++j) {
    const float n = activeOfOne(z + j, batch, latents);
    float square = 0;
    for (uint d = 0; d < width; ++d) {
      const ulong place = (ulong)d * latents + j;
      square = fma(w[place], w[place], square);
      g[place] = fma(scale * n, w[place], g[place]);
    }
    parts[j] = n * square;
  }
}
