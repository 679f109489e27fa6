// Barriers, shuffles and votes. Masks name the lanes that take part; every one of them must arrive.
#pragma once

#include "cuda/ptx/types.h"

#if !PTX_DEVICE
#include "simt/barrier.h"
#include "simt/warp.h"
#endif

namespace ptx {

#if PTX_DEVICE

/** Waits for every thread of the block. */
PTX_FN void sync_block() { __syncthreads(); }
/** The same; returns whether the predicate holds for any thread of the block. */
PTX_FN bool sync_block_or(bool predicate) { return __syncthreads_or(predicate) != 0; }
/** Named barrier 1..15 for `threads` threads, a multiple of 32: arrives and waits. */
PTX_FN void bar_sync(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
/** Arrives without waiting; `threads` counts those who wait as well. */
PTX_FN void bar_arrive(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
/** Waits for the warp's lanes and orders their memory accesses; shuffles and votes do not. */
PTX_FN void sync_warp(uint32_t mask = kFullMask) { __syncwarp(mask); }

template <class T>
PTX_FN T shfl_xor(T value, int lane_mask, uint32_t mask = kFullMask) {
  return __shfl_xor_sync(mask, value, lane_mask);
}
template <class T>
PTX_FN T shfl_idx(T value, int lane, uint32_t mask = kFullMask) {
  return __shfl_sync(mask, value, lane);
}
/** Lanes whose source lies beyond the warp keep their own value. */
template <class T>
PTX_FN T shfl_down(T value, int distance, uint32_t mask = kFullMask) {
  return __shfl_down_sync(mask, value, distance);
}
template <class T>
PTX_FN T shfl_up(T value, int distance, uint32_t mask = kFullMask) {
  return __shfl_up_sync(mask, value, distance);
}

/** Bit l is set where lane l's predicate holds. */
PTX_FN uint32_t vote_ballot(bool predicate, uint32_t mask = kFullMask) {
  return __ballot_sync(mask, predicate);
}
PTX_FN bool vote_any(bool predicate, uint32_t mask = kFullMask) {
  return __any_sync(mask, predicate) != 0;
}
PTX_FN bool vote_all(bool predicate, uint32_t mask = kFullMask) {
  return __all_sync(mask, predicate) != 0;
}

#else

inline void sync_block(PTX_AT) { simt::barrier_sync(0, simt::kWholeBlock, at); }
inline bool sync_block_or(bool predicate, PTX_AT) { return simt::barrier_or(predicate, at); }
inline void bar_sync(int id, int threads, PTX_AT) { simt::barrier_sync(id, threads, at); }
inline void bar_arrive(int id, int threads, PTX_AT) { simt::barrier_arrive(id, threads, at); }
inline void sync_warp(uint32_t mask = kFullMask, PTX_AT) { simt::warp_sync(mask, at); }

template <class T>
inline T shfl_xor(T value, int lane_mask, uint32_t mask = kFullMask, PTX_AT) {
  static_assert(sizeof(T) == 4);
  return simt::shuffle(simt::Shuffle::kXor, value, lane_mask, mask, at);
}
template <class T>
inline T shfl_idx(T value, int lane, uint32_t mask = kFullMask, PTX_AT) {
  static_assert(sizeof(T) == 4);
  return simt::shuffle(simt::Shuffle::kIndex, value, lane, mask, at);
}
template <class T>
inline T shfl_down(T value, int distance, uint32_t mask = kFullMask, PTX_AT) {
  static_assert(sizeof(T) == 4);
  return simt::shuffle(simt::Shuffle::kDown, value, distance, mask, at);
}
template <class T>
inline T shfl_up(T value, int distance, uint32_t mask = kFullMask, PTX_AT) {
  static_assert(sizeof(T) == 4);
  return simt::shuffle(simt::Shuffle::kUp, value, distance, mask, at);
}

inline uint32_t vote_ballot(bool predicate, uint32_t mask = kFullMask, PTX_AT) {
  return simt::ballot(predicate, mask, at);
}
inline bool vote_any(bool predicate, uint32_t mask = kFullMask, PTX_AT) {
  return simt::ballot(predicate, mask, at) != 0;
}
inline bool vote_all(bool predicate, uint32_t mask = kFullMask, PTX_AT) {
  return simt::ballot(predicate, mask, at) == mask;
}

#endif

}  // namespace ptx
