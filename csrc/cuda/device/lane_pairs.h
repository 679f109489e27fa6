// The pairs of a query and a key that a lane has in its warp's part of a tile of scores: with g =
// lane / 4 and t = lane % 4, element e of accumulator (m, n) is in row 16m + 8 (e / 2) + g, column
// 8n + 2t + e % 2. Traits: those of backward_walk.h, kKeyRows (rows of scores are keys, else
// queries), kRowTiles and kScoreTiles (accumulators of the part), and Scores, the array of them.
#pragma once

#include <type_traits>

#include "cuda/device/backward_walk.h"

namespace fa::cuda {

/** Where a warp's part of a tile of scores begins. */
struct ScorePart {
  int row, column;
};

/** The first query and key of a part, counted from the sequence's. */
struct PartOrigin {
  int query, key;

  template <class Traits>
  PTX_FN PartOrigin(const BackwardBlock<Traits>& block, const InnerVisit& at,
                    const ScorePart& part) {
    const int inner0 = at.tile * Traits::kInner;
    query = (Traits::kKeys ? inner0 : block.outer0) + (Traits::kKeyRows ? part.column : part.row);
    key = (Traits::kKeys ? block.outer0 : inner0) + (Traits::kKeyRows ? part.row : part.column);
  }
};

/** A bit for each of this lane's scores. */
template <class Traits>
using ScoreBits =
    std::conditional_t<(4 * Traits::kRowTiles * Traits::kScoreTiles > 32), uint64_t, uint32_t>;

/** kQueries x kKeys pairs. */
template <class Traits>
struct LanePairs {
  static constexpr bool kByKeys = Traits::kKeyRows;
  static constexpr int kQueries = 2 * (kByKeys ? Traits::kScoreTiles : Traits::kRowTiles);
  static constexpr int kKeys = 2 * (kByKeys ? Traits::kRowTiles : Traits::kScoreTiles);
  using Scores = typename Traits::Scores;

  int part_query;    // the first query, counted from the part's beginning
  int query0, key0;  // the first ones, counted from the sequence's

  PTX_FN LanePairs(const BackwardBlock<Traits>& block, const InnerVisit& at,
                   const ScorePart& part) {
    const LanePosition lane;
    const PartOrigin origin(block, at, part);
    const int query_lane = kByKeys ? 2 * lane.t : lane.g;
    part_query = (kByKeys ? part.column : part.row) + query_lane;
    query0 = origin.query + query_lane;
    key0 = origin.key + (kByKeys ? lane.g : 2 * lane.t);
  }

  /** Queries and keys, counted from the first ones. */
  static PTX_FN int query(int q) { return kByKeys ? q / 2 * 8 + q % 2 : 8 * q; }
  static PTX_FN int key(int k) { return kByKeys ? 8 * k : k / 2 * 8 + k % 2; }

  /** 4 (m kScoreTiles + n) + e, with element e of accumulator (m, n). */
  static PTX_FN int bit(int q, int k) {
    const int row = kByKeys ? k : q, column = kByKeys ? q : k;
    return 4 * (row / 2 * Traits::kScoreTiles + column / 2) + 2 * (row % 2) + column % 2;
  }
  static PTX_FN float& at(Scores& s, int q, int k) {
    const int i = bit(q, k);
    return s[i / 4 / Traits::kScoreTiles][i / 4 % Traits::kScoreTiles][i % 4];
  }

  /** Calls f(q, k) for every pair. */
  template <class F>
  static PTX_FN void for_each(F f) {
#pragma unroll
    for (int q = 0; q < kQueries; ++q)
#pragma unroll
      for (int k = 0; k < kKeys; ++k) f(q, k);
  }
};

}  // namespace fa::cuda
