// The warp of the forward pass that asks TMA for tiles: of keys that lie side by side, or in pages.
#pragma once

#include "cuda/device/load_tile.h"
#include "cuda/sm90/forward_traits.h"

namespace fa::cuda::sm90 {

/**
 * How TMA finds the keys of a head: a tile is one box of the sequence's rows or, of pages, several
 * boxes that each lie within one. Lane l of the warp knows where box l begins. Keys and values
 * leave L2 last: the other tiles of their heads read them, too.
 */
struct KeyBoxes {
  static constexpr int kNowhere = -1;  // a page that TMA fills up with zeros
  const ForwardParams& p;
  const SequenceRows& sequence;
  int kv_head;

  PTX_FN bool paged() const { return p.attention.pages.table != nullptr; }

  /** The page of this lane's box of the tile at key0; dense: axis 0 of the tensor. */
  PTX_FN int look_up(int key0) const {
    if (!paged()) return sequence.k_batch;
    const int lane = this_thread() % 32, key = key0 + lane * p.box_keys;
    if (lane >= p.boxes || key >= sequence.seqlen_k) return kNowhere;
    return KeyPlace(p.attention.pages, sequence.k_batch, key).page;
  }

  /** All lanes: the tile at key0 is to fill a stage of the ring, which one lane waits for. */
  template <class Tile, class Ring>
  PTX_FN void load(bool elected, const ptx::tensor_map& map, const Ring& ring,
                   typename Ring::Position at, int key0) const {
    const int page = look_up(key0);  // while the stage is waited for
    if (elected) ring.begin_fill(at);
#pragma unroll 1
    for (int box = 0; box < p.boxes; ++box) {
      const int page_of_box = ptx::shfl_idx(page, box);
      if (!elected) continue;
      const int key = key0 + box * p.box_keys;
      const int row = paged() ? p.attention.pages.page_size.remainder(key) : sequence.k_begin + key;
      const uint32_t to = ring.tile(at) + static_cast<uint32_t>(box * p.box_keys * kPanelRowBytes);
#pragma unroll
      for (int panel = 0; panel < Tile::kPanels; ++panel)
        ptx::tma_load_4d(to + panel * Tile::kPanelBytes, &map, ring.full(at), ptx::evict_last(),
                         panel * Tile::kPanelColumns, row, kv_head, page_of_box);
    }
  }
};

/** One thread: the rows of a consumer, which leave L2 first: no other tile reads them. */
template <class Traits>
PTX_FN void load_queries(const ForwardParams& p, const SharedLayout<Traits>& shared,
                         const ForwardWork& work, int consumer) {
  const uint32_t full = shared.queries_full(consumer);
  ptx::mbar_arrive_expect_tx(full, Traits::QueryTile::kBytes);
  const int query = work.sequence.q_begin + work.rows.query(work.row0 + kWarpgroupRows * consumer);
#pragma unroll
  for (int panel = 0; panel < Traits::QueryTile::kPanels; ++panel)
    ptx::tma_load_5d(shared.queries_of(consumer) + panel * Traits::QueryTile::kPanelBytes, &p.q,
                     full, ptx::evict_first(), panel * Traits::QueryTile::kPanelColumns, 0, query,
                     work.head_block, work.sequence.q_batch);
}

/**
 * One thread: tells all others of a tile of rows, or that there are no more, and brings the
 * consumers their rows unless these see nothing.
 */
template <class Traits>
PTX_FN void hand_out(const ForwardParams& p, const SharedLayout<Traits>& shared, int tile,
                     bool see_nothing, int parity) {
#pragma unroll 1
  for (int consumer = 0; consumer < Traits::kConsumers; ++consumer) {
    ptx::mbar_wait(shared.queries_free(consumer), parity ^ 1);
    ptx::sts<int>(shared.tile(consumer), tile);
    if (see_nothing)  // The memory may still serve their output.
      ptx::mbar_arrive(shared.queries_full(consumer));
    else  // Worked out anew, so that it need not be kept in registers.
      load_queries(p, shared, ForwardWork(p, ptx::opaque(tile), Traits::kRows), consumer);
  }
}

/**
 * A warp, of which one lane waits for memory and asks TMA. Keys run one tile ahead of the values,
 * as the consumers use them.
 */
template <class Traits>
PTX_FN void load_tiles(const ForwardParams& p, const SharedLayout<Traits>& shared) {
  using KeyTile = typename Traits::KeyTile;
  using ValueTile = typename Traits::ValueTile;
  const bool elected = ptx::elect_one();
  typename Traits::Position at;
  int parity = 0;  // of the queries
  int tile = static_cast<int>(blockIdx.x);
  while (tile < p.tiles) {
    const ForwardWork work(p, tile, Traits::kRows);
    typename Traits::Walk walk(p, work);
    const KeyBoxes boxes{p, work.sequence, p.attention.group.quotient(work.rows.head0)};
    if (walk.more()) boxes.load<KeyTile>(elected, p.k, shared.keys, at, walk.key0());
    if (elected) hand_out(p, shared, tile, !walk.more(), parity);
    parity ^= 1;
    while (walk.more()) {
      const int key0 = walk.key0();
      at.advance();
      walk.advance();
      if (walk.more()) boxes.load<KeyTile>(elected, p.k, shared.keys, at, walk.key0());
      boxes.load<ValueTile>(elected, p.v, shared.values, at.previous(), key0);
    }
    // As late as the stages that are full by now allow: the others may need it sooner.
    if (this_thread() % 32 == 0) tile = draw_tile(p);
    tile = ptx::shfl_idx(tile, 0);
  }
  if (elected) hand_out(p, shared, tile, true, parity);
}

}  // namespace fa::cuda::sm90
