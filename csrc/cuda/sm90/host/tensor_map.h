// Tensor maps: what TMA is told about a tensor in device memory. For .cu files, since it names a
// type that kernels take.
#pragma once

#include <initializer_list>

#include "core/dtype.h"
#include "core/view.h"
#include "cuda/ptx/tma.h"

namespace fa::cuda::sm90 {

/** One dimension of a tensor and of the boxes that are copied. */
struct MapDimension {
  int64_t size;
  int64_t stride;  // in elements, to be a multiple of 16 bytes; that of the first dimension is 1
  int box;         // elements, at most 256
};

/**
 * Makes `map`, where the kernel's parameters have it, that of up to five dimensions, the fastest
 * one first, whose boxes lie in shared memory under the 128-byte swizzle: the first dimension of a
 * box is at most 128 bytes. `data` is a multiple of 16. Throws Error{kCuda} where the driver
 * refuses.
 */
void encode_tensor_map(ptx::tensor_map& map, DType dtype, void* data,
                       std::initializer_list<MapDimension> dimensions);

}  // namespace fa::cuda::sm90
