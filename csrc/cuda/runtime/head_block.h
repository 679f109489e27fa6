// A problem's masks as plans see them, on the host.
#pragma once

#include <algorithm>

#include "core/attention.h"
#include "core/cost.h"
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
  h.window = window_of(p, s);
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

}  // namespace fa::cuda
