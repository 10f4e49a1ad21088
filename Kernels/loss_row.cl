// The reconstruction loss of one row, as one work-item of a CPU device computes it: the squared
// error, its gradient with respect to the last layer's pre-activations, and the number of non-zero
// code entries. See loss.cl. Preceded by activation.cl.
//
// The order of the sum is fixed by the width: two chains of eight, then the rest.
BODY void reconstructionLossOfRow(global const float *y, global const float *x,
                                  const int activation, global const float *z,
                                  const float scale, global float *gradient,
                                  global float *rowError, global float *rowL0,
                                  const uint width, const uint latents) {
  // Several sums side by side, since each addition waits for the one before.
  float8 sum0 = 0, sum1 = 0;
  uint j = 0;
  for (; j + 16 <= width; j += 16) {
    const float8 y0 = vload8(0, y + j), y1 = vload8(0, y + j + 8);
    const float8 d0 = y0 - vload8(0, x + j), d1 = y1 - vload8(0, x + j + 8);
    sum0 = fma(d0, d0, sum0);
    sum1 = fma(d1, d1, sum1);
    vstore8(timesDerivative_float8(scale * d0, y0, activation), 0, gradient + j);
    vstore8(timesDerivative_float8(scale * d1, y1, activation), 0, gradient + j + 8);
  }
  float rest = 0;
  for (; j < width; ++j) {
    const float value = y[j], d = value - x[j];
    rest = fma(d, d, rest);
    gradient[j] = timesDerivative_float(scale * d, value, activation);
  }
  const float8 sum8 = sum0 + sum1;
  const float4 sum4 = sum8.lo + sum8.hi;
  const float2 sum2 = sum4.lo + sum4.hi;
  *rowError = sum2.x + sum2.y + rest;

  // Counted in floats, exact up to 2^24: widening a vector's comparison to integers is wrong in some
  // OpenCL implementations (Oclgrind 21.10 gives 255 for true).
  float8 count8 = 0;
  uint l = 0;
  for (; l + 8 <= latents; l += 8)
    count8 += vload8(0, z + l) != 0.0f ? (float8)(1.0f) : (float8)(0.0f);
  const float4 count4 = count8.lo + count8.hi;
  int count = (int)(count4.x + count4.y + count4.z + count4.w);
  for (; l < latents; ++l) count += z[l] != 0.0f;
  *rowL0 = (float)count;
}
