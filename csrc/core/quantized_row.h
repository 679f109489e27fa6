// Rows of a cache in 8 bits: element = code * scale, with one scale per token and head, which maps
// the row's largest magnitude to the largest code, or one per head that the caller has found for
// all tokens to come. Codes are whole numbers (int8) or e4m3 values.
// A scale is the same for a whole row of K or V: that of K may multiply the score instead, that of
// V the probability.
#pragma once

#include <cstdint>
#include <cstring>

#include "core/dtype.h"
#include "core/float8.h"
#include "core/inline.h"

namespace fa {

/** The largest int8 code; -128 stays unused, so that codes are symmetric. */
constexpr float kLargestInt8 = 127.f;

/** |x| as a number that grows with it; that of NaN is beyond that of infinity. */
static FA_INLINE uint32_t magnitude_bits(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits & 0x7fffffffu;
}

/**
 * The scale of a row by the greatest of its magnitude_bits. 0 of a row of zeros. NaN where some
 * element is NaN or infinite: no code stands for those, and whoever sees the token gets NaN.
 */
static FA_INLINE float scale_of_row(uint32_t greatest, bool int8) {
  if (greatest == 0) return 0;
  float largest;
  if (greatest >= 0x7f800000u) greatest = 0x7fc00000u;
  memcpy(&largest, &greatest, sizeof largest);
  const float scale = largest / (int8 ? kLargestInt8 : kLargestE4M3);
  return scale < kSmallestNormal ? kSmallestNormal : scale;
}

/** To nearest, ties to even; beyond 127, infinities included, 127 with the sign. NaN becomes 0. */
static FA_INLINE int8_t float_to_int8(float x) {
  if (x != x) return 0;
  x = x < -kLargestInt8 ? -kLargestInt8 : x > kLargestInt8 ? kLargestInt8 : x;
  // Next to 1.5 * 2^23 a float has no room for a fraction, so the addition rounds. The number then
  // is the lowest bits.
  const float shifted = x + 12582912.f;
  uint32_t bits;
  memcpy(&bits, &shifted, sizeof bits);
  return static_cast<int8_t>(bits);
}

/** The code of an element, the nearest there is; 0 where the scale is not positive. */
static FA_INLINE uint8_t code_of(float x, float scale, bool int8) {
  if (!(scale > 0)) return 0;
  return int8 ? static_cast<uint8_t>(float_to_int8(x / scale)) : float_to_e4m3(x / scale);
}

}  // namespace fa
