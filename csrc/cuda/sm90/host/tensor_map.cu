#include <cuda.h>

#include <string>

#include "core/error.h"
#include "cuda/base/driver_function.h"
#include "cuda/base/error.h"
#include "cuda/sm90/host/tensor_map.h"

namespace fa::cuda::sm90 {

namespace {

constexpr int kMostDimensions = 5;

using Encode = decltype(&cuTensorMapEncodeTiled);

Encode find_encode() {
  void* const function = driver_function("cuTensorMapEncodeTiled", 12000);
  if (function == nullptr)
    throw Error(ErrorCode::kCuda, "",
                "The CUDA driver has no cuTensorMapEncodeTiled; it is older than CUDA 12.0");
  return reinterpret_cast<Encode>(function);
}

CUtensorMapDataType map_type(DType dtype) {
  switch (dtype) {
    case DType::kFloat16: return CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
    case DType::kBFloat16: return CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
    case DType::kFloat32: return CU_TENSOR_MAP_DATA_TYPE_FLOAT32;
    default: return CU_TENSOR_MAP_DATA_TYPE_UINT8;
  }
}

}  // namespace

void encode_tensor_map(ptx::tensor_map& map, DType dtype, void* data,
                       std::initializer_list<MapDimension> dimensions) {
  // The driver asks for 64 bytes of alignment, whatever its header gives the type.
  static_assert(sizeof(ptx::tensor_map) == sizeof(CUtensorMap) && alignof(ptx::tensor_map) == 64);
  static const Encode encode = find_encode();
  cuuint64_t sizes[kMostDimensions], strides[kMostDimensions];
  cuuint32_t boxes[kMostDimensions], steps[kMostDimensions];
  cuuint32_t rank = 0;
  int64_t packed =
      1;  // stride of a dimension whose own one does not matter, since it is never taken
  for (const MapDimension& dimension : dimensions) {
    const int64_t stride = dimension.size == 1 ? packed : dimension.stride;
    sizes[rank] = static_cast<cuuint64_t>(dimension.size);
    strides[rank] = static_cast<cuuint64_t>(stride) * dtype_size(dtype);
    boxes[rank] = static_cast<cuuint32_t>(dimension.box);
    steps[rank] = 1;
    packed = stride * dimension.size;
    ++rank;
  }
  const CUresult status =
      encode(reinterpret_cast<CUtensorMap*>(&map), map_type(dtype), rank, data, sizes, strides + 1,
             boxes, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
             CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS)
    throw Error(
        ErrorCode::kCuda, "",
        "cuTensorMapEncodeTiled failed with CUresult " + std::to_string(static_cast<int>(status)));
}

}  // namespace fa::cuda::sm90
