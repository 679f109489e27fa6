// Tensor maps for tests that run on a GPU as well as on the SIMT executor.
#pragma once

#include <cuda.h>

#include <cstring>
#include <vector>

#include "cuda/ptx/tma.h"
#include "device_array.h"

/** A tensor whose innermost dimension comes first. */
struct TensorShape {
  CUtensorMapDataType type;
  std::vector<cuuint64_t> dims;
  std::vector<cuuint64_t> strides;  // bytes, of dimensions 1 and up
  std::vector<cuuint32_t> box;
  CUtensorMapSwizzle swizzle = CU_TENSOR_MAP_SWIZZLE_NONE;
};

inline CUresult encode_map(ptx::tensor_map* map, void* address, const TensorShape& shape) {
  static const auto encode = [] {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult result;
    CHECK_CUDA(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000,
                                                cudaEnableDefault, &result));
    CHECK(result == cudaDriverEntryPointSuccess);
    return reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(function);
  }();
  const std::vector<cuuint32_t> ones(shape.dims.size(), 1);
  alignas(64) CUtensorMap encoded;
  const CUresult status = encode(
      &encoded, shape.type, static_cast<cuuint32_t>(shape.dims.size()), address, shape.dims.data(),
      shape.strides.data(), shape.box.data(), ones.data(), CU_TENSOR_MAP_INTERLEAVE_NONE,
      shape.swizzle, CU_TENSOR_MAP_L2_PROMOTION_NONE, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  static_assert(sizeof *map == sizeof encoded);
  if (status == CUDA_SUCCESS) std::memcpy(map, &encoded, sizeof encoded);
  return status;
}
