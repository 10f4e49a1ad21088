// Sums of rows of weights, for the arithmetic on sparse codes.
//
// Sums over entries are one chain of fma in the order of the entries, so that grouping them changes
// no bit; entries added to fill a group have the weight 0. Dot products over a row have an order
// fixed by the width alone.

#pragma OPENCL FP_CONTRACT OFF

#ifndef GROUP
#define GROUP 64
#endif

#define TENSOR(T, name) global T *restrict name, const uint name##Offset
#define SOURCE(T, name) global const T *restrict name, const uint name##Offset
#define MOVE(name) name += name##Offset;

static inline float sum16(const float16 v) {
  const float8 v8 = v.lo + v.hi;
  const float4 v4 = v8.lo + v8.hi;
  const float2 v2 = v4.lo + v4.hi;
  return v2.x + v2.y;
}

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
