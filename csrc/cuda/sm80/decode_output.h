// The end of a decode block: its warps' results come together, and rows are stored.
#pragma once

#include "cuda/device/softmax.h"
#include "cuda/sm80/decode_tiles.h"
#include "cuda/sm80/forward_block.h"

namespace fa::cuda::sm80 {

/**
 * Sums and outputs of all warps come together in warp 0, by way of shared memory that all of them
 * are done with.
 */
template <class Traits>
PTX_FN void merge_warps(OnlineSoftmax<1>& softmax, typename Traits::Output& o, uint32_t exchange,
                        float to_base_2) {
  constexpr int kVectors = 1 + Traits::kColumnTiles, kVectorBytes = 32 * sizeof(float4);
  static_assert((kDecodeWarps - 1) * kVectors * kVectorBytes <=
                2 * kDecodeWarps * Traits::KeyTile::kBytes);
  const int warp = this_thread() / 32, lane = this_thread() % 32;
  const auto at = [&](int of, int vector) {
    return exchange + static_cast<uint32_t>(((of - 1) * kVectors + vector) * kVectorBytes +
                                            lane * static_cast<int>(sizeof(float4)));
  };
  if (warp > 0) {
    ptx::sts<float4>(at(warp, 0),
                     {softmax.maximum[0], softmax.maximum[1], softmax.sum[0], softmax.sum[1]});
#pragma unroll
    for (int d = 0; d < Traits::kColumnTiles; ++d)
      ptx::sts<float4>(at(warp, 1 + d), {o[0][d][0], o[0][d][1], o[0][d][2], o[0][d][3]});
  }
  ptx::sync_block();
  if (warp > 0) return;
#pragma unroll 1
  for (int other = 1; other < kDecodeWarps; ++other) {
    const float4 state = ptx::lds<float4>(at(other, 0));
    const float maximum[2] = {state.x, state.y}, sum[2] = {state.z, state.w};
    float own[2], theirs[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float top = fmaxf(softmax.maximum[r], maximum[r]);
      own[r] = ptx::exp2_approx((softmax.maximum[r] - top) * to_base_2);
      theirs[r] = ptx::exp2_approx((maximum[r] - top) * to_base_2);
      softmax.maximum[r] = top;
      softmax.sum[r] = softmax.sum[r] * own[r] + sum[r] * theirs[r];
    }
#pragma unroll
    for (int d = 0; d < Traits::kColumnTiles; ++d) {
      const float4 x = ptx::lds<float4>(at(other, 1 + d));
      o[0][d][0] = o[0][d][0] * own[0] + x.x * theirs[0];
      o[0][d][1] = o[0][d][1] * own[0] + x.y * theirs[0];
      o[0][d][2] = o[0][d][2] * own[1] + x.z * theirs[1];
      o[0][d][3] = o[0][d][3] * own[1] + x.w * theirs[1];
    }
  }
}

/**
 * o becomes rows of T, or of float32 as partial results, straight from the accumulators: a lane has
 * two dims of every 8. They are aligned.
 */
template <class T, class Traits>
PTX_FN void store_pairs(const ForwardParams& p, const ForwardBlock& block,
                        const typename Traits::Output& o) {
  const AttentionParams& a = p.attention;
  const LanePosition lane;
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const int row = 8 * h + lane.g;
    if (row >= block.rows.count) break;
    const auto store = [&](auto* to, auto pair) {
      using Pair = decltype(pair(0.f, 0.f));
      Pair* const pairs = reinterpret_cast<Pair*>(to + 2 * lane.t);
#pragma unroll
      for (int d = 0; d < Traits::kColumnTiles; ++d) {
        if (8 * d < a.head_dim_v - 2 * lane.t)
          ptx::stg<Pair>(pairs + 4 * d, pair(o[0][d][2 * h], o[0][d][2 * h + 1]));
      }
    };
    if (!block.part.alone())
      store(float32_row(p, block, row), [](float x, float y) { return float2{x, y}; });
    else
      store(packed_row<T>(a.out, block, row), [](float x, float y) { return ptx::pack2<T>(x, y); });
  }
}

}  // namespace fa::cuda::sm80
