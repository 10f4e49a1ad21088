// Adam on each element alone.
//
// A work-item takes BLOCK consecutive elements, eight at a time: thousands on a CPU, where a
// work-item is a loop on one core, and eight on a GPU, where neighbours read neighbouring memory.
// Launch: global size ceil(count / BLOCK) rounded up to the local size.

#pragma OPENCL FP_CONTRACT OFF

#ifndef BLOCK
#define BLOCK 8
#endif

// m = beta1 m + rest1 g;  v = beta2 v + rest2 g^2
// p = p - stepSize * m / (sqrt(v) * secondMomentScale + epsilon)
#define ADAM(T, P, G, M, V)                                        \
  M = fma((T)(beta1), M, (T)(rest1) * G);                          \
  V = fma((T)(beta2), V, (T)(rest2) * (G * G));                    \
  P = P - (T)(stepSize) * M / fma(sqrt(V), (T)(secondMomentScale), (T)(epsilon));

#define ADAM_ARGUMENTS                                                                            \
  global float *restrict p, const uint pOffset, global const float *restrict g,                   \
      const uint gOffset, global float *restrict m, const uint mOffset, global float *restrict v, \
      const uint vOffset, const uint count, const float beta1, const float rest1,                 \
      const float beta2, const float rest2, const float stepSize, const float secondMomentScale,  \
      const float epsilon

BODY void adamBlock(ADAM_ARGUMENTS, const uint block) {
  const uint first = block * BLOCK;
  const uint last = min(first + BLOCK, count);
  p += pOffset;
  g += gOffset;
  m += mOffset;
  v += vOffset;
  uint i = first;
  for (; i + 8 <= last; i += 8) {
    const float8 slope = vload8(0, g + i);
    float8 parameter = vload8(0, p + i), mean = vload8(0, m + i), square = vload8(0, v + i);
    ADAM(float8, parameter, slope, mean, square)
    vstore8(parameter, 0, p + i);
    vstore8(mean, 0, m + i);
    vstore8(square, 0, v + i);
  }
  for (; i < last; ++i) {
    const float slope = g[i];
    float parameter = p[i], mean = m[i], square = v[i];
    ADAM(float, parameter, slope, mean, square)
    p[i] = parameter;
    m[i] = mean;
    v[i] = square;
  }
}

kernel void adam(ADAM_ARGUMENTS) {
  adamBlock(p, pOffset, g, gOffset, m, mOffset, v, vOffset, count, beta1, rest1, beta2, rest2,
            stepSize, secondMomentScale, epsilon, get_global_id(0));
}
