// A unit of the kernels of latents: FA_KERNELS, as FA_IMAGE (cmake/kernels.cmake).
#include "cuda/sm90/mla.h"

namespace fa::cuda::sm90 {

#define FA_KERNEL(...) template MlaKernel mla_entry<FA_IMAGE, __VA_ARGS__>();
FA_KERNELS

}  // namespace fa::cuda::sm90
