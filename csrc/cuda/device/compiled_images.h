// What finding a kernel takes: which images of it cmake/kernels.cmake has compiled, and the dtype
// of its elements.
#pragma once

#include "core/dtype.h"
#include "cuda/device/kernel_image.h"
#include "cuda/ptx/types.h"

namespace fa::cuda {

constexpr KernelImage kMachineCodeIfAny =
    FA_HAS_MACHINE_CODE ? KernelImage::kMachineCode : KernelImage::kPtx;
constexpr KernelImage kPtxIfAny = FA_HAS_PTX ? KernelImage::kPtx : KernelImage::kMachineCode;

/** The dtype of a kernel's elements of type T. */
template <class T>
constexpr DType kDTypeOf = DType::kFloat32;
template <>
inline constexpr DType kDTypeOf<ptx::f16> = DType::kFloat16;
template <>
inline constexpr DType kDTypeOf<ptx::bf16> = DType::kBFloat16;
template <>
inline constexpr DType kDTypeOf<ptx::e4m3> = DType::kFloat8E4M3;

}  // namespace fa::cuda
