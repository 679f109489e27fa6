// The kernel of latents on Hopper, and where to find it.
#pragma once

#include "cuda/sm80/forward_params.h"

namespace fa::cuda::sm90 {

/** Each value is the first dims of its key. */
using MlaKernel = void (*)(sm80::ForwardParams);

/** mla_kernels.def lists them. */
MlaKernel find_mla(DType dtype);

// What a unit defines (mla.cu).
template <KernelImage kImage, class T, int kWidth>
MlaKernel mla_entry();

}  // namespace fa::cuda::sm90
