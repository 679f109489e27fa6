// In which order blocks that are not equally long begin: the longest of several columns first, a
// column being one sequence and head (or heads that are worked on together).
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/attention.h"
#include "cuda/base/queue.h"

namespace fa::cuda {

constexpr double kShareOfL2 = 0.6;  // that what the blocks of one section read may take

/** The greatest divisor of `count` up to `most`. */
inline int64_t divisor_up_to(int64_t count, int64_t most) {
  int64_t divisor = std::clamp<int64_t>(most, 1, std::max<int64_t>(1, count));
  while (count % divisor != 0) --divisor;
  return divisor;
}

/** How many of `columns` are worked on at a time: as many as share L2, reading so much each. */
inline int64_t section_of(int64_t columns, double column_bytes, const cudaDeviceProp& properties) {
  const double most = kShareOfL2 * properties.l2CacheSize / std::max(1., column_bytes);
  return divisor_up_to(columns, static_cast<int64_t>(most));
}

/** The same of a backward pass, whose blocks keep rows of keys or queries; others stream past. */
inline int64_t backward_section(const AttentionProblem& p, bool of_keys,
                                const cudaDeviceProp& properties) {
  const bool uneven = p.window_right < p.max_seqlen_k;
  if (!uneven) return 1;
  const int64_t heads = of_keys ? p.kv_heads() : p.heads();
  const int64_t rows = of_keys ? p.max_seqlen_q * p.group() : p.max_seqlen_k;
  const int64_t element = static_cast<int64_t>(dtype_size(p.q.dtype));
  const int64_t sum = of_keys ? p.head_dim() * static_cast<int64_t>(sizeof(float)) : 0;  // of dQ
  const int64_t row = (p.head_dim() + p.head_dim_v()) * element + sum;
  return section_of(heads * p.batch(), static_cast<double>(rows * row), properties);
}

}  // namespace fa::cuda
