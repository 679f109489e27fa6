// Vectors of one instruction set: GCC vector types and the few operations that need an intrinsic.
// This file is compiled once per level (FA_ISA); everything lives in that level's namespace with
// internal linkage.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define FA_ALWAYS_INLINE inline __attribute__((always_inline))
#define FA_UNROLL _Pragma("GCC unroll 16")

namespace fa::cpu::FA_ISA {
namespace {

// FA_LANES asks for wider vectors than the instruction set has, made of several registers by the
// compiler: so the 16-lane kernels can be tested on machines without AVX-512.
#if defined(FA_LANES)
constexpr int kLanes = FA_LANES;
constexpr int kRegisters = 32;
#elif defined(__AVX512F__)
#define FA_AVX512 1
constexpr int kLanes = 16;
constexpr int kRegisters = 32;
#elif defined(__AVX2__)
#define FA_AVX2 1
constexpr int kLanes = 8;
constexpr int kRegisters = 16;
#elif defined(__x86_64__)
#define FA_SSE 1
constexpr int kLanes = 4;
constexpr int kRegisters = 16;
#elif defined(__aarch64__)
#define FA_NEON 1
constexpr int kLanes = 4;
constexpr int kRegisters = 32;
#endif

typedef float Vec __attribute__((vector_size(kLanes * 4), may_alias));
typedef int32_t VecI __attribute__((vector_size(kLanes * 4), may_alias));
typedef uint32_t VecU __attribute__((vector_size(kLanes * 4), may_alias));
typedef uint16_t VecH __attribute__((vector_size(kLanes * 2), may_alias));
typedef uint64_t VecL __attribute__((vector_size(kLanes * 8), may_alias));

FA_ALWAYS_INLINE Vec splat(float x) { return x - Vec{}; }
FA_ALWAYS_INLINE VecI splat(int32_t x) { return x - VecI{}; }
FA_ALWAYS_INLINE VecU splat(uint32_t x) { return x - VecU{}; }

template <class V>
FA_ALWAYS_INLINE V load(const void* p) {
  V v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
template <class V>
FA_ALWAYS_INLINE void store(void* p, V v) {
  std::memcpy(p, &v, sizeof v);
}

/** Keeps a value in a register: without it the compiler may fold a broadcast into every use. */
FA_ALWAYS_INLINE Vec pin(Vec v) {
#if defined(FA_AVX512) || defined(FA_AVX2) || defined(FA_SSE)
  asm("" : "+v"(v));
#elif defined(FA_NEON)
  asm("" : "+w"(v));
#endif
  return v;
}

/** a > b ? a : b, so b when either is NaN (the semantics of maxps). */
FA_ALWAYS_INLINE Vec max_or_second(Vec a, Vec b) {
#if defined(FA_AVX512)
  return (Vec)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(FA_AVX2)
  return (Vec)_mm256_max_ps((__m256)a, (__m256)b);
#elif defined(FA_SSE)
  return (Vec)_mm_max_ps((__m128)a, (__m128)b);
#else
  return a > b ? a : b;
#endif
}

/** Bit pattern select: condition lanes are all ones or all zeros. */
FA_ALWAYS_INLINE Vec select(VecI condition, Vec yes, Vec no) { return condition ? yes : no; }

/** Whether some lane of `condition` is set. */
FA_ALWAYS_INLINE bool any(VecI condition) {
#if defined(FA_AVX512)
  return _mm512_test_epi32_mask((__m512i)condition, (__m512i)condition) != 0;
#elif defined(FA_AVX2)
  return _mm256_testz_si256((__m256i)condition, (__m256i)condition) == 0;
#elif defined(FA_SSE)
  return _mm_testz_si128((__m128i)condition, (__m128i)condition) == 0;
#else
  int32_t bits = 0;
  for (int lane = 0; lane < kLanes; ++lane) bits |= condition[lane];
  return bits != 0;
#endif
}

// ---- 16-bit floats ----

FA_ALWAYS_INLINE Vec from_bfloat16(VecH h) {
#if defined(FA_AVX512)
  return (Vec)_mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)h), 16);
#elif defined(FA_AVX2)
  // Eight numbers to both halves, which a load does, then one shuffle: every two bytes to the upper
  // end of a lane. Its pattern stays in memory, where the compiler would not leave it: some kernels
  // have no register to spare.
  alignas(32) static const int8_t kUpper[32] = {-1, -1, 0,  1,  -1, -1, 2,  3,  -1, -1, 4,
                                                5,  -1, -1, 6,  7,  -1, -1, 8,  9,  -1, -1,
                                                10, 11, -1, -1, 12, 13, -1, -1, 14, 15};
  __m256i x = _mm256_broadcastsi128_si256((__m128i)h);
  asm("vpshufb %1, %0, %0" : "+x"(x) : "m"(kUpper));
  return (Vec)x;
#else
  return (Vec)(__builtin_convertvector(h, VecU) << 16);
#endif
}

FA_ALWAYS_INLINE VecH to_bfloat16(Vec x) {
  const VecU bits = (VecU)x;
  const VecU rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const VecU quiet = (bits >> 16) | 0x40u;
  const VecI nan = (VecI)((bits & 0x7fffffffu) > 0x7f800000u);
  return __builtin_convertvector((VecU)select(nan, (Vec)quiet, (Vec)rounded), VecH);
}

FA_ALWAYS_INLINE Vec from_float16(VecH h) {
#if defined(FA_AVX512)
  return (Vec)_mm512_cvtph_ps((__m256i)h);
#elif defined(FA_AVX2)
  return (Vec)_mm256_cvtph_ps((__m128i)h);
#elif defined(FA_NEON)
  return (Vec)vcvt_f32_f16(vreinterpret_f16_u16((uint16x4_t)h));
#else
  const VecU bits = __builtin_convertvector(h, VecU);
  const VecU magnitude = bits & 0x7fffu;
  // The half's exponent and fraction in a float's place, then 2^(127 - 15): exact, subnormals
  // included.
  Vec value = (Vec)(magnitude << 13) * splat(5.192296858534828e33f);
  value = (Vec)((VecU)value | ((VecU)(magnitude >= 0x7c00u) & 0x7f800000u));
  return (Vec)((VecU)value | (bits & 0x8000u) << 16);
#endif
}

FA_ALWAYS_INLINE VecH to_float16(Vec x) {
#if defined(FA_AVX512)
  return (VecH)_mm512_cvtps_ph((__m512)x, _MM_FROUND_TO_NEAREST_INT);
#elif defined(FA_AVX2)
  return (VecH)_mm256_cvtps_ph((__m256)x, _MM_FROUND_TO_NEAREST_INT);
#elif defined(FA_NEON)
  return (VecH)vreinterpret_u16_f16(vcvt_f16_f32((float32x4_t)x));
#else
  // The scalar algorithm of core/dtype.h, all branches at once.
  const VecU bits = (VecU)x;
  const VecU magnitude = bits & 0x7fffffffu;
  const VecU normal = (magnitude + 0xfffu + ((magnitude >> 13) & 1u) - 0x38000000u) >> 13;
  const VecU subnormal = (VecU)((Vec)magnitude + 0.5f) - 0x3f000000u;
  const VecU nan = 0x7e00u | ((magnitude >> 13) & 0x3ffu);
  VecU half = (VecU)select((VecI)(magnitude < 0x38800000u), (Vec)subnormal, (Vec)normal);
  half = (VecU)select((VecI)(magnitude >= 0x477ff000u), (Vec)splat(uint32_t{0x7c00}), (Vec)half);
  half = (VecU)select((VecI)(magnitude > 0x7f800000u), (Vec)nan, (Vec)half);
  return __builtin_convertvector(half | ((bits >> 16) & 0x8000u), VecH);
#endif
}

// ---- 8-bit whole numbers ----

FA_ALWAYS_INLINE Vec load_int8(const void* p) {
#if defined(FA_AVX512)
  return (Vec)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i*)p)));
#elif defined(FA_AVX2)
  return (Vec)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i*)p)));
#elif defined(FA_SSE)
  return (Vec)_mm_cvtepi32_ps(_mm_cvtepi8_epi32(_mm_cvtsi32_si128(load<int32_t>(p))));
#else
  typedef int8_t Bytes __attribute__((vector_size(kLanes), may_alias));
  return __builtin_convertvector(__builtin_convertvector(load<Bytes>(p), VecI), Vec);
#endif
}

// ---- bfloat16 dot products ----

// AVX512-BF16 multiplies pairs: each 32-bit lane of a and b holds two bfloat16. FA_BF16_DOT_MODEL
// computes the same with ordinary instructions, so that the kernels around it can be tested where
// it is missing.
#if defined(__AVX512BF16__) || defined(FA_BF16_DOT_MODEL)
constexpr bool kBf16Dot = true;
#else
constexpr bool kBf16Dot = false;
#endif

/** The bfloat16 in the low half of each lane, and the one in the high half. */
FA_ALWAYS_INLINE Vec low_of_pair(VecU pair) { return (Vec)(pair << 16); }
FA_ALWAYS_INLINE Vec high_of_pair(VecU pair) { return (Vec)(pair & 0xffff0000u); }

/** acc + low(a) * low(b) + high(a) * high(b). */
FA_ALWAYS_INLINE Vec dot_pairs(Vec acc, VecU a, VecU b) {
#if defined(__AVX512BF16__)
  return (Vec)_mm512_dpbf16_ps((__m512)acc, (__m512bh)a, (__m512bh)b);
#else
  return acc + low_of_pair(a) * low_of_pair(b) + high_of_pair(a) * high_of_pair(b);
#endif
}

/** Two numbers a lane, rounded to nearest even. */
FA_ALWAYS_INLINE VecU to_pairs(Vec low, Vec high) {
#if defined(__AVX512BF16__)
  // The instruction puts `low` into the lower sixteen 16-bit elements; pairs want them interleaved.
  const __m512i halves = (__m512i)_mm512_cvtne2ps_pbh((__m512)high, (__m512)low);
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24,
                                         8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return (VecU)_mm512_permutexvar_epi16(order, halves);
#else
  return __builtin_convertvector(to_bfloat16(low), VecU) |
         __builtin_convertvector(to_bfloat16(high), VecU) << 16;
#endif
}

// ---- transposition ----

template <int Step, int... I>
FA_ALWAYS_INLINE void exchange(Vec& a, Vec& b, std::integer_sequence<int, I...>) {
  const Vec x = a, y = b;
  a = __builtin_shufflevector(x, y, ((I & Step) == 0 ? I : kLanes + I - Step)...);
  b = __builtin_shufflevector(x, y, ((I & Step) == 0 ? I + Step : kLanes + I)...);
}

template <int Step>
FA_ALWAYS_INLINE void butterfly(Vec (&r)[kLanes]) {
  FA_UNROLL
  for (int i = 0; i < kLanes; ++i) {
    if ((i & Step) == 0)
      exchange<Step>(r[i], r[i + Step], std::make_integer_sequence<int, kLanes>{});
  }
}

/** r[i][j] <-> r[j][i], in registers: log2(kLanes) levels of block exchanges. */
FA_ALWAYS_INLINE void transpose(Vec (&r)[kLanes]) {
  if constexpr (kLanes == 16) butterfly<8>(r);
  if constexpr (kLanes >= 8) butterfly<4>(r);
  butterfly<2>(r);
  butterfly<1>(r);
}

/**
 * Interleaves the low and the high pairs of every 128 bits: unpcklps and unpckhps, zip1 and zip2.
 */
template <int... I>
FA_ALWAYS_INLINE void zip(Vec& a, Vec& b, std::integer_sequence<int, I...>) {
  const Vec x = a, y = b;
  a = __builtin_shufflevector(x, y, (I / 4 * 4 + I % 4 / 2 + I % 2 * kLanes)...);
  b = __builtin_shufflevector(x, y, (I / 4 * 4 + I % 4 / 2 + 2 + I % 2 * kLanes)...);
}

/**
 * Sums lanes of End / Step vectors r, which are overwritten: lane i of the result adds the lanes of
 * r[i % End / Step] that differ from i in the bits Step to End / 2. So fold<1, kLanes> gives the
 * sum of r[i] in lane i.
 */
template <int Step, int End>
FA_ALWAYS_INLINE Vec fold(Vec* r) {
  if constexpr (Step == End) {
    return r[0];
  } else {
    FA_UNROLL
    for (int i = 0; i < End / Step; i += 2) {
      if constexpr (
          Step == 1)  // two of the four lanes with one instruction each; the next level orders them
        zip(r[i], r[i + 1], std::make_integer_sequence<int, kLanes>{});
      else
        exchange<Step>(r[i], r[i + 1], std::make_integer_sequence<int, kLanes>{});
      r[i / 2] = r[i] + r[i + 1];
    }
    return fold<2 * Step, End>(r);
  }
}

}  // namespace
}  // namespace fa::cpu::FA_ISA
