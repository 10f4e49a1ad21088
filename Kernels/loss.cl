// The fused reconstruction loss: for each row of the batch the squared error, its gradient with
// respect to the last layer's pre-activations, and the number of non-zero code entries.
//
//   rowError_i  = sum over j of (x_ij - y_ij)^2
//   gradient_ij = scale * (y_ij - x_ij) * f'(y_ij)
//   rowL0_i     = number of j with z_ij != 0
//
// Preceded by activation.cl and loss_row.cl. Two kernels with the same arguments:
// `reconstructionLossRow` gives a row to one work-item (CPU; launch: global size batch, local size
// 1), `reconstructionLossGroup` gives it to one work-group of LOSS_GROUP work-items (GPU; launch:
// global size batch * LOSS_GROUP). Each adds in an order fixed by the width alone.

#ifndef LOSS_GROUP
#define LOSS_GROUP 64
#endif

#define LOSS_ARGUMENTS                                                                          \
  global const float *y, const uint yOffset, global const float *restrict x, const uint xOffset, \
      const int activation, global const float *restrict z, const uint zOffset, const float scale, \
      global float *gradient, const uint gradientOffset, global float *restrict rowError,         \
      const uint rowErrorOffset, global float *restrict rowL0, const uint rowL0Offset,            \
      const uint width, const uint latents

#if CPU
kernel void reconstructionLossRow(LOSS_ARGUMENTS) {
  const uint row = get_global_id(0);
  reconstructionLossOfRow(y + yOffset + (ulong)row * width, x + xOffset + (ulong)row * width,
                          activation, z + zOffset + (ulong)row * latents, scale,
                          gradient + gradientOffset + (ulong)row * width,
                          rowError + rowErrorOffset + row, rowL0 + rowL0Offset + row, width,
                          latents);
}
#else
kernel __attribute__((reqd_work_group_size(LOSS_GROUP, 1, 1))) void reconstructionLossGroup(
    LOSS_ARGUMENTS) {
  local float sums[LOSS_GROUP];
  local int counts[LOSS_GROUP];
  const uint row = get_group_id(0);
  const uint lane = get_local_id(0);
  y += yOffset + (ulong)row * width;
  x += xOffset + (ulong)row * width;
  gradient += gradientOffset + (ulong)row * width;
  z += zOffset + (ulong)row * latents;

  float sum = 0;
  for (uint j = lane; j < width; j += LOSS_GROUP) {
    const float value = y[j], d = value - x[j];
    sum = fma(d, d, sum);
    gradient[j] = timesDerivative_float(scale * d, value, activation);
  }
  int count = 0;
  for (uint l = lane; l < latents; l += LOSS_GROUP) count += z[l] != 0.0f;
  sums[lane] = sum;
  counts[lane] = count;
  for (uint step = LOSS_GROUP / 2; step > 0; step /= 2) {
    barrier(CLK_LOCAL_MEM_FENCE);
    if (lane < step) {
      sums[lane] += sums[lane + step];
      counts[lane] += counts[lane + step];
    }
  }
  if (lane == 0) {
    rowError[rowErrorOffset + row] = sums[0];
    rowL0[rowL0Offset + row] = (float)counts[0];
  }
}
#endif
