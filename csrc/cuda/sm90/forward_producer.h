// The producer warpgroup of the forward pass: one warp asks TMA for tiles, the others look at
// values that hidden pairs must not let through.
#pragma once

#include "cuda/device/poison.h"
#include "cuda/sm90/forward_traits.h"

namespace fa::cuda::sm90 {

/**
 * How TMA finds the keys of a head: a tile is one box of the sequence's rows or, of pages, several
 * boxes that each lie within one. Lane l of the warp knows where box l begins.
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
        ptx::tma_load_4d(to + panel * Tile::kPanelBytes, &map, ring.full(at),
                         panel * Tile::kPanelColumns, row, kv_head, page_of_box);
    }
  }
};

/** One thread: the rows of all consumers. None where they see nothing. */
template <class Traits>
PTX_FN void load_queries(const ForwardParams& p, const SharedLayout<Traits>& shared,
                         const ForwardWork& work, bool see_nothing, int parity) {
#pragma unroll 1
  for (int consumer = 0; consumer < Traits::kConsumers; ++consumer) {
    const uint32_t full = shared.queries_full(consumer);
    ptx::mbar_wait(shared.queries_free(consumer), parity ^ 1);
    if (see_nothing) {  // The memory may still serve their output.
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
}

/**
 * A warp, of which one lane waits for memory and asks TMA. Keys run one tile ahead of the values, as
 * the consumers use them.
 */
template <class Traits>
PTX_FN void load_tiles(const ForwardParams& p, const SharedLayout<Traits>& shared) {
  using KeyTile = typename Traits::KeyTile;
  using ValueTile = typename Traits::ValueTile;
  const bool elected = ptx::elect_one();
  typename Traits::Position at;
  int parity = 0;  // of the queries
  for (ForwardSchedule schedule; schedule.tile() < p.tiles; schedule.advance()) {
    const ForwardWork work(p, schedule.tile(), Traits::kRows);
    if (work.empty()) continue;
    typename Traits::Walk walk(p, work);
    const KeyBoxes boxes{p, work.sequence, p.attention.group.quotient(work.rows.head0)};
    if (walk.more()) boxes.load<KeyTile>(elected, p.k, shared.keys, at, walk.key0());
    if (elected) {
      // Worked out anew, so that it need not be kept in registers.
      const ForwardWork again(p, ptx::opaque(schedule.tile()), Traits::kRows);
      load_queries(p, shared, again, !walk.more(), parity);
    }
    parity ^= 1;
    while (walk.more()) {
      const int key0 = walk.key0();
      at.advance();
      walk.advance();
      if (walk.more()) boxes.load<KeyTile>(elected, p.k, shared.keys, at, walk.key0());
      boxes.load<ValueTile>(elected, p.v, shared.values, at.previous(), key0);
    }
  }
}

/**
 * A checker, a warp: puts zeros for infinities and NaN in its part of a tile (device/poison.h says
 * why). True if there were any in the first `rows`: what follows, padding or the next sequence,
 * nobody sees.
 */
template <class Traits>
PTX_FN bool clear_values(uint32_t tile, int checker, int rows) {
  using T = typename Traits::T;
  constexpr int kChunksOfRow = kPanelRowBytes / 16;
  bool poisoned = false;
#pragma unroll 4
  for (uint32_t chunk = checker * 32 + threadIdx.x % 32; chunk < Traits::ValueTile::kBytes / 16;
       chunk += Traits::kCheckers * 32) {
    const uint4 words = ptx::lds<uint4>(tile + 16 * chunk);
    const uint4 finite = finite_part<T>(words);
    if (same(words, finite)) continue;
    poisoned |= static_cast<int>(chunk) / kChunksOfRow % Traits::kKeys < rows;
    ptx::sts<uint4>(tile + 16 * chunk, finite);
  }
  return poisoned;
}

/** `word` with zeros for NaN; infinities there are none of. */
PTX_FN uint32_t finite_e4m3(uint32_t word) {
#pragma unroll
  for (int byte = 0; byte < 4; ++byte) {
    const uint32_t mask = 0x7fu << 8 * byte;
    if ((word & mask) == mask) word &= ~(0xffu << 8 * byte);
  }
  return word;
}

/**
 * A checker: transposes its part of a tile of 8-bit values, for wgmma takes them along keys alone.
 * ldmatrix transposes pairs of bytes, columns 2g and 2g + 1 of two keys; of two such registers a
 * permutation of bytes makes four keys of one column. Keys of 16 come out in the order 0 1 8 9 2 3
 * 10 11 4 5 12 13 6 7 14 15, which is that of the accumulators of weights (round_weights). `clear`
 * takes NaN out; true if there were any in the first `rows`.
 */
template <class Traits>
PTX_FN bool transpose_values(uint32_t from, uint32_t to, int checker, bool clear, int rows) {
  using From = typename Traits::ValueTile;
  using To = typename Traits::TransposedTile;
  constexpr int kColumnChunks = Traits::kWidthV / 16, kKeyChunks = Traits::kKeys / 16;
  const int lane = static_cast<int>(threadIdx.x) % 32, line = lane % 8, matrix = lane / 8;
  // Matrices of even and odd columns trade halves, so that the eight rows of each meet all banks
  // once.
  const uint32_t upper = lane >= 16, even = upper ? 0x7531u : 0x6420u, odd = even ^ 0x1111u;
  const int column = matrix / 2 * 16 + 2 * line + ((matrix & 1) ^ (line >= 4));
  bool poisoned = false;
#pragma unroll 2
  for (int block = checker; block < kKeyChunks * kColumnChunks / 2; block += Traits::kCheckers) {
    const int keys = block % kKeyChunks, chunk = block / kKeyChunks * 2;
    uint32_t pairs[4];  // keys 0 to 7 and 8 to 15 of one chunk of columns, then of the next
    ptx::ldmatrix_x4_trans(pairs, from + From::offset(16 * keys + lane % 16, chunk + lane / 16));
    if (clear) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const uint32_t finite = finite_e4m3(pairs[i]);
        const int key = 16 * keys + 8 * (i % 2) + 2 * (lane % 4);  // and the next one
        const uint32_t seen = (key < rows ? 0xffffu : 0u) | (key + 1 < rows ? 0xffff0000u : 0u);
        poisoned |= ((finite ^ pairs[i]) & seen) != 0;
        pairs[i] = finite;
      }
    }
    const uint32_t rows[4] = {
        ptx::permute_bytes(pairs[0], pairs[1], even), ptx::permute_bytes(pairs[0], pairs[1], odd),
        ptx::permute_bytes(pairs[2], pairs[3], even), ptx::permute_bytes(pairs[2], pairs[3], odd)};
    ptx::stmatrix_x4(to + To::offset(16 * chunk + column, keys), rows);
  }
  return poisoned;
}

/** Checker `checker` of kCheckers, a warp: makes values fit for the products. */
template <class Traits>
PTX_FN void prepare_values(const ForwardParams& p, const SharedLayout<Traits>& shared,
                           int checker) {
  typename Traits::Position at;
  for (ForwardSchedule schedule; schedule.tile() < p.tiles; schedule.advance()) {
    const ForwardWork work(p, schedule.tile(), Traits::kRows);
    if (work.empty()) continue;
    for (typename Traits::Walk walk(p, work); walk.more(); walk.advance()) {
      shared.values.wait(at);
      if constexpr (Traits::kFp8) shared.transposed.wait_free(at);
      const bool hides_pairs = walk.hides_pairs();
      const int rows = walk.mask.window.seqlen_k - walk.key0();
      bool poisoned = false;
      if constexpr (Traits::kFp8)
        poisoned = transpose_values<Traits>(shared.values.tile(at), shared.transposed.tile(at),
                                            checker, hides_pairs, rows);
      else if (hides_pairs)
        poisoned = clear_values<Traits>(shared.values.tile(at), checker, rows);
      if (hides_pairs) {
        poisoned = ptx::vote_any(poisoned);
        if (threadIdx.x % 32 == 0) ptx::sts<uint32_t>(shared.poison(at, checker), poisoned);
      }
      if (Traits::kFp8 || hides_pairs) ptx::fence_proxy_async();
      arrive_warp(Traits::kFp8 ? shared.transposed.full(at) : shared.checked(at));
      arrive_warp(shared.values.free(at));
      at.advance();
    }
  }
}

}  // namespace fa::cuda::sm90
