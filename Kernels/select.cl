// Which entries of a row are its k largest: of equals the lowest index first, NaN smallest.
//
// Two forms of one function: `kthLargest` in one work-item (CPU), `kthLargestGroup` in a work-group
// of GROUP work-items (GPU; GROUP a power of two). Both answer with a `Selection`: the kept entries
// are those with `isSelected`. They count entries above a candidate and never move one, so any
// length will do and nothing is stored.
//
// The candidates are keys: integers in the order of the floats, where -0 and +0 are one key and NaN
// is the lowest.
#ifndef GROUP
#define GROUP 64
#endif

#define LOWEST_KEY ((int)0x80000000)
#define INFINITY_KEY 0x7f800000

typedef struct {
  int threshold;  // the key above which an entry is kept
  uint bound;     // an entry of just this key is kept if its index is below
} Selection;

static inline int orderedKey(const float value) {
  const int bits = as_int(value), magnitude = bits & 0x7fffffff;
  if (magnitude > INFINITY_KEY) return LOWEST_KEY;
  return bits < 0 ? -magnitude : magnitude;
}

// The float of a key that is not NaN's.
static inline float valueOfKey(const int key) {
  return as_float(key < 0 ? (int)(0x80000000u | (uint)-key) : key);
}

static inline bool isSelected(const float value, const uint index, const Selection selection) {
  const int key = orderedKey(value);
  return key > selection.threshold || (key == selection.threshold && index < selection.bound);
}

// Counts in floats, exact up to 2^24 in each of the sums: see loss_row.cl.
#define COUNTED (1u << 24)
#define COUNT_AT_LEAST(VALUES) ((VALUES) >= t ? (float8)(1.0f) : (float8)(0.0f))

// The number of entries that are at least t, of at most 2^24; NaN is not.
static inline uint countPieceAtLeast(global const float *row, const uint count, const float t) {
  float8 sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
  uint j = 0;
  for (; j + 32 <= count; j += 32) {
    sum0 += COUNT_AT_LEAST(vload8(0, row + j));
    sum1 += COUNT_AT_LEAST(vload8(0, row + j + 8));
    sum2 += COUNT_AT_LEAST(vload8(0, row + j + 16));
    sum3 += COUNT_AT_LEAST(vload8(0, row + j + 24));
  }
  for (; j + 8 <= count; j += 8) sum0 += COUNT_AT_LEAST(vload8(0, row + j));
  const float8 sum8 = (sum0 + sum1) + (sum2 + sum3);
  const float4 sum4 = sum8.lo + sum8.hi;
  const float2 sum2_ = sum4.lo + sum4.hi;
  uint total = (uint)(sum2_.x + sum2_.y);
  for (; j < count; ++j) total += row[j] >= t ? 1 : 0;
  return total;
}

static inline uint countAtLeast(global const float *row, uint count, const float t) {
  uint total = 0;
  // A batch may be longer than a float counts.
  for (; count > COUNTED; count -= COUNTED, row += COUNTED)
    total += countPieceAtLeast(row, COUNTED, t);
  return total + countPieceAtLeast(row, count, t);
}

// The largest entry; NaN where there is nothing but NaN. fmax prefers what is not NaN.
static inline float largest(global const float *row, const uint count) {
  float result = NAN;
  uint j = 0;
  if (count >= 8) {
    float8 best = vload8(0, row);
    for (j = 8; j + 8 <= count; j += 8) best = fmax(best, vload8(0, row + j));
    const float4 best4 = fmax(best.lo, best.hi);
    const float2 best2 = fmax(best4.lo, best4.hi);
    result = fmax(best2.x, best2.y);
  }
  for (; j < count; ++j) result = fmax(result, row[j]);
  return result;
}

// The index behind the `wanted`-th entry of just this key, or `count`; 0 where none is wanted.
static inline uint boundOfEquals(global const float *row, const uint count, const int key,
                                 uint wanted) {
  uint j = 0;
  for (; wanted > 0 && j < count; ++j) wanted -= orderedKey(row[j]) == key ? 1 : 0;
  return j;
}

// The k largest of `count` entries, 1 <= k <= count.
//
// Entries whose key is at most `floor` are not kept, so that there may be fewer than k: with floor 0
// those that a ReLU would make 0 need not be told apart. With LOWEST_KEY exactly k are kept.
BODY Selection kthLargest(global const float *row, const uint count, const uint k,
                          const int floor) {
  Selection result;
  const uint candidates =
      countAtLeast(row, count, floor == LOWEST_KEY ? -INFINITY : valueOfKey(floor + 1));
  if (candidates <= k) {
    result.threshold = floor;
    result.bound =
        floor == LOWEST_KEY ? boundOfEquals(row, count, LOWEST_KEY, k - candidates) : 0;
    return result;
  }
  // More than k entries are at least `low`, fewer than k at least `high`. The k-th largest is
  // sought from the largest downwards in growing steps, from half an octave on, then by halving.
  int low = floor == LOWEST_KEY ? -INFINITY_KEY : floor + 1;
  int high = orderedKey(largest(row, count)) + 1;
  uint above = 0, step = 1u << 22;
  bool descending = true;
  while ((uint)high - (uint)low > 1) {
    int middle = (low & high) + ((low ^ high) >> 1);
    if (descending) {
      if ((uint)high - (uint)low > step) middle = (int)((uint)high - step);
      step <<= step < (1u << 30) ? 1 : 0;
    }
    const uint reached = countAtLeast(row, count, valueOfKey(middle));
    if (reached == k) {
      result.threshold = middle - 1;
      result.bound = 0;
      return result;
    }
    if (reached > k) {
      low = middle;
      descending = false;
    } else {
      high = middle;
      above = reached;
    }
  }
  result.threshold = low;
  result.bound = boundOfEquals(row, count, low, k - above);
  return result;
}

// The sum over the work-group, in every work-item. `sums` holds GROUP vectors.
static inline uint4 groupSum(local uint4 *sums, const uint4 value) {
  const uint lane = get_local_id(0);
  sums[lane] = value;
  for (uint step = GROUP / 2; step > 0; step /= 2) {
    barrier(CLK_LOCAL_MEM_FENCE);
    if (lane < step) sums[lane] += sums[lane + step];
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  const uint4 total = sums[0];
  barrier(CLK_LOCAL_MEM_FENCE);
  return total;
}

// `kthLargest` by a work-group of one dimension, the same answer in every work-item.
//
// Two bits of the key at a time, then two bits of the index: always the same number of steps, so
// that no barrier hangs on the data. `sums` holds GROUP vectors.
static inline Selection kthLargestGroup(global const float *row, const uint count, const uint k,
                                        const int floor, local uint4 *sums) {
  const uint lane = get_local_id(0);
  uint threshold = 0;  // as an unsigned number in the order of the keys
  for (int shift = 30; shift >= 0; shift -= 2) {
    const uint unit = 1u << shift;
    uint4 reached = 0;
    for (uint j = lane; j < count; j += GROUP) {
      const uint place = (uint)orderedKey(row[j]) ^ 0x80000000u;
      if (place >= threshold) {
        const uint digit = (place - threshold) >> shift;
        reached.x += digit >= 1 ? 1 : 0;
        reached.y += digit >= 2 ? 1 : 0;
        reached.z += digit >= 3 ? 1 : 0;
      }
    }
    reached = groupSum(sums, reached);
    threshold += unit * (reached.z >= k ? 3 : reached.y >= k ? 2 : reached.x >= k ? 1 : 0);
  }

  const int key = (int)(threshold ^ 0x80000000u);
  uint4 more = 0;
  for (uint j = lane; j < count; j += GROUP) more.x += orderedKey(row[j]) > key ? 1 : 0;
  const uint wanted = k - groupSum(sums, more).x;

  // The longest prefix of the row with fewer than the wanted number of equals ends at that entry.
  uint prefix = 0;
  for (int shift = (31 - (int)clz(count)) & ~1; shift >= 0; shift -= 2) {
    const uint unit = 1u << shift;
    uint4 equals = 0;
    for (uint j = lane; j < count; j += GROUP) {
      if (orderedKey(row[j]) == key) {
        // Unsigned differences, since prefix + 3 unit may pass 2^32.
        equals.x += j < prefix || j - prefix < unit ? 1 : 0;
        equals.y += j < prefix || (j - prefix) >> 1 < unit ? 1 : 0;
        equals.z += j < prefix || (j - prefix) / 3 < unit ? 1 : 0;
      }
    }
    equals = groupSum(sums, equals);
    prefix += unit * (equals.z < wanted ? 3 : equals.y < wanted ? 2 : equals.x < wanted ? 1 : 0);
  }

  Selection result;
  const bool cut = floor != LOWEST_KEY && key <= floor;
  result.threshold = cut ? floor : key;
  result.bound = cut ? 0 : prefix + 1;
  return result;
}
