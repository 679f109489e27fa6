// A unit of the backward kernels: FA_KERNELS, as FA_IMAGE (cmake/kernels.cmake).
#include "cuda/sm80/backward.h"

namespace fa::cuda::sm80 {

#define FA_KERNEL(...) template BackwardKernel backward_entry<FA_IMAGE, __VA_ARGS__>();
FA_KERNELS

}  // namespace fa::cuda::sm80
