/* Activation functions, written once for every floating type that is used: here
 * float and float8; files that use others add DEFINE_ALL of them.
 *
 * Everything here is built from correctly rounded operations (fma, +, -, *)
 * plus one division, integer arithmetic on the bit patterns and selections; no
 * library exp or tanh is called.  Contraction is switched off so that the
 * compiler may not fuse what is written as two operations: the scalar form and
 * the vector forms then perform the same operations on each element and give
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

/* exp(x) for x <= 0 only, or NaN; never below 2^-125.4, where the exact result
 * would be subnormal or 0.
 *   x = n ln 2 + r, |r| <= ln 2 / 2;  e^r = 1 + r + r^2 p(r).
 * Arguments are clamped to where 2^n is a normal number.  The comparison is false
 * for NaN, which passes through. */
#define EXP_LOWEST (-86.9f)
#define DEFINE_EXP_NON_POSITIVE(F, I, AS_I, AS_F)                              \
static inline F expNonPositive_##F(F x)                                        \
{                                                                              \
    const F v = x < (F)(EXP_LOWEST) ? (F)(EXP_LOWEST) : x;                     \
    const F t = fma(v, (F)(LOG2_E), (F)(ROUND_MAGIC));                         \
    const F n = t - (F)(ROUND_MAGIC);                                          \
    F r = fma(n, (F)(-LN2_HIGH), v);                                           \
    r = fma(n, (F)(-LN2_LOW), r);                                              \
    F p = (F)(1.9875691500e-4f);                                               \
    p = fma(p, r, (F)(1.3981999507e-3f));                                      \
    p = fma(p, r, (F)(8.3334519073e-3f));                                      \
    p = fma(p, r, (F)(4.1665795894e-2f));                                      \
    p = fma(p, r, (F)(1.6666665459e-1f));                                      \
    p = fma(p, r, (F)(5.0000001201e-1f));                                      \
    p = fma(p, r * r, r) + (F)(1.0f);                                          \
    const I whole = AS_I(t) - AS_I((F)(ROUND_MAGIC));                          \
    return p * AS_F((whole + 127) << 23);                                      \
}

/* sigmoid(x): z = exp(-|x|) never overflows; 1/(1+z) or z/(1+z). */
#define DEFINE_SIGMOID(F)                                     \
static inline F sigmoid_##F(F x)                              \
{                                                             \
    const F z = expNonPositive_##F(-fabs(x));                 \
    return (x < (F)(0.0f) ? z : (F)(1.0f)) / ((F)(1.0f) + z); \
}

/* tanh, activate and timesDerivative are not `static`: compilers would repeat
 * them in each element of a tile, and PoCL take half as long again for it. */

/* tanh(x): near 0 an odd polynomial; elsewhere (1-z)/(1+z) with
 * z = exp(-2|x|), and the sign of x. */
#define DEFINE_TANH(F, I, AS_I, AS_F)                                          \
F tanh_##F(F x)                                                                \
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
F activate_##F(F x, const int activation)                                      \
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
F timesDerivative_##F(F g, F y, const int activation)                          \
{                                                                              \
    if (activation == ACTIVATION_RELU)                                         \
        return y > (F)(0.0f) ? g : (F)(0.0f);                                  \
    if (activation == ACTIVATION_SIGMOID)                                      \
        return g * (y * ((F)(1.0f) - y));                                      \
    if (activation == ACTIVATION_TANH)                                         \
        return g * fma(-y, y, (F)(1.0f));                                      \
    return g;                                                                  \
}

/* y = f(x) for `count` values, count even; the choice is made once, and two
 * values go side by side, since each is a chain of dependent operations. */
#define DEFINE_ACTIVATE_ALL(F)                                                        \
static inline void activateAll_##F(F *values, const uint count, const int activation) \
{                                                                                     \
    if (activation == ACTIVATION_RELU) {                                              \
        for (uint i = 0; i < count; i++)                                              \
            values[i] = values[i] < (F)(0.0f) ? (F)(0.0f) : values[i];                \
    } else if (activation == ACTIVATION_SIGMOID) {                                    \
        for (uint i = 0; i < count; i += 2) {                                         \
            const F first = sigmoid_##F(values[i]);                                   \
            const F second = sigmoid_##F(values[i + 1]);                              \
            values[i] = first;                                                        \
            values[i + 1] = second;                                                   \
        }                                                                             \
    } else if (activation == ACTIVATION_TANH) {                                       \
        for (uint i = 0; i < count; i++)                                              \
            values[i] = tanh_##F(values[i]);                                          \
    }                                                                                 \
}

#define DEFINE_ALL(F, I, AS_I, AS_F)                                           \
    DEFINE_EXP_NON_POSITIVE(F, I, AS_I, AS_F)                                  \
    DEFINE_SIGMOID(F)                                                          \
    DEFINE_TANH(F, I, AS_I, AS_F)                                              \
    DEFINE_ACTIVATE(F)                                                         \
    DEFINE_ACTIVATE_ALL(F)

DEFINE_ALL(float, int, as_int, as_float)
DEFINE_ALL(float8, int8, as_int8, as_float8)
