// Float8 tensors: element = e4m3 value * scale. A scale maps the largest magnitude of what shares
// it to 448, the largest e4m3 value. Rotating rows of q and k first by one orthogonal matrix leaves
// q . k as it is and spreads outliers over the whole row (FlashAttention-3, Shah et al. 2024,
// section 3.3): M = diag(random signs) * Hadamard / sqrt(dim).
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/attention.h"
#include "core/divide.h"
#include "core/float8.h"
#include "core/philox.h"

namespace fa {

struct Quantized {
  View values;  // float8_e4m3 [batch, seqlen, heads, dim]; packed: [1, total, heads, dim]
  // float32, contiguous: [1], [batch, heads] or [batch, heads, ceil(seqlen / kScaleTokens)]
  View scales;
  // int32 [batch + 1]: packed sequences, each of which begins a block. Rows of none are 0.
  View cu_seqlens;
  int64_t max_seqlen = 0;  // packed: upper bound of any sequence's length
  bool rotated = false;    // dim is a power of two then
  uint64_t seed = 0;       // of the signs

  bool packed() const { return cu_seqlens.present(); }
  int64_t batch() const { return packed() ? cu_seqlens.shape[0] - 1 : values.shape[0]; }
  int64_t seqlen() const { return packed() ? max_seqlen : values.shape[1]; }
  int64_t heads() const { return values.shape[2]; }
  int64_t dim() const { return values.shape[3]; }
  int64_t blocks() const { return ceil_div(seqlen(), kScaleTokens); }
  /** Blocks of a head that may have tokens: no sequence is longer than all of them. */
  int64_t filled_blocks() const {
    return ceil_div(std::min(seqlen(), values.shape[1]), kScaleTokens);
  }
  /** The scale of every block of tokens: [batch, heads, blocks]. */
  View block_scales() const { return scales_over(scales, {batch(), heads(), blocks()}); }
};

/** Calls `function` with the tensor of `quantized` whose contents decide what is legal. */
template <typename Function>
void for_each_index(Quantized& quantized, Function function) {
  if (quantized.packed()) function(quantized.cu_seqlens);
}

/** The scale of elements whose largest finite magnitude is that: never 0 or subnormal. */
static FA_INLINE float scale_of(float largest) {
  if (!(largest > 0)) return 1;
  const float scale = largest / kLargestE4M3;
  return scale > kSmallestNormal ? scale : kSmallestNormal;
}

/** What of `x` counts for a scale: infinities become 448 times it, NaN stays. */
static FA_INLINE float finite_magnitude(float x) {
  const float magnitude = x < 0 ? -x : x;
  return magnitude <= kLargestFinite ? magnitude : 0;
}

/** Bit b of the result is the sign of dim 32 * word + b. */
static FA_INLINE uint32_t rotation_signs(uint64_t seed, uint32_t word) {
  uint32_t words[4] = {word >> 2, 0, 0, 1};
  philox(words, static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
  return word & 2 ? (word & 1 ? words[3] : words[2]) : (word & 1 ? words[1] : words[0]);
}

}  // namespace fa
