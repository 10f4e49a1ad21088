// Maps of several channels, for what follows: strips of eight channels, and single ones.
//
// Wider vectors than a register make PoCL warn about its own functions.

#define LOAD_float(P) (*(P))
#define LOAD_float8(P) vload8(0, P)
#define STORE_float(V, P) (*(P) = (V))
#define STORE_float8(V, P) vstore8(V, 0, P)

// CALL(F) for each strip of `channels`, which begins at channel `c` and has the type F.
#define FOR_STRIPS(CALL)                         \
  uint c = 0;                                    \
  for (; c + 8 <= channels; c += 8) CALL(float8) \
  for (; c < channels; ++c) CALL(float)
