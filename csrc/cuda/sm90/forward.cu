// A unit of the forward kernels of sm_90a: FA_KERNELS, as FA_IMAGE (cmake/kernels.cmake).
#include "cuda/sm90/forward.h"

namespace fa::cuda::sm90 {

#define FA_KERNEL(...) template ForwardKernel forward_entry<FA_IMAGE, __VA_ARGS__>();
FA_KERNELS

}  // namespace fa::cuda::sm90
