// The end of a block of wide heads: rows are divided by their sums and stored.
#pragma once

#include "cuda/device/row_result.h"
#include "cuda/sm80/forward_block.h"
#include "cuda/sm80/mla_softmax.h"

namespace fa::cuda::sm80 {

/** o becomes the output, lse is stored. All warps are done with their tiles. */
template <class Traits>
PTX_FN void finish_wide_rows(const ForwardParams& p, const ForwardBlock& block, uint32_t smem,
                             const WideSoftmax<Traits>& softmax, typename Traits::Output& o) {
  using Softmax = WideSoftmax<Traits>;
  const AttentionParams& a = p.attention;
  const LanePosition lane;
  const WarpPart<Traits> part;
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const float sum = quad_sum(softmax.sum[h]);
    if (lane.t == 0)
      ptx::sts<float>(Softmax::state(smem, part.group, part.row0 + 8 * h + lane.g), sum);
  }
  ptx::sync_block();  // sums have been told
  if (part.group == 0) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int line = part.row0 + 8 * h + lane.g, row = block.row0 + line;
      float sum = 0;
#pragma unroll
      for (int group = 0; group < Traits::kGroups; ++group)
        sum += ptx::lds<float>(Softmax::state(smem, group, line));
      const int head = block.rows.head(block.rows.inside(row));
      const RowResult result =
          row_result<true>(a, head, softmax.maximum[h], sum, block.part.split == 0);
      if (lane.t != 0) continue;
      ptx::sts<float>(Softmax::factor(smem, line), result.factor);
      if (row < block.rows.count)
        store_softmax(a, p.splits.partial, block, row, result.top, result.sum);
    }
  }
  ptx::sync_block();  // so have factors
  Softmax::rescale(smem, o);
}

/** Rows of T, or of float32 as partial results: a lane has two dims of every 8 of its warp's. */
template <class T, class Traits>
PTX_FN void store_wide_rows(const ForwardParams& p, const ForwardBlock& block,
                            const typename Traits::Output& o) {
  const AttentionParams& a = p.attention;
  const LanePosition lane;
  const int column0 = WarpPart<Traits>().column0 + 2 * lane.t;
  const bool alone = block.part.alone();
#pragma unroll
  for (int r = 0; r < 2 * Traits::kOutputTiles; ++r) {
    const int row = block.row0 + 8 * r + lane.g;
    if (row >= block.rows.count) continue;
    T* const out = packed_row<T>(a.out, block, row) + column0;
    float* const partial =
        p.splits.partial.out + partial_row(a, block, row) * p.splits.partial.width + column0;
#pragma unroll
    for (int d = 0; d < Traits::kColumnTiles; ++d) {
      if (column0 + 8 * d >= a.head_dim_v) continue;
      const float x = o[r / 2][d][2 * (r % 2)], y = o[r / 2][d][2 * (r % 2) + 1];
      if (alone)
        ptx::stg<uint32_t>(reinterpret_cast<uint32_t*>(out + 8 * d), ptx::pack2<T>(x, y));
      else
        ptx::stg<float2>(reinterpret_cast<float2*>(partial + 8 * d), {x, y});
    }
  }
}

}  // namespace fa::cuda::sm80
