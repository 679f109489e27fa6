// Conversions between float32 and the 16-bit types, and the approximations of the special function
// unit. The executor computes the approximations exactly, where they differ by an ulp or two on a
// GPU, but for tanh.
#pragma once

#include "cuda/ptx/types.h"

#if !PTX_DEVICE
#include <cmath>

#include "core/dtype.h"
#include "simt/counters.h"
#endif

namespace ptx {

#if PTX_DEVICE

PTX_FN uint32_t float_bits(float value) { return __float_as_uint(value); }
PTX_FN float float_from_bits(uint32_t bits) { return __uint_as_float(bits); }

/**
 * The same value, whose origin the compiler cannot see: what follows from it is computed anew
 * instead of being kept in registers.
 */
PTX_FN int opaque(int value) {
  asm volatile("" : "+r"(value));
  return value;
}
PTX_FN const char* opaque(const char* value) {
  asm volatile("" : "+l"(value));
  return value;
}

/**
 * Two floats rounded to nearest even and packed, `low` in the lower half (cvt.rn.f16x2 / bf16x2).
 */
template <class T>
PTX_FN uint32_t pack2(float low, float high) {
  uint32_t packed;
  if constexpr (std::is_same_v<T, f16>)
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  else
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}

template <class T>
PTX_FN float to_float(T value) {
  if constexpr (std::is_same_v<T, f16>) {
    float wide;
    asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(value.bits));
    return wide;
  } else if constexpr (std::is_same_v<T, bf16>) {
    return __uint_as_float(uint32_t{value.bits} << 16);
  } else {
    return value;
  }
}

/** Rounds to nearest even. */
template <class T>
PTX_FN T from_float(float value) {
  if constexpr (std::is_same_v<T, float>) {
    return value;
  } else {
    T narrow;
    if constexpr (std::is_same_v<T, f16>)
      asm("cvt.rn.f16.f32 %0, %1;" : "=h"(narrow.bits) : "f"(value));
    else
      asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(narrow.bits) : "f"(value));
    return narrow;
  }
}

/** Sums and products of two pairs of f16, rounded to nearest even. */
PTX_FN uint32_t add2_f16(uint32_t a, uint32_t b) {
  uint32_t sum;
  asm("add.rn.f16x2 %0, %1, %2;" : "=r"(sum) : "r"(a), "r"(b));
  return sum;
}
PTX_FN uint32_t multiply2_f16(uint32_t a, uint32_t b) {
  uint32_t product;
  asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(product) : "r"(a), "r"(b));
  return product;
}

/** Rounded to the 10-bit mantissa of a tf32 operand, ties away from zero. */
PTX_FN uint32_t to_tf32(float value) {
  uint32_t rounded;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(value));
  return rounded & 0xffffe000u;  // PTX leaves the other bits open
}

/** 2^x; 0 for -infinity. Subnormal results are flushed to zero. */
PTX_FN float exp2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
PTX_FN float log2_approx(float x) {
  float y;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
PTX_FN float rcp_approx(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
/** Relative error 2^-11 (PTX ISA, tanh.approx): rounding to float16 costs as much. */
PTX_FN float tanh_approx(float x) {
  float y;
  asm("tanh.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

#else

inline uint32_t float_bits(float value) { return fa::float_bits(value); }
inline float float_from_bits(uint32_t bits) { return fa::float_from_bits(bits); }

inline int opaque(int value) { return value; }
inline const char* opaque(const char* value) { return value; }

template <class T>
inline T from_float(float value) {
  constexpr uint16_t kNaN = 0x7fff;  // of either dtype, whichever NaN comes in
  if constexpr (std::is_same_v<T, float>)
    return value;
  else if (value != value)
    return T{kNaN};
  else if constexpr (std::is_same_v<T, f16>)
    return T{fa::float_to_float16(value)};
  else
    return T{fa::float_to_bfloat16(value)};
}

template <class T>
inline float to_float(T value) {
  if constexpr (std::is_same_v<T, float>)
    return value;
  else if constexpr (std::is_same_v<T, f16>)
    return fa::float16_to_float(value.bits);
  else
    return fa::bfloat16_to_float(value.bits);
}

template <class T>
inline uint32_t pack2(float low, float high) {
  return from_float<T>(low).bits | uint32_t{from_float<T>(high).bits} << 16;
}

// Rounded twice, with the result of once: float32 has 2 * 11 + 2 bits (Figueroa 1995).
inline uint32_t add2_f16(uint32_t a, uint32_t b) {
  const auto half = [](uint32_t word) { return to_float(f16{static_cast<uint16_t>(word)}); };
  return pack2<f16>(half(a) + half(b), half(a >> 16) + half(b >> 16));
}
inline uint32_t multiply2_f16(uint32_t a, uint32_t b) {
  const auto half = [](uint32_t word) { return to_float(f16{static_cast<uint16_t>(word)}); };
  return pack2<f16>(half(a) * half(b), half(a >> 16) * half(b >> 16));
}

inline uint32_t to_tf32(float value) {
  const uint32_t bits = fa::float_bits(value);
  if ((bits & 0x7f800000u) == 0x7f800000u) return bits;
  return (bits + 0x1000u) & ~0x1fffu;
}

inline float exp2_approx(float x) {
  ++simt::counters().exp2;
  const float y = std::exp2(x);
  return std::fpclassify(y) == FP_SUBNORMAL ? 0.0f : y;
}
inline float log2_approx(float x) { return std::log2(x); }
inline float rcp_approx(float x) { return 1.0f / x; }
/** Rounded to 11 significant bits, which is as wrong as it may be on a GPU. */
inline float tanh_approx(float x) { return float_from_bits(to_tf32(std::tanh(x))); }

#endif

/** The two values of a packed pair, the lower half first. */
template <class T>
PTX_FN float2 unpack2(uint32_t packed) {
  float2 values;
  values.x = to_float(T{static_cast<uint16_t>(packed & 0xffffu)});
  values.y = to_float(T{static_cast<uint16_t>(packed >> 16)});
  return values;
}

}  // namespace ptx
