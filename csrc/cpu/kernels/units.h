// What scores are computed in. exp2 wants powers of two, and multiplying Q by log2(e) once is
// cheaper than multiplying every score; but scores near float32's greatest overflow on the way.
// Rows that have such scores are computed a second time, in natural units.
#pragma once

#include <cmath>

#include "core/dtype.h"
#include "cpu/kernels/math.h"

namespace fa::cpu::FA_ISA {
namespace {

/** Below every score; finite, so that differences of maxima are never NaN. */
constexpr float kLowest = -kLargestFinite;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Units {
  float per_natural;     // what a score of 1 becomes
  float to_base_2;       // times a difference of scores: the exponent of two
  double to_natural;     // times a score
  float lowest_visible;  // what a visible score is raised to

  FA_ALWAYS_INLINE bool natural() const { return per_natural == 1; }
};

// A product that overflows to -infinity in base 2 may be finite in natural units: it must not look
// hidden, and is raised to kLowest. In natural units it is a score of -infinity.
constexpr Units kBase2{kLog2E, 1, 0.6931471805599453, kLowest};
constexpr Units kNatural{1, kLog2E, 1, -kInfinity};

/**
 * Scores up to this are safe in base 2: far from overflow, and what the multiplication rounds away
 * is below 2^-14. At 1e6 that would be 2^-5, an error of 4 % in every weight of the row.
 */
constexpr float kSafeScore = 0x1p10f;

/**
 * Whether a row must be computed again in natural units, by the maximum and sum of its softmax: a
 * score was, or may have been, out of range, or NaN, which inf - inf may have made.
 */
FA_ALWAYS_INLINE bool out_of_base_2(float max, float sum) {
  return sum != 0 && !(sum == sum && std::fabs(max) < kSafeScore);
}
FA_ALWAYS_INLINE VecI out_of_base_2(Vec max, Vec sum) {
  return (VecI)(sum != Vec{}) & ~((VecI)(sum == sum) & (VecI)(absolute(max) < splat(kSafeScore)));
}

/** log(sum exp(score)), and what rounding it to float32 left out. */
struct LogSumExp {
  float lse, rest;
};

FA_ALWAYS_INLINE LogSumExp log_sum_exp(const Units& units, float max, float sum) {
  if (sum == 0) return {-kInfinity, 0};
  const double top = max * units.to_natural, log_sum = std::log(static_cast<double>(sum));
  const float lse = static_cast<float>(top + log_sum);
  return {lse, static_cast<float>(top - static_cast<double>(lse) + log_sum)};
}

/**
 * A value of the float mask. -infinity hides a pair; the lowest finite float (a customary stand-in)
 * must stay finite.
 */
FA_ALWAYS_INLINE Vec bias_in(const Units& units, Vec bias) {
  const Vec scaled = max_or_second(splat(kLowest), bias * splat(units.per_natural));
  return select(bias == splat(-kInfinity), bias, scaled);
}

/** The softmax of no keys, or of the sink alone: one more key without a value. */
FA_ALWAYS_INLINE void begin_softmax(const Units& units, const float* sink, float& max, float& sum) {
  max = kLowest;
  sum = 0;
  if (sink == nullptr || *sink == -kInfinity) return;
  const float logit = *sink * units.per_natural;
  max = logit < kLowest ? kLowest : logit;
  sum = 1;
}

}  // namespace
}  // namespace fa::cpu::FA_ISA
