// What a tensor map holds that cuTensorMapEncodeTiled has encoded.
#pragma once

#include <cstdint>

#include "simt/include/cuda.h"

namespace simt {

constexpr int kMaxRank = 5;

struct TensorMap {
  uint64_t mark;  // that these 128 bytes are one
  uint8_t* address;
  uint64_t strides[kMaxRank - 1];  // bytes, of dimensions 1 and up
  uint32_t last_index[kMaxRank];   // of each dimension
  uint16_t box[kMaxRank];
  uint8_t rank, element_bytes, swizzle, type;

  uint32_t row_bytes() const { return uint32_t{box[0]} * element_bytes; }
  uint32_t rows() const {
    uint32_t count = 1;
    for (int i = 1; i < rank; ++i) count *= box[i];
    return count;
  }
  uint32_t box_bytes() const { return row_bytes() * rows(); }
  /** Bytes of a row after which the swizzle starts anew; 0 if there is none. */
  uint32_t swizzle_bytes() const { return swizzle ? 16u << swizzle : 0; }
};
static_assert(sizeof(TensorMap) <= sizeof(CUtensorMap));

/** False if these bytes have not been encoded. */
bool decode(const void* map, TensorMap* into);

}  // namespace simt
