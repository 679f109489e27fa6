#include "cuda/device/compiled_images.h"
#include "cuda/sm80/mla_params.h"

namespace fa::cuda::sm80 {

namespace {

template <KernelImage kImage>
MlaKernel find(DType dtype, int rows) {
#define FA_KERNEL(architectures, T, kTileRows) \
  if (dtype == kDTypeOf<T> && rows == kTileRows) return mla_entry<kImage, T, kTileRows>();
#include "cuda/sm80/mla_kernels.def"
#undef FA_KERNEL
  return nullptr;
}

}  // namespace

MlaKernel find_mla(KernelImage image, DType dtype, int rows) {
  return image == KernelImage::kPtx ? find<kPtxIfAny>(dtype, rows)
                                    : find<kMachineCodeIfAny>(dtype, rows);
}

}  // namespace fa::cuda::sm80
