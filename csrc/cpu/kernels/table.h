// The functions of one instruction set, and the sets this binary holds.
#pragma once

#include <cstddef>

#include "cpu/kernels/args.h"

namespace fa::cpu {

/** weights[s] * rows[s], summed over states, into one row of `n`. */
struct MergeRowArgs {
  int states;
  const char* const* rows;  // row of each state
  const int64_t* dim_strides;
  int dtype;
  const float* weights;
  int n;
  char* out;
  int out_dtype;
  int64_t out_dim_stride;
  float* scratch;  // 2 * (n rounded up to 16) floats
};

struct KernelTable {
  const char* name;
  int lanes;
  int panel_rows;  // query rows of one register tile
  /** Bytes of scratch a work item needs. */
  size_t (*forward_scratch)(const ForwardArgs& args);
  /**
   * One work item: rows [row_begin, row_end) against keys [key_begin, key_end). `scratch` is
   * 64-byte aligned.
   */
  void (*forward)(const ForwardArgs& args, char* scratch);
  /** The same for at most decode_rows rows; what it asks of the problem is in kernels/decode.h. */
  int decode_rows;
  size_t (*decode_scratch)(const ForwardArgs& args);
  void (*decode)(const ForwardArgs& args, char* scratch);
  /** Likewise for gradients. */
  size_t (*backward_scratch)(const BackwardArgs& args);
  void (*backward)(const BackwardArgs& args, char* scratch);
  /** One work item of a convolution; `scratch` is 64-byte aligned. */
  size_t (*convolve_scratch)(const ConvolveArgs& args);
  void (*convolve)(const ConvolveArgs& args, char* scratch);
  /** core TileKind of queries [i0, i1) x keys [j0, j1) over all heads of the group. */
  int (*classify)(const ForwardArgs& args, int64_t i0, int64_t i1, int64_t j0, int64_t j1);
  void (*merge_row)(const MergeRowArgs& args);
  /**
   * n elements, each converted; strides in elements. Floats round to nearest even, int32 and int8
   * truncate and saturate, bool is x != 0.
   */
  void (*convert_row)(const char* source, int source_dtype, int64_t source_stride, int n,
                      char* target, int target_dtype);
  /** n codes of int8 or float8_e4m3; returns their scale: core/quantized_row.h. */
  float (*quantize_row)(const float* row, int n, char* target, int dtype);
  /** The same of a given scale. */
  void (*encode_row)(const float* row, int n, float scale, char* target, int dtype);
};

#if defined(FA_ISA_V2)
extern const KernelTable kKernelsV2;
#endif
#if defined(FA_ISA_V3)
extern const KernelTable kKernelsV3;
#endif
#if defined(FA_ISA_V4)
extern const KernelTable kKernelsV4;
#endif
#if defined(FA_ISA_V4_BF16)
extern const KernelTable kKernelsV4Bf16;
#endif
#if defined(FA_ISA_WIDE)  // tests only: the 16-lane kernels on x86-64-v3
extern const KernelTable kKernelsWide;
extern const KernelTable kKernelsWideBf16;
#endif
#if defined(FA_ISA_NEON)
extern const KernelTable kKernelsNeon;
#endif

}  // namespace fa::cpu
