// Which form of its kernels a device runs.
#pragma once

#include <cuda_runtime.h>

#include "cuda/device/kernel_image.h"

namespace fa::cuda {

/** Machine code where there is some for the device. */
KernelImage image_for(const cudaDeviceProp& device);

}  // namespace fa::cuda
