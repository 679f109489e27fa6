// The tensor memory accelerator (sm_90): boxes of a tensor in global memory, to and from shared
// memory. One thread asks for a copy. The tensor map, made by the host, says where the tensor is,
// how large the box is and how shared memory is swizzled; coordinates count elements, the fastest
// dimension first. Loads fill what lies outside of the tensor with zeros and complete on an
// mbarrier, always with the bytes of the whole box; stores and additions leave out what lies
// outside, read shared memory through the async proxy (fence_proxy_async) and belong to bulk groups
// (bulk.h). Shared addresses are multiples of 128, and of 1024 under the 128-byte swizzle.
#pragma once

#include "cuda/ptx/types.h"

#if !PTX_DEVICE
#include "simt/tensor_copy.h"
#endif

namespace ptx {

/** A CUtensorMap: encoded by the host, given to kernels inside a __grid_constant__ parameter. */
struct alignas(64) tensor_map {
  uint64_t opaque[16];
};

/** How L2 is to treat what a copy brings: the word of a createpolicy instruction. */
struct cache_policy {
  uint64_t word;
};

#if PTX_DEVICE

/** What is read once goes first. */
PTX_FN cache_policy evict_first() {
  cache_policy policy;
  asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy.word));
  return policy;
}
/** What others will read soon goes last. */
PTX_FN cache_policy evict_last() {
  cache_policy policy;
  asm("createpolicy.fractional.L2::evict_last.b64 %0, 1.0;" : "=l"(policy.word));
  return policy;
}

/** Brings the map into the cache of the copy engine. */
PTX_FN void tma_prefetch(const tensor_map* map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

PTX_FN void tma_load_2d(uint32_t destination, const tensor_map* map, uint32_t barrier, int x,
                        int y) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%3, %4}], [%2];" ::"r"(destination),
      "l"(map), "r"(barrier), "r"(x), "r"(y)
      : "memory");
}
PTX_FN void tma_load_3d(uint32_t destination, const tensor_map* map, uint32_t barrier, int x, int y,
                        int z) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%3, %4, %5}], [%2];" ::"r"(destination),
      "l"(map), "r"(barrier), "r"(x), "r"(y), "r"(z)
      : "memory");
}
PTX_FN void tma_load_4d(uint32_t destination, const tensor_map* map, uint32_t barrier, int x, int y,
                        int z, int w) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(destination),
      "l"(map), "r"(barrier), "r"(x), "r"(y), "r"(z), "r"(w)
      : "memory");
}
PTX_FN void tma_load_5d(uint32_t destination, const tensor_map* map, uint32_t barrier, int x, int y,
                        int z, int w, int v) {
  asm volatile(
      "cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%3, %4, %5, %6, %7}], [%2];" ::"r"(destination),
      "l"(map), "r"(barrier), "r"(x), "r"(y), "r"(z), "r"(w), "r"(v)
      : "memory");
}
PTX_FN void tma_load_4d(uint32_t destination, const tensor_map* map, uint32_t barrier,
                        cache_policy policy, int x, int y, int z, int w) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
      ".L2::cache_hint [%0], [%1, {%3, %4, %5, %6}], [%2], %7;" ::"r"(destination),
      "l"(map), "r"(barrier), "r"(x), "r"(y), "r"(z), "r"(w), "l"(policy.word)
      : "memory");
}
PTX_FN void tma_load_5d(uint32_t destination, const tensor_map* map, uint32_t barrier,
                        cache_policy policy, int x, int y, int z, int w, int v) {
  asm volatile(
      "cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
      ".L2::cache_hint [%0], [%1, {%3, %4, %5, %6, %7}], [%2], %8;" ::"r"(destination),
      "l"(map), "r"(barrier), "r"(x), "r"(y), "r"(z), "r"(w), "r"(v), "l"(policy.word)
      : "memory");
}

PTX_FN void tma_store_2d(const tensor_map* map, uint32_t source, int x, int y) {
  asm volatile(
      "cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%2, %3}], [%1];" ::"l"(map),
      "r"(source), "r"(x), "r"(y)
      : "memory");
}
PTX_FN void tma_store_3d(const tensor_map* map, uint32_t source, int x, int y, int z) {
  asm volatile(
      "cp.async.bulk.tensor.3d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4}], "
      "[%1];" ::"l"(map),
      "r"(source), "r"(x), "r"(y), "r"(z)
      : "memory");
}
PTX_FN void tma_store_4d(const tensor_map* map, uint32_t source, int x, int y, int z, int w) {
  asm volatile(
      "cp.async.bulk.tensor.4d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4, %5}], "
      "[%1];" ::"l"(map),
      "r"(source), "r"(x), "r"(y), "r"(z), "r"(w)
      : "memory");
}
PTX_FN void tma_store_5d(const tensor_map* map, uint32_t source, int x, int y, int z, int w,
                         int v) {
  asm volatile(
      "cp.async.bulk.tensor.5d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4, %5, %6}], "
      "[%1];" ::"l"(map),
      "r"(source), "r"(x), "r"(y), "r"(z), "r"(w), "r"(v)
      : "memory");
}

/** Adds the box to the tensor; each addition is atomic, their order is not defined. */
PTX_FN void tma_reduce_add_3d(const tensor_map* map, uint32_t source, int x, int y, int z) {
  asm volatile(
      "cp.reduce.async.bulk.tensor.3d.global.shared::cta.add.tile.bulk_group [%0, {%2, %3, %4}], "
      "[%1];" ::"l"(map),
      "r"(source), "r"(x), "r"(y), "r"(z)
      : "memory");
}
PTX_FN void tma_reduce_add_4d(const tensor_map* map, uint32_t source, int x, int y, int z, int w) {
  asm volatile(
      "cp.reduce.async.bulk.tensor.4d.global.shared::cta.add.tile.bulk_group [%0, {%2, %3, %4, "
      "%5}], "
      "[%1];" ::"l"(map),
      "r"(source), "r"(x), "r"(y), "r"(z), "r"(w)
      : "memory");
}

#else

inline void tma_prefetch(const tensor_map* map, PTX_AT) { simt::check_tensor_map(map, at); }

inline void tma_load_2d(uint32_t destination, const tensor_map* map, uint32_t barrier, int x, int y,
                        PTX_AT) {
  simt::tensor_load(destination, map, barrier, {2, {x, y}}, at);
}
inline void tma_load_3d(uint32_t destination, const tensor_map* map, uint32_t barrier, int x, int y,
                        int z, PTX_AT) {
  simt::tensor_load(destination, map, barrier, {3, {x, y, z}}, at);
}
inline void tma_load_4d(uint32_t destination, const tensor_map* map, uint32_t barrier, int x, int y,
                        int z, int w, PTX_AT) {
  simt::tensor_load(destination, map, barrier, {4, {x, y, z, w}}, at);
}
inline void tma_load_5d(uint32_t destination, const tensor_map* map, uint32_t barrier, int x, int y,
                        int z, int w, int v, PTX_AT) {
  simt::tensor_load(destination, map, barrier, {5, {x, y, z, w, v}}, at);
}

// The executor has no caches: policies change nothing.
inline cache_policy evict_first() { return {simt::kEvictFirst}; }
inline cache_policy evict_last() { return {simt::kEvictLast}; }
inline void tma_load_4d(uint32_t destination, const tensor_map* map, uint32_t barrier,
                        cache_policy policy, int x, int y, int z, int w, PTX_AT) {
  simt::check_cache_policy(policy.word, at);
  tma_load_4d(destination, map, barrier, x, y, z, w, at);
}
inline void tma_load_5d(uint32_t destination, const tensor_map* map, uint32_t barrier,
                        cache_policy policy, int x, int y, int z, int w, int v, PTX_AT) {
  simt::check_cache_policy(policy.word, at);
  tma_load_5d(destination, map, barrier, x, y, z, w, v, at);
}

inline void tma_store_2d(const tensor_map* map, uint32_t source, int x, int y, PTX_AT) {
  simt::tensor_store(map, source, {2, {x, y}}, at);
}
inline void tma_store_3d(const tensor_map* map, uint32_t source, int x, int y, int z, PTX_AT) {
  simt::tensor_store(map, source, {3, {x, y, z}}, at);
}
inline void tma_store_4d(const tensor_map* map, uint32_t source, int x, int y, int z, int w,
                         PTX_AT) {
  simt::tensor_store(map, source, {4, {x, y, z, w}}, at);
}
inline void tma_store_5d(const tensor_map* map, uint32_t source, int x, int y, int z, int w, int v,
                         PTX_AT) {
  simt::tensor_store(map, source, {5, {x, y, z, w, v}}, at);
}

inline void tma_reduce_add_3d(const tensor_map* map, uint32_t source, int x, int y, int z, PTX_AT) {
  simt::tensor_reduce_add(map, source, {3, {x, y, z}}, at);
}
inline void tma_reduce_add_4d(const tensor_map* map, uint32_t source, int x, int y, int z, int w,
                              PTX_AT) {
  simt::tensor_reduce_add(map, source, {4, {x, y, z, w}}, at);
}

#endif

}  // namespace ptx
