// A problem's masks as plans see them, on the host.
#pragma once

#include <algorithm>

#include "core/attention.h"
#include "core/mask.h"

namespace fa::cuda {

/** One (batch, block of heads) of the problem, as TileMask sees it on the device. */
struct HeadBlock {
  WindowMask window;
  BlockMaskTable table;
  bool dense_mask;

  TileKind classify(int64_t i0, int64_t i1, int64_t j0, int64_t j1) const {
    TileKind kind = window.classify(i0, i1, j0, j1);
    if (kind != TileKind::kSkip && table.cells != nullptr)
      kind = both(kind, table.classify(i0, i1, j0, std::min(j1, window.seqlen_k)));
    return dense_mask ? both(kind, TileKind::kPartial) : kind;
  }
};

inline HeadBlock head_block(const AttentionProblem& p, const Sequence& s, int64_t batch,
                            int64_t head) {
  HeadBlock h{};
  h.window = {p.window_left, p.window_right, p.sink_tokens, s.seqlen_k, s.offset()};
  h.dense_mask = p.mask.present();
  if (p.block_mask.present()) {
    const View& table = p.block_mask.table;
    h.table = {static_cast<const int32_t*>(table.data) +
                   (table.shape[0] == 1 ? 0 : batch * table.strides[0]) +
                   (table.shape[1] == 1 ? 0 : head * table.strides[1]),
               table.strides[2], table.strides[3], p.block_mask.block_q, p.block_mask.block_k};
  }
  return h;
}

/**
 * Visible pairs of query i, as far as intervals and whole blocks tell; a bitmap's block counts as a
 * whole.
 */
inline double visible_pairs(const HeadBlock& head, int64_t i) {
  if (head.table.cells == nullptr) return static_cast<double>(head.window.count(i));
  const WindowMask& w = head.window;
  const int64_t begin = w.begin(i), end = w.end(i);
  double pairs = 0;
  for (int64_t j = 0; j < end; j += head.table.block_k) {
    const int64_t stop = std::min(j + head.table.block_k, end);
    if (head.table.cell(i / head.table.block_q, j / head.table.block_k) == 0) continue;
    pairs += static_cast<double>(std::max<int64_t>(0, stop - std::max(j, begin)) +
                                 std::max<int64_t>(0, std::min({stop, begin, w.sink_tokens}) - j));
  }
  return pairs;
}

}  // namespace fa::cuda
