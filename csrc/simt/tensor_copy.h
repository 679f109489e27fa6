// cp.async.bulk.tensor: boxes of tensors that a tensor map describes.
#pragma once

#include <cstdint>

#include "simt/location.h"

namespace ptx {
struct tensor_map;
}

namespace simt {

/** Where a box begins, in elements, the fastest dimension first. */
struct Coordinates {
  int rank;
  int64_t at[5];
};

void check_tensor_map(const ptx::tensor_map* map, const Location& at);
void tensor_load(uint32_t destination, const ptx::tensor_map* map, uint32_t barrier,
                 const Coordinates& box, const Location& at);
void tensor_store(const ptx::tensor_map* map, uint32_t source, const Coordinates& box,
                  const Location& at);
void tensor_reduce_add(const ptx::tensor_map* map, uint32_t source, const Coordinates& box,
                       const Location& at);

}  // namespace simt
