// Elements of the operands of tensor core products.
#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "simt/fp8.h"

namespace simt {

enum class Operand { kFloat16, kBFloat16, kTf32, kE4M3 };

/** Branch-free, so that the compiler vectorises the conversion of a whole fragment. */
inline float widen_float16(uint32_t bits) {
  const uint32_t shifted = (bits & 0x7fffu) << 13;
  const float scaled = fa::float_from_bits(shifted) * 0x1p112f;  // exact, subnormals included
  const uint32_t finite = fa::float_bits(scaled);
  const uint32_t special = shifted | 0x7f800000u;
  const uint32_t magnitude = shifted >= (0x7c00u << 13) ? special : finite;
  return fa::float_from_bits(magnitude | (bits & 0x8000u) << 16);
}

/** An element of one of the 16-bit types. */
inline float widen(Operand operand, uint32_t bits) {
  return operand == Operand::kFloat16 ? widen_float16(bits) : fa::float_from_bits(bits << 16);
}

}  // namespace simt
