// Convolutions for CPU devices. Append to activation.cl and tickets.cl.
//
// Images lie pixel by pixel, `pitch` floats apart, of which the first channels are the map's. H x W
// x C is the larger image of a pair and H' x W' x O the smaller, as in the specification.
//
// A convolution and its adjoint are one kernel, `convolve`, over weights that `packTaps` has laid
// out for it. LANES pixels by sixteen channels are held in registers, and zeros stand in
// for pixels beyond the edge. So each result is one chain acc = fma(x, w, acc) over the taps, row by
// row, and the channels within each, starting from 0 and padding included, wherever its pixel lies.
//
// The adjoint with stride s is s^2 convolutions without a stride, one for each phase (a mod s,
// b mod s) of its output, with those taps, in reverse, that reach the phase.
#pragma OPENCL FP_CONTRACT OFF

DEFINE_ALL(float16, int16, as_int16, as_float16)

// Pixels, or rows of a gradient, in registers: 6 fit sixteen 256-bit registers, 8 are for 512 bits.
// No bit depends on their number.
#ifndef LANES
#define LANES 6
#endif
#if LANES == 6
#define EACH_LANE(X) X(0) X(1) X(2) X(3) X(4) X(5)
#elif LANES == 8
#define EACH_LANE(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#else
#error "LANES must be 6 or 8"
#endif

// Along one side, the taps of a phase: k = 0 ..< *taps reach the source at
// step i + *start + k, and tap k is w's tap *last - k s (adjoint) or k.
void phaseTaps(const int phase, const int kernelSide, const int stride, const int padding,
               const int isAdjoint, int *taps, int *start, int *last) {
  if (!isAdjoint) {
    *taps = kernelSide;
    *start = -padding;
    *last = 0;
    return;
  }
  const int first = (phase + padding) % stride;
  *taps = first < kernelSide ? (kernelSide - 1 - first) / stride + 1 : 0;
  *start = (phase + padding - first) / stride - (*taps - 1);
  *last = first + (*taps - 1) * stride;
}

// packed[phase][block of 16 outputs][tap][input][16], zeros where there is no output or no tap, then
// `sources` zeros; taps as many for each phase as phase 0 might have. A work-item for each tap, and
// one for the zeros.
#define PACK_TAPS_ARGUMENTS                                                                   \
  global const float *restrict w, const uint wOffset, global float *restrict packed,          \
      const uint packedOffset, const uint inputs, const uint outputs, const int kernelHeight, \
      const int kernelWidth, const int stride, const int padding, const int isAdjoint

BODY void packTap(PACK_TAPS_ARGUMENTS, const uint row) {
  const int phaseSide = isAdjoint ? stride : 1;
  const int tapRows = (kernelHeight - 1) / phaseSide + 1;
  const int tapColumns = (kernelWidth - 1) / phaseSide + 1;
  const uint sources = isAdjoint ? outputs : inputs;
  const uint results = isAdjoint ? inputs : outputs;
  const uint blocks = (results + 15) / 16;
  const uint taps = tapRows * tapColumns;
  global float *target = packed + packedOffset + (size_t)row * sources * 16;
  if (row == phaseSide * phaseSide * blocks * taps) {
    for (uint c = 0; c < sources; ++c) target[c] = 0;
    return;
  }
  const int k = row % taps / tapColumns, l = row % taps % tapColumns;
  const uint first = row / taps % blocks * 16;
  const int phase = row / taps / blocks;
  int rows, columns, start, lastRow, lastColumn;
  phaseTaps(phase / phaseSide, kernelHeight, stride, padding, isAdjoint, &rows, &start, &lastRow);
  phaseTaps(phase % phaseSide, kernelWidth, stride, padding, isAdjoint, &columns, &start,
            &lastColumn);
  // The taps of a phase lie side by side, however many there might have been.
  const int tap = k * tapColumns + l;
  const int u = tap / max(columns, 1), v = tap % max(columns, 1);
  if (tap >= rows * columns) {
    for (uint i = 0; i < sources * 16; ++i) target[i] = 0;
    return;
  }
  const uint count = min(results - first, 16u);
  const int place = isAdjoint
                        ? (lastRow - u * stride) * kernelWidth + lastColumn - v * stride
                        : u * kernelWidth + v;
  w += wOffset + (size_t)place * inputs * outputs + (isAdjoint ? first * outputs : first);
  const uint step = isAdjoint ? outputs : 1, next = isAdjoint ? 1 : outputs;
  for (uint c = 0; c < sources; ++c, w += next, target += 16)
    for (uint o = 0; o < 16; ++o) target[o] = o < count ? w[(size_t)o * step] : 0.0f;
}

kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void packTaps(PACK_TAPS_ARGUMENTS) {
  packTap(w, wOffset, packed, packedOffset, inputs, outputs, kernelHeight, kernelWidth, stride,
          padding, isAdjoint, get_global_id(0));
}

// One step of a chain of sixteen for each pixel.
#define MULTIPLY(i) s##i = fma((float16)(p##i[k]), factor, s##i);

// `count` steps along the pixels.
#define MULTIPLY_RUN(count)                      \
  {                                              \
    uint k = 0;                                  \
    do {                                         \
      const float16 factor = vload16(0, weight); \
      EACH_LANE(MULTIPLY)                        \
      weight += 16;                              \
    } while (++k != (count));                    \
  }

// Positions are drawn by ticket in blocks of POSITIONS of a phase, a multiple of LANES; all channels
// of a block one after the other, sixteen at a time.
#ifndef POSITIONS
#define POSITIONS 96
#endif

#define CONVOLVE_ARGUMENTS                                                                       \
  global const float *restrict x, const uint xOffset, const uint xPitch,                         \
      global const float *restrict packed, const uint packedOffset,                              \
      global const float *restrict bias, const uint biasOffset, const uint hasBias,              \
      const int activation, global float *restrict y, const uint yOffset, const uint yPitch,     \
      const uint batch, const int height, const int width, const uint inputs,                    \
      const int outputHeight, const int outputWidth, const uint outputs, const int kernelHeight, \
      const int kernelWidth, const int stride, const int padding, const int isAdjoint,           \
      volatile global uint *tickets

BODY void convolveBlocks(CONVOLVE_ARGUMENTS) {
  // From here on "source" and "result" are what the kernel reads and writes, either way.
  const int sourceHeight = isAdjoint ? outputHeight : height;
  const int sourceWidth = isAdjoint ? outputWidth : width;
  const int resultHeight = isAdjoint ? height : outputHeight;
  const int resultWidth = isAdjoint ? width : outputWidth;
  const uint sources = isAdjoint ? outputs : inputs;
  const uint results = isAdjoint ? inputs : outputs;
  const int phaseSide = isAdjoint ? stride : 1;
  const int step = isAdjoint ? 1 : stride;
  const uint tapCount =
      (uint)((kernelHeight - 1) / phaseSide + 1) * ((kernelWidth - 1) / phaseSide + 1);
  const uint blocks = (results + 15) / 16;
  const uint most =
      batch * ((resultHeight - 1) / phaseSide + 1) * ((resultWidth - 1) / phaseSide + 1);
  const uint perPhase = (most + POSITIONS - 1) / POSITIONS;
  x += xOffset;
  y += yOffset;
  packed += packedOffset;
  bias += biasOffset;
  global const float *zeros =
      packed + (size_t)phaseSide * phaseSide * blocks * tapCount * sources * 16;

  FOR_EACH_TICKET(ticket, perPhase * phaseSide * phaseSide) {
    const int phase = ticket / perPhase;
    const int phaseRow = phase / phaseSide, phaseColumn = phase % phaseSide;
    const int rows = (resultHeight - phaseRow + phaseSide - 1) / phaseSide;
    const int columns = (resultWidth - phaseColumn + phaseSide - 1) / phaseSide;
    const uint first = ticket % perPhase * POSITIONS;
    const uint end = min(first + POSITIONS, batch * rows * columns);
    int taps, tapsAcross, top, left, unused;
    phaseTaps(phaseRow, kernelHeight, stride, padding, isAdjoint, &taps, &top, &unused);
    phaseTaps(phaseColumn, kernelWidth, stride, padding, isAdjoint, &tapsAcross, &left, &unused);

    for (uint block = 0; block < blocks; ++block) {
      const uint channel = block * 16;
      const uint valid = min(results - channel, 16u);
      global const float *weights =
          packed + (size_t)(phase * blocks + block) * tapCount * sources * 16;
      float16 added = 0;
      if (hasBias) {
        float padded[16];
        for (uint o = 0; o < 16; ++o) padded[o] = o < valid ? bias[channel + o] : 0.0f;
        added = vload16(0, padded);
      }
      int j = first % columns;
      int i = first / columns % rows;
      uint n = first / columns / rows;

      for (uint position = first; position < end; position += LANES) {
#define CLEAR(i) float16 s##i = 0;
        EACH_LANE(CLEAR)
        global const float *weight = weights;
        const int a = step * i + top, b = step * j + left;
        // The place of each lane's result, in pixels; and, where not all that it reads lies in the
        // image, the corner that it reads from.
        uint target[LANES];
        int as[LANES], bs[LANES];
        long corners[LANES];
        uint runs = tapsAcross, length = sources;
        const int isInside = j + LANES <= columns && a >= 0 && a + taps <= sourceHeight && b >= 0 &&
                             b + (LANES - 1) * step + tapsAcross <= sourceWidth;
        if (isInside) {
          const uint row = (n * resultHeight + i * phaseSide + phaseRow) * resultWidth;
          for (uint lane = 0; lane < LANES; ++lane)
            target[lane] = row + (j + lane) * phaseSide + phaseColumn;
          if (xPitch == sources) {
            // Pixels without gaps: the taps of a row are one run.
            runs = min(tapsAcross, 1);
            length = tapsAcross * sources;
          }
        } else {
          // Lanes past the end repeat the last.
          int jj = j, ii = i;
          uint nn = n;
          for (uint lane = 0; lane < LANES; ++lane) {
            as[lane] = step * ii + top;
            bs[lane] = step * jj + left;
            corners[lane] = ((long)nn * sourceHeight + as[lane]) * sourceWidth + bs[lane];
            target[lane] = (nn * resultHeight + ii * phaseSide + phaseRow) * resultWidth +
                           jj * phaseSide + phaseColumn;
            if (position + lane + 1 < end && ++jj == columns) {
              jj = 0;
              if (++ii == rows) {
                ii = 0;
                ++nn;
              }
            }
          }
        }
        global const float *line = x + ((size_t)(n * sourceHeight + a) * sourceWidth + b) * xPitch;
        for (int u = 0; u < taps; ++u, line += (size_t)sourceWidth * xPitch) {
          for (uint v = 0; v < runs; ++v) {
#define PIXEL(i) global const float *p##i = line + (size_t)(v + i * step) * xPitch;
            EACH_LANE(PIXEL)
#define PIXEL_OR_ZEROS(i)                                                                      \
  p##i = (uint)(as[i] + u) < (uint)sourceHeight && (uint)(bs[i] + v) < (uint)sourceWidth       \
             ? x + (corners[i] + (long)u * sourceWidth + v) * xPitch                           \
             : zeros;
            if (!isInside) {
              EACH_LANE(PIXEL_OR_ZEROS)
            }
            MULTIPLY_RUN(length)
          }
        }

        float16 tile[LANES];
#define SPILL(i) tile[i] = s##i + added;
        EACH_LANE(SPILL)
        activateAll_float16(tile, LANES, activation);
        const uint lanes = min(end - position, (uint)LANES);
        if (valid == 16) {
          for (uint lane = 0; lane < lanes; ++lane)
            vstore16(tile[lane], 0, y + (size_t)target[lane] * yPitch + channel);
        } else {
          for (uint lane = 0; lane < lanes; ++lane) {
            global float *result = y + (size_t)target[lane] * yPitch + channel;
            const float *values = (const float *)(tile + lane);
            for (uint o = 0; o < valid; ++o) result[o] = values[o];
          }
        }
        j += LANES;
        while (j >= columns) {
          j -= columns;
          if (++i == rows) {
            i = 0;
            ++n;
          }
        }
      }
    }
  }
}

kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void convolve(CONVOLVE_ARGUMENTS) {
  convolveBlocks(x, xOffset, xPitch, packed, packedOffset, bias, biasOffset, hasBias, activation,
                 y, yOffset, yPitch, batch, height, width, inputs, outputHeight, outputWidth,
                 outputs, kernelHeight, kernelWidth, stride, padding, isAdjoint, tickets);
  RETURN_TICKETS
}

// The gradient of the weights. For each band of rows of the output a product over its positions:
// LANES rows (u, v, c) of the gradient by sixteen outputs in registers. A ticket is a band and a
// block of sixteen outputs; what it leaves in `parts` [band][block][row][16], with the rows rounded
// up to a multiple of LANES, `addGradient` adds up over the bands, in order. The bands depend on
// the shape alone, and so does every bit.
//
// Within a band the chains pass through memory after each CHUNK positions or so, which are few
// enough that what they read stays in the first-level cache for all rows.
#ifndef CHUNK
#define CHUNK 192
#endif

#define GRADIENT_STEP(i) s##i = fma((float16)(p[place##i]), factor, s##i);
// A step where not all rows read within the image: zeros stand in.
#define GUARDED_STEP(i)                                                                 \
  {                                                                                     \
    const int isInside = isInLine##i && j >= froms[i] && j < tos[i];                       \
    s##i = fma((float16)(isInside ? p[place##i] : 0.0f), factor, s##i);                  \
  }
#define GUARDED_STEPS(last)                      \
  for (; j < (last); ++j) {                      \
    const float16 factor = vload16(0, slope);    \
    EACH_LANE(GUARDED_STEP)                      \
    p += pace;                                   \
    slope += 16;                                 \
  }

#define GRADIENT_BANDS_ARGUMENTS                                                                \
  global const float *restrict x, const uint xOffset, const uint xPitch,                        \
      global const float *restrict g, const uint gOffset, const uint gPitch,                    \
      global float *restrict parts, const uint partsOffset, const uint batch, const int height, \
      const int width, const int inputs, const int outputHeight, const int outputWidth,         \
      const uint outputs, const int kernelHeight, const int kernelWidth, const int stride,      \
      const int padding, const uint bandRows, const uint bands, volatile global uint *tickets

BODY void sumBands(GRADIENT_BANDS_ARGUMENTS) {
  const uint blocks = (outputs + 15) / 16;
  const int rows = kernelHeight * kernelWidth * inputs;
  const int paddedRows = (rows + LANES - 1) / LANES * LANES;
  // A chunk is a part of one output row or several whole ones.
  const uint lines = outputWidth >= CHUNK ? 1 : CHUNK / outputWidth;
  const uint pieces = (outputWidth + CHUNK - 1) / CHUNK;
  const int piece = (outputWidth + pieces - 1) / pieces;
  x += xOffset;
  g += gOffset;
  parts += partsOffset;
  float slopes[CHUNK * 16];

  FOR_EACH_TICKET(ticket, bands * blocks) {
    const uint band = ticket / blocks, block = ticket % blocks;
    const uint channel = block * 16;
    const uint valid = min(outputs - channel, 16u);
    global float *sums = parts + (size_t)ticket * paddedRows * 16;
    const uint bandEnd = min((band + 1) * bandRows, batch * outputHeight);
    for (uint first = band * bandRows; first < bandEnd; first += lines) {
      const uint last = min(first + lines, bandEnd);
      for (int begin = 0; begin < outputWidth; begin += piece) {
        const int end = min(begin + piece, outputWidth);
        const uint across = end - begin;
        // The slopes of the chunk side by side.
        {
          float *target = slopes;
          for (uint line = first; line < last; ++line) {
            global const float *source =
                g + ((size_t)line * outputWidth + begin) * gPitch + channel;
            if (valid == 16) {
              for (uint k = 0; k < across; ++k, target += 16, source += gPitch)
                vstore16(vload16(0, source), 0, target);
            } else {
              for (uint k = 0; k < across; ++k, target += 16, source += gPitch)
                for (uint o = 0; o < 16; ++o) target[o] = o < valid ? source[o] : 0.0f;
            }
          }
        }
        const int isFirst = first == band * bandRows && begin == 0;
        // The row that is next: its tap and channel, and the columns j where it reads the image.
        int u = 0, v = 0, c = 0, from = 0, to = 0, known = -1;
        for (int row = 0; row < paddedRows; row += LANES) {
          global float *sum = sums + (size_t)row * 16;
          // Rows past the last repeat it.
          int us[LANES], froms[LANES], tos[LANES];
          long places[LANES];
          int some = INT_MAX, all = 0, stop = INT_MAX, none = 0;
          for (int i = 0; i < LANES; ++i) {
            if (v != known) {
              const int shift = padding - v;
              from = max(begin, shift > 0 ? (shift + stride - 1) / stride : 0);
              to = width + shift > 0 ? min(end, (width + shift - 1) / stride + 1) : 0;
              known = v;
            }
            us[i] = u;
            froms[i] = from;
            tos[i] = to;
            places[i] = (long)(u * width + v - padding) * xPitch + c;
            some = min(some, from);
            all = max(all, from);
            stop = min(stop, to);
            none = max(none, to);
            if (row + i + 1 < rows && ++c == inputs) {
              c = 0;
              if (++v == kernelWidth) {
                v = 0;
                ++u;
              }
            }
          }
#define ROW_PLACE(i) const long place##i = places[i];
          EACH_LANE(ROW_PLACE)
#define RESUME(i) float16 s##i = isFirst ? (float16)(0.0f) : vload16(i, sum);
          EACH_LANE(RESUME)
          const float *lineSlopes = slopes;
          for (uint line = first; line < last; ++line, lineSlopes += across * 16) {
            const int a = stride * (int)(line % outputHeight) - padding;
            // Taps of a row further down are those of later lanes.
            if (a + us[LANES - 1] < 0 || a + us[0] >= height || some >= none) continue;
            const int isWhole = a + us[0] >= 0 && a + us[LANES - 1] < height;
#define IN_LINE(i) const int isInLine##i = a + us[i] >= 0 && a + us[i] < height;
            EACH_LANE(IN_LINE)
            const long pace = (long)stride * xPitch;
            global const float *p =
                x + ((long)(line / outputHeight) * height + a) * width * xPitch + some * pace;
            const float *slope = lineSlopes + (some - begin) * 16;
            int j = some;
            // Guarded up to where all rows read, then all, then guarded to the end.
            for (int limit = isWhole ? min(all, none) : none;; limit = none) {
              GUARDED_STEPS(limit)
              if (limit == none) break;
              if (j < stop) {
                const float *const until = slope + (stop - j) * 16;
                do {
                  const float16 factor = vload16(0, slope);
                  EACH_LANE(GRADIENT_STEP)
                  p += pace;
                  slope += 16;
                } while (slope != until);
                j = stop;
              }
            }
          }
#define REST(i) vstore16(s##i, i, sum);
          EACH_LANE(REST)
        }
      }
    }
  }
}

kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void gradientBands(GRADIENT_BANDS_ARGUMENTS) {
  sumBands(x, xOffset, xPitch, g, gOffset, gPitch, parts, partsOffset, batch, height, width,
           inputs, outputHeight, outputWidth, outputs, kernelHeight, kernelWidth, stride, padding,
           bandRows, bands, tickets);
  RETURN_TICKETS
}

// dw = the sum over the bands, ascending, of their parts; LANES rows to a work-item.
#define ADD_GRADIENT_ARGUMENTS                                                           \
  global const float *restrict parts, const uint partsOffset, global float *restrict dw, \
      const uint dwOffset, const uint rows, const uint outputs, const uint bands

BODY void addRows(ADD_GRADIENT_ARGUMENTS, const uint group) {
  const uint blocks = (outputs + 15) / 16;
  const uint paddedRows = (rows + LANES - 1) / LANES * LANES;
  const uint first = group * LANES;
  parts += partsOffset;
  dw += dwOffset;
  for (uint block = 0; block < blocks; ++block) {
    const uint valid = min(outputs - block * 16, 16u);
    for (uint row = first; row < min(first + LANES, rows); ++row) {
      float16 sum = 0;
      for (uint band = 0; band < bands; ++band)
        sum += vload16(0, parts + ((size_t)(band * blocks + block) * paddedRows + row) * 16);
      global float *target = dw + (size_t)row * outputs + block * 16;
      if (valid == 16) {
        vstore16(sum, 0, target);
      } else {
        float values[16];
        vstore16(sum, 0, values);
        for (uint o = 0; o < valid; ++o) target[o] = values[o];
      }
    }
  }
}

kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void addGradient(ADD_GRADIENT_ARGUMENTS) {
  addRows(parts, partsOffset, dw, dwOffset, rows, outputs, bands, get_global_id(0));
}

// parts[band][channel] = the sums of a band of positions; a work-item for each band.
#define CHANNEL_SUMS_ARGUMENTS                                                    \
  global const float *restrict x, const uint xOffset, const uint xPitch,          \
      global float *restrict parts, const uint partsOffset, const uint positions, \
      const uint channels, const uint bandPositions, const uint bands

BODY void sumChannels(CHANNEL_SUMS_ARGUMENTS, const uint band) {
  const uint count = min(bandPositions, positions - band * bandPositions);
  global const float *line = x + xOffset + (size_t)band * bandPositions * xPitch;
  global float *target = parts + partsOffset + (size_t)band * channels;
  uint c = 0;
  for (; c + 16 <= channels; c += 16) {
    float16 sum = 0;
    global const float *pixel = line + c;
    for (uint i = 0; i < count; ++i, pixel += xPitch) sum += vload16(0, pixel);
    vstore16(sum, 0, target + c);
  }
  for (; c < channels; ++c) {
    float sum = 0;
    global const float *pixel = line + c;
    for (uint i = 0; i < count; ++i, pixel += xPitch) sum += *pixel;
    target[c] = sum;
  }
}

kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void channelSums(CHANNEL_SUMS_ARGUMENTS) {
  sumChannels(x, xOffset, xPitch, parts, partsOffset, positions, channels, bandPositions, bands,
              get_global_id(0));
}

// s_c = the sum over the bands, ascending; one work-item.
kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void addBands(global const float *restrict parts, const uint partsOffset,
              global float *restrict s, const uint sOffset, const uint count, const uint bands) {
  parts += partsOffset;
  s += sOffset;
  for (uint c = 0; c < count; ++c) s[c] = parts[c];
  for (uint band = 1; band < bands; ++band)
    for (uint c = 0; c < count; ++c) s[c] += parts[(size_t)band * count + c];
}
