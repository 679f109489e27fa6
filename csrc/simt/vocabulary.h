// CUDA's keywords and built-in variables for a plain C++ compiler.
#pragma once

#include "simt/vector_types.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__

namespace simt {

/** Of the thread that runs now. */
dim3 thread_index();
dim3 block_index();
dim3 block_size();
dim3 grid_size();

}  // namespace simt

#define threadIdx (::simt::thread_index())
#define blockIdx (::simt::block_index())
#define blockDim (::simt::block_size())
#define gridDim (::simt::grid_size())
