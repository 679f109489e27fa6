// A computing warpgroup of the kernel of latents: scores of its tiles of keys, and its half of the
// output.
#pragma once

#include "cuda/device/poison.h"
#include "cuda/device/score_tile.h"
#include "cuda/sm90/forward_traits.h"
#include "cuda/sm90/mla_traits.h"
#include "cuda/sm90/turns.h"

namespace fa::cuda::sm90 {

/**
 * A computing warpgroup: scores of the tiles kGroup, kGroup + 2 ... of a block, which have stage
 * kGroup, and a half of the output of all tiles.
 */
template <class Traits, int kGroup>
struct LatentConsumer {
  static constexpr int kOther = 1 - kGroup;
  using T = typename Traits::T;
  using KeyPanels = typename Traits::KeyPanels;
  using WeightPanels = typename Traits::WeightPanels;
  const sm80::ForwardParams& p;
  const MlaShared<Traits>& shared;
  OnlineSoftmax<1> softmax{kLeastMaximum<true>};  // sums are of the warpgroup's own tiles
  typename Traits::Output o = {};
  typename Traits::Scores s;
  typename Traits::Weights weights;
  bool any_poison = false;
  int parity = 0;  // of both stages

  PTX_FN LatentConsumer(const sm80::ForwardParams& params, const MlaShared<Traits>& layout)
      : p(params), shared(layout) {}

  /** The warp's first row, of the block's. */
  static PTX_FN int line0() { return this_thread() / 32 % kWarpgroupWarps * 16; }

  /** s = Q K^T of the own tile: its halves as they arrive. */
  PTX_FN void multiply_queries() {
#pragma unroll
    for (int i = 0; i < kMlaComputing; ++i) {
      const int half = kGroup ^ i;
      ptx::mbar_wait(shared.full(kGroup, half), parity);
      ptx::fence_proxy_async();  // threads have copied what products are to read
      if (i == 0)
        ptx::wgmma_fence(s);
      else
        ptx::wgmma_fence();  // where a wait lies between, ptxas asks for it (C7519)
      const int first = half == 0 ? 0 : Traits::kHalfPanels * Traits::kPanelSteps;
      const int last = (half == 0 ? Traits::kHalfPanels : Traits::kPanels) * Traits::kPanelSteps;
#pragma unroll
      for (int step = first; step < last; ++step)
        ptx::wgmma_ss<T>(flat(s), Traits::QueryPanels::by_columns(shared.queries, step),
                         KeyPanels::by_columns(shared.tile(kGroup), step), i > 0 || step > first);
    }
    ptx::wgmma_commit();
  }

  /** o += P V of the own tile. */
  PTX_FN void multiply_own() {
    ptx::wgmma_fence(o, weights);
#pragma unroll
    for (int step = 0; step < Traits::kKeySteps; ++step)
      ptx::wgmma_rs<T, 1>(flat(o), weights[step],
                          KeyPanels::by_rows(shared.values(kGroup, kGroup), step), true);
    ptx::wgmma_commit();
  }

  /**
   * The same of the other warpgroup's tile, once that has told its weights; o is brought to its
   * maxima. It has waited for the tile, and that is told with them.
   */
  PTX_FN void multiply_other() {
    ptx::bar_sync(kFirstWeightsBarrier + kOther, Traits::kStorers);
    const LanePosition lane;
    float alpha[2];
    bool unchanged = true;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float top = ptx::lds<float>(shared.maximum(line0() + 8 * r + lane.g));
      alpha[r] = ptx::exp2_approx((softmax.maximum[r] - top) * kLog2E);
      unchanged &= top == softmax.maximum[r];
      softmax.sum[r] *= alpha[r];
      softmax.maximum[r] = top;
    }
    if (!ptx::vote_all(unchanged)) OnlineSoftmax<1>::rescale(o, alpha);
    ptx::wgmma_fence(o);
#pragma unroll
    for (int step = 0; step < Traits::kKeySteps; ++step)
      ptx::wgmma_ss<T, 0, 1>(flat(o), WeightPanels::by_columns(shared.weights, step),
                             KeyPanels::by_rows(shared.values(kOther, kGroup), step), true);
    ptx::wgmma_commit();
  }

  /** Scores become weights; true when o must be rescaled by alpha, for new maxima. */
  PTX_FN bool softmax_step(const sm80::ForwardBlock& block, const LatentWalk<Traits>& walk,
                           float (&alpha)[2]) {
    const bool partial = walk.kind() != TileKind::kFull;
    apply_options<T, false>(p.attention, walk.window, block.rows, block.batch, block.row0 + line0(),
                            walk.key0(), partial, s);
    if (partial) clear_values();
    constexpr float kNatural[2] = {1, 1};
    const bool moved = softmax.exponentiate(s, alpha, kNatural, kLog2E);
#pragma unroll
    for (int step = 0; step < Traits::kKeySteps; ++step) {
#pragma unroll
      for (int q = 0; q < 4; ++q) {
        const float(&pair)[4] = s[0][2 * step + q / 2];
        weights[step][q] = ptx::pack2<T>(pair[q % 2 * 2], pair[q % 2 * 2 + 1]);
      }
    }
    return moved;
  }

  /** Puts zeros for infinities and NaN among the own tile's values (device/poison.h says why). */
  PTX_FN void clear_values() {
    ptx::bar_sync(kFirstWarpgroupBarrier + kGroup, kWarpgroupThreads);  // all have their scores
#pragma unroll 1
    for (int chunk = this_thread() % kWarpgroupThreads; chunk < kMlaKeys * sm80::kMlaWidthV / 8;
         chunk += kWarpgroupThreads) {
      const uint32_t at = shared.tile(kGroup) + static_cast<uint32_t>(chunk * kChunkBytes);
      const uint4 words = ptx::lds<uint4>(at);
      if (!holds_not_finite<T>(words)) continue;
      any_poison = true;
      ptx::sts<uint4>(at, finite_part<T>(words));
    }
    // They are clear for all; tell() has the fence.
    ptx::bar_sync(kFirstWarpgroupBarrier + kGroup, kWarpgroupThreads);
  }

  /** Tells the other warpgroup the own tile's weights and maxima. */
  PTX_FN void tell() const {
    const int lane = this_thread() % 32;
#pragma unroll
    for (int step = 0; step < Traits::kKeySteps; ++step)
      ptx::stmatrix_x4(
          shared.weights + WeightPanels::offset(line0() + lane % 16, 2 * step + lane / 16),
          weights[step]);
    if (lane % 4 == 0) {
#pragma unroll
      for (int r = 0; r < 2; ++r)
        ptx::sts<float>(shared.maximum(line0() + 8 * r + lane / 4), softmax.maximum[r]);
    }
    ptx::fence_proxy_async();
    ptx::bar_arrive(kFirstWeightsBarrier + kGroup, Traits::kStorers);
  }

  /** Tells what the ends of rows need to know: sums, and whether values were cleared. */
  PTX_FN void tell_sums() const {
    const LanePosition lane;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float sum = quad_sum(softmax.sum[r]);
      if (lane.t == 0) ptx::sts<float>(shared.sum(kGroup, line0() + 8 * r + lane.g), sum);
    }
    const bool poisoned = ptx::vote_any(any_poison);
    if (this_thread() % 32 == 0)
      ptx::sts<uint32_t>(shared.poison(kGroup * kWarpgroupWarps + line0() / 16), poisoned);
  }

  /** The own half of a tile is done with. */
  PTX_FN void give_back(int stage) const { arrive_warp(shared.free(stage, kGroup)); }

  /** All tiles. The first warpgroup begins with its own one, the second with the other's. */
  PTX_FN void attend(const sm80::ForwardBlock& block, LatentWalk<Traits>& walk) {
    if (walk.more()) ptx::mbar_wait(shared.queries_full(), 0);  // fenced with the first tile
    float alpha[2];
    for (; walk.more(); parity ^= 1) {
      if constexpr (kGroup == 1) {
        walk.advance();
        if (!walk.more()) {
          multiply_other();
          ptx::wgmma_wait<0>(o);
          break;
        }
      }
      multiply_queries();
      ptx::wgmma_wait<0>(s);
      if constexpr (kGroup == 1) multiply_other();
      const bool moved = softmax_step(block, walk, alpha);
      if constexpr (kGroup == 1) {
        ptx::schedule_fence();  // or P V would be waited for before the softmax
        ptx::wgmma_wait<0>(o);
        give_back(kOther);
      }
      tell();
      if (moved) OnlineSoftmax<1>::rescale(o, alpha);
      multiply_own();
      ptx::wgmma_wait<0>(o, weights);
      give_back(kGroup);
      walk.advance();
      if constexpr (kGroup == 0) {
        if (!walk.more()) break;
        multiply_other();
        ptx::wgmma_wait<0>(o);
        give_back(kOther);
        walk.advance();
      }
    }
  }
};

}  // namespace fa::cuda::sm90
