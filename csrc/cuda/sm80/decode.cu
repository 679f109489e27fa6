// A unit of the decode kernels: FA_KERNELS, as FA_IMAGE (cmake/kernels.cmake).
#include "cuda/sm80/decode.h"

namespace fa::cuda::sm80 {

#define FA_KERNEL(...) template ForwardKernel decode_entry<FA_IMAGE, __VA_ARGS__>();
FA_KERNELS

}  // namespace fa::cuda::sm80
