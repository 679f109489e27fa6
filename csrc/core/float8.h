// float8 e4m3 (OCP 8-bit floating point): sign, 4 exponent bits with bias 7, 3 mantissa bits. Below
// 2^-6 the spacing stays 2^-9; the largest value is 448; 0x7f and 0xff are NaN; there is no
// infinity. One source for every device, so that they agree to the bit.
#pragma once

#include <cstdint>
#include <cstring>

#include "core/inline.h"

namespace fa {

constexpr float kLargestE4M3 = 448.f;

static FA_INLINE float e4m3_to_float(uint8_t bits) {
  // Exponent and mantissa in the places that float32 has them: 2^120 too small, subnormals too.
  const uint32_t magnitude = uint32_t{bits} << 20 & 0x07f00000u;
  float value;
  memcpy(&value, &magnitude, sizeof value);
  value *= 1.329227995784916e36f;  // 2^120
  uint32_t result;
  memcpy(&result, &value, sizeof result);
  if (magnitude == 0x07f00000u) result = 0x7fc00000u;
  result |= uint32_t{bits} << 24 & 0x80000000u;
  memcpy(&value, &result, sizeof value);
  return value;
}

/**
 * To nearest, ties to even; beyond 448, infinities included, 448 with the sign. NaN becomes 0x7f.
 */
static FA_INLINE uint8_t float_to_e4m3(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  const uint32_t sign = bits >> 24 & 0x80u;
  uint32_t magnitude = bits & 0x7fffffffu;
  const bool nan = magnitude > 0x7f800000u;
  if (magnitude > 0x43e00000u) magnitude = 0x43e00000u;  // 448
  // From 2^-6 on: the last bit kept is bit 20, and the exponent's bias 120 less.
  const uint32_t normal = (magnitude + 0x7ffffu + (magnitude >> 20 & 1u) - 0x3c000000u) >> 20;
  // Below: next to 2^14 a float has no room for anything finer than 2^-9, so the addition rounds.
  float shifted;
  memcpy(&shifted, &magnitude, sizeof shifted);
  shifted += 16384.f;
  uint32_t subnormal;
  memcpy(&subnormal, &shifted, sizeof subnormal);
  subnormal -= 0x46800000u;
  const uint32_t rounded = magnitude < 0x3c800000u ? subnormal : normal;
  return static_cast<uint8_t>(nan ? 0x7fu : sign | rounded);
}

}  // namespace fa
