// What convolutions need besides the products, for devices with many work-items: the layout of an
// adjoint's weights, sums of channels, and the sums of bands.
#pragma OPENCL FP_CONTRACT OFF

// The weights of an adjoint as those of a convolution for each phase (see convolution_gpu.cl):
// packed [phase, u, v, O, C], the taps in turned order; phases with fewer taps leave a gap at their
// end. Launch: global size (C, phases taps O), taps the largest number that a phase can have.
kernel void packTaps(global const float *restrict w, const uint wOffset,
                     global float *restrict packed, const uint packedOffset, const uint inputs,
                     const uint outputs, const uint kernelHeight, const uint kernelWidth,
                     const uint stride, const uint padding) {
  const uint mostRows = (kernelHeight - 1) / stride + 1;
  const uint mostColumns = (kernelWidth - 1) / stride + 1;
  const uint c = get_global_id(0), o = get_global_id(1) % outputs;
  const uint tap = get_global_id(1) / outputs % (mostRows * mostColumns);
  const uint phase = get_global_id(1) / outputs / (mostRows * mostColumns);
  if (c >= inputs || phase >= stride * stride) return;
  const uint downRest = (phase / stride + padding) % stride;
  const uint acrossRest = (phase % stride + padding) % stride;
  const uint tapRows = (kernelHeight + stride - 1 - downRest) / stride;
  const uint tapColumns = (kernelWidth + stride - 1 - acrossRest) / stride;
  if (tap >= tapRows * tapColumns) return;
  const uint u = downRest + stride * (tapRows - 1 - tap / tapColumns);
  const uint v = acrossRest + stride * (tapColumns - 1 - tap % tapColumns);
  packed[packedOffset + get_global_id(1) * inputs + c] =
      w[wOffset + ((u * kernelWidth + v) * inputs + c) * outputs + o];
}

// Groups of COLUMNS neighbouring sums and ROWS work-items for each.
#define COLUMNS 16
#define ROWS 16

// Adds up the rows of a group, for each column; the result is row 0's.
static inline float addRows(local float sums[ROWS][COLUMNS], const float own) {
  const uint column = get_local_id(0), row = get_local_id(1);
  sums[row][column] = own;
  for (uint step = ROWS / 2; step > 0; step /= 2) {
    barrier(CLK_LOCAL_MEM_FENCE);
    if (row < step) sums[row][column] += sums[row + step][column];
  }
  return sums[row][column];
}

// The sums of each band of positions; parts [bands, C].
// Launch: global size (C rounded up to COLUMNS, bands * ROWS), local size (COLUMNS, ROWS).
kernel __attribute__((reqd_work_group_size(COLUMNS, ROWS, 1))) void channelSums(
    global const float *restrict x, const uint xOffset, const uint xPitch,
    global float *restrict parts, const uint partsOffset, const uint positions,
    const uint channels, const uint bandPositions, const uint bands) {
  local float sums[ROWS][COLUMNS];
  const uint c = get_global_id(0), row = get_local_id(1), band = get_group_id(1);
  const uint begin = band * bandPositions, end = min(begin + bandPositions, positions);
  float sum = 0;
  if (c < channels)
    for (uint i = begin + row; i < end; i += ROWS) sum += x[xOffset + (ulong)i * xPitch + c];
  sum = addRows(sums, sum);
  if (c < channels && row == 0) parts[partsOffset + (ulong)band * channels + c] = sum;
}

// s_i = sum over bands of parts_bi: each of ROWS work-items takes every ROWS-th band, ascending.
// Launch: global size (count rounded up to COLUMNS, ROWS), local size (COLUMNS, ROWS).
kernel __attribute__((reqd_work_group_size(COLUMNS, ROWS, 1))) void addBands(
    global const float *restrict parts, const uint partsOffset, global float *restrict s,
    const uint sOffset, const uint count, const uint bands) {
  local float sums[ROWS][COLUMNS];
  const uint i = get_global_id(0), row = get_local_id(1);
  float sum = 0;
  if (i < count)
    for (uint band = row; band < bands; band += ROWS)
      sum += parts[partsOffset + (ulong)band * count + i];
  sum = addRows(sums, sum);
  if (i < count && row == 0) s[sOffset + i] = sum;
}
