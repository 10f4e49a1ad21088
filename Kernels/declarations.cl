// Those of OpenCL C's built-in functions that the kernels call, for PoCL's compiler where it is told
// not to read the declarations of all: 18,000 lines, which take longer to read than most programs do
// to compile. Types and attributes are those of Clang's header; macros of PoCL's give the names their
// prefixes, and its library has the bodies.

#define FUNCTION(T) T __attribute__((overloadable, const))
#define ACTION(T) T __attribute__((overloadable))

FUNCTION(size_t) get_global_id(uint);
FUNCTION(size_t) get_global_size(uint);
FUNCTION(size_t) get_group_id(uint);
FUNCTION(size_t) get_local_id(uint);
ACTION(void) __attribute__((convergent)) barrier(cl_mem_fence_flags);

#define FLOATS(F)           \
  FUNCTION(F) fma(F, F, F); \
  FUNCTION(F) fmin(F, F);   \
  FUNCTION(F) fmax(F, F);   \
  FUNCTION(F) fabs(F);      \
  FUNCTION(F) sqrt(F);
FLOATS(float)
FLOATS(float2)
FLOATS(float4)
FLOATS(float8)
FLOATS(float16)
FUNCTION(float) exp(float);
FUNCTION(int) isnan(float);

#define INTEGERS(I)      \
  FUNCTION(I) min(I, I); \
  FUNCTION(I) max(I, I); \
  FUNCTION(I) clz(I);
INTEGERS(int)
INTEGERS(uint)

FUNCTION(float) convert_float(int);
FUNCTION(float8) convert_float8(int8);
FUNCTION(float8) convert_float8(uchar8);
FUNCTION(uint) convert_uint(ulong);
FUNCTION(uint4) convert_uint4(ulong4);
FUNCTION(uint8) convert_uint8(ulong8);
FUNCTION(uint8) convert_uint8(float8);
FUNCTION(ulong) convert_ulong(uint);
FUNCTION(ulong4) convert_ulong4(uint4);
FUNCTION(ulong8) convert_ulong8(uint8);

ACTION(uint) atomic_inc(volatile global uint *);
ACTION(uint) atomic_xchg(volatile global uint *, uint);

// See bodies.cl.
#define BODY static __attribute__((noinline))

// Vectors that lie anywhere, in one access each. The library's are of two and two elements, which
// cost the optimiser as much as the rest of a kernel.
#define VECTORS_IN(SPACE, T, N)                                                             \
  static inline ACTION(T##N) vload##N(const size_t i, const SPACE T *const p) {              \
    return *(const SPACE Loose_##T##N *)(p + N * i);                                         \
  }                                                                                          \
  static inline ACTION(void) vstore##N(const T##N v, const size_t i, SPACE T *const p) {     \
    *(SPACE Loose_##T##N *)(p + N * i) = v;                                                  \
  }
#define VECTORS(T, N)                                            \
  typedef T##N __attribute__((aligned(sizeof(T)))) Loose_##T##N; \
  VECTORS_IN(global, T, N)                                       \
  VECTORS_IN(local, T, N)                                        \
  VECTORS_IN(private, T, N)
VECTORS(float, 8)
VECTORS(float, 16)
VECTORS(uchar, 8)
VECTORS(uint, 8)

#undef FUNCTION
#undef ACTION
#undef FLOATS
#undef INTEGERS
#undef VECTORS_IN
#undef VECTORS
