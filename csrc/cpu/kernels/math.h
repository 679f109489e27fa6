// Vector exp2, tanh and Philox.
#pragma once

#include <limits>

#include "core/philox.h"
#include "cpu/kernels/simd.h"

namespace fa::cpu::FA_ISA {
namespace {

constexpr float kLog2E = 1.4426950408889634f;

/** x = n + r with |r| <= 1/2; what 2^n * y needs of n differs by instruction set. */
struct Exponent {
#if defined(FA_AVX512)
  Vec n;
  FA_ALWAYS_INLINE Vec scale(Vec y) const { return (Vec)_mm512_scalef_ps((__m512)y, (__m512)n); }
#else
  VecU bits;
  FA_ALWAYS_INLINE Vec scale(Vec y) const { return (Vec)((VecU)y + bits); }
#endif
};

/** Splits x, which lies in [-126, 127], and returns r. */
FA_ALWAYS_INLINE Vec split_exponent(Vec x, Exponent& exponent) {
#if defined(FA_AVX512)
  exponent.n = (Vec)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEAREST_INT);
  return x - exponent.n;
#elif defined(FA_AVX2)
  exponent.bits = (VecU)_mm256_slli_epi32(_mm256_cvtps_epi32((__m256)x), 23);
  return x - (Vec)_mm256_round_ps((__m256)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#elif defined(FA_SSE)
  exponent.bits = (VecU)_mm_slli_epi32(_mm_cvtps_epi32((__m128)x), 23);
  return x - (Vec)_mm_round_ps((__m128)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
  // Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits.
  const Vec shifted = pin(x + splat(12582912.f));
  exponent.bits = (VecU)shifted << 23;
  return x - (shifted - splat(12582912.f));
#endif
}

/**
 * 2^x for x <= 127; below -126 it stays at about 2^-126 instead of reaching 0. NaN stays NaN. 2^r
 * is a relative-minimax polynomial of degree 5 (error 2.1e-7), in Estrin's order: its three short
 * chains run side by side, and latency is what limits this function.
 */
FA_ALWAYS_INLINE Vec exp2_clamped(Vec x) {
  Exponent exponent;
  const Vec r = pin(split_exponent(max_or_second(splat(-126.f), x), exponent));
  const Vec r2 = pin(r * r);
  const Vec high = pin(splat(0.0013276472f) * r + splat(0.00967554133f));
  const Vec middle = pin(splat(0.0555071327f) * r + splat(0.240221197f));
  const Vec low = pin(splat(0.693146967f) * r + splat(1.f));
  return exponent.scale(pin(high * r2 + middle) * r2 + low);
}

/** The same with a true zero for x below -126, -infinity included: what masks need. */
FA_ALWAYS_INLINE Vec exp2_or_zero(Vec x) {
  return (Vec)((VecI)exp2_clamped(x) & ~(VecI)(x < splat(-126.f)));
}

FA_ALWAYS_INLINE Vec absolute(Vec x) { return (Vec)((VecI)x & 0x7fffffff); }

// (tanh(x) / x - 1) / x^2 as a polynomial in x^2 on [0, 0.625^2]: Chebyshev interpolation, relative
// error of tanh 1.6e-8.
constexpr int kTanhTerms = 5;
constexpr float kTanh[kTanhTerms] = {-0.33333328736f, 0.13332748907f, -0.05384775770f,
                                     0.02098229760f, -0.00607516659f};

/** tanh: an odd polynomial below 0.625 (no cancellation), 1 - 2 / (e^2x + 1) above. */
FA_ALWAYS_INLINE Vec tanh(Vec x) {
  const Vec a = absolute(x);
  const Vec e = exp2_clamped(a * splat(-2.f * kLog2E));
  const Vec large = (1.f - e) / (1.f + e);
  const Vec z = x * x;
  Vec p = splat(kTanh[kTanhTerms - 1]);
  FA_UNROLL
  for (int i = kTanhTerms - 2; i >= 0; --i) p = p * z + splat(kTanh[i]);
  const Vec small = x + x * z * p;
  const Vec signed_large = (Vec)((VecI)large | ((VecI)x & (VecI)splat(-0.f)));
  return select((VecI)(a < splat(0.625f)), small, signed_large);
}

/** Philox4x32-10 with one counter per lane; see core/philox.h. */
struct PhiloxWords {
  VecU word[4];
};

FA_ALWAYS_INLINE void multiply_wide(uint32_t m, VecU x, VecU& high, VecU& low) {
  const VecL product = __builtin_convertvector(x, VecL) * uint64_t{m};
  high = __builtin_convertvector(product >> 32, VecU);
  low = x * m;
}

FA_ALWAYS_INLINE PhiloxWords philox(VecU c0, VecU c1, VecU c2, VecU c3, uint32_t key0,
                                    uint32_t key1) {
  for (int round = 0; round < kPhiloxRounds; ++round) {
    VecU high0, low0, high1, low1;
    multiply_wide(kPhiloxM0, c0, high0, low0);
    multiply_wide(kPhiloxM1, c2, high1, low1);
    c0 = high1 ^ c1 ^ key0;
    c1 = low1;
    c2 = high0 ^ c3 ^ key1;
    c3 = low0;
    key0 += kPhiloxW0;
    key1 += kPhiloxW1;
  }
  return {{c0, c1, c2, c3}};
}

}  // namespace
}  // namespace fa::cpu::FA_ISA
