// The warpgroup of the kernel of latents that copies: queries, and then tile after tile of latents,
// wherever their rows lie.
#pragma once

#include "cuda/sm80/mla_copies.h"
#include "cuda/sm90/mla_traits.h"

namespace fa::cuda::sm90 {

/**
 * Each half of a tile has an mbarrier of its own. The half of the warpgroup whose scores the tile
 * is for comes first: it was the first to be done with the tile before.
 */
template <class Traits>
PTX_FN void load_latents(const sm80::ForwardParams& p, const MlaShared<Traits>& shared) {
  using T = typename Traits::T;
  const AttentionParams& a = p.attention;
  const sm80::ForwardBlock block(p, static_cast<int>(blockIdx.x), kMlaRows);
  LatentWalk<Traits> walk(a, block);
  if (!walk.more()) return;
  const KeyRows<T, true> keys(a, a.k, block.sequence, block.batch, block.kv_head);
  sm80::TileSource<T, Traits> source;
  source.find(keys, walk.key0(), walk.window.seqlen_k);
  sm80::load_wide_queries<T, Traits>(shared.queries, a, block);
  ptx::cp_async_mbar_arrive(shared.queries_full());

  int stage = 0, parity = 0;
  while (walk.more()) {
    const int there = walk.window.seqlen_k - walk.key0();
#pragma unroll 1
    for (int i = 0; i < kMlaComputing; ++i) {
      const int half = stage ^ i;
      ptx::mbar_wait(shared.free(stage, half), parity ^ 1);
      if (half == 0)
        source.template load<0, Traits::kHalfPanels>(shared.tile(stage), there, a.head_dim);
      else
        source.template load<Traits::kHalfPanels>(shared.tile(stage), there, a.head_dim);
      ptx::cp_async_mbar_arrive(shared.full(stage, half));
    }
    walk.advance();
    // Pages are looked up while the next stage is waited for.
    if (walk.more()) source.find(keys, walk.key0(), walk.window.seqlen_k);
    parity ^= stage;
    stage ^= 1;
  }
  ptx::cp_async_commit();
  ptx::cp_async_wait<0>();  // a thread must not end before its copies
}

}  // namespace fa::cuda::sm90
