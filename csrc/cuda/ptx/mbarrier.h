// mbarriers (sm_90): 8 bytes of shared memory that count arrivals and the bytes of asynchronous
// copies. A phase completes when all arrivals and all announced bytes are in; the next one then
// begins with the same number of arrivals. Phases alternate in parity, the first one is 0: a wait
// for parity p returns once the latest phase with that parity is complete. Waiting for parity 1 of
// a new barrier returns at once.
#pragma once

#include "cuda/ptx/types.h"

#if !PTX_DEVICE
#include "simt/mbarrier.h"
#endif

namespace ptx {

#if PTX_DEVICE

/**
 * Makes the 8 aligned bytes at `barrier` an mbarrier for `count` arrivals per phase; one thread
 * does it.
 */
PTX_FN void mbar_init(uint32_t barrier, int count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(count) : "memory");
}
/** Makes its bytes plain memory again. */
PTX_FN void mbar_inval(uint32_t barrier) {
  asm volatile("mbarrier.inval.shared::cta.b64 [%0];" ::"r"(barrier) : "memory");
}
/** Orders this thread's mbar_init before what the asynchronous engines do with the barrier. */
PTX_FN void fence_mbar_init() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

/** Arrives; releases what this thread did before. */
PTX_FN void mbar_arrive(uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
/** Announces `bytes` of copies that complete on this barrier, and arrives. */
PTX_FN void mbar_arrive_expect_tx(uint32_t barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
               : "memory");
}
/**
 * Lets this thread's cp.async copies so far arrive on the barrier when they have landed: one of the
 *  arrivals that mbar_init counted. */
PTX_FN void cp_async_mbar_arrive(uint32_t barrier) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(barrier) : "memory");
}

/**
 * Whether the phase with this parity is complete, after waiting for a time that the hardware
 * limits.
 */
PTX_FN bool mbar_try_wait(uint32_t barrier, int parity) {
  uint32_t complete;
  asm volatile(
      "{\n"
      ".reg .pred complete;\n"
      "mbarrier.try_wait.parity.shared::cta.b64 complete, [%1], %2;\n"
      "selp.u32 %0, 1, 0, complete;\n"
      "}"
      : "=r"(complete)
      : "r"(barrier), "r"(parity)
      : "memory");
  return complete != 0;
}
/**
 * Waits for the phase with this parity; acquires what its arrivals released and its copies wrote.
 */
PTX_FN void mbar_wait(uint32_t barrier, int parity) {
  while (!mbar_try_wait(barrier, parity)) {
  }
}

#else

inline void mbar_init(uint32_t barrier, int count, PTX_AT) {
  simt::mbarrier_init(barrier, count, at);
}
inline void mbar_inval(uint32_t barrier, PTX_AT) { simt::mbarrier_invalidate(barrier, at); }
inline void fence_mbar_init() { simt::mbarrier_init_fence(); }
inline void mbar_arrive(uint32_t barrier, PTX_AT) { simt::mbarrier_arrive(barrier, 0, at); }
inline void mbar_arrive_expect_tx(uint32_t barrier, uint32_t bytes, PTX_AT) {
  simt::mbarrier_arrive(barrier, bytes, at);
}
inline void cp_async_mbar_arrive(uint32_t barrier, PTX_AT) { simt::async_copy_arrive(barrier, at); }
inline bool mbar_try_wait(uint32_t barrier, int parity, PTX_AT) {
  return simt::mbarrier_try_wait(barrier, parity, at);
}
inline void mbar_wait(uint32_t barrier, int parity, PTX_AT) {
  simt::mbarrier_wait(barrier, parity, at);
}

#endif

}  // namespace ptx
