// Element types and the scalar conversions between them. float16 is IEEE binary16, bfloat16 the
// upper half of a binary32; both round to nearest, ties to even (IEEE 754-2019 §4.3.1).
// Functions are static so that a kernel compiled for a newer instruction set keeps its own copy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace fa {

// The numbers are shared with lib/tensor/dtype.ts.
enum class DType : int {
  kFloat32 = 0,
  kFloat16 = 1,
  kBFloat16 = 2,
  kInt32 = 3,
  kBool = 4,
  kFloat8E4M3 = 5,
  kInt8 = 6,
};

constexpr int kDTypeCount = 7;

static constexpr size_t dtype_size(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
    case DType::kInt32: return 4;
    case DType::kFloat16:
    case DType::kBFloat16: return 2;
    case DType::kBool:
    case DType::kFloat8E4M3:
    case DType::kInt8: return 1;
  }
  return 0;
}

static constexpr const char* dtype_name(DType dtype) {
  switch (dtype) {
    case DType::kFloat32: return "float32";
    case DType::kFloat16: return "float16";
    case DType::kBFloat16: return "bfloat16";
    case DType::kInt32: return "int32";
    case DType::kBool: return "bool";
    case DType::kFloat8E4M3: return "float8_e4m3";
    case DType::kInt8: return "int8";
  }
  return "unknown";
}

/** Values that stand for themselves. Those of float8_e4m3 stand for themselves times a scale. */
static constexpr bool is_floating(DType dtype) {
  return dtype == DType::kFloat32 || dtype == DType::kFloat16 || dtype == DType::kBFloat16;
}

/** What a cache may hold beside floating values: values that stand for themselves times a scale. */
static constexpr bool is_quantized(DType dtype) {
  return dtype == DType::kFloat8E4M3 || dtype == DType::kInt8;
}

static inline uint32_t float_bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

static inline float float_from_bits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// Of float32.
constexpr float kSmallestNormal = 1.17549435e-38f;
constexpr float kLargestFinite = 3.4028234663852886e38f;

static inline float bfloat16_to_float(uint16_t bits) {
  return float_from_bits(uint32_t{bits} << 16);
}

static inline uint16_t float_to_bfloat16(float value) {
  const uint32_t bits = float_bits(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u)
    return static_cast<uint16_t>((bits >> 16) | 0x40u);  // stays NaN
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

static inline float float16_to_float(uint16_t bits) {
  const uint32_t sign = (uint32_t{bits} & 0x8000u) << 16;
  const uint32_t magnitude = bits & 0x7fffu;
  if (magnitude >= 0x7c00u) return float_from_bits(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
  if (magnitude >= 0x0400u) return float_from_bits(sign | ((magnitude << 13) + 0x38000000u));
  // A subnormal is magnitude * 2^-24, exact in float32.
  const float value = static_cast<float>(magnitude) * 5.9604644775390625e-8f;
  return float_from_bits(sign | float_bits(value));
}

static inline uint16_t float_to_float16(float value) {
  const uint32_t bits = float_bits(value);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u)
    return static_cast<uint16_t>(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));
  if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);  // rounds to infinity
  if (magnitude < 0x38800000u) {
    // Below 2^-14: adding 0.5 aligns the last kept bit (2^-24) with the last bit of the sum, so the
    // hardware's own rounding does the work.
    const float shifted = float_from_bits(magnitude) + 0.5f;
    return static_cast<uint16_t>(sign | (float_bits(shifted) - 0x3f000000u));
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u) - 0x38000000u;
  return static_cast<uint16_t>(sign | (rounded >> 13));
}

}  // namespace fa
