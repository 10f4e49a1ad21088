// Keeps the latents of a code evenly in use: see BalanceOperations.balanceLatents.
//
// Launch: a work-item for each latent.

#pragma OPENCL FP_CONTRACT OFF

kernel void balanceLatents(global uint *restrict counts, const uint countsOffset,
                           global uint *restrict totals, const uint totalsOffset,
                           global float *restrict frequency, const uint frequencyOffset,
                           global float *restrict bias, const uint biasOffset, const uint latents,
                           const float decay, const float gain, const float threshold,
                           const float increment) {
  const uint j = get_global_id(0);
  if (j >= latents) return;
  const uint count = counts[countsOffset + j];
  const float share = fma(decay, frequency[frequencyOffset + j], gain * (float)count);
  totals[totalsOffset + j] += count;
  counts[countsOffset + j] = 0;
  frequency[frequencyOffset + j] = share;
  if (share < threshold) bias[biasOffset + j] += increment;
}
