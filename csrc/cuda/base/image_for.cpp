#include "cuda/base/image_for.h"

namespace fa::cuda {

KernelImage image_for(const cudaDeviceProp& device) {
  // Code of sm_86 runs on 8.6 and 8.9: CUDA C++ Programming Guide, "Binary Compatibility".
  for (const int architecture : {FA_ARCHITECTURES})
    if (architecture / 10 == device.major && architecture % 10 <= device.minor)
      return KernelImage::kMachineCode;
  return KernelImage::kPtx;
}

}  // namespace fa::cuda
