// The way out of the forward pass: rows are divided by their sums and stored, rounded by way of
// shared memory, or as float32 partial results of a split.
#pragma once

#include "cuda/device/codes.h"
#include "cuda/device/natural_row.h"
#include "cuda/device/poison.h"
#include "cuda/sm80/forward_block.h"

namespace fa::cuda::sm80 {

/**
 * Sums over the keys complete, the sink among them: o becomes the output, lse is stored. Votes for
 * the rows that have left base 2 (voted_for).
 */
template <class T, class Traits, bool kFeatured>
PTX_FN uint32_t finish_rows(const ForwardParams& p, const ForwardBlock& block, int row0,
                            const OnlineSoftmax<Traits::kRowTiles>& softmax,
                            typename Traits::Output& o) {
  const AttentionParams& a = p.attention;
  const LanePosition lane;
  // Of the rows that a quad has, each lane sees to one.
  constexpr int kRows = 2 * Traits::kRowTiles;
  static_assert(kRows == 2 || kRows == 4);
  const int r = lane.t % kRows;
  float maximum = softmax.maximum[0], sum = quad_sum(softmax.sum[0]);
#pragma unroll
  for (int other = 1; other < kRows; ++other) {
    const float sum_of_other = quad_sum(softmax.sum[other]);
    if (r != other) continue;
    maximum = softmax.maximum[other];
    sum = sum_of_other;
  }
  const int row = row0 + 8 * r + lane.g, inside = block.rows.inside(row);
  const RowResult result =
      row_result<kFeatured>(a, block.rows.head(inside), maximum, sum, block.part.split == 0);
  if (lane.t == r && row < block.rows.count)
    store_softmax(a, p.splits.partial, block, row, result.top, result.sum);
#pragma unroll
  for (int of = 0; of < kRows; ++of) {
    const float factor = ptx::shfl_idx(result.factor, 4 * lane.g + of);
#pragma unroll
    for (int d = 0; d < Traits::kColumnTiles; ++d) {
      o[of / 2][d][2 * (of % 2)] *= factor;
      o[of / 2][d][2 * (of % 2) + 1] *= factor;
    }
  }
  return kFeatured ? 0u : ptx::vote_ballot(lane.t == r && left_base_2(maximum));
}

/**
 * Straight from the accumulators: the four lanes of a row fill a sector of 32 bytes. `pairs`: rows
 * are contiguous, aligned, and have room for an even number of columns.
 */
template <class Traits>
PTX_FN void store_float32(const ForwardParams& p, const ForwardBlock& block, int row0, bool pairs,
                          const typename Traits::Output& o) {
  const LanePosition lane;
  const int columns = p.attention.head_dim_v;
#pragma unroll
  for (int r = 0; r < 2 * Traits::kRowTiles; ++r) {
    const int row = row0 + 8 * r + lane.g;
    if (row >= block.rows.count) continue;
    float* const to = float32_row(p, block, row);
#pragma unroll
    for (int d = 0; d < Traits::kColumnTiles; ++d) {
      const int column = 8 * d + 2 * lane.t;
      const float x = o[r / 2][d][2 * (r % 2)], y = o[r / 2][d][2 * (r % 2) + 1];
      if (pairs) {
        if (column < columns) ptx::stg<float2>(reinterpret_cast<float2*>(to + column), {x, y});
      } else {
        if (column < columns) ptx::stg(to + column * p.attention.out.dim, x);
        if (column + 1 < columns) ptx::stg(to + (column + 1) * p.attention.out.dim, y);
      }
    }
  }
}

/** By way of the warp's own rows of the query tile, so that rows leave 16 bytes at a time. */
template <class T, class Traits>
PTX_FN void store_rounded(const ForwardParams& p, const ForwardBlock& block, int row0, int warp_row,
                          uint32_t staging, bool aligned, const typename Traits::Output& o) {
  using RowTile = typename Traits::RowTile;
  const LanePosition lane;
  ptx::sync_warp();
#pragma unroll
  for (int r = 0; r < 2 * Traits::kRowTiles; ++r) {
#pragma unroll
    for (int d = 0; d < Traits::kColumnTiles; ++d) {
      ptx::sts<uint32_t>(staging + RowTile::offset(warp_row + 8 * r + lane.g, d) +
                             static_cast<uint32_t>(4 * lane.t),
                         ptx::pack2<T>(o[r / 2][d][2 * (r % 2)], o[r / 2][d][2 * (r % 2) + 1]));
    }
  }
  ptx::sync_warp();
  constexpr int kTotal = 16 * Traits::kRowTiles * RowTile::kChunks;
#pragma unroll
  for (int first = 0; first < kTotal; first += 32) {
    const int index = first + static_cast<int>(threadIdx.x) % 32;
    const int line = index / RowTile::kChunks, column = index % RowTile::kChunks * 8;
    if (row0 + line >= block.rows.count || column >= p.attention.head_dim_v) continue;
    T* const to = packed_row<T>(p.attention.out, block, row0 + line);
    const uint4 words =
        ptx::lds<uint4>(staging + RowTile::offset(warp_row + line, index % RowTile::kChunks));
    if (aligned) {
      ptx::stg<uint4>(reinterpret_cast<uint4*>(to + column), words);
      continue;
    }
    const uint32_t word[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
    for (int e = 0; e < 8; ++e) {
      if (column + e >= p.attention.head_dim_v) continue;
      ptx::stg(to + (column + e) * p.attention.out.dim,
               T{static_cast<uint16_t>(word[e / 2] >> (16 * (e % 2)))});
    }
  }
}

/** Does the `extreme` ones of the warp's rows again, over what has been stored for them. */
template <class T, class Traits>
PTX_COLD void attend_naturally(const ForwardParams& p, int warp_row, uint32_t extreme) {
  const AttentionParams& a = p.attention;
  const ForwardBlock block = block_again(p, Traits::RowTile::kRows);
  const Window window = window_of(a, block.sequence);
  const TileRange range = n_blocks_of<Traits>(block, window);
  const KeyRows<T, Traits::kPaged> keys(a, a.k, block.sequence, block.batch, block.kv_head);
  const KeyRows<T, Traits::kPaged> values(a, a.v, block.sequence, block.batch, block.kv_head);
  ptx::sync_warp();  // after all that the lanes have stored
#pragma unroll 1
  for (int line = 0; line < 16 * Traits::kRowTiles; ++line) {
    const int row = block.row0 + warp_row + line;
    if (row >= block.rows.count) break;
    if (!voted_for(extreme, line)) continue;
    const int i = block.rows.query(row);
    const int first = range.begin * Traits::kTile.keys, last = range.end * Traits::kTile.keys;
    // A row that sees none of the keys has the least maximum as well.
    if (!sees_any(window, i, first, last)) continue;
    const T* const q = packed_row<T>(a.q, block, row);
    NaturalRow<Traits::kTile.width> natural;
    natural.attend(
        clamp(window.begin(i), first, last), clamp(window.end(i), first, last), a.head_dim_v,
        [&](int key) {
          return row_product(q, a.q.dim, keys.row(key), a.k.dim, a.head_dim) * a.scale;
        },
        [&](int key, int column) {
          return ptx::to_float(ptx::ldg(values.row(key) + column * a.v.dim));
        });
    natural.for_each_column(a.head_dim_v, [&](int c, int column) {
      if (block.part.alone())
        ptx::stg(packed_row<T>(a.out, block, row) + column * a.out.dim,
                 ptx::from_float<T>(natural.out[c]));
      else
        ptx::stg(float32_row(p, block, row) + column, natural.out[c]);
    });
    if (this_thread() % 32 == 0)
      store_softmax(a, p.splits.partial, block, row, natural.top, natural.sum);
  }
}

/**
 * Gives back to the outputs of the warp's rows what clear_poison took out of tiles with hidden
 * pairs.
 */
template <class T, class Traits, bool kFeatured>
PTX_COLD void restore_poison(const ForwardParams& p, int warp_row) {
  const AttentionParams& a = p.attention;
  const ForwardBlock block = block_again(p, Traits::RowTile::kRows);
  const int row0 = block.row0 + warp_row;
  const PackedRows& rows = block.rows;
  const Window window = window_or_tree_of<kFeatured>(a, block.sequence);
  using Value = std::conditional_t<kIsCode<T>, float, T>;
  const TileMask<kFeatured> mask{window, &a, block.batch, rows.head0};
  const int i0 = rows.query_begin(block.row0);
  const int i1 = rows.query_end(block.row0 + Traits::RowTile::kRows);
  const int row1 =
      row0 + 16 * Traits::kRowTiles < rows.count ? row0 + 16 * Traits::kRowTiles : rows.count;
  const int64_t dim = block.part.alone() ? a.out.dim : 1;
  const auto add_to = [&](auto* out, float x) {
    using Element = std::remove_pointer_t<decltype(out)>;
    ptx::stg(out, ptx::from_float<Element>(ptx::to_float(ptx::ldg(out)) + x));
  };
  const auto add = [&](int row, int column, float x) {
    const int64_t at = column * dim;
    if (sizeof(T) == 4 || !block.part.alone())
      add_to(float32_row(p, block, row) + at, x);
    else if (kIsCode<T> && a.query_dtype == static_cast<int>(DType::kBFloat16))
      add_to(packed_row<ptx::bf16>(a.out, block, row) + at, x);
    else
      add_to(packed_row<std::conditional_t<kIsCode<T>, ptx::f16, T>>(a.out, block, row) + at, x);
  };
  const auto value = [&](int key, int column) {
    if constexpr (Traits::kConverts) {
      if (kIsCode<T> || a.converted) {
        const ConvertedRows<Value> from{a, a.v, a.v_scales, block.batch, block.kv_head};
        return ptx::to_float(from.element(key, column));
      }
    }
    const KeyRows<Value, Traits::kPaged> from(a, a.v, block.sequence, block.batch, block.kv_head);
    return ptx::to_float(from.element(key, column));
  };
  const TileRange n_blocks = n_blocks_of<Traits>(block, window);
  constexpr int kKeys = Traits::kTile.keys;
  ptx::sync_warp();  // after all that the lanes have stored
#pragma unroll 1
  for (int n_block = n_blocks.begin; n_block < n_blocks.end; ++n_block) {
    const int begin = n_block * kKeys, after = begin + kKeys;
    if (mask.classify(i0, i1, begin, after) != TileKind::kPartial) continue;
    for_each_visible_poison<kFeatured>(a, window, rows, block.batch, begin,
                                       after < window.seqlen_k ? after : window.seqlen_k, row0,
                                       row1, this_thread() % 32, 32, value, add);
  }
}

}  // namespace fa::cuda::sm80
