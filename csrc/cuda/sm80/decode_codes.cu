#include "cuda/sm80/decode.h"

namespace fa::cuda::sm80 {

ForwardKernel decode_codes(int width) { return decode_kernel_of_codes(width); }

}  // namespace fa::cuda::sm80
