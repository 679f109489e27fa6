// One instruction set's kernels: this file is compiled once per level, with that level's flags and
// FA_ISA set to its name.
#include "core/quantized_row.h"
#include "cpu/kernels/backward.h"
#include "cpu/kernels/convolve.h"
#include "cpu/kernels/decode.h"
#include "cpu/kernels/forward.h"
#include "cpu/kernels/table.h"

namespace fa::cpu {
namespace FA_ISA {
namespace {

int classify_tile(const ForwardArgs& a, int64_t i0, int64_t i1, int64_t j0, int64_t j1) {
  return static_cast<int>(classify(a, i0, i1, j0, j1));
}

void merge_row(const MergeRowArgs& a) {
  float* const row = a.scratch;
  float* const sum = a.scratch + round_up(a.n, 16);
  if (a.states == 0) std::memset(sum, 0, static_cast<size_t>(round_up(a.n, 16)) * sizeof(float));
  for (int s = 0; s < a.states; ++s) {
    load_row(a.rows[s], a.dtype, a.dim_strides[s], a.n, row);
    const Vec weight = splat(a.weights[s]);
    for (int d = 0; d < a.n; d += kLanes) {
      const Vec term = weight * load<Vec>(row + d);
      store(sum + d, s == 0 ? term : load<Vec>(sum + d) + term);
    }
  }
  store_row(a.out, a.out_dtype, a.out_dim_stride, a.n, sum);
}

FA_ALWAYS_INLINE int32_t to_int32(float x) {
  if (!(x > -2147483648.f)) return x != x ? 0 : std::numeric_limits<int32_t>::min();
  return x >= 2147483648.f ? std::numeric_limits<int32_t>::max() : static_cast<int32_t>(x);
}

FA_ALWAYS_INLINE int8_t to_int8(float x) {
  const int32_t n = to_int32(x);
  return static_cast<int8_t>(n < -128 ? -128 : n > 127 ? 127 : n);
}

void convert_row(const char* source, int source_dtype, int64_t source_stride, int n, char* target,
                 int target_dtype) {
  const int64_t source_size = element_size(source_dtype), target_size = element_size(target_dtype);
  const auto is_float = [](int dtype) { return dtype <= kBFloat16 || dtype == kFloat8E4M3; };
  const bool floats = is_float(source_dtype) && is_float(target_dtype);
  if (source_dtype == target_dtype && source_dtype != kBool) {
    if (source_stride == 1) {
      std::memcpy(target, source, static_cast<size_t>(n * source_size));
      return;
    }
    for (int i = 0; i < n; ++i)
      std::memcpy(target + i * target_size, source + i * source_stride * source_size,
                  static_cast<size_t>(source_size));
    return;
  }
  if (floats) {
    constexpr int kChunk = 256;
    alignas(64) float chunk[kChunk];
    for (int i = 0; i < n; i += kChunk) {
      const int count = n - i < kChunk ? n - i : kChunk;
      load_row(source + i * source_stride * source_size, source_dtype, source_stride, count, chunk);
      store_row(target + i * target_size, target_dtype, 1, count, chunk);
    }
    return;
  }
  for (int i = 0; i < n; ++i) {
    const char* const from = source + i * source_stride * source_size;
    char* const to = target + i * target_size;
    if (target_dtype == kBool) {
      *to =
          source_dtype == kInt32 ? load<int32_t>(from) != 0 : load_scalar(from, source_dtype) != 0;
    } else if (target_dtype == kInt32) {
      store(to, to_int32(load_scalar(from, source_dtype)));
    } else if (target_dtype == kInt8) {
      store(to, to_int8(load_scalar(from, source_dtype)));
    } else {
      store_scalar(to, target_dtype, load_scalar(from, source_dtype));
    }
  }
}

void encode_row(const float* row, int n, float scale, char* target, int dtype) {
  const bool int8 = dtype == kInt8;
  auto* const codes = reinterpret_cast<uint8_t*>(target);
  for (int i = 0; i < n; ++i) codes[i] = code_of(row[i], scale, int8);
}

float quantize_row(const float* row, int n, char* target, int dtype) {
  uint32_t greatest = 0;
  for (int i = 0; i < n; ++i) {
    const uint32_t magnitude = magnitude_bits(row[i]);
    greatest = magnitude > greatest ? magnitude : greatest;
  }
  const float scale = scale_of_row(greatest, dtype == kInt8);
  encode_row(row, n, scale, target, dtype);
  return scale;
}

}  // namespace
}  // namespace FA_ISA

#define FA_STRING_(x) #x
#define FA_STRING(x) FA_STRING_(x)
#define FA_TABLE_v2 kKernelsV2
#define FA_TABLE_v3 kKernelsV3
#define FA_TABLE_v4 kKernelsV4
#define FA_TABLE_v4_bf16 kKernelsV4Bf16
#define FA_TABLE_wide kKernelsWide
#define FA_TABLE_wide_bf16 kKernelsWideBf16
#define FA_TABLE_neon kKernelsNeon
#define FA_CONCAT_(a, b) a##b
#define FA_CONCAT(a, b) FA_CONCAT_(a, b)

#if defined(__x86_64__)
#define FA_ISA_PREFIX "x86-64-"
#else
#define FA_ISA_PREFIX "aarch64-"
#endif

extern const KernelTable FA_CONCAT(FA_TABLE_, FA_ISA);
const KernelTable FA_CONCAT(FA_TABLE_, FA_ISA) = {
    .name = FA_ISA_PREFIX FA_STRING(FA_ISA),
    .lanes = FA_ISA::kLanes,
    .panel_rows = FA_ISA::kPanelRows,
    .forward_scratch = FA_ISA::forward_scratch,
    .forward = FA_ISA::forward,
    .decode_rows = FA_ISA::kDecodeRows,
    .decode_scratch = FA_ISA::decode_scratch,
    .decode = FA_ISA::decode,
    .backward_scratch = FA_ISA::backward_scratch,
    .backward = FA_ISA::backward,
    .convolve_scratch = FA_ISA::convolve_scratch,
    .convolve = FA_ISA::convolve,
    .classify = FA_ISA::classify_tile,
    .merge_row = FA_ISA::merge_row,
    .convert_row = FA_ISA::convert_row,
    .quantize_row = FA_ISA::quantize_row,
    .encode_row = FA_ISA::encode_row,
};

}  // namespace fa::cpu
