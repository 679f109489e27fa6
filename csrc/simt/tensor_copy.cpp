#include "simt/tensor_copy.h"

#include <algorithm>
#include <cstring>

#include "simt/bulk_copy.h"
#include "simt/execution.h"
#include "simt/global_memory.h"
#include "simt/report.h"
#include "simt/scheduler.h"
#include "simt/tensor_map.h"

namespace simt {

namespace {

constexpr uint32_t kUnit = 16;  // that a swizzle moves
constexpr uint32_t kMinAlignment = 128;

TensorMap decoded(const ptx::tensor_map* map, const Location& at) {
  TensorMap content;
  if (reinterpret_cast<uintptr_t>(map) % alignof(CUtensorMap) != 0)
    fail(at, "misaligned: tensor map at %p, expected a multiple of 64",
         static_cast<const void*>(map));
  if (!decode(map, &content)) fail(at, "tensor map that cuTensorMapEncodeTiled has not encoded");
  return content;
}

TensorMap for_box(const ptx::tensor_map* map, const Coordinates& box, const Location& at) {
  const TensorMap content = decoded(map, at);
  if (content.rank != box.rank)
    fail(at, "tensor map of rank %d for %d coordinates", content.rank, box.rank);
  // The pitch of rows narrower than the swizzle is not documented.
  if (content.swizzle && content.row_bytes() != content.swizzle_bytes())
    fail(at, "box of %u bytes in a row under a swizzle of %u is not modelled", content.row_bytes(),
         content.swizzle_bytes());
  return content;
}

/** Swizzled rows lie in whole periods of the swizzle. */
uint32_t alignment_of(const TensorMap& map) {
  return std::max(kMinAlignment, 8 * map.swizzle_bytes());
}

/**
 * Where within the box its byte at `offset` lies: address bits 4 to 6 ^= bits 7 to 9, or fewer of
 * them.
 */
uint32_t swizzled(const TensorMap& map, uint32_t offset) {
  const uint32_t mask = map.swizzle_bytes() ? map.swizzle_bytes() - kUnit : 0;
  return offset ^ (offset >> 3 & mask);
}

/**
 * Calls visit(row, address, begin, end) for each row of the box: bytes [begin, end) of it are
 * inside
 *  the tensor, from `address` on. */
template <class Visit>
void visit_rows(const TensorMap& map, const Coordinates& box, Visit visit) {
  const int64_t first = std::max<int64_t>(0, -box.at[0]);
  const int64_t stop =
      std::min<int64_t>(map.box[0], static_cast<int64_t>(map.last_index[0]) + 1 - box.at[0]);
  const uint32_t rows = map.rows();
  for (uint32_t row = 0; row < rows; ++row) {
    uint32_t rest = row;
    bool inside = first < stop;
    int64_t address = (box.at[0] + first) * map.element_bytes;
    for (int i = 1; i < map.rank; ++i) {
      const int64_t index = box.at[i] + rest % map.box[i];
      rest /= map.box[i];
      inside = inside && index >= 0 && index <= static_cast<int64_t>(map.last_index[i]);
      address += index * static_cast<int64_t>(map.strides[i - 1]);
    }
    if (inside)
      visit(row, map.address + address, static_cast<uint32_t>(first) * map.element_bytes,
            static_cast<uint32_t>(stop) * map.element_bytes);
    else
      visit(row, map.address, 0u, 0u);
  }
}

/**
 * Calls visit(offset, byte, bytes) for the pieces of [begin, end) of a row, each of which a swizzle
 *  keeps together: it lies at `offset` of the box. */
template <class Visit>
void visit_pieces(const TensorMap& map, uint32_t row, uint32_t begin, uint32_t end, Visit visit) {
  for (uint32_t i = begin; i < end;) {
    const uint32_t stop = std::min(end, (i / kUnit + 1) * kUnit);
    visit(swizzled(map, row * map.row_bytes() + i), i, stop - i);
    i = stop;
  }
}

void check_tensor(const TensorMap& map, const Coordinates& box, GlobalUse use, const Location& at) {
  visit_rows(map, box, [&](uint32_t, const uint8_t* address, uint32_t begin, uint32_t end) {
    if (begin < end) check_global_range(address, end - begin, use, at);
  });
}

void load_box(const TensorMap& map, const Coordinates& box, uint8_t* destination) {
  std::memset(destination, 0, map.box_bytes());
  visit_rows(map, box, [&](uint32_t row, const uint8_t* address, uint32_t begin, uint32_t end) {
    visit_pieces(map, row, begin, end, [&](uint32_t offset, uint32_t byte, uint32_t bytes) {
      std::memcpy(destination + offset, address + (byte - begin), bytes);
    });
  });
}

template <class Put>
void store_box(const TensorMap& map, const Coordinates& box, const uint8_t* data, Put put) {
  visit_rows(map, box, [&](uint32_t row, uint8_t* address, uint32_t begin, uint32_t end) {
    visit_pieces(map, row, begin, end, [&](uint32_t offset, uint32_t byte, uint32_t bytes) {
      put(address + (byte - begin), data + offset, bytes);
    });
  });
}

}  // namespace

void check_cache_policy(uint64_t policy, const Location& at) {
  if (policy != kEvictFirst && policy != kEvictLast)
    fail(at, "cache policy %#llx that createpolicy has not made",
         static_cast<unsigned long long>(policy));
}

void check_tensor_map(const ptx::tensor_map* map, const Location& at) { decoded(map, at); }

void tensor_load(uint32_t destination, const ptx::tensor_map* map, uint32_t barrier,
                 const Coordinates& box, const Location& at) {
  maybe_yield();
  const TensorMap content = for_box(map, box, at);
  check_tensor(content, box, GlobalUse::kRead, at);
  engine_load(
      destination, content.box_bytes(), alignment_of(content), barrier, "tensor load",
      [content, box](uint8_t* destination) { load_box(content, box, destination); }, at);
}

void tensor_store(const ptx::tensor_map* map, uint32_t source, const Coordinates& box,
                  const Location& at) {
  maybe_yield();
  const TensorMap content = for_box(map, box, at);
  check_tensor(content, box, GlobalUse::kWrite, at);
  engine_store(
      source, content.box_bytes(), alignment_of(content), "tensor store",
      [content, box](const uint8_t* data) {
        store_box(content, box, data, [](uint8_t* to, const uint8_t* from, uint32_t bytes) {
          std::memcpy(to, from, bytes);
        });
      },
      at);
}

void tensor_reduce_add(const ptx::tensor_map* map, uint32_t source, const Coordinates& box,
                       const Location& at) {
  maybe_yield();
  const TensorMap content = for_box(map, box, at);
  if (content.type != CU_TENSOR_MAP_DATA_TYPE_FLOAT32)
    fail(at, "tensor addition of another type than float32 is not modelled");
  check_tensor(content, box, GlobalUse::kUpdate, at);
  engine_store(
      source, content.box_bytes(), alignment_of(content), "tensor addition",
      [content, box](const uint8_t* data) {
        store_box(content, box, data, [](uint8_t* to, const uint8_t* from, uint32_t bytes) {
          add_floats(reinterpret_cast<float*>(to), from, bytes);
        });
      },
      at);
}

}  // namespace simt
