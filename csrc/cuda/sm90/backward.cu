// A unit of the backward kernels of sm_90a: FA_KERNELS, as FA_IMAGE (cmake/kernels.cmake).
#include "cuda/sm90/backward.h"

namespace fa::cuda::sm90 {

#define FA_KERNEL(...) template BackwardKernel backward_entry<FA_IMAGE, __VA_ARGS__>();
FA_KERNELS

}  // namespace fa::cuda::sm90
