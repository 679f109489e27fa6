// What a warp or a warpgroup of sm_90 does besides wgmma: choosing a lane, and sharing out
// registers.
#pragma once

#include "cuda/ptx/types.h"

#if !PTX_DEVICE
#include "simt/warpgroup.h"
#endif

namespace ptx {

#if PTX_DEVICE

/** True for one lane of the warp, always the same one. All lanes call it. */
PTX_FN bool elect_one() {
  uint32_t chosen;
  asm volatile(
      "{\n"
      ".reg .pred chosen;\n"
      "elect.sync _|chosen, 0xffffffff;\n"
      "selp.u32 %0, 1, 0, chosen;\n"
      "}"
      : "=r"(chosen));
  return chosen != 0;
}

/**
 * Takes registers until each thread of the warpgroup has N (24 to 256, a multiple of 8); waits for
 * them.
 */
template <int N>
PTX_FN void setmaxnreg_inc() {
  static_assert(N % 8 == 0 && N >= 24 && N <= 256);
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
}
/** Gives registers back until each thread of the warpgroup has N. */
template <int N>
PTX_FN void setmaxnreg_dec() {
  static_assert(N % 8 == 0 && N >= 24 && N <= 256);
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
}

#else

inline bool elect_one(PTX_AT) { return simt::elect(at); }
template <int N>
inline void setmaxnreg_inc(PTX_AT) {
  static_assert(N % 8 == 0 && N >= 24 && N <= 256);
  simt::take_registers(N, at);
}
template <int N>
inline void setmaxnreg_dec(PTX_AT) {
  static_assert(N % 8 == 0 && N >= 24 && N <= 256);
  simt::give_registers(N, at);
}

#endif

}  // namespace ptx
