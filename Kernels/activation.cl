/* Activation functions, written once for every floating type that is used.
 *
 * Everything here is built from correctly rounded operations (fma, +, -, *)
 * plus one division, integer arithmetic on the bit patterns and selections; no
 * library exp or tanh is called.  Contraction is switched off so that the
 * compiler may not fuse what is written as two operations: the scalar form and
 * the float8 form then perform the same operations on each element and give
 * the same bits.
 *
 * One assumption: single-precision division is rounded alike in scalar and in
 * vector code (it is correctly rounded on CPU devices; elsewhere build with
 * -cl-fp32-correctly-rounded-divide-sqrt where the device offers it if bits
 * must match between devices).
 *
 * Codes: 0 identity, 1 relu, 2 sigmoid, 3 tanh (any other code: identity).
 */
#pragma OPENCL FP_CONTRACT OFF

#define ACTIVATION_IDENTITY 0
#define ACTIVATION_RELU     1
#define ACTIVATION_SIGMOID  2
#define ACTIVATION_TANH     3

/* 1.5 * 2^23: adding it to |v| < 2^22 rounds v to the nearest integer (ties to
 * even, the default rounding mode) and leaves that integer in the low bits. */
#define ROUND_MAGIC 12582912.0f
#define LOG2_E      1.44269504088896340736f
#define LN2_HIGH    0.693359375f           /* 9 significant bits: n * it is exact */
#define LN2_LOW     (-2.12194440e-4f)

/* exp(x) for x <= 0 only, or NaN; results below 2^-149 round to 0.
 *   x = n ln 2 + r, |r| <= ln 2 / 2;  e^r = 1 + r + r^2 p(r).
 * The exponent is applied in two steps, the second rounding into the
 * subnormal range where that is needed.  -105 is below the last exponent at
 * which anything but 0 can come out, so clamping there keeps n small.
 * The clamp is a comparison that is false for NaN, so NaN passes through. */
#define DEFINE_EXP_NON_POSITIVE(F, I, AS_I, AS_F)                              \
F expNonPositive_##F(F x)                                               \
{                                                                              \
    x = x < (F)(-105.0f) ? (F)(-105.0f) : x;                                   \
    const F t = fma(x, (F)(LOG2_E), (F)(ROUND_MAGIC));                         \
    const F n = t - (F)(ROUND_MAGIC);                                          \
    F r = fma(n, (F)(-LN2_HIGH), x);                                           \
    r = fma(n, (F)(-LN2_LOW), r);                                              \
    F p = (F)(1.9875691500e-4f);                                               \
    p = fma(p, r, (F)(1.3981999507e-3f));                                      \
    p = fma(p, r, (F)(8.3334519073e-3f));                                      \
    p = fma(p, r, (F)(4.1665795894e-2f));                                      \
    p = fma(p, r, (F)(1.6666665459e-1f));                                      \
    p = fma(p, r, (F)(5.0000001201e-1f));                                      \
    p = fma(p, r * r, r) + (F)(1.0f);                                          \
    const I whole = AS_I(t) - AS_I((F)(ROUND_MAGIC));                          \
    const I half1 = whole >> 1;                                                \
    const I half2 = whole - half1;                                             \
    return (p * AS_F((half1 + 127) << 23)) * AS_F((half2 + 127) << 23);        \
}

/* sigmoid(x): z = exp(-|x|) never overflows; 1/(1+z) or z/(1+z). */
#define DEFINE_SIGMOID(F)                                                      \
F sigmoid_##F(F x)                                                      \
{                                                                              \
    const F z = expNonPositive_##F(-fabs(x));                                  \
    return (x < (F)(0.0f) ? z : (F)(1.0f)) / ((F)(1.0f) + z);                  \
}

/* tanh(x): near 0 an odd polynomial; elsewhere (1-z)/(1+z) with
 * z = exp(-2|x|), and the sign of x. */
#define DEFINE_TANH(F, I, AS_I, AS_F)                                          \
F tanh_##F(F x)                                                         \
{                                                                              \
    const F m = fabs(x);                                                       \
    const F z = expNonPositive_##F(m * (F)(-2.0f));                            \
    const F far = ((F)(1.0f) - z) / ((F)(1.0f) + z);                           \
    const F s = x * x;                                                         \
    F p = (F)(-5.70498872745e-3f);                                             \
    p = fma(p, s, (F)(2.06390887954e-2f));                                     \
    p = fma(p, s, (F)(-5.37397155531e-2f));                                    \
    p = fma(p, s, (F)(1.33314422036e-1f));                                     \
    p = fma(p, s, (F)(-3.33332819422e-1f));                                    \
    const F near = fma(p, s * m, m);                                           \
    const F y = m < (F)(0.625f) ? near : far;                                  \
    return AS_F(AS_I(y) | (AS_I(x) & (I)(0x80000000)));                        \
}

/* y = f(x).  relu keeps NaN (the comparison is false for it). */
#define DEFINE_ACTIVATE(F)                                                     \
F activate_##F(F x, const int activation)                               \
{                                                                              \
    if (activation == ACTIVATION_RELU)                                         \
        return x < (F)(0.0f) ? (F)(0.0f) : x;                                  \
    if (activation == ACTIVATION_SIGMOID)                                      \
        return sigmoid_##F(x);                                                 \
    if (activation == ACTIVATION_TANH)                                         \
        return tanh_##F(x);                                                    \
    return x;                                                                  \
}                                                                              \
/* g * f'(x), the derivative expressed from the output y = f(x). */            \
F timesDerivative_##F(F g, F y, const int activation)                   \
{                                                                              \
    if (activation == ACTIVATION_RELU)                                         \
        return y > (F)(0.0f) ? g : (F)(0.0f);                                  \
    if (activation == ACTIVATION_SIGMOID)                                      \
        return g * (y * ((F)(1.0f) - y));                                      \
    if (activation == ACTIVATION_TANH)                                         \
        return g * fma(-y, y, (F)(1.0f));                                      \
    return g;                                                                  \
}

#define DEFINE_ALL(F, I, AS_I, AS_F)                                           \
    DEFINE_EXP_NON_POSITIVE(F, I, AS_I, AS_F)                                  \
    DEFINE_SIGMOID(F)                                                          \
    DEFINE_TANH(F, I, AS_I, AS_F)                                              \
    DEFINE_ACTIVATE(F)

DEFINE_ALL(float, int, as_int, as_float)
DEFINE_ALL(float8, int8, as_int8, as_float8)
