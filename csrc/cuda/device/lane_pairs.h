// The pairs of a query and a key that a lane has in its warp's part of a tile of scores: with g =
// lane / 4 and t = lane % 4, element e of accumulator (m, n) is outer row 16m + 8 (e / 2) + g,
// inner row 8n + 2t + e % 2. Traits: those of backward_walk.h, kRowTiles and kScoreTiles
// (accumulators of the part), and Scores, the array of them.
#pragma once

#include <type_traits>

#include "cuda/device/backward_walk.h"

namespace fa::cuda {

/** Where a warp's part of a tile of scores begins. */
struct ScorePart {
  int row, column;
};

/** A bit for each of this lane's scores. */
template <class Traits>
using ScoreBits =
    std::conditional_t<(4 * Traits::kRowTiles * Traits::kScoreTiles > 32), uint64_t, uint32_t>;

/** kQueries x kKeys pairs. */
template <class Traits>
struct LanePairs {
  static constexpr bool kByKeys = Traits::kKeys;  // outer rows are keys
  static constexpr int kQueries = 2 * (kByKeys ? Traits::kScoreTiles : Traits::kRowTiles);
  static constexpr int kKeys = 2 * (kByKeys ? Traits::kRowTiles : Traits::kScoreTiles);
  using Scores = typename Traits::Scores;

  int part_query;    // the first query, counted from the part's beginning
  int query0, key0;  // the first ones, counted from the sequence's

  PTX_FN LanePairs(const BackwardBlock<Traits>& block, const InnerVisit& at,
                   const ScorePart& part) {
    const LanePosition lane;
    const int outer = block.outer0 + part.row, inner = at.tile * Traits::kInner + part.column;
    const int query_lane = kByKeys ? 2 * lane.t : lane.g;
    part_query = (kByKeys ? part.column : part.row) + query_lane;
    query0 = (kByKeys ? inner : outer) + query_lane;
    key0 = (kByKeys ? outer : inner) + (kByKeys ? lane.g : 2 * lane.t);
  }

  /** Queries and keys, counted from the first ones. */
  static PTX_FN int query(int q) { return kByKeys ? q / 2 * 8 + q % 2 : 8 * q; }
  static PTX_FN int key(int k) { return kByKeys ? 8 * k : k / 2 * 8 + k % 2; }

  /** 4 (m kScoreTiles + n) + e, with element e of accumulator (m, n). */
  static PTX_FN int bit(int q, int k) {
    const int outer = kByKeys ? k : q, inner = kByKeys ? q : k;
    return 4 * (outer / 2 * Traits::kScoreTiles + inner / 2) + 2 * (outer % 2) + inner % 2;
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
