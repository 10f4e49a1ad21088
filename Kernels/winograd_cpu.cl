// Convolutions of 3x3 taps without a stride for CPU devices, with 16 products for four results where
// convolve takes 36: Winograd's minimal filtering F(2x2, 3x3) (Lavin and Gray 2016, "Fast Algorithms
// for Convolutional Neural Networks", section 4.1). Append to convolution_cpu.cl.
//
// The results are cut into tiles of 2x2, which begin at even rows and columns. A tile depends on 4x4
// sources d, zeros beyond the edge:
//     Y = A^T (sum over c of (G g_c G^T) . (B^T d_c B)) A
//           1  0 -1  0         1    0    0
//     B^T = 0  1  1  0    G = 1/2  1/2  1/2    A^T = 1  1  1  0
//           0 -1  1  0        1/2 -1/2  1/2          0  1 -1 -1
//           0  1  0 -1         0    0    1
// Each of the 16 sums is one chain acc = fma(d', g', acc) over the channels, from 0, and the additions
// are as they are written here. So the bits of a result depend on what its taps reach and on whether
// its row and its column are even, not on the other results that are made with it.
//
// The adjoint is a convolution too, of the turned taps, with padding 2 - padding.

// Tiles that a ticket takes: a multiple of LANES, either of them.
#ifndef TILES
#define TILES 24
#endif
// The most channels of the source.
#ifndef MOST_SOURCES
#define MOST_SOURCES 256
#endif
// Inputs of a ticket of the gradient, a multiple of 16 and of LANES.
#if LANES == 8
#define INPUTS_AT_ONCE 32
#else
#define INPUTS_AT_ONCE 48
#endif
// Blocks of sixteen outputs of a ticket of the gradient.
#ifndef BLOCKS_AT_ONCE
#define BLOCKS_AT_ONCE 4
#endif

// packed[block of 16 results][one of 16 places][source][16] = G g G^T, zeros where there is no result.
// A work-item for each source of each block.
#define PACK_WINOGRAD_ARGUMENTS                                                            \
  global const float *restrict w, const uint wOffset, global float *restrict packed,       \
      const uint packedOffset, const uint sources, const uint results, const int isAdjoint

BODY void packSource(PACK_WINOGRAD_ARGUMENTS, const uint item) {
  const uint source = item % sources, block = item / sources;
  const uint first = block * 16;
  const uint count = min(results - first, 16u);
  w += wOffset;
  float16 rows[4][3];
  for (int v = 0; v < 3; ++v) {
    float16 taps[3];
    for (int u = 0; u < 3; ++u) {
      float values[16];
      const size_t place = isAdjoint ? ((size_t)(8 - 3 * u - v) * results + first) * sources + source
                                     : ((size_t)(3 * u + v) * sources + source) * results + first;
      for (uint i = 0; i < 16; ++i)
        values[i] = i < count ? w[place + (isAdjoint ? i * sources : i)] : 0.0f;
      taps[u] = vload16(0, values);
    }
    const float16 outer = taps[0] + taps[2];
    rows[0][v] = taps[0];
    rows[1][v] = (outer + taps[1]) * 0.5f;
    rows[2][v] = (outer - taps[1]) * 0.5f;
    rows[3][v] = taps[2];
  }
  const size_t pitch = (size_t)sources * 16;
  global float *target = packed + packedOffset + (size_t)block * 16 * pitch + source * 16;
  for (int u = 0; u < 4; ++u, target += 4 * pitch) {
    const float16 outer = rows[u][0] + rows[u][2];
    vstore16(rows[u][0], 0, target);
    vstore16((outer + rows[u][1]) * 0.5f, 0, target + pitch);
    vstore16((outer - rows[u][1]) * 0.5f, 0, target + 2 * pitch);
    vstore16(rows[u][2], 0, target + 3 * pitch);
  }
}

kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void packWinograd(PACK_WINOGRAD_ARGUMENTS) {
  packSource(w, wOffset, packed, packedOffset, sources, results, isAdjoint, get_global_id(0));
}

// Where tiles lie: the first row and column of their results, and their images. Tiles past `count`
// repeat the last.
void placeTiles(const uint first, const uint count, const int down, const int across, int *is,
                int *js, uint *ns) {
  int j = first % across, i = first / across % down;
  uint n = first / across / down;
  for (uint t = 0; t < TILES; ++t) {
    is[t] = 2 * i;
    js[t] = 2 * j;
    ns[t] = n;
    if (t + 1 < count && ++j == across) {
      j = 0;
      if (++i == down) {
        i = 0;
        ++n;
      }
    }
  }
}

// transformed[place][tile][source] = B^T d B of the first `lanes` tiles; a place is TILES tiles.
void transformSources(global const float *x, const uint pitch, const int height, const int width,
                      const uint sources, const int padding, global const float *zeros,
                      const int *is, const int *js, const uint *ns, const uint lanes,
                      float *transformed) {
  const uint plane = TILES * sources;
  for (uint t = 0; t < lanes; ++t) {
    const int a = is[t] - padding, b = js[t] - padding;
    const int isInside = a >= 0 && a + 3 < height && b >= 0 && b + 3 < width;
    global const float *pixels[4][4];
    global const float *corner = x + (((long)ns[t] * height + a) * width + b) * pitch;
    for (int u = 0; u < 4; ++u)
      for (int v = 0; v < 4; ++v)
        pixels[u][v] = isInside || ((uint)(a + u) < (uint)height && (uint)(b + v) < (uint)width)
                           ? corner + ((size_t)u * width + v) * pitch
                           : zeros;
    float *target = transformed + t * sources;
    for (uint c = 0; c < sources; c += 16, target += 16) {
      float16 d[4][4];
#pragma unroll
      for (int u = 0; u < 4; ++u) {
        const float16 d0 = vload16(0, pixels[u][0] + c), d1 = vload16(0, pixels[u][1] + c);
        const float16 d2 = vload16(0, pixels[u][2] + c), d3 = vload16(0, pixels[u][3] + c);
        d[u][0] = d0 - d2;
        d[u][1] = d1 + d2;
        d[u][2] = d2 - d1;
        d[u][3] = d1 - d3;
      }
#pragma unroll
      for (int v = 0; v < 4; ++v) {
        vstore16(d[0][v] - d[2][v], 0, target + v * plane);
        vstore16(d[1][v] + d[2][v], 0, target + (4 + v) * plane);
        vstore16(d[2][v] - d[1][v], 0, target + (8 + v) * plane);
        vstore16(d[1][v] - d[3][v], 0, target + (12 + v) * plane);
      }
    }
  }
}

// `sources` is a multiple of 16, at most MOST_SOURCES, and `zeros` are as many.
#define CONVOLVE_WINOGRAD_ARGUMENTS                                                           \
  global const float *restrict x, const uint xOffset, const uint xPitch,                      \
      global const float *restrict zeros, const uint zerosOffset,                             \
      global const float *restrict packed, const uint packedOffset,                           \
      global const float *restrict bias, const uint biasOffset, const uint hasBias,           \
      const int isRectified, global float *restrict y, const uint yOffset, const uint yPitch, \
      const uint batch, const int height, const int width, const uint sources,                \
      const int resultHeight, const int resultWidth, const uint results, const int padding,   \
      volatile global uint *tickets

BODY void convolveTiles(CONVOLVE_WINOGRAD_ARGUMENTS) {
  const int down = (resultHeight + 1) / 2, across = (resultWidth + 1) / 2;
  const uint tiles = batch * down * across;
  const uint blocks = (results + 15) / 16;
  x += xOffset;
  y += yOffset;
  packed += packedOffset;
  bias += biasOffset;
  zeros += zerosOffset;
  // [place][tile][source] and [place][tile][16].
  float transformed[16 * TILES * MOST_SOURCES];
  float products[16 * TILES * 16];
  const uint plane = TILES * sources;

  FOR_EACH_TICKET(ticket, (tiles + TILES - 1) / TILES) {
    const uint first = ticket * TILES;
    const uint count = min(tiles - first, (uint)TILES);
    int is[TILES], js[TILES];
    uint ns[TILES];
    placeTiles(first, count, down, across, is, js, ns);
    const uint lanes = (count + LANES - 1) / LANES * LANES;

    transformSources(x, xPitch, height, width, sources, padding, zeros, is, js, ns, lanes,
                     transformed);

    for (uint block = 0; block < blocks; ++block) {
      const uint channel = block * 16;
      const uint valid = min(results - channel, 16u);
      for (uint place = 0; place < 16; ++place) {
        for (uint t = 0; t < lanes; t += LANES) {
          global const float *weight = packed + (size_t)(block * 16 + place) * sources * 16;
          EACH_LANE(CLEAR)
          const float *line = transformed + place * plane + t * sources;
#define TILE_SOURCES(i) const float *p##i = line + i * sources;
          EACH_LANE(TILE_SOURCES)
          MULTIPLY_RUN(sources)
          float *target = products + (place * TILES + t) * 16;
#define KEEP(i) vstore16(s##i, i, target);
          EACH_LANE(KEEP)
        }
      }

      float16 added = 0;
      if (hasBias) {
        float padded[16];
        for (uint o = 0; o < 16; ++o) padded[o] = o < valid ? bias[channel + o] : 0.0f;
        added = vload16(0, padded);
      }
      float16 values[4 * TILES];
      for (uint t = 0; t < count; ++t) {
        const float *product = products + t * 16;
        float16 top[4], bottom[4];
#pragma unroll
        for (int v = 0; v < 4; ++v, product += TILES * 16) {
          const float16 m0 = vload16(0, product), m1 = vload16(4 * TILES, product);
          const float16 m2 = vload16(8 * TILES, product), m3 = vload16(12 * TILES, product);
          top[v] = m0 + m1 + m2;
          bottom[v] = m1 - m2 - m3;
        }
        values[4 * t] = top[0] + top[1] + top[2] + added;
        values[4 * t + 1] = top[1] - top[2] - top[3] + added;
        values[4 * t + 2] = bottom[0] + bottom[1] + bottom[2] + added;
        values[4 * t + 3] = bottom[1] - bottom[2] - bottom[3] + added;
      }
      if (isRectified)
        for (uint i = 0; i < 4 * count; ++i)
          values[i] = values[i] < 0.0f ? (float16)(0.0f) : values[i];
      for (uint t = 0; t < count; ++t) {
        for (int k = 0; k < 4; ++k) {
          const int i = is[t] + k / 2, j = js[t] + k % 2;
          if (i >= resultHeight || j >= resultWidth) continue;
          global float *result =
              y + (((size_t)ns[t] * resultHeight + i) * resultWidth + j) * yPitch + channel;
          if (valid == 16) {
            vstore16(values[4 * t + k], 0, result);
          } else {
            const float *value = (const float *)(values + 4 * t + k);
            for (uint o = 0; o < valid; ++o) result[o] = value[o];
          }
        }
      }
    }
  }
}

kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void convolveWinograd(CONVOLVE_WINOGRAD_ARGUMENTS) {
  convolveTiles(x, xOffset, xPitch, zeros, zerosOffset, packed, packedOffset, bias, biasOffset,
                hasBias, isRectified, y, yOffset, yPitch, batch, height, width, sources,
                resultHeight, resultWidth, results, padding, tickets);
  RETURN_TICKETS
}

// The gradient of the weights, sum over the tiles of G^T ((B^T d B) . (A g A^T)) G, where g is the
// gradient of a tile's results, A the transpose of A^T. A ticket is a band of tiles, some inputs and
// some blocks of sixteen outputs, so few that their sums stay in the second-level cache; it leaves
// the sums of the 16 places, before G^T and G, in `parts` [band][block][place][input][16], with the
// inputs rounded up to a multiple of LANES. Each is one chain over the band's tiles, ascending. The
// bands depend on the shape alone, and so does every bit.
#define GRADIENT_WINOGRAD_ARGUMENTS                                                             \
  global const float *restrict x, const uint xOffset, const uint xPitch,                        \
      global const float *restrict g, const uint gOffset, const uint gPitch,                    \
      global const float *restrict zeros, const uint zerosOffset, global float *restrict parts, \
      const uint partsOffset, const uint batch, const int height, const int width,              \
      const uint inputs, const int outputHeight, const int outputWidth, const uint outputs,     \
      const int padding, const uint bandTiles, const uint bands, volatile global uint *tickets

BODY void sumTiles(GRADIENT_WINOGRAD_ARGUMENTS) {
  const int down = (outputHeight + 1) / 2, across = (outputWidth + 1) / 2;
  const uint tiles = batch * down * across;
  const uint blocks = (outputs + 15) / 16;
  const uint blockGroups = (blocks + BLOCKS_AT_ONCE - 1) / BLOCKS_AT_ONCE;
  const uint inputGroups = (inputs + INPUTS_AT_ONCE - 1) / INPUTS_AT_ONCE;
  const uint paddedInputs = (inputs + LANES - 1) / LANES * LANES;
  x += xOffset;
  g += gOffset;
  parts += partsOffset;
  zeros += zerosOffset;
  float transformed[16 * TILES * INPUTS_AT_ONCE];
  float slopes[16 * TILES * 16];

  FOR_EACH_TICKET(ticket, bands * blockGroups * inputGroups) {
    const uint band = ticket / inputGroups / blockGroups;
    const uint firstBlock = ticket / inputGroups % blockGroups * BLOCKS_AT_ONCE;
    const uint lastBlock = min(firstBlock + BLOCKS_AT_ONCE, blocks);
    const uint firstInput = ticket % inputGroups * INPUTS_AT_ONCE;
    const uint own = min(inputs - firstInput, (uint)INPUTS_AT_ONCE);
    const uint plane = TILES * own;
    const uint bandEnd = min((band + 1) * bandTiles, tiles);
    for (uint first = band * bandTiles; first < bandEnd; first += TILES) {
      const uint count = min(bandEnd - first, (uint)TILES);
      const int isFirst = first == band * bandTiles;
      int is[TILES], js[TILES];
      uint ns[TILES];
      placeTiles(first, count, down, across, is, js, ns);
      transformSources(x + firstInput, xPitch, height, width, own, padding, zeros, is, js, ns,
                       count, transformed);
      for (uint block = firstBlock; block < lastBlock; ++block) {
        const uint channel = block * 16;
        const uint valid = min(outputs - channel, 16u);
        for (uint t = 0; t < count; ++t) {
          float16 columns[4][2];
          for (int v = 0; v < 2; ++v) {
            float16 own[2];
            for (int u = 0; u < 2; ++u) {
              const int i = is[t] + u, j = js[t] + v;
              own[u] = 0;
              if (i < outputHeight && j < outputWidth) {
                global const float *source =
                    g + (((size_t)ns[t] * outputHeight + i) * outputWidth + j) * gPitch + channel;
                if (valid == 16) {
                  own[u] = vload16(0, source);
                } else {
                  float values[16];
                  for (uint o = 0; o < 16; ++o) values[o] = o < valid ? source[o] : 0.0f;
                  own[u] = vload16(0, values);
                }
              }
            }
            columns[0][v] = own[0];
            columns[1][v] = own[0] + own[1];
            columns[2][v] = own[0] - own[1];
            columns[3][v] = -own[1];
          }
          float *target = slopes + t * 16;
          for (int u = 0; u < 4; ++u, target += 4 * TILES * 16) {
            vstore16(columns[u][0], 0, target);
            vstore16(columns[u][0] + columns[u][1], TILES, target);
            vstore16(columns[u][0] - columns[u][1], 2 * TILES, target);
            vstore16(-columns[u][1], 3 * TILES, target);
          }
        }
        for (uint place = 0; place < 16; ++place) {
          global float *sum =
              parts +
              ((size_t)((band * blocks + block) * 16 + place) * paddedInputs + firstInput) * 16;
          for (uint c = 0; c < own; c += LANES, sum += LANES * 16) {
#define SUM_OF(i) float16 s##i = isFirst ? (float16)(0.0f) : vload16(i, sum);
            EACH_LANE(SUM_OF)
            // Inputs past the last repeat it.
#define INPUT_OF(i) const float *p##i = transformed + place * plane + min(c + i, own - 1);
            EACH_LANE(INPUT_OF)
            const float *weight = slopes + place * TILES * 16;
            uint k = 0;
            do {
              const float16 factor = vload16(0, weight);
              EACH_LANE(MULTIPLY)
              weight += 16;
              k += own;
            } while (k != count * own);
#define SUM_REST(i) vstore16(s##i, i, sum);
            EACH_LANE(SUM_REST)
          }
        }
      }
    }
  }
}

kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void gradientWinograd(GRADIENT_WINOGRAD_ARGUMENTS) {
  sumTiles(x, xOffset, xPitch, g, gOffset, gPitch, zeros, zerosOffset, parts, partsOffset, batch,
           height, width, inputs, outputHeight, outputWidth, outputs, padding, bandTiles, bands,
           tickets);
  RETURN_TICKETS
}

// dw = G^T (the sum over the bands, ascending, of their parts) G; a work-item for each input.
#define ADD_GRADIENT_WINOGRAD_ARGUMENTS                                                  \
  global const float *restrict parts, const uint partsOffset, global float *restrict dw, \
      const uint dwOffset, const uint inputs, const uint outputs, const uint bands

BODY void addInput(ADD_GRADIENT_WINOGRAD_ARGUMENTS, const uint input) {
  const uint blocks = (outputs + 15) / 16;
  const size_t pitch = (inputs + LANES - 1) / LANES * LANES * 16;
  parts += partsOffset + (size_t)input * 16;
  dw += dwOffset;
  for (uint block = 0; block < blocks; ++block) {
    const uint valid = min(outputs - block * 16, 16u);
    float16 rows[3][4];
    for (int v = 0; v < 4; ++v) {
      float16 sums[4];
      for (int u = 0; u < 4; ++u) {
        global const float *part = parts + (block * 16 + 4 * u + v) * pitch;
        float16 sum = 0;
        for (uint band = 0; band < bands; ++band, part += blocks * 16 * pitch)
          sum += vload16(0, part);
        sums[u] = sum;
      }
      const float16 even = (sums[1] + sums[2]) * 0.5f;
      rows[0][v] = sums[0] + even;
      rows[1][v] = (sums[1] - sums[2]) * 0.5f;
      rows[2][v] = even + sums[3];
    }
    for (int u = 0; u < 3; ++u) {
      const float16 even = (rows[u][1] + rows[u][2]) * 0.5f;
      const float16 taps[3] = {rows[u][0] + even, (rows[u][1] - rows[u][2]) * 0.5f,
                               even + rows[u][3]};
      for (int v = 0; v < 3; ++v) {
        global float *target = dw + ((size_t)(3 * u + v) * inputs + input) * outputs + block * 16;
        if (valid == 16) {
          vstore16(taps[v], 0, target);
        } else {
          float values[16];
          vstore16(taps[v], 0, values);
          for (uint o = 0; o < valid; ++o) target[o] = values[o];
        }
      }
    }
  }
}

kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void addGradientWinograd(ADD_GRADIENT_WINOGRAD_ARGUMENTS) {
  addInput(parts, partsOffset, dw, dwOffset, inputs, outputs, bands, get_global_id(0));
}
