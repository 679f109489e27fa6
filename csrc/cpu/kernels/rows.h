// Rows of any dtype and stride to and from contiguous float32. Conversion happens here, while a
// tile is packed, so 16-bit tensors are never converted whole.
#pragma once

#include <type_traits>

#include "core/dtype.h"
#include "core/float8.h"
#include "cpu/kernels/args.h"
#include "cpu/kernels/simd.h"

namespace fa::cpu::FA_ISA {
namespace {

constexpr int kFloat32 = static_cast<int>(DType::kFloat32);
constexpr int kFloat16 = static_cast<int>(DType::kFloat16);
constexpr int kBFloat16 = static_cast<int>(DType::kBFloat16);
constexpr int kInt32 = static_cast<int>(DType::kInt32);
constexpr int kBool = static_cast<int>(DType::kBool);
constexpr int kFloat8E4M3 = static_cast<int>(DType::kFloat8E4M3);
constexpr int kInt8 = static_cast<int>(DType::kInt8);

FA_ALWAYS_INLINE int64_t element_size(int dtype) {
  return static_cast<int64_t>(dtype_size(static_cast<DType>(dtype)));
}

FA_ALWAYS_INLINE int round_up(int n, int multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

FA_ALWAYS_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
FA_ALWAYS_INLINE int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

/** Asks for a row's cache lines: `Locality` 3 is the first-level cache, 2 the second. */
template <int Locality = 3, bool Written = false>
FA_ALWAYS_INLINE void prefetch_row(const char* row, int64_t bytes) {
  for (int64_t at = 0; at < bytes; at += 64) __builtin_prefetch(row + at, Written, Locality);
}

/** Where row `row` of a group's packed rows stands: the heads of a query lie side by side. */
struct PackedRow {
  int64_t i, head;
};
FA_ALWAYS_INLINE PackedRow packed_row(int group, int64_t row) {
  if (group == 1) return {row, 0};  // spares the division
  return {row / group, row % group};
}

/** Asks for row `row` of a group's packed rows, unless that is past `end`. */
template <bool Written = false>
FA_ALWAYS_INLINE void prefetch_packed_row(const Rows& rows, int64_t head_stride, int dim, int group,
                                          int64_t row, int64_t end) {
  if (row >= end) return;
  const int64_t size = element_size(rows.dtype);
  const PackedRow at = packed_row(group, row);
  const int64_t element = at.i * rows.row_stride + at.head * head_stride;
  prefetch_row<3, Written>(rows.base + element * size, dim * size);
}

template <int Dtype>
FA_ALWAYS_INLINE Vec load_floats(const char* p) {
  if constexpr (Dtype == kFloat16) return from_float16(load<VecH>(p));
  if constexpr (Dtype == kBFloat16) return from_bfloat16(load<VecH>(p));
  if constexpr (Dtype == kInt8) return load_int8(p);
  return load<Vec>(p);
}

template <int Dtype>
FA_ALWAYS_INLINE void store_floats(char* p, Vec x) {
  if constexpr (Dtype == kFloat16)
    store(p, to_float16(x));
  else if constexpr (Dtype == kBFloat16)
    store(p, to_bfloat16(x));
  else
    store(p, x);
}

/** Calls `body` with a dtype of floats of 16 bits, or float32, as a constant. */
template <class Body>
FA_ALWAYS_INLINE void with_float_dtype(int dtype, Body body) {
  if (dtype == kFloat16)
    body(std::integral_constant<int, kFloat16>{});
  else if (dtype == kBFloat16)
    body(std::integral_constant<int, kBFloat16>{});
  else
    body(std::integral_constant<int, kFloat32>{});
}

template <int Dtype>
constexpr int64_t kElementSize = static_cast<int64_t>(dtype_size(static_cast<DType>(Dtype)));

FA_ALWAYS_INLINE float load_scalar(const char* p, int dtype) {
  if (dtype == kFloat32) return load<float>(p);
  if (dtype == kFloat16) return float16_to_float(load<uint16_t>(p));
  if (dtype == kBFloat16) return bfloat16_to_float(load<uint16_t>(p));
  if (dtype == kInt32) return static_cast<float>(load<int32_t>(p));
  if (dtype == kFloat8E4M3) return e4m3_to_float(load<uint8_t>(p));
  if (dtype == kInt8) return load<int8_t>(p);
  return *p != 0 ? 1.f : 0.f;
}

FA_ALWAYS_INLINE void store_scalar(char* p, int dtype, float x) {
  if (dtype == kFloat32)
    store(p, x);
  else if (dtype == kFloat16)
    store(p, float_to_float16(x));
  else if (dtype == kBFloat16)
    store(p, float_to_bfloat16(x));
  else
    store(p, float_to_e4m3(x));
}

template <int Dtype>
void load_unit_stride(const char* source, int n, float* target) {
  int i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    FA_UNROLL
    for (int part = i; part < i + 4 * kLanes; part += kLanes)
      store(target + part, load_floats<Dtype>(source + part * kElementSize<Dtype>));
  }
  for (; i + kLanes <= n; i += kLanes)
    store(target + i, load_floats<Dtype>(source + i * kElementSize<Dtype>));
  if (i < n) {
    char tail[kLanes * 4] = {};
    std::memcpy(tail, source + i * kElementSize<Dtype>,
                static_cast<size_t>((n - i) * kElementSize<Dtype>));
    store(target + i, load_floats<Dtype>(tail));
  }
}

/** n floats; `target` has room for n rounded up to kLanes, and the rest of that is zeroed. */
void load_row(const char* source, int dtype, int64_t stride, int n, float* target) {
  if (stride == 1 && dtype == kFloat32) return load_unit_stride<kFloat32>(source, n, target);
  if (stride == 1 && dtype == kFloat16) return load_unit_stride<kFloat16>(source, n, target);
  if (stride == 1 && dtype == kBFloat16) return load_unit_stride<kBFloat16>(source, n, target);
  if (stride == 1 && dtype == kInt8) return load_unit_stride<kInt8>(source, n, target);
  const int64_t step = stride * element_size(dtype);
  int i = 0;
  if (stride == 1 && dtype == kFloat8E4M3)
    for (; i < n; ++i) target[i] = e4m3_to_float(load<uint8_t>(source + i));
  for (; i < n; ++i) target[i] = load_scalar(source + i * step, dtype);
  for (; i < round_up(n, kLanes); ++i) target[i] = 0.f;
}

template <int Dtype>
void store_unit_stride(char* target, int n, const float* source) {
  int i = 0;
  for (; i + kLanes <= n; i += kLanes)
    store_floats<Dtype>(target + i * kElementSize<Dtype>, load<Vec>(source + i));
  if (i < n) {
    char tail[kLanes * 4];
    store_floats<Dtype>(tail, load<Vec>(source + i));
    std::memcpy(target + i * kElementSize<Dtype>, tail,
                static_cast<size_t>((n - i) * kElementSize<Dtype>));
  }
}

/** n floats; `source` is readable up to n rounded up to kLanes. */
void store_row(char* target, int dtype, int64_t stride, int n, const float* source) {
  if (stride == 1 && dtype == kFloat32) return store_unit_stride<kFloat32>(target, n, source);
  if (stride == 1 && dtype == kFloat16) return store_unit_stride<kFloat16>(target, n, source);
  if (stride == 1 && dtype == kBFloat16) return store_unit_stride<kBFloat16>(target, n, source);
  const int64_t step = stride * element_size(dtype);
  int i = 0;
  if (stride == 1 && dtype == kFloat8E4M3)
    for (; i < n; ++i) store(target + i, float_to_e4m3(source[i]));
  for (; i < n; ++i) store_scalar(target + i * step, dtype, source[i]);
}

}  // namespace
}  // namespace fa::cpu::FA_ISA
