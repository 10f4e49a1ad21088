// Maps of several channels, for what follows: strips of 16 channels, one of 8, and single ones.

#define LOAD_float(P) (*(P))
#define LOAD_float8(P) vload8(0, P)
#define LOAD_float16(P) vload16(0, P)
#define STORE_float(V, P) (*(P) = (V))
#define STORE_float8(V, P) vstore8(V, 0, P)
#define STORE_float16(V, P) vstore16(V, 0, P)

// CALL(F) for each strip of `channels`, which begins at channel `c` and has the type F.
#define FOR_STRIPS(CALL)                            \
  uint c = 0;                                       \
  for (; c + 16 <= channels; c += 16) CALL(float16) \
  if (c + 8 <= channels) {                          \
    CALL(float8)                                    \
    c += 8;                                         \
  }                                                 \
  for (; c < channels; ++c) CALL(float)
