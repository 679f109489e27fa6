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

/** What createpolicy gives here; the words of a GPU are its own. */
constexpr uint64_t kEvictFirst = 0xf1, kEvictLast = 0x1a;

void check_cache_policy(uint64_t policy, const Location& at);
void check_tensor_map(const ptx::tensor_map* map, const Location& at);
void tensor_load(uint32_t destination, const ptx::tensor_map* map, uint32_t barrier,
                 const Coordinates& box, const Location& at);
void tensor_store(const ptx::tensor_map* map, uint32_t source, const Coordinates& box,
                  const Location& at);
void tensor_reduce_add(const ptx::tensor_map* map, uint32_t source, const Coordinates& box,
                       const Location& at);

}  // namespace simt
