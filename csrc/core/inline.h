// Functions that kernels call. Always inlined, so that the linker can never hand code compiled for
// a newer instruction set to an older machine.
#pragma once

#if defined(__CUDACC__)
#define FA_INLINE __host__ __device__ __forceinline__
#else
#define FA_INLINE inline __attribute__((always_inline))
#endif
