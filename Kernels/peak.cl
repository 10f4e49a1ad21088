// Nothing but fused multiply-adds in registers: the device's attainable peak, which the matmul
// benchmark relates its figures to.
//
// Each work-item runs CHAINS independent chains of vectors, enough to hide the latency of an
// addition; `rounds` rounds of 2 * 8 * CHAINS floating-point operations.

#define CHAINS 12

kernel void peak(global float *restrict y, const uint yOffset, const uint rounds,
                 const float factor, const float addend) {
  float8 sum[CHAINS];
  for (int i = 0; i < CHAINS; ++i) sum[i] = (float8)(i + get_global_id(0));
  for (uint round = 0; round < rounds; ++round) {
#pragma unroll
    for (int i = 0; i < CHAINS; ++i) sum[i] = fma(sum[i], (float8)(factor), (float8)(addend));
  }
  float8 total = 0;
  for (int i = 0; i < CHAINS; ++i) total += sum[i];
  const float4 half4 = total.lo + total.hi;
  y[yOffset + get_global_id(0)] = half4.x + half4.y + half4.z + half4.w;
}
