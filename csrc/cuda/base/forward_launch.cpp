#include "cuda/base/forward_launch.h"

#include <algorithm>
#include <limits>

#include "core/divide.h"

namespace fa::cuda {

namespace {

constexpr float kLargestPlainScale = 1e20f;  // scores of float16 stay in base 2's range
constexpr int64_t kMostRows = std::numeric_limits<int32_t>::max() / 2;  // of a sequence, packed

}  // namespace

void ForwardLaunch::count_tiles(const AttentionProblem& p, QueryCounts counts) {
  const int64_t longest = std::min<int64_t>(p.max_seqlen_q, counts.most);
  queries = counts;
  m_blocks = ceil_div(longest * pack, rows);
  head_blocks = p.heads() / pack;
  tiles = blocks = m_blocks * head_blocks * p.batch();
}

bool needs_featured_forward(const AttentionProblem& p) {
  return p.softcap > 0 || p.alibi_slopes.present() || p.mask.present() || p.block_mask.present() ||
         p.sinks.present() || p.tree_mask.present() || p.dropout.p > 0 || p.sink_tokens > 0 ||
         p.scale <= 0 || p.scale > kLargestPlainScale;
}

bool packs_heads(const AttentionProblem& p) {
  const bool heads_differ = p.block_mask.present() && p.block_mask.table.shape[1] != 1;
  return !heads_differ && p.max_seqlen_q <= kMostRows / p.group();
}

}  // namespace fa::cuda
