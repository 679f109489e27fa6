// Elements of 8 bits, int8 or float8 e4m3, which become float16 operands of a product in registers.
// Both do exactly. Neither dtype is a template's: the code of a tile is chosen by a branch that is
// the same for the whole launch.
#pragma once

#include "core/dtype.h"
#include "cuda/ptx/ptx.h"

namespace fa::cuda {

/** One of them as storage; which dtype it has is said beside it. */
struct Code {
  uint8_t bits;
};

template <class T>
constexpr bool kIsCode = std::is_same_v<T, Code>;

PTX_FN bool is_code(int dtype) {
  return dtype == static_cast<int>(DType::kInt8) || dtype == static_cast<int>(DType::kFloat8E4M3);
}

/** Four int8: the byte, less its sign's offset, as the last bits of 1024 + byte. */
PTX_FN void widen_int8(uint32_t (&pair)[2], uint32_t word) {
  constexpr uint32_t k1024 = 0x64646464u, kMinus1152 = 0xe480e480u;
  const uint32_t biased = word ^ 0x80808080u;
  pair[0] = ptx::add2_f16(ptx::permute_bytes(biased, k1024, 0x4240), kMinus1152);
  pair[1] = ptx::add2_f16(ptx::permute_bytes(biased, k1024, 0x4341), kMinus1152);
}

/**
 * Two e4m3 in the upper bytes of a word's halves, whatever is in the lower ones: exponent and
 * mantissa in the places that float16 has them are 2^8 too small, subnormals too. NaN has all of
 * their bits; one more carries into float16's upper exponent bit, and makes it NaN again.
 */
PTX_FN uint32_t widen_upper_e4m3(uint32_t upper) {
  constexpr uint32_t k256 = 0x5c005c00u;
  const uint32_t magnitude = upper >> 1 & 0x3f803f80u;
  const uint32_t nan = (magnitude + 0x00800080u) & 0x40004000u;
  return ptx::multiply2_f16(magnitude | nan | (upper & 0x80008000u), k256);
}

/** Four e4m3. */
PTX_FN void widen_e4m3(uint32_t (&pair)[2], uint32_t word) {
  if constexpr (ptx::kConvertsE4M3) {
    ptx::unpack4_e4m3(pair, ptx::permute_bytes(word, 0, 0x3120));
  } else {
    pair[0] = widen_upper_e4m3(word << 8);
    pair[1] = widen_upper_e4m3(word);
  }
}

/** A word's codes 0 and 2, then 1 and 3. */
template <bool kE4M3>
PTX_FN void widen(uint32_t (&pair)[2], uint32_t word) {
  if constexpr (kE4M3)
    widen_e4m3(pair, word);
  else
    widen_int8(pair, word);
}

}  // namespace fa::cuda
