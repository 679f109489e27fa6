// float8 e4m3 (OCP 8-bit floating point): sign, 4 exponent bits with bias 7, 3 mantissa bits; the
// largest value is 448, there is no infinity. Its conversions need sm_89.
#pragma once

#include "cuda/ptx/math.h"

#if !PTX_DEVICE
#include "simt/fp8.h"
#endif

namespace ptx {

/** Whether they are there: in code for older GPUs they are not, nor in what the executor plays. */
#if PTX_DEVICE && defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
constexpr bool kConvertsE4M3 = true;
#else
constexpr bool kConvertsE4M3 = false;
#endif

#if PTX_DEVICE

/** Four floats rounded to nearest even, `a` in the lowest byte; what exceeds 448 becomes 448. */
PTX_FN uint32_t pack4_e4m3(float a, float b, float c, float d) {
  uint16_t low, high;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(low) : "f"(b), "f"(a));
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(high) : "f"(d), "f"(c));
  return low | static_cast<uint32_t>(high) << 16;
}
/** The two values of a packed pair as two f16, the lower one first: exact. */
PTX_FN uint32_t unpack2_e4m3(uint16_t packed) {
  uint32_t wide;
  asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(wide) : "h"(packed));
  return wide;
}
/** The same of four, the lower pair first. */
PTX_FN void unpack4_e4m3(uint32_t (&wide)[2], uint32_t packed) {
  asm("{\n"
      ".reg .b16 low, high;\n"
      "mov.b32 {low, high}, %2;\n"
      "cvt.rn.f16x2.e4m3x2 %0, low;\n"
      "cvt.rn.f16x2.e4m3x2 %1, high;\n"
      "}"
      : "=r"(wide[0]), "=r"(wide[1])
      : "r"(packed));
}
/** Byte i of the result is byte (selector >> 4i) & 7 of the eight bytes of `low` and `high`. */
PTX_FN uint32_t permute_bytes(uint32_t low, uint32_t high, uint32_t selector) {
  return __byte_perm(low, high, selector);
}

#else

inline uint32_t pack4_e4m3(float a, float b, float c, float d) {
  return simt::float_to_e4m3(a) | uint32_t{simt::float_to_e4m3(b)} << 8 |
         uint32_t{simt::float_to_e4m3(c)} << 16 | uint32_t{simt::float_to_e4m3(d)} << 24;
}
inline uint32_t unpack2_e4m3(uint16_t packed) { return simt::e4m3x2_to_float16x2(packed); }
inline void unpack4_e4m3(uint32_t (&wide)[2], uint32_t packed) {
  for (int i = 0; i < 2; ++i) wide[i] = unpack2_e4m3(static_cast<uint16_t>(packed >> 16 * i));
}
inline uint32_t permute_bytes(uint32_t low, uint32_t high, uint32_t selector) {
  const uint64_t bytes = low | uint64_t{high} << 32;
  uint32_t result = 0;
  for (int i = 0; i < 4; ++i)
    result |= static_cast<uint32_t>(bytes >> 8 * (selector >> 4 * i & 7) & 0xff) << 8 * i;
  return result;
}

#endif

template <>
PTX_FN float to_float(e4m3 value) {
  return unpack2<f16>(unpack2_e4m3(value.bits)).x;
}

}  // namespace ptx
