// Atomic operations, and the acquire/release pair with which blocks signal each other.
#pragma once

#include "cuda/ptx/types.h"

#if !PTX_DEVICE
#include "simt/global_memory.h"
#include "simt/proxy.h"
#include "simt/scheduler.h"
#include "simt/shared_memory.h"
#endif

namespace ptx {

#if PTX_DEVICE

/** Adds to global memory, relaxed; returns the old value. */
PTX_FN float atomic_add(float* pointer, float value) { return atomicAdd(pointer, value); }
PTX_FN int atomic_add(int* pointer, int value) { return atomicAdd(pointer, value); }
/** Bitwise or into global memory, relaxed; returns the old value. */
PTX_FN int atomic_or(int* pointer, int value) { return atomicOr(pointer, value); }

/** The larger of two ints into global memory, relaxed; returns the old value. */
PTX_FN int atomic_max(int* pointer, int value) { return atomicMax(pointer, value); }
/** Counts on in global memory, from `last`, which is not negative, to 0; returns the old value. */
PTX_FN int atomic_count(int* pointer, int last) {
  return static_cast<int>(
      atomicInc(reinterpret_cast<unsigned*>(pointer), static_cast<unsigned>(last)));
}

namespace detail {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
constexpr bool kVectorReductions = true;
#else
constexpr bool kVectorReductions = false;
#endif
}  // namespace detail

/** Adds N consecutive floats, aligned to 4 N bytes, to global memory; each addition is atomic. */
template <int N>
PTX_FN void red_add(float* pointer, const float (&values)[N]) {
  static_assert(N == 1 || N == 2 || N == 4);
  if constexpr (detail::kVectorReductions && N == 4) {
    asm volatile(
        "red.global.add.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(pointer)),
        "f"(values[0]), "f"(values[1]), "f"(values[2]), "f"(values[3])
        : "memory");
  } else if constexpr (detail::kVectorReductions && N == 2) {
    asm volatile("red.global.add.v2.f32 [%0], {%1, %2};" ::"l"(__cvta_generic_to_global(pointer)),
                 "f"(values[0]), "f"(values[1])
                 : "memory");
  } else {
#pragma unroll
    for (int i = 0; i < N; ++i)
      asm volatile("red.global.add.f32 [%0], %1;" ::"l"(__cvta_generic_to_global(pointer + i)),
                   "f"(values[i])
                   : "memory");
  }
}

/** Adds to shared memory; returns the old value. */
PTX_FN float smem_atomic_add(uint32_t address, float value) {
  float old;
  asm volatile("atom.shared.add.f32 %0, [%1], %2;"
               : "=f"(old)
               : "r"(address), "f"(value)
               : "memory");
  return old;
}
PTX_FN int smem_atomic_add(uint32_t address, int value) {
  int old;
  asm volatile("atom.shared.add.s32 %0, [%1], %2;"
               : "=r"(old)
               : "r"(address), "r"(value)
               : "memory");
  return old;
}

/**
 * Adds 1 to a counter of the whole GPU: releases what this thread wrote or synchronised with
 * before,
 *  acquires what earlier increments released; returns the old value. */
PTX_FN int atomic_inc_acq_rel(int* pointer) {
  int old;
  asm volatile("atom.acq_rel.gpu.global.add.s32 %0, [%1], 1;"
               : "=r"(old)
               : "l"(__cvta_generic_to_global(pointer))
               : "memory");
  return old;
}
PTX_FN int ld_acquire(const int* pointer) {
  int value;
  asm volatile("ld.acquire.gpu.global.s32 %0, [%1];"
               : "=r"(value)
               : "l"(__cvta_generic_to_global(pointer))
               : "memory");
  return value;
}
PTX_FN void st_release(int* pointer, int value) {
  asm volatile("st.release.gpu.global.s32 [%0], %1;" ::"l"(__cvta_generic_to_global(pointer)),
               "r"(value)
               : "memory");
}
/** Orders this thread's global accesses before and after it, for the whole GPU. */
PTX_FN void fence_gpu() { __threadfence(); }
/** Belongs into every loop that polls a flag. */
PTX_FN void spin_pause() { __nanosleep(32); }

#else

inline float atomic_add(float* pointer, float value, PTX_AT) {
  return simt::global_atomic(
      pointer, [=](float old) { return old + value; }, at);
}
inline int atomic_add(int* pointer, int value, PTX_AT) {
  return simt::global_atomic(
      pointer, [=](int old) { return old + value; }, at);
}
inline int atomic_or(int* pointer, int value, PTX_AT) {
  return simt::global_atomic(
      pointer, [=](int old) { return old | value; }, at);
}
inline int atomic_max(int* pointer, int value, PTX_AT) {
  return simt::global_atomic(
      pointer, [=](int old) { return old < value ? value : old; }, at);
}
inline int atomic_count(int* pointer, int last, PTX_AT) {
  return simt::global_atomic(
      pointer,
      [=](int old) {
        return static_cast<unsigned>(old) >= static_cast<unsigned>(last) ? 0 : old + 1;
      },
      at);
}

template <int N>
inline void red_add(float* pointer, const float (&values)[N], PTX_AT) {
  static_assert(N == 1 || N == 2 || N == 4);
  simt::global_reduce(pointer, values, N, at);
}

inline float smem_atomic_add(uint32_t address, float value, PTX_AT) {
  return simt::shared_atomic<float>(
      address, [=](float old) { return old + value; }, at);
}
inline int smem_atomic_add(uint32_t address, int value, PTX_AT) {
  return simt::shared_atomic<int>(
      address, [=](int old) { return old + value; }, at);
}

inline int atomic_inc_acq_rel(int* pointer, PTX_AT) {
  const int before = atomic_add(pointer, 1, at);
  simt::note_acquire();
  return before;
}
inline int ld_acquire(const int* pointer, PTX_AT) { return simt::global_acquire(pointer, at); }
inline void st_release(int* pointer, int value, PTX_AT) {
  simt::global_release(pointer, value, at);
}
inline void fence_gpu() {}
inline void spin_pause(PTX_AT) { simt::spin_pause(at); }

#endif

}  // namespace ptx
