// Reductions down the columns of a matrix, from the first row to the last.
//
// A work-item takes COLUMNS neighbouring columns: eight on a CPU, one on a GPU, where neighbouring
// work-items then read neighbouring memory. Launch: global size ceil(width / COLUMNS) rounded up to
// the local size.

#ifndef COLUMNS
#define COLUMNS 8
#endif

// s_n = sum over m of x_mn
#define COLUMN_SUMS_ARGUMENTS                                                   \
  global const float *restrict x, const uint xOffset, global float *restrict s, \
      const uint sOffset, const uint rows, const uint width

BODY void sumColumns(COLUMN_SUMS_ARGUMENTS, const uint block) {
  const uint first = block * COLUMNS;
  x += xOffset;
  s += sOffset;
#if COLUMNS == 8
  if (first + 8 <= width) {
    float8 sum = 0;
    for (uint i = 0; i < rows; ++i) sum += vload8(0, x + (ulong)i * width + first);
    vstore8(sum, 0, s + first);
    return;
  }
#endif
  for (uint j = first; j < min(first + COLUMNS, width); ++j) {
    float sum = 0;
    for (uint i = 0; i < rows; ++i) sum += x[(ulong)i * width + j];
    s[j] = sum;
  }
}

kernel void columnSums(COLUMN_SUMS_ARGUMENTS) {
  sumColumns(x, xOffset, s, sOffset, rows, width, get_global_id(0));
}

// counts_n += number of m with z_mn != 0
#define COUNT_ARGUMENTS                                                             \
  global const float *restrict z, const uint zOffset, global uint *restrict counts, \
      const uint countsOffset, const uint rows, const uint width

BODY void countColumns(COUNT_ARGUMENTS, const uint block) {
  const uint first = block * COLUMNS;
  z += zOffset;
  counts += countsOffset;
#if COLUMNS == 8
  if (first + 8 <= width) {
    // In floats, exact up to 2^24 rows: see loss_row.cl.
    float8 count = 0;
    for (uint i = 0; i < rows; ++i)
      count += vload8(0, z + (ulong)i * width + first) != 0.0f ? (float8)(1.0f) : (float8)(0.0f);
    vstore8(vload8(0, counts + first) + convert_uint8(count), 0, counts + first);
    return;
  }
#endif
  for (uint j = first; j < min(first + COLUMNS, width); ++j) {
    uint count = 0;
    for (uint i = 0; i < rows; ++i) count += z[(ulong)i * width + j] != 0.0f;
    counts[j] += count;
  }
}

kernel void countNonzero(COUNT_ARGUMENTS) {
  countColumns(z, zOffset, counts, countsOffset, rows, width, get_global_id(0));
}
