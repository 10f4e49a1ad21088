// Batch normalisation with an activation, there and back. `Compute/FeatureOperations.swift` has the
// formulas.
//
// The positions are cut into bands of BAND positions, by the shape alone. A band leaves partial
// sums for each channel, and the totals add the bands in their order, so that the bits do not
// depend on the device's size. Kernels named ...Band are for CPUs: a work-item takes a band, and
// of each of its positions a strip of channels. Those named ...Group and ...Each are for GPUs.
// Totals serve both, in groups of GROUP (1 on a CPU).
//
// Preceded by strips.cl. A map is a buffer, the offset of its first entry and the pitch from one position to the next.

#pragma OPENCL FP_CONTRACT OFF

#ifndef GROUP
#define GROUP 64
#endif
// The group of a GPU's band: channels side by side, and rows of positions.
#define CHANNELS 16
#define ROWS 8

#define RELU 1

// What a work-item of the ...Each kernels takes: WIDTH channels of a position, 4 where every map's
// and parameter's channels, pitch and offset are multiples of 4, else 1.
#ifndef WIDTH
#define WIDTH 1
#endif
#define LOAD_float4(p) (*(global const float4 *)(p))
#define STORE_float4(v, p) (*(global float4 *)(p) = (v))
#if WIDTH == 4
#define PART float4
#define LOAD_PART LOAD_float4
#else
#define PART float
#define LOAD_PART LOAD_float
#endif
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

// Of the deviations x - pivot within a band: their mean, and the sum of squares about it. The pivot
// is the channel's first value, so that all is small where the channel's values are alike; the
// band is in the cache when it is read for the second time. Four sums side by side, since each
// addition waits for the one before.
#define DEFINE_STATISTICS(F)                                                                    \
  BODY void statistics_##F(global const float *x, const uint pitch, const uint count,           \
                           global const float *first, global float *mean,                       \
                           global float *square) {                                              \
    const F pivot = LOAD_##F(first);                                                            \
    F sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;                                                   \
    global const float *place = x;                                                              \
    uint i = 0;                                                                                 \
    for (; i + 4 <= count; i += 4, place += 4 * (ulong)pitch) {                                 \
      sum0 += LOAD_##F(place) - pivot;                                                          \
      sum1 += LOAD_##F(place + pitch) - pivot;                                                  \
      sum2 += LOAD_##F(place + 2 * (ulong)pitch) - pivot;                                       \
      sum3 += LOAD_##F(place + 3 * (ulong)pitch) - pivot;                                       \
    }                                                                                           \
    for (; i < count; ++i, place += pitch) sum0 += LOAD_##F(place) - pivot;                     \
    const F share = (F)(1.0f / (float)count);                                                   \
    const F middle = ((sum0 + sum1) + (sum2 + sum3)) * share;                                   \
    F rest0 = 0, rest1 = 0, square0 = 0, square1 = 0;                                           \
    place = x;                                                                                  \
    for (i = 0; i + 2 <= count; i += 2, place += 2 * (ulong)pitch) {                            \
      const F d0 = (LOAD_##F(place) - pivot) - middle;                                          \
      const F d1 = (LOAD_##F(place + pitch) - pivot) - middle;                                  \
      rest0 += d0;                                                                              \
      rest1 += d1;                                                                              \
      square0 = fma(d0, d0, square0);                                                           \
      square1 = fma(d1, d1, square1);                                                           \
    }                                                                                           \
    if (i < count) {                                                                            \
      const F d = (LOAD_##F(place) - pivot) - middle;                                           \
      rest0 += d;                                                                               \
      square0 = fma(d, d, square0);                                                             \
    }                                                                                           \
    const F rest = rest0 + rest1;                                                               \
    STORE_##F(fma(rest, share, middle), mean);                                                  \
    STORE_##F(fma(-rest, rest * share, square0 + square1), square);                             \
  }
DEFINE_STATISTICS(float)
DEFINE_STATISTICS(float8)

// parts: for each band the means of its deviations from the pivots, then the sums of squares.
#if CPU
// Launch: global size bands, local size 1.
kernel void statisticsBand(global const float *x, const uint xOffset, const uint xPitch,
                           const uint positions, const uint channels, const uint band,
                           global float *parts, const uint partsOffset) {
  const uint begin = get_global_id(0) * band, count = min(band, positions - begin);
  global const float *first = x + xOffset;
  global const float *source = first + (ulong)begin * xPitch;
  parts += partsOffset + (ulong)get_global_id(0) * 2 * channels;
#define STATISTICS_STRIP(F) \
  statistics_##F(source + c, xPitch, count, first + c, parts + c, parts + channels + c);
  FOR_STRIPS(STATISTICS_STRIP)
}
#endif

// Adds up the rows of a group of ROWS x CHANNELS, for each channel.
static inline float2 addRows(local float2 sums[ROWS][CHANNELS], const float2 own) {
  const uint lane = get_local_id(0), row = get_local_id(1);
  barrier(CLK_LOCAL_MEM_FENCE);
  sums[row][lane] = own;
  for (uint step = ROWS / 2; step > 0; step /= 2) {
    barrier(CLK_LOCAL_MEM_FENCE);
    if (row < step) sums[row][lane] += sums[row + step][lane];
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  return sums[0][lane];
}

#if !CPU
// Launch: global size (channels rounded up to CHANNELS, bands * ROWS), local (CHANNELS, ROWS).
kernel __attribute__((reqd_work_group_size(CHANNELS, ROWS, 1))) void statisticsGroup(
    global const float *x, const uint xOffset, const uint xPitch, const uint positions,
    const uint channels, const uint band, global float *parts, const uint partsOffset) {
  local float2 sums[ROWS][CHANNELS];
  const uint c = get_global_id(0), row = get_local_id(1);
  const uint begin = get_group_id(1) * band, end = min(begin + band, positions);
  const float share = 1.0f / (float)(end - begin);
  x += xOffset + c;
  const float pivot = c < channels ? x[0] : 0.0f;
  float2 sum = 0;
  if (c < channels)
    for (uint i = begin + row; i < end; i += ROWS) sum.x += x[(ulong)i * xPitch] - pivot;
  const float middle = addRows(sums, sum).x * share;
  sum = 0;
  if (c < channels)
    for (uint i = begin + row; i < end; i += ROWS) {
      const float d = (x[(ulong)i * xPitch] - pivot) - middle;
      sum.x += d;
      sum.y = fma(d, d, sum.y);
    }
  sum = addRows(sums, sum);
  if (c < channels && row == 0) {
    parts += partsOffset + (ulong)get_group_id(1) * 2 * channels + c;
    parts[0] = fma(sum.x, share, middle);
    parts[channels] = fma(-sum.x, sum.x * share, sum.y);
  }
}
#endif

// The sum of one number of each work-item of a group.
static inline float addGroup(local float *sums, const float own) {
  const uint lane = get_local_id(0);
  barrier(CLK_LOCAL_MEM_FENCE);
  sums[lane] = own;
  for (uint step = GROUP / 2; step > 0; step /= 2) {
    barrier(CLK_LOCAL_MEM_FENCE);
    if (lane < step) sums[lane] += sums[lane + step];
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  return sums[0];
}

// The statistics of a channel from those of the bands (Chan, Golub & LeVeque 1979).
// Launch: global size channels * GROUP, local size GROUP.
kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void statisticsTotal(
    global const float *x, const uint xOffset, global const float *parts, const uint partsOffset,
    const uint positions, const uint channels, const uint band, const uint bands,
    const float epsilon, const float momentum, const float unbiased, global float *mean,
    const uint meanOffset, global float *deviation, const uint deviationOffset,
    global float *runningMean, const uint runningMeanOffset, global float *runningVariance,
    const uint runningVarianceOffset) {
  local float sums[GROUP];
  const uint c = get_group_id(0), lane = get_local_id(0);
  parts += partsOffset + c;
  const float share = 1.0f / (float)positions;
  float sum = 0;
  for (uint b = lane; b < bands; b += GROUP)
    sum = fma((float)min(band, positions - b * band), parts[(ulong)b * 2 * channels], sum);
  const float middle = addGroup(sums, sum) * share;
  sum = 0;
  for (uint b = lane; b < bands; b += GROUP) {
    const float d = parts[(ulong)b * 2 * channels] - middle;
    sum += fma((float)min(band, positions - b * band) * d, d,
               parts[(ulong)b * 2 * channels + channels]);
  }
  const float variance = addGroup(sums, sum) * share;
  if (lane == 0) {
    const float average = x[xOffset + c] + middle;
    mean[meanOffset + c] = average;
    deviation[deviationOffset + c] = 1.0f / sqrt(variance + epsilon);
    runningMean += runningMeanOffset + c;
    runningVariance += runningVarianceOffset + c;
    *runningMean = fma(momentum, average - *runningMean, *runningMean);
    *runningVariance = fma(momentum, variance * unbiased - *runningVariance, *runningVariance);
  }
}

// y = f(scale (x - mean) deviation + shift)
#define DEFINE_NORMALISE(F)                                                                      \
  BODY void normalise_##F(global const float *x, const uint xPitch, const uint count,            \
                          const int activation, const F mean, const F gain, const F shift,       \
                          global float *y, const uint yPitch) {                                  \
    if (activation == RELU) {                                                                    \
      for (uint i = 0; i < count; ++i, x += xPitch, y += yPitch) {                               \
        const F value = fma(LOAD_##F(x) - mean, gain, shift);                                    \
        STORE_##F(value < (F)(0.0f) ? (F)(0.0f) : value, y);                                     \
      }                                                                                          \
    } else {                                                                                     \
      for (uint i = 0; i < count; ++i, x += xPitch, y += yPitch)                                 \
        STORE_##F(fma(LOAD_##F(x) - mean, gain, shift), y);                                      \
    }                                                                                            \
  }
DEFINE_NORMALISE(float)
DEFINE_NORMALISE(float4)
DEFINE_NORMALISE(float8)

#define NORMALISE_ARGUMENTS                                                                       \
  global const float *x, const uint xOffset, const uint xPitch, const uint positions,             \
      const uint channels, const uint band, const int activation, global const float *scale,      \
      const uint scaleOffset, global const float *shift, const uint shiftOffset,                  \
      global const float *mean, const uint meanOffset, global const float *deviation,             \
      const uint deviationOffset, global float *y, const uint yOffset, const uint yPitch

#if CPU
// Launch: global size bands, local size 1.
kernel void normaliseBand(NORMALISE_ARGUMENTS) {
  const uint begin = get_global_id(0) * band, count = min(band, positions - begin);
  x += xOffset + (ulong)begin * xPitch;
  y += yOffset + (ulong)begin * yPitch;
  scale += scaleOffset;
  shift += shiftOffset;
  mean += meanOffset;
  deviation += deviationOffset;
#define NORMALISE_STRIP(F)                                                                 \
  normalise_##F(x + c, xPitch, count, activation, LOAD_##F(mean + c),                      \
                LOAD_##F(scale + c) * LOAD_##F(deviation + c), LOAD_##F(shift + c), y + c, \
                yPitch);
  FOR_STRIPS(NORMALISE_STRIP)
}
#else
// Launch: global size positions * channels / WIDTH.
kernel void normaliseEach(NORMALISE_ARGUMENTS) {
  const uint id = (uint)get_global_id(0), parts = channels / WIDTH;
  const uint i = id / parts, c = (id - i * parts) * WIDTH;
  if (i < positions)
    JOIN(normalise_, PART)
    (x + xOffset + (ulong)i * xPitch + c, 0, 1, activation, LOAD_PART(mean + meanOffset + c),
     LOAD_PART(scale + scaleOffset + c) * LOAD_PART(deviation + deviationOffset + c),
     LOAD_PART(shift + shiftOffset + c), y + yOffset + (ulong)i * yPitch + c, 0);
}
#endif

// h = g f'(y); y is not read where f is the identity.
#define SLOPE(F, ACTIVATION, G, Y)                                                         \
  ((ACTIVATION) == RELU ? (LOAD_##F(Y) > (F)(0.0f) ? LOAD_##F(G) : (F)(0.0f)) : LOAD_##F(G))

// The sums of h and h xhat within a band, two of each side by side.
#define DEFINE_GRADIENT_SUMS(F)                                                                \
  BODY void gradientSums_##F(global const float *g, const uint gPitch,                         \
                             global const float *y, const uint yPitch,                         \
                             global const float *x, const uint xPitch, const uint count,       \
                             const int activation, const F mean, const F deviation,            \
                             global float *shift, global float *scale) {                       \
    F shift0 = 0, shift1 = 0, scale0 = 0, scale1 = 0;                                          \
    uint i = 0;                                                                                \
    for (; i + 2 <= count; i += 2) {                                                           \
      const F h0 = SLOPE(F, activation, g, y);                                                 \
      const F h1 = SLOPE(F, activation, g + gPitch, y + yPitch);                               \
      shift0 += h0;                                                                            \
      shift1 += h1;                                                                            \
      scale0 = fma(h0, (LOAD_##F(x) - mean) * deviation, scale0);                              \
      scale1 = fma(h1, (LOAD_##F(x + xPitch) - mean) * deviation, scale1);                     \
      g += 2 * (ulong)gPitch;                                                                  \
      y += 2 * (ulong)yPitch;                                                                  \
      x += 2 * (ulong)xPitch;                                                                  \
    }                                                                                          \
    if (i < count) {                                                                           \
      const F h = SLOPE(F, activation, g, y);                                                  \
      shift0 += h;                                                                             \
      scale0 = fma(h, (LOAD_##F(x) - mean) * deviation, scale0);                               \
    }                                                                                          \
    STORE_##F(shift0 + shift1, shift);                                                         \
    STORE_##F(scale0 + scale1, scale);                                                         \
  }
DEFINE_GRADIENT_SUMS(float)
DEFINE_GRADIENT_SUMS(float8)

#define GRADIENT_MAPS                                                                          \
  global const float *g, const uint gOffset, const uint gPitch, global const float *y,         \
      const uint yOffset, const uint yPitch, global const float *x, const uint xOffset,        \
      const uint xPitch, const uint positions, const uint channels, const uint band,           \
      const int activation, global const float *mean, const uint meanOffset,                   \
      global const float *deviation, const uint deviationOffset

// parts: for each band the sums of h, then those of h xhat.
#if CPU
// Launch: global size bands, local size 1.
kernel void gradientSumsBand(GRADIENT_MAPS, global float *parts, const uint partsOffset) {
  const uint begin = get_global_id(0) * band, count = min(band, positions - begin);
  g += gOffset + (ulong)begin * gPitch;
  y += yOffset + (ulong)begin * yPitch;
  x += xOffset + (ulong)begin * xPitch;
  mean += meanOffset;
  deviation += deviationOffset;
  parts += partsOffset + (ulong)get_global_id(0) * 2 * channels;
#define GRADIENT_SUMS_STRIP(F)                                                                 \
  gradientSums_##F(g + c, gPitch, y + c, yPitch, x + c, xPitch, count, activation,             \
                   LOAD_##F(mean + c), LOAD_##F(deviation + c), parts + c, parts + channels + c);
  FOR_STRIPS(GRADIENT_SUMS_STRIP)
}
#else
// Launch: as statisticsGroup.
kernel __attribute__((reqd_work_group_size(CHANNELS, ROWS, 1))) void gradientSumsGroup(
    GRADIENT_MAPS, global float *parts, const uint partsOffset) {
  local float2 sums[ROWS][CHANNELS];
  const uint c = get_global_id(0), row = get_local_id(1);
  const uint begin = get_group_id(1) * band, end = min(begin + band, positions);
  g += gOffset + c;
  y += yOffset + c;
  x += xOffset + c;
  float2 sum = 0;
  if (c < channels) {
    const float middle = mean[meanOffset + c], factor = deviation[deviationOffset + c];
    for (uint i = begin + row; i < end; i += ROWS) {
      const float h = SLOPE(float, activation, g + (ulong)i * gPitch, y + (ulong)i * yPitch);
      sum.x += h;
      sum.y = fma(h, (x[(ulong)i * xPitch] - middle) * factor, sum.y);
    }
  }
  sum = addRows(sums, sum);
  if (c < channels && row == 0) {
    parts += partsOffset + (ulong)get_group_id(1) * 2 * channels + c;
    parts[0] = sum.x;
    parts[channels] = sum.y;
  }
}
#endif

// Launch: global size channels * GROUP, local size GROUP.
kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void gradientSumsTotal(
    global const float *parts, const uint partsOffset, const uint channels, const uint bands,
    global float *scaleGradient, const uint scaleOffset, global float *shiftGradient,
    const uint shiftOffset) {
  local float sums[GROUP];
  const uint c = get_group_id(0), lane = get_local_id(0);
  parts += partsOffset + c;
  float shift = 0, scale = 0;
  for (uint b = lane; b < bands; b += GROUP) {
    shift += parts[(ulong)b * 2 * channels];
    scale += parts[(ulong)b * 2 * channels + channels];
  }
  shift = addGroup(sums, shift);
  scale = addGroup(sums, scale);
  if (lane == 0) {
    shiftGradient[shiftOffset + c] = shift;
    scaleGradient[scaleOffset + c] = scale;
  }
}

// dx = gain (h - (level + (x - mean) slant)), with gain = scale deviation, level = dshift / M and
// slant = deviation dscale / M. dx may be g or x.
#define DEFINE_NORMALISE_BACKWARD(F)                                                             \
  BODY void normaliseBackward_##F(global const float *g, const uint gPitch,                      \
                                  global const float *y, const uint yPitch,                      \
                                  global const float *x, const uint xPitch, const uint count,    \
                                  const int activation, const F mean, const F gain,              \
                                  const F level, const F slant, global float *dx,                \
                                  const uint dxPitch) {                                          \
    for (uint i = 0; i < count; ++i) {                                                           \
      const F h = SLOPE(F, activation, g, y);                                                    \
      STORE_##F(gain *(h - fma(LOAD_##F(x) - mean, slant, level)), dx);                          \
      g += gPitch;                                                                               \
      y += yPitch;                                                                               \
      x += xPitch;                                                                               \
      dx += dxPitch;                                                                             \
    }                                                                                            \
  }
DEFINE_NORMALISE_BACKWARD(float)
DEFINE_NORMALISE_BACKWARD(float4)
DEFINE_NORMALISE_BACKWARD(float8)

#define NORMALISE_BACKWARD_ARGUMENTS                                                             \
  GRADIENT_MAPS, global const float *scale, const uint scaleOffset,                              \
      global const float *scaleGradient, const uint scaleGradientOffset,                         \
      global const float *shiftGradient, const uint shiftGradientOffset, global float *dx,       \
      const uint dxOffset, const uint dxPitch

#if CPU
// Launch: global size bands, local size 1.
kernel void normaliseBackwardBand(NORMALISE_BACKWARD_ARGUMENTS) {
  const uint begin = get_global_id(0) * band, count = min(band, positions - begin);
  const float share = 1.0f / (float)positions;
  g += gOffset + (ulong)begin * gPitch;
  y += yOffset + (ulong)begin * yPitch;
  x += xOffset + (ulong)begin * xPitch;
  dx += dxOffset + (ulong)begin * dxPitch;
  mean += meanOffset;
  deviation += deviationOffset;
  scale += scaleOffset;
  scaleGradient += scaleGradientOffset;
  shiftGradient += shiftGradientOffset;
#define NORMALISE_BACKWARD_STRIP(F)                                                             \
  {                                                                                             \
    const F factor = LOAD_##F(deviation + c);                                                   \
    normaliseBackward_##F(g + c, gPitch, y + c, yPitch, x + c, xPitch, count, activation,       \
                          LOAD_##F(mean + c), LOAD_##F(scale + c) * factor,                     \
                          LOAD_##F(shiftGradient + c) * (F)(share),                             \
                          LOAD_##F(scaleGradient + c) * (F)(share) * factor, dx + c, dxPitch);  \
  }
  FOR_STRIPS(NORMALISE_BACKWARD_STRIP)
}
#else
// Launch: global size positions * channels / WIDTH.
kernel void normaliseBackwardEach(NORMALISE_BACKWARD_ARGUMENTS) {
  const uint id = (uint)get_global_id(0), parts = channels / WIDTH;
  const uint i = id / parts, c = (id - i * parts) * WIDTH;
  const float share = 1.0f / (float)positions;
  if (i < positions) {
    const PART factor = LOAD_PART(deviation + deviationOffset + c);
    JOIN(normaliseBackward_, PART)
    (g + gOffset + (ulong)i * gPitch + c, 0, y + yOffset + (ulong)i * yPitch + c, 0,
     x + xOffset + (ulong)i * xPitch + c, 0, 1, activation, LOAD_PART(mean + meanOffset + c),
     LOAD_PART(scale + scaleOffset + c) * factor,
     LOAD_PART(shiftGradient + shiftGradientOffset + c) * share,
     LOAD_PART(scaleGradient + scaleGradientOffset + c) * share * factor,
     dx + dxOffset + (ulong)i * dxPitch + c, 0);
  }
}
#endif
