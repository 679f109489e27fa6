// What decoding multiplies: queries and keys in float32, or pairs of them in bfloat16; and the
// scales of rows in 8 bits.
#pragma once

#include "cpu/kernels/decode_prefetch.h"
#include "cpu/kernels/rows.h"

namespace fa::cpu::FA_ISA {
namespace {

/**
 * Two vectors of numbers that bfloat16 holds exactly as pairs: no instruction widens 8 bits to
 * bfloat16, but the upper half of such a float32 is the number.
 */
FA_ALWAYS_INLINE VecU pairs_of(Vec low, Vec high) { return ((VecU)low >> 16) | (VecU)high; }

/** Products of head dims, kStep at a time: of floats, one a lane. */
template <int Dtype, bool Pairs>
struct Products {
  using Operand = Vec;
  static constexpr int kStep = kLanes;
  FA_ALWAYS_INLINE static Vec keys(const char* p) { return pin(load_floats<Dtype>(p)); }
  FA_ALWAYS_INLINE static Vec queries(const float* p) { return pin(load<Vec>(p)); }
  FA_ALWAYS_INLINE static void add(Vec& acc, Vec k, Vec q) { acc += k * q; }
};

/** Two a lane, kLanes apart: no product is rounded. */
template <int Dtype>
struct Products<Dtype, true> {
  using Operand = VecU;
  static constexpr int kStep = 2 * kLanes;
  FA_ALWAYS_INLINE static VecU keys(const char* p) {
    return pairs_of(load_floats<Dtype>(p), load_floats<Dtype>(p + kLanes * kElementSize<Dtype>));
  }
  FA_ALWAYS_INLINE static VecU queries(const float* p) { return load<VecU>(p); }
  FA_ALWAYS_INLINE static void add(Vec& acc, VecU k, VecU q) { acc = dot_pairs(acc, k, q); }
};

/**
 * Whether each is 0 or from 2^-60 to 2^60 in magnitude. Dot products of pairs take subnormal
 * numbers for zero; and sums of these times codes of 8 bits stay far from overflow, though no scale
 * has made them smaller.
 */
FA_ALWAYS_INLINE bool all_moderate(Vec x) {
  constexpr uint32_t kLeast = (127u - 60u) << 23, kMost = (127u + 60u) << 23;
  const VecU magnitude = (VecU)x & 0x7fffffffu;
  const VecI other = (VecI)(magnitude != 0) & (VecI)(magnitude - kLeast > kMost - kLeast);
  return !any(other);
}

/** Scales of a step's rows, for one head. */
struct RowScales {
  alignas(64) float values[kDecodeKeys + kLanes];

  /**
   * Of whole vectors of keys, each of `PerVector`. Well before they are used: what was written in
   * parts a moment ago is slow to read at once.
   */
  template <int PerVector>
  FA_ALWAYS_INLINE void gather(const float* const* keys, int count, int64_t head) {
    for (int j = 0; j < count; j += PerVector) {
      FA_UNROLL
      for (int t = 0; t < PerVector; ++t) values[j + t] = keys[j + t][head];
    }
    store(values + count, Vec{});
  }

  /** Of the keys from j on, one for each lane of a vector that holds `Rows` rows of a key. */
  template <int Rows>
  FA_ALWAYS_INLINE Vec of_lanes(int j) const {
    return repeated<Rows>(load<Vec>(values + j), std::make_integer_sequence<int, kLanes>{});
  }

 private:
  template <int Rows, int... I>
  FA_ALWAYS_INLINE static Vec repeated(Vec x, std::integer_sequence<int, I...>) {
    return __builtin_shufflevector(x, x, (I / Rows)...);
  }
};

}  // namespace
}  // namespace fa::cpu::FA_ISA
