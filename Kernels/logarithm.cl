// Preceded by activation.cl, whose contraction is off here too.

// ln x of a positive normal number, to 3 ulp. As in activation.cl no library function is called,
// which some implementations compute one lane at a time.
//   x = m 2^e, m in [sqrt(1/2), sqrt(2));  ln m = 2 (t + t^3/3 + t^5/5 + ...), t = (m - 1) / (m + 1)
#define DEFINE_LOGARITHM(F, I, AS_I, AS_F, CONVERT)                                    \
  static inline F logarithm_##F(const F x) {                                           \
    const I exponent = (AS_I(x) - (I)(0x3f3504f3)) >> 23;                              \
    const F m = AS_F(AS_I(x) - (exponent << 23)), e = CONVERT(exponent);               \
    const F t = (m - (F)(1.0f)) / (m + (F)(1.0f)), square = t * t;                     \
    F series = fma(square, (F)(2.0f / 9), (F)(2.0f / 7));                              \
    series = fma(square, series, (F)(2.0f / 5));                                       \
    series = fma(square, series, (F)(2.0f / 3));                                       \
    const F small = fma(e, (F)(LN2_LOW), fma(t * square, series, t + t));              \
    return fma(e, (F)(LN2_HIGH), small);                                               \
  }
DEFINE_LOGARITHM(float, int, as_int, as_float, convert_float)
DEFINE_LOGARITHM(float8, int8, as_int8, as_float8, convert_float8)
