// The end of a block of latents: rows are divided by their sums and stored.
#pragma once

#include "cuda/device/partial_row.h"
#include "cuda/device/softmax.h"
#include "cuda/sm90/mla_traits.h"

namespace fa::cuda::sm90 {

/** o becomes the output, lse is stored. `line0` is the warp's first row, of the block's. */
template <class Traits>
PTX_FN void finish_latent_rows(const sm80::ForwardParams& p, const sm80::ForwardBlock& block,
                               const MlaShared<Traits>& shared, int group, int line0,
                               const OnlineSoftmax<1>& softmax, typename Traits::Output& o) {
  const AttentionParams& a = p.attention;
  const LanePosition lane;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int line = line0 + 8 * r + lane.g, row = block.row0 + line;
    const float sum = ptx::lds<float>(shared.sum(0, line)) + ptx::lds<float>(shared.sum(1, line));
    const int head = block.rows.head(block.rows.inside(row));
    const RowResult result =
        row_result<true>(a, head, softmax.maximum[r], sum, block.part.split == 0);
#pragma unroll
    for (int d = 0; d < kMlaHalfWidthV / 8; ++d) {
      o[0][d][2 * r] *= result.factor;
      o[0][d][2 * r + 1] *= result.factor;
    }
    if (group == 0 && lane.t == 0 && row < block.rows.count)
      store_softmax(a, p.splits.partial, block, row, result.top, result.sum);
  }
}

/** Rows of T, or of float32 as partial results: a lane has two dims of every 8 of its half. */
template <class Traits>
PTX_FN void store_latent_rows(const sm80::ForwardParams& p, const sm80::ForwardBlock& block,
                              int group, int line0, const typename Traits::Output& o) {
  using T = typename Traits::T;
  const AttentionParams& a = p.attention;
  const LanePosition lane;
  const int column0 = group * kMlaHalfWidthV + 2 * lane.t;
  const bool alone = block.part.alone();
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int row = block.row0 + line0 + 8 * r + lane.g;
    if (row >= block.rows.count) continue;
    T* const out = sm80::packed_row<T>(a.out, block, row) + column0;
    float* const partial =
        p.splits.partial.out + partial_row(a, block, row) * p.splits.partial.width + column0;
#pragma unroll
    for (int d = 0; d < kMlaHalfWidthV / 8; ++d) {
      if (column0 + 8 * d >= a.head_dim_v) continue;
      const float x = o[0][d][2 * r], y = o[0][d][2 * r + 1];
      if (alone)
        ptx::stg<uint32_t>(reinterpret_cast<uint32_t*>(out + 8 * d), ptx::pack2<T>(x, y));
      else
        ptx::stg<float2>(reinterpret_cast<float2*>(partial + 8 * d), {x, y});
    }
  }
}

}  // namespace fa::cuda::sm90
