// From scores to P and dS, in accumulators of 16 outer rows x 8 inner rows: with g = lane / 4 and t
// = lane % 4, element e of accumulator (m, n) is outer row 16m + 8 (e / 2) + g, inner row 8n + 2t +
// e % 2 of a warp's part. Traits: those of backward_walk.h, kRowTiles and kScoreTiles (accumulators
// of the part), and Scores, the array of them.
#pragma once

#include <type_traits>

#include "cuda/device/backward_walk.h"
#include "cuda/device/dropout.h"
#include "cuda/device/scores.h"

namespace fa::cuda {

/** Where a warp's part of a tile of scores begins. */
struct ScorePart {
  int row, column;
};

/** A bit for each of this lane's scores. */
template <class Traits>
using ScoreBits =
    std::conditional_t<(4 * Traits::kRowTiles * Traits::kScoreTiles > 32), uint64_t, uint32_t>;

/**
 * Which of this lane's pairs dropout keeps: bit 4 (m kScoreTiles + n) + e for element e of
 * accumulator (m, n).
 */
template <class Traits>
PTX_FN ScoreBits<Traits> kept_scores(const BackwardParams& p, const BackwardBlock<Traits>& block,
                                     const InnerVisit& at, const ScorePart& part) {
  const AttentionParams& a = p.attention;
  const LanePosition lane;
  const int stream = block.batch * a.heads + at.head;
  const int outer0 = block.outer0 + part.row, inner0 = at.tile * Traits::kInner + part.column;
  ScoreBits<Traits> kept = 0;
#pragma unroll
  for (int m = 0; m < Traits::kRowTiles; ++m) {
#pragma unroll
    for (int n = 0; n < Traits::kScoreTiles; ++n) {
      const int row = outer0 + 16 * m, column = inner0 + 8 * n;
      ScoreBits<Traits> bits;
      if constexpr (Traits::kKeys) {
        const int query = column + 2 * lane.t;
        bits = kept_pairs_across(a.dropout, {query, query + 1}, stream, row);
      } else {
        const int query = row + lane.g;
        bits = kept_pairs(a.dropout, {query, query + 8}, {stream, stream}, column);
      }
      kept |= bits << (4 * (m * Traits::kScoreTiles + n));
    }
  }
  return kept;
}

/**
 * Turns scores S into P (what dropout leaves of it) and dP into dS. Hidden pairs get zeros,
 * whatever dP is there. kPartial: there are some, or options that change scores.
 */
template <class Traits, bool kPartial>
PTX_FN void differentiate(const BackwardParams& p, const BackwardBlock<Traits>& block,
                          const InnerVisit& at, const ScorePart& part, uint32_t states,
                          ScoreBits<Traits> kept, typename Traits::Scores& s,
                          typename Traits::Scores& dp) {
  constexpr bool kKeys = Traits::kKeys;
  constexpr int kQueryTiles = kKeys ? Traits::kScoreTiles : Traits::kRowTiles;
  constexpr int kKeyTiles = kKeys ? Traits::kRowTiles : Traits::kScoreTiles;
  const AttentionParams& a = p.attention;
  const LanePosition lane;
  const int outer0 = block.outer0 + part.row, inner0 = at.tile * Traits::kInner + part.column;
  const int query0 = kKeys ? inner0 : outer0, key0 = kKeys ? outer0 : inner0;
  const int query_lane = kKeys ? 2 * lane.t : lane.g, key_lane = kKeys ? lane.g : 2 * lane.t;
  states += static_cast<uint32_t>(((kKeys ? part.column : part.row) + query_lane) * kRowStateBytes);
  const PackedRows rows{FastDivide{}, at.head, block.sequence.seqlen_q, 0};
  const float scale = a.scale * kLog2E;

#pragma unroll
  for (int q = 0; q < kQueryTiles; ++q) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int number = kKeys ? 8 * q + h : 16 * q + 8 * h;
      const int i = query0 + query_lane + number;
      const RowState state =
          ptx::lds<RowState>(states + static_cast<uint32_t>(number * kRowStateBytes));
      const ScoreRow<false> row(a, block.window, rows, block.batch, i);
#pragma unroll
      for (int k = 0; k < kKeyTiles; ++k) {
#pragma unroll
        for (int l = 0; l < 2; ++l) {
          const int m = kKeys ? k : q, n = kKeys ? q : k, e = kKeys ? 2 * l + h : 2 * h + l;
          const int j = key0 + key_lane + (kKeys ? 16 * k + 8 * l : 8 * k + l);
          float& x = s[m][n][e];
          float& y = dp[m][n][e];
          float score = x * scale, slope = 1.f;
          float kept_weight = 1.f;  // what dropout makes of a weight of 1
          bool visible = true;
          if constexpr (Traits::kFeatured) {
            visible =
                i < block.sequence.seqlen_q && row.in_window(block.window, j) &&
                (a.block_mask.cells == nullptr || in_blocks(a.block_mask, block.batch, row, j));
            if (visible)
              score = natural_score<typename Traits::T>(a, block.window, row, j, x) * kLog2E;
            visible &= score != -kInfinity && state.lse != kInfinity;
            if (a.softcap > 0) slope = cap_slope(a, x * a.scale);
            if (a.dropout.enabled) {
              kept_weight = (kept >> (4 * (m * Traits::kScoreTiles + n) + e)) & 1u
                                ? a.dropout.keep_scale
                                : 0.f;
              y = kept_weight == 0 ? 0.f : y * kept_weight;
            }
          } else if constexpr (kPartial) {
            visible = j >= row.begin && j < row.end;
          }
          const float weight = ptx::exp2_approx(score - state.lse);
          const float gradient = weight * (y - state.delta) * slope;
          x = visible ? weight * kept_weight : 0.f;
          y = visible ? gradient : 0.f;
        }
      }
    }
  }
}

}  // namespace fa::cuda
