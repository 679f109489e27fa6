#include "core/assume.h"

#include <algorithm>
#include <utility>

namespace fa {

namespace {

bool unknown(const View& view) { return view.present() && view.size() > 0 && view.data == nullptr; }

/** `view` with one value for all elements. */
void fill(View& view, int32_t value, AssumedContents& assumed) {
  assumed.memory.push_back({value});
  view.data = assumed.memory.back().data();
  std::fill_n(view.strides, view.rank, 0);
}

/** As many tokens as have scales, where those are per block, up to `longest`. */
int64_t scaled_tokens(const View& scales, int64_t longest) {
  return scales.rank == 3 ? std::min(longest, scales.shape[2] * kScaleTokens) : longest;
}

/** Offsets of sequences of `longest` tokens, until `total` are used up. */
void fill_offsets(View& offsets, int64_t total, int64_t longest, AssumedContents& assumed) {
  std::vector<int32_t> values;
  for (int64_t i = 0; i < offsets.shape[0]; ++i)
    values.push_back(static_cast<int32_t>(std::min(i * longest, total)));
  offsets = contiguous_like(offsets, offsets.dtype, values.data());
  assumed.memory.push_back(std::move(values));
}

}  // namespace

AssumedContents assume_contents(AttentionProblem& p) {
  constexpr int32_t kFullCell = 1, kAllBits = -1;
  AssumedContents assumed;
  if (unknown(p.first_positions)) assumed.names.push_back("firstPositions");
  // Positions may not fit lengths that are not the true ones.
  if (unknown(p.first_positions) || unknown(p.cu_seqlens_q)) p.first_positions = {};
  if (unknown(p.positions)) assumed.names.push_back("positions");
  if (unknown(p.positions) || unknown(p.cu_seqlens_q) || unknown(p.seqlens_k))
    p.tree_mask = p.positions = {};
  if (unknown(p.cu_seqlens_q)) {
    const int64_t longest = scaled_tokens(p.q_scale, p.max_seqlen_q);
    fill_offsets(p.cu_seqlens_q, p.q.shape[1], longest, assumed);
    assumed.names.push_back("cuSeqlensQ");
  }
  if (unknown(p.cu_seqlens_k)) {
    const int64_t longest = p.paged() ? p.max_seqlen_k : scaled_tokens(p.k_scale, p.max_seqlen_k);
    fill_offsets(p.cu_seqlens_k, p.k.shape[1], longest, assumed);
    assumed.names.push_back("cuSeqlensK");
  }
  // Entries of a page table behind the true lengths may be anything.
  if (unknown(p.page_table) || (p.paged() && unknown(p.seqlens_k))) fill(p.page_table, 0, assumed);
  if (unknown(p.seqlens_k)) {
    const bool no_pages = p.paged() && p.k.shape[0] == 0;
    fill(p.seqlens_k, no_pages ? 0 : static_cast<int32_t>(p.max_seqlen_k), assumed);
    assumed.names.push_back("seqlensK");
  }
  if (unknown(p.block_mask.table) || unknown(p.block_mask.bits))
    assumed.names.push_back("blockMask");
  if (unknown(p.block_mask.table)) fill(p.block_mask.table, kFullCell, assumed);
  if (unknown(p.block_mask.bits)) fill(p.block_mask.bits, kAllBits, assumed);
  return assumed;
}

}  // namespace fa
