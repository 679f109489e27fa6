// Single elements of any dtype, for kernels to which it is a number of the call.
#pragma once

#include <type_traits>

#include "core/dtype.h"
#include "core/float8.h"
#include "cuda/ptx/ptx.h"

namespace fa::cuda {

/** bool gives 0 and 1. */
PTX_FN float load_element(const char* from, int dtype) {
  switch (dtype) {
    case static_cast<int>(DType::kFloat32): return ptx::ldg(reinterpret_cast<const float*>(from));
    case static_cast<int>(DType::kFloat16):
      return ptx::to_float(ptx::ldg(reinterpret_cast<const ptx::f16*>(from)));
    case static_cast<int>(DType::kBFloat16):
      return ptx::to_float(ptx::ldg(reinterpret_cast<const ptx::bf16*>(from)));
    case static_cast<int>(DType::kInt32):
      return static_cast<float>(ptx::ldg(reinterpret_cast<const int32_t*>(from)));
    case static_cast<int>(DType::kFloat8E4M3):
      return e4m3_to_float(ptx::ldg(reinterpret_cast<const uint8_t*>(from)));
    case static_cast<int>(DType::kInt8):
      return static_cast<float>(ptx::ldg(reinterpret_cast<const int8_t*>(from)));
    default: return ptx::ldg(reinterpret_cast<const uint8_t*>(from)) != 0 ? 1.0f : 0.0f;
  }
}

/** Towards zero; what is out of range becomes the nearest end of it, NaN 0. */
PTX_FN int32_t to_int32(float x) {
  if (!(x > -2147483648.0f)) return x != x ? 0 : -2147483647 - 1;
  return x >= 2147483648.0f ? 2147483647 : static_cast<int32_t>(x);
}

PTX_FN int8_t to_int8(float x) {
  const int32_t n = to_int32(x);
  return static_cast<int8_t>(n < -128 ? -128 : n > 127 ? 127 : n);
}

/**
 * Rounds to nearest, ties to even. NaN keeps its sign and what fits of its payload, as on the CPU
 * (core/dtype.h); a GPU's
 *  conversion makes one NaN of all. */
template <class T>
PTX_FN T narrow(float value) {
  const uint32_t bits = ptx::float_bits(value);
  if (value == value) return ptx::from_float<T>(value);
  if constexpr (std::is_same_v<T, ptx::bf16>) return T{static_cast<uint16_t>(bits >> 16 | 0x40u)};
  return T{static_cast<uint16_t>((bits >> 16 & 0x8000u) | 0x7e00u | (bits >> 13 & 0x3ffu))};
}

/** Floating dtypes round to nearest, ties to even. */
PTX_FN void store_element(char* to, int dtype, float value) {
  switch (dtype) {
    case static_cast<int>(DType::kFloat32): return ptx::stg(reinterpret_cast<float*>(to), value);
    case static_cast<int>(DType::kFloat16):
      return ptx::stg(reinterpret_cast<ptx::f16*>(to), narrow<ptx::f16>(value));
    case static_cast<int>(DType::kBFloat16):
      return ptx::stg(reinterpret_cast<ptx::bf16*>(to), narrow<ptx::bf16>(value));
    case static_cast<int>(DType::kInt32):
      return ptx::stg(reinterpret_cast<int32_t*>(to), to_int32(value));
    case static_cast<int>(DType::kFloat8E4M3):
      return ptx::stg(reinterpret_cast<uint8_t*>(to), float_to_e4m3(value));
    case static_cast<int>(DType::kInt8):
      return ptx::stg(reinterpret_cast<int8_t*>(to), to_int8(value));
    default: return ptx::stg(reinterpret_cast<uint8_t*>(to), static_cast<uint8_t>(value != 0));
  }
}

PTX_FN int element_size(int dtype) {
  switch (dtype) {
    case static_cast<int>(DType::kBool):
    case static_cast<int>(DType::kFloat8E4M3):
    case static_cast<int>(DType::kInt8): return 1;
    case static_cast<int>(DType::kFloat16):
    case static_cast<int>(DType::kBFloat16): return 2;
    default: return 4;
  }
}

/** Bits as they are. */
PTX_FN void copy_element(const char* from, char* to, int bytes) {
  if (bytes == 4)
    ptx::stg(reinterpret_cast<uint32_t*>(to), ptx::ldg(reinterpret_cast<const uint32_t*>(from)));
  else if (bytes == 2)
    ptx::stg(reinterpret_cast<uint16_t*>(to), ptx::ldg(reinterpret_cast<const uint16_t*>(from)));
  else
    ptx::stg(reinterpret_cast<uint8_t*>(to), ptx::ldg(reinterpret_cast<const uint8_t*>(from)));
}

}  // namespace fa::cuda
