// Bulk copies (sm_90): runs of bytes between global and shared memory, asked for by one thread.
// Addresses and sizes are multiples of 16. Loads complete on an mbarrier. Stores and additions,
// those of tma.h included, belong to the bulk groups of the thread that issued them, and read
// shared memory through the async proxy: what threads have written there needs fence_proxy_async by
// the writers.
#pragma once

#include "cuda/ptx/types.h"

#if !PTX_DEVICE
#include "simt/bulk_copy.h"
#include "simt/proxy.h"
#endif

namespace ptx {

#if PTX_DEVICE

PTX_FN void bulk_load(uint32_t destination, const void* source, uint32_t bytes, uint32_t barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
          "r"(destination),
      "l"(__cvta_generic_to_global(source)), "r"(bytes), "r"(barrier)
      : "memory");
}
PTX_FN void bulk_store(void* destination, uint32_t source, uint32_t bytes) {
  asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(
                   __cvta_generic_to_global(destination)),
               "r"(source), "r"(bytes)
               : "memory");
}
/** Adds floats; each addition is atomic, their order is not defined. */
PTX_FN void bulk_reduce_add_f32(float* destination, uint32_t source, uint32_t bytes) {
  asm volatile("cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32 [%0], [%1], %2;" ::"l"(
                   __cvta_generic_to_global(destination)),
               "r"(source), "r"(bytes)
               : "memory");
}

/** Closes the group of the stores and additions this thread issued since the last commit. */
PTX_FN void bulk_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
/** Waits until all but the N youngest groups of this thread have read their shared memory. */
template <int N>
PTX_FN void bulk_wait_read() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(N) : "memory");
}
/**
 * Waits until all but the N youngest groups of this thread are complete, their writes visible to
 * it.
 */
template <int N>
PTX_FN void bulk_wait() {
  asm volatile("cp.async.bulk.wait_group %0;" ::"n"(N) : "memory");
}

/**
 * Makes this thread's shared-memory accesses so far visible to the async proxy: wgmma, bulk and
 * tensor copies.
 */
PTX_FN void fence_proxy_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
/**
 * Orders what this thread has observed of global memory before its bulk and tensor copies that
 * follow.
 */
PTX_FN void fence_proxy_async_global() { asm volatile("fence.proxy.async.global;" ::: "memory"); }

#else

inline void bulk_load(uint32_t destination, const void* source, uint32_t bytes, uint32_t barrier,
                      PTX_AT) {
  simt::bulk_load(destination, source, bytes, barrier, at);
}
inline void bulk_store(void* destination, uint32_t source, uint32_t bytes, PTX_AT) {
  simt::bulk_store(destination, source, bytes, at);
}
inline void bulk_reduce_add_f32(float* destination, uint32_t source, uint32_t bytes, PTX_AT) {
  simt::bulk_reduce_add(destination, source, bytes, at);
}
inline void bulk_commit() { simt::bulk_commit(); }
template <int N>
inline void bulk_wait_read(PTX_AT) {
  simt::bulk_wait(N, simt::BulkWait::kRead, at);
}
template <int N>
inline void bulk_wait(PTX_AT) {
  simt::bulk_wait(N, simt::BulkWait::kComplete, at);
}
inline void fence_proxy_async() { simt::proxy_fence(simt::Space::kShared); }
inline void fence_proxy_async_global() { simt::proxy_fence(simt::Space::kGlobal); }

#endif

}  // namespace ptx
