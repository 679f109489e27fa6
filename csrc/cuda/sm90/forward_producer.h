// The producer warpgroup of the forward pass: one warp asks TMA for tiles, the others look at values that
// hidden pairs must not let through.
#pragma once

#include "cuda/common/poison.h"
#include "cuda/sm90/forward_traits.h"

namespace fa::cuda::sm90 {

/** One thread: keys run one tile ahead of the values, as the consumers use them. */
template <class Traits>
PTX_FN void load_tiles(const ForwardParams& p, const SharedLayout<Traits>& shared) {
  const AttentionParams& a = p.attention;
  typename Traits::Position at;
  int parity = 0;  // of the queries
  for (ForwardSchedule schedule; schedule.tile() < p.tiles; schedule.advance()) {
    const ForwardWork work(p, schedule.tile(), Traits::kRows);
    if (work.empty()) continue;
    typename Traits::Walk walk(a, work);
    const int kv_head = a.group.quotient(work.rows.head0);
    const auto load_keys = [&] {
      shared.keys.begin_fill(at);
#pragma unroll
      for (int panel = 0; panel < Traits::KeyTile::kPanels; ++panel)
        ptx::tma_load_4d(shared.keys.tile(at) + panel * Traits::KeyTile::kPanelBytes, &p.k,
                         shared.keys.full(at), panel * Traits::KeyTile::kPanelColumns,
                         work.sequence.k_begin + walk.key0(), kv_head, work.sequence.k_batch);
    };
    if (walk.more()) load_keys();
#pragma unroll 1
    for (int consumer = 0; consumer < Traits::kConsumers; ++consumer) {
      const uint32_t full = shared.queries_full(consumer);
      ptx::mbar_wait(shared.queries_free(consumer), parity ^ 1);
      if (!walk.more()) {  // Rows that see nothing: the memory may still serve their output.
        ptx::mbar_arrive(full);
        continue;
      }
      ptx::mbar_arrive_expect_tx(full, Traits::QueryTile::kBytes);
      const int query =
          work.sequence.q_begin + work.rows.query(work.row0 + kWarpgroupRows * consumer);
#pragma unroll
      for (int panel = 0; panel < Traits::QueryTile::kPanels; ++panel)
        ptx::tma_load_5d(shared.queries_of(consumer) + panel * Traits::QueryTile::kPanelBytes, &p.q,
                         full, panel * Traits::QueryTile::kPanelColumns, 0, query, work.head_block,
                         work.sequence.q_batch);
    }
    parity ^= 1;
    while (walk.more()) {
      const int key = work.sequence.k_begin + walk.key0();
      const typename Traits::Position values = at;
      at.advance();
      walk.advance();
      if (walk.more()) load_keys();
      shared.values.begin_fill(values);
#pragma unroll
      for (int panel = 0; panel < Traits::ValueTile::kPanels; ++panel)
        ptx::tma_load_4d(shared.values.tile(values) + panel * Traits::ValueTile::kPanelBytes, &p.v,
                         shared.values.full(values), panel * Traits::ValueTile::kPanelColumns, key,
                         kv_head, work.sequence.k_batch);
    }
  }
}

/** Checker `checker` of kCheckers, a warp: common/poison.h says why. */
template <class Traits>
PTX_FN void check_values(const ForwardParams& p, const SharedLayout<Traits>& shared, int checker) {
  using T = typename Traits::T;
  const uint32_t lane = threadIdx.x % 32;
  typename Traits::Position at;
  for (ForwardSchedule schedule; schedule.tile() < p.tiles; schedule.advance()) {
    const ForwardWork work(p, schedule.tile(), Traits::kRows);
    if (work.empty()) continue;
    for (typename Traits::Walk walk(p.attention, work); walk.more(); walk.advance()) {
      shared.values.wait(at);
      if (walk.hides_pairs()) {
        const uint32_t tile = shared.values.tile(at);
        bool poisoned = false;
#pragma unroll 4
        for (uint32_t chunk = checker * 32 + lane; chunk < Traits::ValueTile::kBytes / 16;
             chunk += Traits::kCheckers * 32) {
          const uint4 words = ptx::lds<uint4>(tile + 16 * chunk);
          const uint4 finite = finite_part<T>(words);
          if (same(words, finite)) continue;
          poisoned = true;
          ptx::sts<uint4>(tile + 16 * chunk, finite);
        }
        poisoned = ptx::vote_any(poisoned);
        if (lane == 0) ptx::sts<uint32_t>(shared.poison(at, checker), poisoned);
        ptx::fence_proxy_async();
      }
      arrive_warp(shared.checked(at));
      arrive_warp(shared.values.free(at));
      at.advance();
    }
  }
}

}  // namespace fa::cuda::sm90
