// Softmax, and the loss of a segmentation. `Compute/FeatureOperations.swift` has the formulas.
//
// Preceded by activation.cl and logarithm.cl. Kernels named ...Band are for CPUs: a work-item takes
// BAND positions, eight side by side. Those named ...Group and ...Each are for GPUs: a group takes a
// band, or a work-item a position. The bands are cut by the shape alone, and their partial sums are
// added in their order. Macros:
//   GROUP    work-items of a group: 1 on a CPU
//   CLASSES  the number of classes where it is known and small, else 0

#pragma OPENCL FP_CONTRACT OFF

#ifndef GROUP
#define GROUP 64
#endif
#ifndef CLASSES
#define CLASSES 0
#endif
#if CLASSES
#define COUNT ((uint)CLASSES)
#else
#define COUNT classes
#endif

// Class c of eight positions: p points to that of the first.
static inline float8 load_float8(global const float *p, const uint classes) {
  return (float8)(p[0], p[COUNT], p[2 * COUNT], p[3 * COUNT], p[4 * COUNT], p[5 * COUNT],
                  p[6 * COUNT], p[7 * COUNT]);
}
static inline void store_float8(const float8 v, global float *p, const uint classes) {
  p[0] = v.s0;
  p[COUNT] = v.s1;
  p[2 * COUNT] = v.s2;
  p[3 * COUNT] = v.s3;
  p[4 * COUNT] = v.s4;
  p[5 * COUNT] = v.s5;
  p[6 * COUNT] = v.s6;
  p[7 * COUNT] = v.s7;
}
static inline float load_float(global const float *p, const uint classes) { return *p; }
static inline void store_float(const float v, global float *p, const uint classes) { *p = v; }

// Labels as floats, which are compared with floats: see loss_row.cl.
static inline float8 labels_float8(global const uchar *labels) {
  return convert_float8(vload8(0, labels));
}
static inline float labels_float(global const uchar *labels) { return (float)*labels; }

// Writes the probabilities and what is asked about the labels. p may be a: each class is read for
// the last time before it is written.
#define DEFINE_SOFTMAX(F)                                                                          \
  /* The largest logit; NaN where one is, or left to the sum. */                                   \
  static inline F largestLogit_##F(global const float *a, const uint classes) {                    \
    F largest = load_##F(a, classes);                                                              \
    for (uint c = 1; c < COUNT; ++c) {                                                             \
      const F value = load_##F(a + c, classes);                                                    \
      largest = value > largest ? value : largest;                                                 \
    }                                                                                              \
    return largest;                                                                                \
  }                                                                                                \
  static inline void scale_##F(const F factor, global float *p, const uint classes) {              \
    for (uint c = 0; c < COUNT; ++c)                                                               \
      store_##F(load_##F(p + c, classes) * factor, p + c, classes);                                \
  }                                                                                                \
  static inline void softmax_##F(global const float *a, global float *p, const uint classes) {     \
    const F largest = largestLogit_##F(a, classes);                                                \
    F sum = 0;                                                                                     \
    for (uint c = 0; c < COUNT; ++c) {                                                             \
      const F e = expNonPositive_##F(load_##F(a + c, classes) - largest);                          \
      store_##F(e, p + c, classes);                                                                \
      sum += e;                                                                                    \
    }                                                                                              \
    scale_##F((F)(1.0f) / sum, p, classes);                                                        \
  }                                                                                                \
  /* Of labelled positions the weight, -weight ln p of the label, and 1; 0 of the others. */       \
  static inline void entropy_##F(global const float *a, global const uchar *labels,                \
                                 global const float *weights, global float *p, const uint classes, \
                                 F *weightSum, F *entropySum, F *count) {                          \
    const F largest = largestLogit_##F(a, classes), label = labels_##F(labels);                    \
    F sum = 0, own = 0, weight = 0;                                                                \
    for (uint c = 0; c < COUNT; ++c) {                                                             \
      const F below = load_##F(a + c, classes) - largest;                                          \
      const F e = expNonPositive_##F(below);                                                       \
      own = label == (F)(float)c ? below : own;                                                    \
      weight = label == (F)(float)c ? (F)(weights[c]) : weight;                                    \
      store_##F(e, p + c, classes);                                                                \
      sum += e;                                                                                    \
    }                                                                                              \
    scale_##F((F)(1.0f) / sum, p, classes);                                                        \
    const F entropy = weight * (logarithm_##F(sum) - own);                                         \
    *weightSum += weight;                                                                          \
    *entropySum += label < (F)(float)COUNT ? entropy : (F)(0.0f);                                  \
    *count += label < (F)(float)COUNT ? (F)(1.0f) : (F)(0.0f);                                     \
  }                                                                                                \
  /* Of class c: its probabilities, those where it is the label, and how often it is. */           \
  static inline void overlap_##F(global const float *p, global const uchar *labels, const uint c,  \
                                 const uint classes, F *probabilitySum, F *overlapSum, F *count) { \
    const F value = load_##F(p + c, classes), label = labels_##F(labels);                          \
    *probabilitySum += label < (F)(float)COUNT ? value : (F)(0.0f);                                \
    *overlapSum += label == (F)(float)c ? value : (F)(0.0f);                                       \
    *count += label == (F)(float)c ? (F)(1.0f) : (F)(0.0f);                                        \
  }                                                                                                \
  /* The gradient in place of the probabilities. */                                                \
  static inline void slope_##F(global float *p, global const uchar *labels,                        \
                               global const float *onLabel, global const float *everywhere,        \
                               global const float *strengths, const uint classes) {                \
    const F label = labels_##F(labels);                                                            \
    F mean = 0, strength = 0;                                                                      \
    for (uint c = 0; c < COUNT; ++c) {                                                             \
      const F share = (F)(everywhere[c]);                                                          \
      mean = fma(load_##F(p + c, classes),                                                         \
                 label == (F)(float)c ? share + (F)(onLabel[c]) : share, mean);                    \
      strength = label == (F)(float)c ? (F)(strengths[c]) : strength;                              \
    }                                                                                              \
    for (uint c = 0; c < COUNT; ++c) {                                                             \
      const F value = load_##F(p + c, classes), share = (F)(everywhere[c]);                        \
      const F level = label == (F)(float)c ? share + (F)(onLabel[c]) : share;                      \
      const F excess = label == (F)(float)c ? value - (F)(1.0f) : value;                           \
      const F slope = fma(value, level - mean, strength * excess);                                 \
      store_##F(label < (F)(float)COUNT ? slope : (F)(0.0f), p + c, classes);                      \
    }                                                                                              \
  }
DEFINE_SOFTMAX(float)
DEFINE_SOFTMAX(float8)

#define SOFTMAX_ARGUMENTS                                                         \
  global const float *a, const uint aOffset, global float *p, const uint pOffset, \
      const uint positions, const uint classes, const uint band

#if CPU
// Launch: global size ceil(positions / band), local size 1.
BODY void softmaxPositions(SOFTMAX_ARGUMENTS, const uint item) {
  uint i = item * band;
  const uint end = min(i + band, positions);
  a += aOffset;
  p += pOffset;
  for (; i + 8 <= end; i += 8)
    softmax_float8(a + (ulong)i * COUNT, p + (ulong)i * COUNT, classes);
  for (; i < end; ++i) softmax_float(a + (ulong)i * COUNT, p + (ulong)i * COUNT, classes);
}

kernel void softmaxBand(SOFTMAX_ARGUMENTS) {
  softmaxPositions(a, aOffset, p, pOffset, positions, classes, band, get_global_id(0));
}
#else
// Launch: global size positions. The last argument is not used here.
kernel void softmaxEach(global const float *a, const uint aOffset, global float *p,
                        const uint pOffset, const uint positions, const uint classes,
                        const uint band) {
  const ulong i = get_global_id(0);
  if (i < positions) softmax_float(a + aOffset + i * COUNT, p + pOffset + i * COUNT, classes);
}
#endif

static inline float addLanes(const float8 v) {
  const float4 four = v.lo + v.hi;
  const float2 two = four.lo + four.hi;
  return two.x + two.y;
}

// parts: for each band the weight, the entropy and the count, then for each class three sums.
#define SUMS_ARGUMENTS                                                                        \
  global const float *a, const uint aOffset, global const uchar *labels,                      \
      const uint labelsOffset, global const float *weights, const uint weightsOffset,         \
      global float *p, const uint pOffset, const uint positions, const uint classes,          \
      const uint band, global float *parts, const uint partsOffset

#if CPU
// Launch: global size bands, local size 1.
BODY void sumPositions(SUMS_ARGUMENTS, const uint item) {
  const uint begin = item * band, count = min(band, positions - begin);
  a += aOffset + (ulong)begin * COUNT;
  p += pOffset + (ulong)begin * COUNT;
  labels += labelsOffset + begin;
  weights += weightsOffset;
  parts += partsOffset + (ulong)item * 3 * (COUNT + 1);
  {
    float8 weight8 = 0, entropy8 = 0, count8 = 0;
    float weight = 0, entropy = 0, labelled = 0;
    uint i = 0;
    for (; i + 8 <= count; i += 8)
      entropy_float8(a + (ulong)i * COUNT, labels + i, weights, p + (ulong)i * COUNT, classes,
                     &weight8, &entropy8, &count8);
    for (; i < count; ++i)
      entropy_float(a + (ulong)i * COUNT, labels + i, weights, p + (ulong)i * COUNT, classes,
                    &weight, &entropy, &labelled);
    parts[0] = addLanes(weight8) + weight;
    parts[1] = addLanes(entropy8) + entropy;
    parts[2] = addLanes(count8) + labelled;
  }
  // The band's probabilities are in the cache.
  for (uint c = 0; c < COUNT; ++c) {
    float8 probability8 = 0, overlap8 = 0, count8 = 0;
    float probability = 0, overlap = 0, labelled = 0;
    uint i = 0;
    for (; i + 8 <= count; i += 8)
      overlap_float8(p + (ulong)i * COUNT, labels + i, c, classes, &probability8, &overlap8,
                     &count8);
    for (; i < count; ++i)
      overlap_float(p + (ulong)i * COUNT, labels + i, c, classes, &probability, &overlap,
                    &labelled);
    parts += 3;
    parts[0] = addLanes(probability8) + probability;
    parts[1] = addLanes(overlap8) + overlap;
    parts[2] = addLanes(count8) + labelled;
  }
}

kernel void segmentationSumsBand(SUMS_ARGUMENTS) {
  sumPositions(a, aOffset, labels, labelsOffset, weights, weightsOffset, p, pOffset, positions,
               classes, band, parts, partsOffset, get_global_id(0));
}
#endif

// The sums over a group; the fourth number is not used.
static inline float4 addGroup(local float4 *sums, const float x, const float y, const float z) {
  const uint lane = get_local_id(0);
  barrier(CLK_LOCAL_MEM_FENCE);
  sums[lane] = (float4)(x, y, z, 0.0f);
  for (uint step = GROUP / 2; step > 0; step /= 2) {
    barrier(CLK_LOCAL_MEM_FENCE);
    if (lane < step) sums[lane] += sums[lane + step];
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  return sums[0];
}

#if !CPU
// Launch: global size bands * GROUP, local size GROUP.
kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void segmentationSumsGroup(
    SUMS_ARGUMENTS) {
  local float4 sums[GROUP];
  const uint lane = get_local_id(0);
  const uint begin = get_group_id(0) * band, end = min(begin + band, positions);
  a += aOffset;
  p += pOffset;
  labels += labelsOffset;
  parts += partsOffset + (ulong)get_group_id(0) * 3 * (COUNT + 1);
  float x = 0, y = 0, z = 0;
  for (uint i = begin + lane; i < end; i += GROUP)
    entropy_float(a + (ulong)i * COUNT, labels + i, weights + weightsOffset,
                  p + (ulong)i * COUNT, classes, &x, &y, &z);
  float4 sum = addGroup(sums, x, y, z);
  if (lane == 0) {
    parts[0] = sum.x;
    parts[1] = sum.y;
    parts[2] = sum.z;
  }
  for (uint c = 0; c < COUNT; ++c) {
    x = 0;
    y = 0;
    z = 0;
    for (uint i = begin + lane; i < end; i += GROUP)
      overlap_float(p + (ulong)i * COUNT, labels + i, c, classes, &x, &y, &z);
    sum = addGroup(sums, x, y, z);
    if (lane == 0) {
      parts[3 * (c + 1)] = sum.x;
      parts[3 * (c + 1) + 1] = sum.y;
      parts[3 * (c + 1) + 2] = sum.z;
    }
  }
}
#endif

// From the sums the figures and, in `factors`, what the gradient is made of: of the Dice's
// derivative what holds at the label and what holds everywhere, and the cross-entropy's, each for
// all classes. Launch: one group.
kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void segmentationTotal(
    global const float *parts, const uint partsOffset, const uint bands, const uint classes,
    global const float *weights, const uint weightsOffset, const float crossEntropyWeight,
    const float diceWeight, const float smoothing, global float *factors,
    const uint factorsOffset, global float *figures, const uint figuresOffset) {
  local float4 sums[GROUP];
  const uint lane = get_local_id(0);
  const ulong pitch = 3 * (COUNT + 1);
  parts += partsOffset;
  factors += factorsOffset;
  figures += figuresOffset;
  float x = 0, y = 0, z = 0;
  for (uint b = lane; b < bands; b += GROUP) {
    x += parts[b * pitch];
    y += parts[b * pitch + 1];
    z += parts[b * pitch + 2];
  }
  float4 sum = addGroup(sums, x, y, z);
  const float totalWeight = sum.x;
  if (lane == 0) {
    figures[0] = totalWeight == 0.0f ? 0.0f : sum.y / totalWeight;
    figures[2] = sum.z;
  }
  float lost = 0;
  for (uint c = 0; c < COUNT; ++c) {
    x = 0;
    y = 0;
    z = 0;
    for (uint b = lane; b < bands; b += GROUP) {
      x += parts[b * pitch + 3 * (c + 1)];
      y += parts[b * pitch + 3 * (c + 1) + 1];
      z += parts[b * pitch + 3 * (c + 1) + 2];
    }
    sum = addGroup(sums, x, y, z);
    // total + smoothing, and what the overlap lacks of it.
    const float whole = (sum.x + sum.z) + smoothing;
    const float lack = (sum.x - sum.y) + (sum.z - sum.y);
    lost += lack / whole;
    if (lane == 0) {
      const float share = diceWeight / (float)COUNT;
      factors[c] = -2.0f * share / whole;
      factors[COUNT + c] = share * ((2.0f * sum.y + smoothing) / whole) / whole;
      factors[2 * COUNT + c] =
          totalWeight == 0.0f ? 0.0f : crossEntropyWeight * weights[weightsOffset + c] / totalWeight;
    }
  }
  if (lane == 0) figures[1] = lost / (float)COUNT;
}

#define SLOPE_ARGUMENTS                                                                       \
  global const uchar *labels, const uint labelsOffset, global const float *factors,           \
      const uint factorsOffset, const uint positions, const uint classes, const uint band,    \
      global float *gradient, const uint gradientOffset

#if CPU
// Launch: global size bands, local size 1.
BODY void slopePositions(SLOPE_ARGUMENTS, const uint item) {
  uint i = item * band;
  const uint end = min(i + band, positions);
  labels += labelsOffset;
  factors += factorsOffset;
  gradient += gradientOffset;
  for (; i + 8 <= end; i += 8)
    slope_float8(gradient + (ulong)i * COUNT, labels + i, factors, factors + COUNT,
                 factors + 2 * COUNT, classes);
  for (; i < end; ++i)
    slope_float(gradient + (ulong)i * COUNT, labels + i, factors, factors + COUNT,
                factors + 2 * COUNT, classes);
}

kernel void segmentationSlopeBand(SLOPE_ARGUMENTS) {
  slopePositions(labels, labelsOffset, factors, factorsOffset, positions, classes, band, gradient,
                 gradientOffset, get_global_id(0));
}
#else
// Launch: global size positions.
kernel void segmentationSlopeEach(SLOPE_ARGUMENTS) {
  const uint i = get_global_id(0);
  factors += factorsOffset;
  if (i < positions)
    slope_float(gradient + gradientOffset + (ulong)i * COUNT, labels + labelsOffset + i, factors,
                factors + COUNT, factors + 2 * COUNT, classes);
}
#endif
