// Precedes every program.
//
// BODY begins what kernels do for long, as functions of their own: PoCL compiles a kernel three
// times, as such and within two functions that run its work-groups, but once what it calls. Only
// declarations.cl, which is PoCL's, keeps them from being inlined.
//
// CPU is 1 for the layout for CPUs, else 0: of kernels that there are twice, one is compiled.
#ifndef BODY
#define BODY static inline
#endif
