// Convolutions for devices with many work-items. Append to activation.cl.
//
// Images lie pixel by pixel, `pitch` floats apart, of which the first `inputs` or `outputs` are the
// map's. Neighbouring work-items take neighbouring channels of one pixel: they read the same pixels
// and neighbouring weights. H x W x C is the larger image of a pair and H' x W' x O the smaller, as
// in the specification.
#pragma OPENCL FP_CONTRACT OFF

// y_nijo = f(bias_o + sum over u, v, c); global size (O, N H' W')
kernel void convolution(global const float *restrict x, const uint xOffset, const uint xPitch,
                        global const float *restrict w, const uint wOffset,
                        global const float *restrict bias, const uint biasOffset,
                        const uint hasBias, const int activation, global float *restrict y,
                        const uint yOffset, const uint yPitch, const uint batch, const uint height,
                        const uint width, const uint inputs, const uint outputHeight,
                        const uint outputWidth, const uint outputs, const uint kernelHeight,
                        const uint kernelWidth, const uint stride, const uint padding) {
  const uint o = get_global_id(0);
  const uint position = get_global_id(1);
  if (o >= outputs || position >= batch * outputHeight * outputWidth) return;
  const uint j = position % outputWidth;
  const uint row = position / outputWidth;
  const uint i = row % outputHeight;
  const uint n = row / outputHeight;
  float sum = 0;
  for (uint u = 0; u < kernelHeight; ++u) {
    // Wraps around above the image, and is then too large as well.
    const uint a = stride * i + u - padding;
    if (a >= height) continue;
    for (uint v = 0; v < kernelWidth; ++v) {
      const uint b = stride * j + v - padding;
      if (b >= width) continue;
      global const float *pixel = x + xOffset + ((size_t)(n * height + a) * width + b) * xPitch;
      global const float *weight =
          w + wOffset + (size_t)((u * kernelWidth + v) * inputs) * outputs + o;
      for (uint c = 0; c < inputs; ++c) sum = fma(pixel[c], weight[(size_t)c * outputs], sum);
    }
  }
  if (hasBias) sum += bias[biasOffset + o];
  y[yOffset + (size_t)position * yPitch + o] = activate_float(sum, activation);
}

// y_nabc = f(bias_c + sum over u, v, o); w with the channels exchanged, [u, v, O, C];
// global size (C, N H W)
kernel void transposedConvolution(
    global const float *restrict x, const uint xOffset, const uint xPitch,
    global const float *restrict w, const uint wOffset, global const float *restrict bias,
    const uint biasOffset, const uint hasBias, const int activation, global float *restrict y,
    const uint yOffset, const uint yPitch, const uint batch, const uint height, const uint width,
    const uint inputs, const uint outputHeight, const uint outputWidth, const uint outputs,
    const uint kernelHeight, const uint kernelWidth, const uint stride, const uint padding) {
  const uint c = get_global_id(0);
  const uint position = get_global_id(1);
  if (c >= inputs || position >= batch * height * width) return;
  const uint b = position % width;
  const uint row = position / width;
  const uint a = row % height;
  const uint n = row / height;
  float sum = 0;
  for (uint u = 0; u < kernelHeight; ++u) {
    if (a + padding < u || (a + padding - u) % stride != 0) continue;
    const uint i = (a + padding - u) / stride;
    if (i >= outputHeight) continue;
    for (uint v = 0; v < kernelWidth; ++v) {
      if (b + padding < v || (b + padding - v) % stride != 0) continue;
      const uint j = (b + padding - v) / stride;
      if (j >= outputWidth) continue;
      global const float *pixel =
          x + xOffset + ((size_t)(n * outputHeight + i) * outputWidth + j) * xPitch;
      global const float *weight =
          w + wOffset + (size_t)((u * kernelWidth + v) * outputs) * inputs + c;
      for (uint o = 0; o < outputs; ++o) sum = fma(pixel[o], weight[(size_t)o * inputs], sum);
    }
  }
  if (hasBias) sum += bias[biasOffset + c];
  y[yOffset + (size_t)position * yPitch + c] = activate_float(sum, activation);
}

// wt_uvoc = w_uvco; global size (C, kernelHeight kernelWidth O)
kernel void transposeTaps(global const float *restrict w, const uint wOffset,
                          global float *restrict transposed, const uint transposedOffset,
                          const uint taps, const uint inputs, const uint outputs) {
  const uint c = get_global_id(0);
  const uint row = get_global_id(1);
  if (c >= inputs || row >= taps * outputs) return;
  const uint tap = row / outputs, o = row % outputs;
  transposed[transposedOffset + (size_t)row * inputs + c] =
      w[wOffset + (size_t)(tap * inputs + c) * outputs + o];
}

// The sums of each band of rows of the output; global size (O, kernelHeight kernelWidth C, bands).
// parts [bands, kernelHeight, kernelWidth, C, O]
kernel void convolutionGradient(
    global const float *restrict x, const uint xOffset, const uint xPitch,
    global const float *restrict g, const uint gOffset, const uint gPitch,
    global float *restrict parts, const uint partsOffset, const uint batch, const uint height,
    const uint width, const uint inputs, const uint outputHeight, const uint outputWidth,
    const uint outputs, const uint kernelHeight, const uint kernelWidth, const uint stride,
    const uint padding, const uint bandRows, const uint bands) {
  const uint o = get_global_id(0);
  const uint taps = kernelHeight * kernelWidth * inputs;
  const uint tap = get_global_id(1) % taps;
  const uint band = get_global_id(1) / taps;
  if (o >= outputs || band >= bands) return;
  const uint c = tap % inputs;
  const uint v = tap / inputs % kernelWidth;
  const uint u = tap / inputs / kernelWidth;
  const uint lastRow = min((band + 1) * bandRows, batch * outputHeight);
  float sum = 0;
  for (uint row = band * bandRows; row < lastRow; ++row) {
    const uint n = row / outputHeight;
    const uint a = stride * (row % outputHeight) + u - padding;
    if (a >= height) continue;
    global const float *pixels = x + xOffset + (size_t)(n * height + a) * width * xPitch + c;
    global const float *slopes = g + gOffset + (size_t)row * outputWidth * gPitch + o;
    for (uint j = 0; j < outputWidth; ++j) {
      const uint b = stride * j + v - padding;
      if (b < width) sum = fma(pixels[(size_t)b * xPitch], slopes[(size_t)j * gPitch], sum);
    }
  }
  parts[partsOffset + (size_t)get_global_id(1) * outputs + o] = sum;
}

// The sums of each band of positions; global size (C, bands). parts [bands, C]
kernel void channelSums(global const float *restrict x, const uint xOffset, const uint xPitch,
                        global float *restrict parts, const uint partsOffset, const uint positions,
                        const uint channels, const uint bandPositions, const uint bands) {
  const uint c = get_global_id(0);
  const uint band = get_global_id(1);
  if (c >= channels || band >= bands) return;
  const uint last = min((band + 1) * bandPositions, positions);
  float sum = 0;
  for (uint i = band * bandPositions; i < last; ++i) sum += x[xOffset + (size_t)i * xPitch + c];
  parts[partsOffset + (size_t)band * channels + c] = sum;
}

// s_i = sum over bands, ascending, of parts_bi; global size count
kernel void addBands(global const float *restrict parts, const uint partsOffset,
                     global float *restrict s, const uint sOffset, const uint count,
                     const uint bands) {
  const uint i = get_global_id(0);
  if (i >= count) return;
  float sum = parts[partsOffset + i];
  for (uint band = 1; band < bands; ++band) sum += parts[partsOffset + (size_t)band * count + i];
  s[sOffset + i] = sum;
}
