#include "simt/tensor_map.h"

#include <cstring>

namespace simt {

namespace {

constexpr uint64_t kMark = 0x70616d726f736e74;
constexpr uint32_t kMaxBox = 256;  // of a dimension

constexpr uint8_t kElementBytes[] = {1, 2, 4, 4, 8, 8, 2, 4, 8, 2};

}  // namespace

bool decode(const void* map, TensorMap* into) {
  std::memcpy(into, map, sizeof *into);
  return into->mark == kMark;
}

}  // namespace simt

// CUDA driver API, cuTensorMapEncodeTiled: what it demands without interleaving. Element strides
// other than 1 and fills other than zeros are not modelled.
CUresult cuTensorMapEncodeTiled(CUtensorMap* map, CUtensorMapDataType type, cuuint32_t rank,
                                void* address, const cuuint64_t* dims, const cuuint64_t* strides,
                                const cuuint32_t* box, const cuuint32_t* element_strides,
                                CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle,
                                CUtensorMapL2promotion, CUtensorMapFloatOOBfill fill) {
  using namespace simt;
  const auto aligned = [](const void* pointer, uintptr_t alignment) {
    return reinterpret_cast<uintptr_t>(pointer) % alignment == 0;
  };
  if (!map || !aligned(map, 64) || !address || !aligned(address, 16))
    return CUDA_ERROR_INVALID_VALUE;
  if (rank < 1 || rank > kMaxRank || type < 0 || type > CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 ||
      swizzle < 0 || swizzle > CU_TENSOR_MAP_SWIZZLE_128B)
    return CUDA_ERROR_INVALID_VALUE;
  TensorMap encoded{};
  encoded.mark = kMark;
  encoded.address = static_cast<uint8_t*>(address);
  encoded.rank = static_cast<uint8_t>(rank);
  encoded.element_bytes = kElementBytes[type];
  encoded.type = static_cast<uint8_t>(type);
  encoded.swizzle = static_cast<uint8_t>(swizzle);
  for (uint32_t i = 0; i < rank; ++i) {
    if (dims[i] < 1 || dims[i] > uint64_t{1} << 32 || box[i] < 1 || box[i] > kMaxBox)
      return CUDA_ERROR_INVALID_VALUE;
    if (element_strides[i] < 1 || element_strides[i] > 8) return CUDA_ERROR_INVALID_VALUE;
    if (element_strides[i] != 1) return CUDA_ERROR_NOT_SUPPORTED;
    encoded.last_index[i] = static_cast<uint32_t>(dims[i] - 1);
    encoded.box[i] = static_cast<uint16_t>(box[i]);
    if (i == 0) continue;
    if (strides[i - 1] % 16 != 0 || strides[i - 1] >= uint64_t{1} << 40)
      return CUDA_ERROR_INVALID_VALUE;
    encoded.strides[i - 1] = strides[i - 1];
  }
  if (encoded.row_bytes() % 16 != 0) return CUDA_ERROR_INVALID_VALUE;
  if (swizzle != CU_TENSOR_MAP_SWIZZLE_NONE && encoded.row_bytes() > encoded.swizzle_bytes())
    return CUDA_ERROR_INVALID_VALUE;
  if (interleave != CU_TENSOR_MAP_INTERLEAVE_NONE || fill != CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE)
    return CUDA_ERROR_NOT_SUPPORTED;
  std::memset(map, 0, sizeof *map);
  std::memcpy(map, &encoded, sizeof encoded);
  return CUDA_SUCCESS;
}
