#include "cuda/device/compiled_images.h"
#include "cuda/sm90/mla_params.h"

namespace fa::cuda::sm90 {

namespace {

template <KernelImage kImage>
MlaKernel find(DType dtype) {
#define FA_KERNEL(architectures, T, kWidth) \
  if (dtype == kDTypeOf<T>) return mla_entry<kImage, T, kWidth>();
#include "cuda/sm90/mla_kernels.def"
#undef FA_KERNEL
  return nullptr;
}

}  // namespace

MlaKernel find_mla(DType dtype) { return find<kMachineCodeIfAny>(dtype); }

}  // namespace fa::cuda::sm90
