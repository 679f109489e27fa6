// Attention backward on mma.sync, by recomputation (FlashAttention-2: Dao 2023, Algorithm 2). With
//   P = exp(S - lse)    dP = dO V^T    dS = P (dP - delta)
//   dV = P^T dO         dK = scale dS^T Q         dQ = scale dS K
// a block keeps some rows and their gradients, in registers, and walks over the tiles of rows of
// the other kind that they meet. The outer rows are keys (for dK and dV; the queries of a group's
// heads stream past, so that their sum is exact and always the same) or queries (for dQ). The two
// are one kernel, because scores are a product of outer and inner rows either way:
//   scores = X x^T,  dP = Y y^T,  dX += dS x,  and dV += P y,    X, Y = K, V  and  x, y = Q, dO  or
//                                                                  X, Y = Q, dO and  x, y = K, V.
// Blocks of keys can add their share of dQ to a sum in global memory; float32 additions in any
// order.
#pragma once

#include "cuda/device/differentiate.h"
#include "cuda/device/load_tile.h"
#include "cuda/sm80/backward_kernels.h"
#include "cuda/sm80/backward_products.h"
#include "cuda/sm80/backward_tiles.h"

namespace fa::cuda::sm80 {

template <class Element, Outer kOuterRows, bool kWithOptions, int kIndex>
struct BackwardTraits {
  using T = Element;
  static constexpr bool kFeatured = kWithOptions;
  static constexpr bool kKeys = kOuterRows == Outer::kKeys, kKeyRows = kKeys;
  static constexpr BackwardTile kTile =
      backward_tiles(sizeof(T) == 4, kOuterRows, kFeatured).tiles[kIndex];
  static constexpr int kOuter = kTile.outer, kInner = kTile.inner, kWidth = kTile.width;
  static constexpr int kThreads = kTile.warps() * 32;
  // One block an SM is all that shared memory has room for. ptxas needs to be told so, lest it
  // spill to fit more; and not to be told where it does better without (eight warps of keys, whose
  // gradients fill the registers).
  static constexpr int kMinBlocks = kKeys && kTile.warps() == 8 ? 0 : 1;
  using OuterTile = SharedTile<T, kOuter, kWidth>;
  using InnerTile = SharedTile<T, kInner, kWidth>;
  using ScoreTile = SharedTile<T, kOuter, kInner>;

  // A warp's part of the scores, of the gradients of outer rows, and of dQ where queries are the
  // inner rows.
  static constexpr int kRowTiles = kOuter / kTile.outer_warps / 16;
  static constexpr int kScoreTiles = kInner / kTile.inner_warps / 8;
  static constexpr int kColumnTiles = kWidth / kTile.inner_warps / 8;
  static constexpr int kQueryWarps =
      kInner / kTile.inner_warps < 16 ? kInner / 16 : kTile.inner_warps;
  static constexpr int kQueryTiles = kInner / kQueryWarps / 16;
  static constexpr int kQueryColumns = kWidth / (kTile.warps() / kQueryWarps);
  static constexpr int kQueryPasses =
      kQueryTiles * kQueryColumns > 64 ? kQueryTiles* kQueryColumns / 64 : 1;  // 32 registers each
  static constexpr int kQueryColumnTiles = kQueryColumns / kQueryPasses / 8;
  using Scores = float[kRowTiles][kScoreTiles][4];
  using Gradient = float[kRowTiles][kColumnTiles][4];
  using QueryGradient = float[kQueryTiles][kQueryColumnTiles][4];

  // Dynamic shared memory.
  static constexpr bool kTwoBuffers = kKeys && !kTile.one_buffer;
  static constexpr int kX = 0, kY = kX + OuterTile::kBytes;
  static constexpr int kInnerX = kY + OuterTile::kBytes;
  static constexpr int kInnerY = kInnerX + kTile.stages * InnerTile::kBytes;
  static constexpr int kP = kInnerY + InnerTile::kBytes;
  static constexpr int kDs = kP + (kTwoBuffers ? ScoreTile::kBytes : 0);
  static constexpr int kStates = kDs + ScoreTile::kBytes;
  static_assert(kStates + (kKeys ? kTile.stages * kInner : kOuter) * kRowStateBytes ==
                backward_shared_bytes(kTile, kOuterRows, sizeof(T)));
};

/** Rows of one head. */
template <class T>
struct HeadRows {
  const char* data;
  int64_t row;  // bytes
  int64_t dim;  // elements

  PTX_FN HeadRows(const Tensor& tensor, int batch, int begin, int head)
      : data(static_cast<const char*>(tensor.data) +
             (batch * tensor.batch + begin * tensor.row + head * tensor.head) *
                 static_cast<int64_t>(sizeof(T))),
        row(tensor.row * static_cast<int64_t>(sizeof(T))),
        dim(tensor.dim) {}

  template <class Tile, class Traits>
  PTX_FN void load(uint32_t tile, int first, int count, int columns, bool aligned) const {
    load_tile<Tile, T, Traits::kThreads, Traits::kFeatured>(
        tile, count - first, columns, aligned, dim,
        [&](int r) { return data + static_cast<int64_t>(first + r) * row; });
  }
};

/** Copies what a block needs from global to shared memory; the caller commits and waits. */
template <class Traits>
struct BackwardLoads {
  using T = typename Traits::T;
  const BackwardParams& p;
  const BackwardBlock<Traits>& block;
  uint32_t shared;

  PTX_FN HeadRows<T> queries(const Tensor& tensor, int head) const {
    return {tensor, block.sequence.q_batch, block.sequence.q_begin, head};
  }
  PTX_FN HeadRows<T> keys(const Tensor& tensor, int head) const {
    return {tensor, block.sequence.k_batch, block.sequence.k_begin, head};
  }

  /** X, Y, and the states of outer queries. */
  PTX_FN void outer() const {
    using Tile = typename Traits::OuterTile;
    const AttentionParams& a = p.attention;
    const HeadRows<T> x = Traits::kKeys ? keys(a.k, block.head) : queries(a.q, block.head);
    const HeadRows<T> y = Traits::kKeys ? keys(a.v, block.head) : queries(p.dout, block.head);
    x.template load<Tile, Traits>(shared + Traits::kX, block.outer0, block.outer_count(),
                                  a.head_dim, p.aligned);
    y.template load<Tile, Traits>(shared + Traits::kY, block.outer0, block.outer_count(),
                                  a.head_dim_v, p.aligned);
    if (!Traits::kKeys) states<Traits::kOuter>(shared + Traits::kStates, block.head, block.outer0);
  }

  /** x of an inner tile, and the states of inner queries, into a stage. */
  PTX_FN void inner_x(const InnerVisit& at, int stage) const {
    using Tile = typename Traits::InnerTile;
    const AttentionParams& a = p.attention;
    const HeadRows<T> x =
        Traits::kKeys ? queries(a.q, at.head) : keys(a.k, a.group.quotient(at.head));
    x.template load<Tile, Traits>(shared + Traits::kInnerX + stage * Tile::kBytes,
                                  at.tile * Traits::kInner, block.inner_count(), a.head_dim,
                                  p.aligned);
    if (Traits::kKeys)
      states<Traits::kInner>(shared + Traits::kStates + stage * Traits::kInner * kRowStateBytes,
                             at.head, at.tile * Traits::kInner);
  }

  /** y of an inner tile. */
  PTX_FN void inner_y(const InnerVisit& at) const {
    const AttentionParams& a = p.attention;
    const HeadRows<T> y =
        Traits::kKeys ? queries(p.dout, at.head) : keys(a.v, a.group.quotient(at.head));
    y.template load<typename Traits::InnerTile, Traits>(
        shared + Traits::kInnerY, at.tile * Traits::kInner, block.inner_count(), a.head_dim_v,
        p.aligned);
  }

  /** Rows beyond the end get zeros. */
  template <int kCount>
  PTX_FN void states(uint32_t to, int head, int first) const {
    const SequenceRows& s = block.sequence;
    const RowState* const from =
        p.states + (static_cast<int64_t>(s.q_batch) * p.attention.heads + head) * p.q_rows +
        s.q_begin + first;
    for (int i = static_cast<int>(threadIdx.x); i < kCount; i += Traits::kThreads) {
      const bool inside = first + i < s.seqlen_q;
      ptx::cp_async8(to + static_cast<uint32_t>(i * kRowStateBytes), inside ? from + i : nullptr,
                     inside);
    }
  }
};

/** Where a warp's part of the scores begins. */
template <class Traits>
struct WarpPart : ScorePart {
  int gradient_column;          // of X's and Y's gradients
  int query_row, query_column;  // of dQ, where queries are the inner rows

  PTX_FN WarpPart() {
    const int warp = static_cast<int>(threadIdx.x) / 32;
    const int across = warp % Traits::kTile.inner_warps, down = warp / Traits::kTile.inner_warps;
    row = down * Traits::kRowTiles * 16;
    column = across * Traits::kScoreTiles * 8;
    gradient_column = across * Traits::kColumnTiles * 8;
    query_row = warp % Traits::kQueryWarps * Traits::kQueryTiles * 16;
    query_column = warp / Traits::kQueryWarps * Traits::kQueryColumns;
  }
};

/** Rounds a warp's part of P or dS to T and stores it. */
template <class Traits>
PTX_FN void store_scores(uint32_t tile, const WarpPart<Traits>& part,
                         const typename Traits::Scores& s) {
  using T = typename Traits::T;
  using Tile = typename Traits::ScoreTile;
  const LanePosition lane;
  const uint32_t base = tile + Tile::offset(part.row + lane.g, part.column / Tile::kChunkElements) +
                        static_cast<uint32_t>(4 * lane.t);
#pragma unroll
  for (int m = 0; m < Traits::kRowTiles; ++m) {
#pragma unroll
    for (int n = 0; n < Traits::kScoreTiles; ++n) {
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const float low = s[m][n][2 * h], high = s[m][n][2 * h + 1];
        if constexpr (sizeof(T) == 4) {  // columns 2t and 2t + 1 at t and t + 4
          ptx::sts<float>(Tile::step(base, 16 * m + 8 * h, 2 * n), low);
          ptx::sts<float>(Tile::step(base, 16 * m + 8 * h, 2 * n + 1), high);
        } else {
          ptx::sts<uint32_t>(Tile::step(base, 16 * m + 8 * h, n), ptx::pack2<T>(low, high));
        }
      }
    }
  }
}

/** True for the whole warp when columns column0 .. + kColumns of a tile hold an infinity or NaN. */
template <class T, class Tile, int kColumns>
PTX_FN bool poisoned(uint32_t tile, int column0) {
  constexpr int kChunks = kColumns / Tile::kChunkElements;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  bool found = false;
#pragma unroll 1
  for (int i = lane; i < Tile::kRows * kChunks; i += 32) {
    const uint4 words = ptx::lds<uint4>(
        tile + Tile::offset(i % Tile::kRows, column0 / Tile::kChunkElements + i / Tile::kRows));
    found |= holds_not_finite<T>(words);
  }
  return ptx::vote_any(found);
}

/** Writes a warp's part of a gradient of outer rows, times `factor`. */
template <class Traits>
PTX_FN void store_gradient(const Tensor& tensor, int batch, int begin, int head, int first,
                           int count, int columns, const WarpPart<Traits>& part, float factor,
                           const typename Traits::Gradient& gradient) {
  using T = typename Traits::T;
  const LanePosition lane;
  T* const data =
      static_cast<T*>(tensor.data) + batch * tensor.batch + begin * tensor.row + head * tensor.head;
#pragma unroll
  for (int m = 0; m < Traits::kRowTiles; ++m) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int row = first + part.row + 16 * m + 8 * h + lane.g;
      if (row >= count) continue;
#pragma unroll
      for (int n = 0; n < Traits::kColumnTiles; ++n) {
        const int column = part.gradient_column + 8 * n + 2 * lane.t;
        T* const to = data + row * tensor.row + column;
        const float low = gradient[m][n][2 * h] * factor, high = gradient[m][n][2 * h + 1] * factor;
        if (column + 1 < columns && columns % 2 == 0) {
          if constexpr (sizeof(T) == 4)
            ptx::stg<float2>(reinterpret_cast<float2*>(to), {low, high});
          else
            ptx::stg<uint32_t>(reinterpret_cast<uint32_t*>(to), ptx::pack2<T>(low, high));
        } else {
          if (column < columns) ptx::stg<T>(to, ptx::from_float<T>(low));
          if (column + 1 < columns) ptx::stg<T>(to + 1, ptx::from_float<T>(high));
        }
      }
    }
  }
}

/** Adds a part of dQ = scale dS K, of inner queries from `row` on, to the sum in global memory. */
template <class Traits>
PTX_FN void add_query_gradient(const BackwardParams& p, const BackwardBlock<Traits>& block,
                               const InnerVisit& at, int row, int column0,
                               const typename Traits::QueryGradient& dq) {
  const LanePosition lane;
  const SequenceRows& s = block.sequence;
  const int64_t row0 = static_cast<int64_t>(s.q_batch) * p.q_rows + s.q_begin;
  const float scale = p.attention.scale;
#pragma unroll
  for (int m = 0; m < Traits::kQueryTiles; ++m) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int i = at.tile * Traits::kInner + row + 16 * m + 8 * h + lane.g;
      if (i >= s.seqlen_q) continue;
      float* const to = p.dq_sum + ((row0 + i) * p.attention.heads + at.head) * p.dq_pitch;
#pragma unroll
      for (int n = 0; n < Traits::kQueryColumnTiles; ++n) {
        const int column = column0 + 8 * n + 2 * lane.t;
        const float pair[2] = {scale * dq[m][n][2 * h], scale * dq[m][n][2 * h + 1]};
        if (column < p.dq_pitch) ptx::red_add<2>(to + column, pair);
      }
    }
  }
}

template <class T, Outer kOuterRows, bool kFeatured, int kIndex>
static __global__ void __launch_bounds__(
    (BackwardTraits<T, kOuterRows, kFeatured, kIndex>::kThreads),
    (BackwardTraits<T, kOuterRows, kFeatured, kIndex>::kMinBlocks))
    backward_kernel(const __grid_constant__ BackwardParams p) {
  using Traits = BackwardTraits<T, kOuterRows, kFeatured, kIndex>;
  using OuterTile = typename Traits::OuterTile;
  using InnerTile = typename Traits::InnerTile;
  using ScoreTile = typename Traits::ScoreTile;
  constexpr bool kKeys = Traits::kKeys;
  constexpr int kStages = Traits::kTile.stages;

  const BackwardBlock<Traits> block(p, static_cast<int>(blockIdx.x));
  if (block.outer0 >= block.outer_count()) return;
  const WarpPart<Traits> part;
  const uint32_t shared = ptx::dyn_smem();
  const BackwardLoads<Traits> load{p, block, shared};
  const uint32_t p_tile = shared + Traits::kP, ds_tile = shared + Traits::kDs;
  typename Traits::Gradient dx, dy;  // dK and dV, or dQ
  clear(dx);
  clear(dy);

  const InnerTiles<Traits> tiles(p, block);
  InnerVisit current = tiles.first();
  if (!tiles.done(current)) {
    load.outer();
    load.inner_x(current, 0);
    load.inner_y(current);
  }
  ptx::cp_async_commit();
  for (int stage = 0; !tiles.done(current); stage = (stage + 1) % kStages) {
    const uint32_t x = shared + Traits::kInnerX + static_cast<uint32_t>(stage * InnerTile::kBytes);
    const uint32_t states =
        shared + Traits::kStates +
        static_cast<uint32_t>(kKeys ? stage * Traits::kInner * kRowStateBytes : 0);
    ptx::cp_async_wait<0>();
    ptx::sync_block();

    ScoreBits<Traits> kept = 0;
    if (Traits::kFeatured && p.attention.dropout.enabled)
      kept = kept_scores<Traits>(p, block, current, part);
    typename Traits::Scores s, dp;
    clear(s);
    multiply_rows<T, OuterTile, InnerTile>(s, shared + Traits::kX, part.row, x, part.column);
    clear(dp);
    multiply_rows<T, OuterTile, InnerTile>(dp, shared + Traits::kY, part.row,
                                           shared + Traits::kInnerY, part.column);
    if (!Traits::kFeatured && current.kind == TileKind::kPartial)
      differentiate<Traits, true>(p, block, current, part, states, kept, s, dp);
    else
      differentiate<Traits, false>(p, block, current, part, states, kept, s, dp);

    if constexpr (kKeys) store_scores<Traits>(p_tile, part, s);
    if constexpr (!kKeys || Traits::kTwoBuffers) store_scores<Traits>(ds_tile, part, dp);
    ptx::sync_block();
    constexpr int kGradientColumns = Traits::kColumnTiles * 8;
    const bool hides = current.kind == TileKind::kPartial;
    if constexpr (kKeys) {
      const uint32_t y = shared + Traits::kInnerY;
      if (hides && poisoned<T, InnerTile, kGradientColumns>(y, part.gradient_column)) {
        multiply_columns<T, ScoreTile, InnerTile, true>(dy, p_tile, part.row, y,
                                                        part.gradient_column);
        add_poison<T, ScoreTile, InnerTile>(dy, p_tile, part.row, y, part.gradient_column);
      } else {
        multiply_columns<T, ScoreTile, InnerTile, false>(dy, p_tile, part.row, y,
                                                         part.gradient_column);
      }
      ptx::sync_block();
      if constexpr (!Traits::kTwoBuffers) {
        store_scores<Traits>(ds_tile, part, dp);
        ptx::sync_block();
      }
    }

    // Copies begin where scores need no registers any more, and run under the products that are
    // left.
    const InnerVisit following = tiles.after(current);
    const bool more = !tiles.done(following);
    if (kStages > 1 && more) load.inner_x(following, (stage + 1) % kStages);
    if (more) load.inner_y(following);
    ptx::cp_async_commit();

    // Scores of a row of x that is not finite are not either: dS of the pairs that see it brings
    // the NaN.
    if (hides && poisoned<T, InnerTile, kGradientColumns>(x, part.gradient_column))
      multiply_columns<T, ScoreTile, InnerTile, true>(dx, ds_tile, part.row, x,
                                                      part.gradient_column);
    else
      multiply_columns<T, ScoreTile, InnerTile, false>(dx, ds_tile, part.row, x,
                                                       part.gradient_column);
    // Under the products of dQ, which do without x.
    if constexpr (kStages == 1) {
      ptx::sync_block();
      if (more) load.inner_x(following, 0);
      ptx::cp_async_commit();
    }
    if (kKeys && p.dq_sum != nullptr) {
      const uint32_t k = shared + Traits::kX;
      constexpr int kColumns = Traits::kQueryColumnTiles * 8;
#pragma unroll 1
      for (int pass = 0; pass < Traits::kQueryPasses; ++pass) {
        const int column = part.query_column + pass * kColumns;
        typename Traits::QueryGradient dq;
        clear(dq);
        if (hides && poisoned<T, OuterTile, kColumns>(k, column))
          multiply_transposed<T, ScoreTile, OuterTile, true>(dq, ds_tile, part.query_row, k,
                                                             column);
        else
          multiply_transposed<T, ScoreTile, OuterTile, false>(dq, ds_tile, part.query_row, k,
                                                              column);
        add_query_gradient<Traits>(p, block, current, part.query_row, column, dq);
      }
    }
    current = following;
  }

  // Once more, so that the loop need not keep it in registers.
  const BackwardBlock<Traits> done(p, ptx::opaque(static_cast<int>(blockIdx.x)));
  const SequenceRows& at = done.sequence;
  const AttentionParams& a = p.attention;
  if constexpr (kKeys) {
    store_gradient<Traits>(p.dk, at.k_batch, at.k_begin, done.head, done.outer0, at.seqlen_k,
                           a.head_dim, part, a.scale, dx);
    store_gradient<Traits>(p.dv, at.k_batch, at.k_begin, done.head, done.outer0, at.seqlen_k,
                           a.head_dim_v, part, 1.f, dy);
  } else {
    store_gradient<Traits>(p.dq, at.q_batch, at.q_begin, done.head, done.outer0, at.seqlen_q,
                           a.head_dim, part, a.scale, dx);
  }
}

template <KernelImage kImage, class T, Outer kOuterRows, bool kFeatured, int kIndex>
BackwardKernel backward_entry() {
  return backward_kernel<T, kOuterRows, kFeatured, kIndex>;
}

}  // namespace fa::cuda::sm80
