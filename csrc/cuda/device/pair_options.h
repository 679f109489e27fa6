// What score_tile.h does to the scores of a tile, for the backward pass: rows may be keys, all are
// of one head, and softcap has a derivative. Every option is a branch of the whole tile.
#pragma once

#include "cuda/device/dropout.h"
#include "cuda/device/lane_pairs.h"
#include "cuda/device/scores.h"

namespace fa::cuda {

/** Which of this lane's pairs dropout keeps. */
template <class Traits>
PTX_FN ScoreBits<Traits> kept_scores(const BackwardParams& p, const BackwardBlock<Traits>& block,
                                     const InnerVisit& at, const ScorePart& part) {
  const AttentionParams& a = p.attention;
  const LanePosition lane;
  const int stream = block.batch * a.heads + at.head;
  const PartOrigin origin(block, at, part);
  ScoreBits<Traits> kept = 0;
#pragma unroll
  for (int m = 0; m < Traits::kRowTiles; ++m) {
#pragma unroll
    for (int n = 0; n < Traits::kScoreTiles; ++n) {
      ScoreBits<Traits> bits;
      if constexpr (Traits::kKeyRows) {
        const int query = origin.query + 8 * n + 2 * lane.t;
        bits = kept_pairs_across(a.dropout, {query, query + 1}, stream, origin.key + 16 * m);
      } else {
        const int query = origin.query + 16 * m + lane.g;
        bits = kept_pairs(a.dropout, {query, query + 8}, {stream, stream}, origin.key + 8 * n);
      }
      kept |= bits << (4 * (m * Traits::kScoreTiles + n));
    }
  }
  return kept;
}

/** What dropout makes of P or of dP. */
template <class Traits>
PTX_FN void drop_out(const AttentionParams& a, ScoreBits<Traits> kept, typename Traits::Scores& s) {
  using Pairs = LanePairs<Traits>;
  Pairs::for_each([&](int q, int k) {
    float& x = Pairs::at(s, q, k);
    x = (kept >> Pairs::bit(q, k) & 1u) != 0 ? x * a.dropout.keep_scale : 0.f;
  });
}

/**
 * Adds `count` queries from `first` on of a dense mask of elements M; of uint8_t, 0 hides a pair.
 */
template <class Traits, class M>
PTX_FN void add_mask_rows(const MaskParams& mask, int64_t head, int first, int count,
                          const BackwardBlock<Traits>& block, const LanePairs<Traits>& pairs,
                          typename Traits::Scores& s) {
  using Pairs = LanePairs<Traits>;
  const M* const data = static_cast<const M*>(mask.data) + head;
  // Rows and keys beyond the end read the last one's: they are hidden whatever it is.
  const int last_query = block.sequence.seqlen_q - 1, last_key = block.sequence.seqlen_k - 1;
#pragma unroll
  for (int q = first; q < first + count; ++q) {
    const int i = pairs.query0 + Pairs::query(q);
#pragma unroll
    for (int k = 0; k < Pairs::kKeys; ++k) {
      const int j = pairs.key0 + Pairs::key(k);
      const M element = ptx::ldg(data + (i < last_query ? i : last_query) * mask.row +
                                 (j < last_key ? j : last_key) * mask.key);
      float& x = Pairs::at(s, q, k);
      if constexpr (sizeof(M) == 1) {
        if (element == 0) x = -kInfinity;
      } else {
        // Whatever the score is: a hidden NaN does not exist.
        const float bias = ptx::to_float(element);
        x = bias == -kInfinity ? bias : x + bias;
      }
    }
  }
}

/** Adds a dense mask, some eight scores at a time: more loads would not leave registers enough. */
template <class Traits>
PTX_FN void add_mask(const AttentionParams& a, const BackwardBlock<Traits>& block,
                     const InnerVisit& at, const LanePairs<Traits>& pairs,
                     typename Traits::Scores& s) {
  constexpr int kKeys = LanePairs<Traits>::kKeys, kCount = kKeys < 8 ? 8 / kKeys : 1;
  const int64_t head = block.batch * a.mask.batch + at.head * a.mask.head;
#pragma unroll
  for (int first = 0; first < LanePairs<Traits>::kQueries; first += kCount) {
    const auto add = [&](auto element) {
      add_mask_rows<Traits, decltype(element)>(a.mask, head, first, kCount, block, pairs, s);
    };
    switch (static_cast<DType>(a.mask.dtype)) {
      case DType::kFloat32: add(float{}); break;
      case DType::kFloat16: add(ptx::f16{}); break;
      case DType::kBFloat16: add(ptx::bf16{}); break;
      default: add(uint8_t{});
    }
  }
}

/** Which pairs a block mask shows. Pairs beyond the end stand for the last ones. */
template <class Traits>
PTX_FN ScoreBits<Traits> shown_by_blocks(const AttentionParams& a,
                                         const BackwardBlock<Traits>& block, const InnerVisit& at,
                                         const LanePairs<Traits>& pairs) {
  using Pairs = LanePairs<Traits>;
  const PackedRows rows{FastDivide{}, at.head, block.sequence.seqlen_q, 0};
  const int last_key = block.sequence.seqlen_k - 1;
  ScoreBits<Traits> shown = 0;
#pragma unroll 1
  for (int q = 0; q < Pairs::kQueries; ++q) {
    const ScoreRow<false> row(a, block.window, rows, block.batch, pairs.query0 + Pairs::query(q));
#pragma unroll
    for (int k = 0; k < Pairs::kKeys; ++k) {
      const int j = pairs.key0 + Pairs::key(k);
      if (in_blocks(a.block_mask, block.batch, row, j < last_key ? j : last_key))
        shown |= ScoreBits<Traits>{1} << Pairs::bit(q, k);
    }
  }
  return shown;
}

/** Makes the scores of hidden pairs -infinity: in a tile that has some. */
template <class Traits>
PTX_FN void hide_pairs(const AttentionParams& a, const BackwardBlock<Traits>& block,
                       const InnerVisit& at, const LanePairs<Traits>& pairs,
                       typename Traits::Scores& s) {
  using Pairs = LanePairs<Traits>;
  const Window& window = block.window;
#pragma unroll
  for (int q = 0; q < Pairs::kQueries; ++q) {
    const int i = pairs.query0 + Pairs::query(q);
    const int begin = window.begin(i), end = i < block.sequence.seqlen_q ? window.end(i) : 0;
#pragma unroll
    for (int k = 0; k < Pairs::kKeys; ++k) {
      const int j = pairs.key0 + Pairs::key(k);
      if (j >= end || (j < begin && j >= window.sink_tokens)) Pairs::at(s, q, k) = -kInfinity;
    }
  }
  if (a.block_mask.cells == nullptr) return;
  const ScoreBits<Traits> shown = shown_by_blocks(a, block, at, pairs);
  Pairs::for_each([&](int q, int k) {
    if ((shown >> Pairs::bit(q, k) & 1u) == 0) Pairs::at(s, q, k) = -kInfinity;
  });
}

/**
 * From products to natural scores with every option; those of hidden pairs are -infinity. `change`:
 * dP - delta, which gets softcap's derivative for a factor.
 */
template <class Traits>
PTX_FN void apply_options(const AttentionParams& a, const BackwardBlock<Traits>& block,
                          const InnerVisit& at, const LanePairs<Traits>& pairs,
                          typename Traits::Scores& s, typename Traits::Scores& change) {
  using Pairs = LanePairs<Traits>;
  Pairs::for_each([&](int q, int k) { Pairs::at(s, q, k) *= a.scale; });
  if (a.softcap > 0) {
    Pairs::for_each([&](int q, int k) {
      const CappedScore capped = cap_with_slope<typename Traits::T>(a, Pairs::at(s, q, k));
      Pairs::at(s, q, k) = capped.score;
      Pairs::at(change, q, k) *= capped.slope;
    });
  }
  if (a.alibi_slopes != nullptr) {
    const float slope =
        ptx::ldg(a.alibi_slopes + block.batch * a.alibi_batch + at.head * a.alibi_head);
    const int distance = pairs.query0 + block.window.offset - pairs.key0;
    Pairs::for_each([&](int q, int k) {
      const float ahead = static_cast<float>(distance + Pairs::query(q));
      Pairs::at(s, q, k) -= slope * fabsf(ahead - static_cast<float>(Pairs::key(k)));
    });
  }
  if (at.kind != TileKind::kPartial) return;
  if (a.mask.data != nullptr) add_mask(a, block, at, pairs, s);
  hide_pairs(a, block, at, pairs, s);
}

}  // namespace fa::cuda
