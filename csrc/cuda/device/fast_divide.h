// Division by a number that is constant for a launch: a multiplication and a shift (Granlund and
// Montgomery, "Division by invariant integers using multiplication", PLDI 1994).
#pragma once

#include <cstdint>

#include "core/inline.h"

namespace fa::cuda {

/** Divides 0 <= n < 2^31 by a divisor >= 1. */
struct FastDivide {
  uint32_t divisor = 1, multiplier = 0, shift = 0;

  FastDivide() = default;
  explicit FastDivide(int64_t by) : divisor(static_cast<uint32_t>(by)) {
    if (divisor == 1) return;
    int bits = 0;  // ceil(log2(divisor))
    while ((uint64_t{1} << bits) < divisor) ++bits;
    const uint64_t power = uint64_t{1} << (31 + bits);
    multiplier = static_cast<uint32_t>((power + divisor - 1) / divisor);
    shift = static_cast<uint32_t>(bits - 1);
  }

  FA_INLINE int quotient(int n) const {
    if (divisor == 1) return n;
    const uint64_t product = uint64_t{static_cast<uint32_t>(n)} * multiplier;
    return static_cast<int>(static_cast<uint32_t>(product >> 32) >> shift);
  }
  FA_INLINE int remainder(int n) const { return n - quotient(n) * static_cast<int>(divisor); }
};

}  // namespace fa::cuda
