// What the first warpgroup of a backward kernel does: warp 0 loads tiles, a thread each of the
// others adds a computing warpgroup's parts of dQ to global memory.
#pragma once

#include "cuda/device/poison.h"
#include "cuda/sm90/backward_traits.h"

namespace fa::cuda::sm90 {

/** All panels of a tile of rows. */
template <class Tile>
PTX_FN void load_panels(uint32_t tile, const ptx::tensor_map* map, uint32_t barrier, int row,
                        int head, int batch) {
#pragma unroll
  for (int panel = 0; panel < Tile::kPanels; ++panel)
    ptx::tma_load_4d(tile + static_cast<uint32_t>(panel * Tile::kPanelBytes), map, barrier,
                     panel * Tile::kPanelColumns, row, head, batch);
}

/**
 * The row states of a tile of queries; rows beyond the end are rows that see nothing. Returns
 * whether one is not finite.
 */
template <class Traits>
PTX_FN bool load_states(const BackwardKernelParams& p, const SequenceRows& s,
                        const InnerVisit& visit, uint32_t states) {
  const int lane = this_thread() % 32, first = visit.tile * Traits::kInner;
  const RowState* const from =
      p.call.states +
      (static_cast<int64_t>(s.q_batch) * p.call.attention.heads + visit.head) * p.call.q_rows +
      s.q_begin + first;
  bool strange = false;
#pragma unroll
  for (int i = 0; i < Traits::kInner; i += 32) {
    RowState state = {kInfinity, 0};
    if (first + i + lane < s.seqlen_q) {
      state = ptx::ldg(from + i + lane);
      strange |= not_finite(state.lse) || not_finite(state.delta);
    }
    ptx::sts<RowState>(states + static_cast<uint32_t>((i + lane) * kRowStateBytes), state);
  }
  return ptx::vote_any(strange);
}

/** Warp 0: decides which tiles of queries come, and loads them. */
template <class Traits>
PTX_FN void load_tiles(const BackwardKernelParams& p, const BackwardBlock<Traits>& block,
                       const BackwardShared<Traits>& shared) {
  using KeyTile = typename Traits::KeyTile;
  using QueryTile = typename Traits::QueryTile;
  const InnerTiles<Traits> tiles(p.call, block);
  const SequenceRows& s = block.sequence;
  const bool elected = ptx::elect_one();
  RingPosition<Traits::kStages> at;
  InnerVisit visit = tiles.first();
  if (elected && !tiles.done(visit)) {
    const int row = s.k_begin + block.outer0;
    ptx::mbar_arrive_expect_tx(shared.keys_full, 2 * KeyTile::kBytes);
    load_panels<KeyTile>(shared.k, &p.k, shared.keys_full, row, block.head, s.k_batch);
    load_panels<KeyTile>(shared.v, &p.v, shared.keys_full, row, block.head, s.k_batch);
  }
  for (; !tiles.done(visit); visit = tiles.after(visit), at.advance()) {
    if (elected) {
      const int row = s.q_begin + visit.tile * Traits::kInner;
      shared.queries.begin_fill(at);
      load_panels<QueryTile>(shared.q(at), &p.q, shared.queries.full(at), row, visit.head,
                             s.q_batch);
      shared.douts.begin_fill(at);
      load_panels<QueryTile>(shared.dout(at), &p.dout, shared.douts.full(at), row, visit.head,
                             s.q_batch);
    }
    ptx::mbar_wait(shared.visits.free(at), at.parity ^ 1);
    const uint32_t record = shared.visits.tile(at);
    const bool suspect =
        load_states<Traits>(p, s, visit, record + static_cast<uint32_t>(sizeof(VisitRecord)));
    if (this_thread() % 32 == 0)
      ptx::sts<VisitRecord>(record,
                            {visit.head, visit.tile, static_cast<int>(visit.kind), suspect});
    arrive_warp(shared.visits.full(at));
  }
  ptx::mbar_wait(shared.visits.free(at), at.parity ^ 1);
  if (this_thread() % 32 == 0) ptx::sts<VisitRecord>(shared.visits.tile(at), {-1, 0, 0, 0});
  arrive_warp(shared.visits.full(at));
}

/** The tile of keys before the block's that meets a tile of queries last; -1 when there is none. */
template <class Traits>
PTX_FN int key_tile_before(const InnerTiles<Traits>& tiles, int head, int query_tile) {
  int tile = tiles.block.outer0 / Traits::kOuter - 1;
  while (tile >= 0 && tiles.classify({head, query_tile, TileKind::kSkip}, tile * Traits::kOuter) ==
                          TileKind::kSkip)
    --tile;
  return tile;
}

/** One thread: adds a warpgroup's parts of dQ to the sum in global memory. */
template <class Traits>
PTX_FN void add_sums(const BackwardKernelParams& p, const BackwardBlock<Traits>& block,
                     const BackwardShared<Traits>& shared, int consumer) {
  using Sum = typename Traits::Sum;
  const auto sum = shared.sum(consumer);
  for (RingPosition<1> at;; at.advance()) {
    sum.wait(at);
    const SumRecord record = ptx::lds<SumRecord>(shared.sum_record(consumer));
    if (record.tile < 0) break;
    const uint32_t bytes = static_cast<uint32_t>(Sum::runs(record.part) * Sum::kRunBytes);
    float* const to = Sum::part(p, record.tile, record.part);
    if (p.turns == nullptr) {
      ptx::bulk_reduce_add_f32(to, sum.tile(at), bytes);
      ptx::bulk_commit();
      ptx::bulk_wait_read<0>();
    } else {
      const InnerTiles<Traits> tiles(p.call, block);
      const int before = key_tile_before<Traits>(tiles, record.head, record.query_tile);
      int* const turn = p.turns + Sum::kParts * record.tile + record.part;
      while (ptx::ld_acquire(turn) != before + 1) ptx::spin_pause();
      ptx::fence_proxy_async_global();
      ptx::bulk_reduce_add_f32(to, sum.tile(at), bytes);
      ptx::bulk_commit();
      ptx::bulk_wait<0>();  // not only read: the next block's addition must find this one done
      ptx::st_release(turn, block.outer0 / Traits::kOuter + 1);
    }
    ptx::mbar_arrive(sum.free(at));
  }
}

}  // namespace fa::cuda::sm90
