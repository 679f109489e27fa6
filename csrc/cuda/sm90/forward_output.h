// The way out of the forward pass: rows are divided by their sums, rounded, staged in shared memory
// and stored by TMA, or by the threads where a tile ends inside a packed sequence. Partial results
// of a split go from the accumulators to global memory, as float32.
#pragma once

#include "cuda/device/natural_row.h"
#include "cuda/device/poison.h"
#include "cuda/sm90/complete_rows.h"
#include "cuda/sm90/forward_traits.h"
#include "cuda/sm90/turns.h"

namespace fa::cuda::sm90 {

/** The warps of one consumer. */
PTX_FN void sync_warpgroup(int consumer) {
  ptx::bar_sync(kFirstWarpgroupBarrier + consumer, kWarpgroupThreads);
}

/** The scale of a row's block. */
PTX_FN float block_scale(const BlockScales& scales, int batch, int head, int row) {
  return ptx::ldg(scales.data + batch * scales.batch + head * scales.head +
                  scales.rows.quotient(row) * scales.block);
}

/**
 * Sums over the keys complete: o, times `value_scale`, becomes the output of the warp's rows, lse
 * is stored. Votes for the rows that have left base 2 (voted_for).
 */
template <class Traits>
PTX_FN uint32_t finish_rows(const ForwardParams& p, const ForwardWork& work, int row0,
                            float value_scale, const OnlineSoftmax<1>& softmax,
                            typename Traits::Output& o) {
  constexpr bool kFeatured = Traits::kFeatured;
  const AttentionParams& a = p.attention;
  const LanePosition lane;
  bool extreme = false;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int row = row0 + 8 * r + lane.g, inside = work.rows.inside(row);
    const int head = work.rows.head(inside);
    const RowResult result = row_result<kFeatured>(a, head, softmax.maximum[r] - Traits::kLift,
                                                   quad_sum(softmax.sum[r]), work.part.split == 0);
    const float factor = result.factor * value_scale;
#pragma unroll
    for (int d = 0; d < Traits::kWidthV / 8; ++d) {
      o[0][d][2 * r] *= factor;
      o[0][d][2 * r + 1] *= factor;
    }
    if constexpr (!kFeatured) {
      // The maximum of a row that sees none of the keys is the least one as well. Nothing is to be
      // done again for it.
      const typename Traits::Walk walk(p, work);
      extreme |= lane.t == r && left_base_2(softmax.maximum[r]) &&
                 sees_any(walk.mask.window, work.rows.query(inside),
                          walk.n_block_min * Traits::kKeys, (walk.n_block + 1) * Traits::kKeys);
    }
    if (lane.t == 0 && row < work.rows.count)
      store_softmax(a, p.splits.partial, work, row, result.top, result.sum);
  }
  return kFeatured ? 0u : ptx::vote_ballot(extreme);
}

/** Does the `extreme` ones of a warp's rows again, over what they are: lines from line0 on. */
template <class Traits>
PTX_FN void attend_naturally(const CompleteRows<Traits>& rows, int line0, uint32_t extreme) {
  using T = typename Traits::T;
  const ForwardParams& p = rows.p;
  const ForwardWork& work = rows.work;
  const AttentionParams& a = p.attention;
  const typename Traits::Walk walk(p, work);
  const Window& window = walk.mask.window;
  const int first = walk.n_block_min * Traits::kKeys, last = (walk.n_block + 1) * Traits::kKeys;
  const int kv_head = a.group.quotient(work.rows.head0);
  const KeyRows<T, true> keys(a, a.k, work.sequence, work.batch, kv_head);
  const KeyRows<T, true> values(a, a.v, work.sequence, work.batch, kv_head);
#pragma unroll 1
  for (int line = line0; line < line0 + 16; ++line) {
    const int row = rows.row0 + line;
    if (row >= work.rows.count) break;
    if (!voted_for(extreme, line - line0)) continue;
    const int i = work.rows.query(row), head = work.rows.head(row);
    const int64_t query = work.sequence.q_begin + i;
    const T* const q = static_cast<const T*>(a.q.data) + work.sequence.q_batch * a.q.batch +
                       query * a.q.row + head * a.q.head;
    float scale = a.scale;
    if constexpr (Traits::kFp8) scale *= block_scale(p.q_scales, work.batch, head, i);
    NaturalRow<Traits::kWidthV> natural;
    const T* value_row = nullptr;
    natural.attend(
        clamp(window.begin(i), first, last), clamp(window.end(i), first, last), a.head_dim_v,
        [&](int key) {
          value_row = values.row(key);
          const float x = row_product(q, a.q.dim, keys.row(key), a.k.dim, a.head_dim);
          if constexpr (Traits::kFp8)
            return x * (scale * block_scale(p.k_scales, work.batch, kv_head, key));
          else
            return x * scale;
        },
        [&](int key, int column) {
          const float x = ptx::to_float(ptx::ldg(value_row + column * a.v.dim));
          if constexpr (Traits::kFp8)
            return x * block_scale(p.v_scales, work.batch, kv_head, key);
          else
            return x;
        });
    const auto to = rows.row(line);
    natural.for_each_column(a.head_dim_v,
                            [&](int c, int column) { to.put(column, natural.out[c]); });
    if (this_thread() % 32 == 0)
      store_softmax(a, p.splits.partial, work, row, natural.top, natural.sum);
  }
}

/** Gives back to the outputs what the producer took out of values with hidden pairs. */
template <class Traits>
PTX_FN void restore_poison(const CompleteRows<Traits>& rows) {
  using T = typename Traits::T;
  const ForwardWork& work = rows.work;
  const AttentionParams& a = rows.p.attention;
  const Window window = window_or_tree_of<Traits::kFeatured>(a, work.sequence);
  const KeyRows<T, true> values(a, a.v, work.sequence, work.batch,
                                a.group.quotient(work.rows.head0));
  const int row1 =
      rows.row0 + kWarpgroupRows < work.rows.count ? rows.row0 + kWarpgroupRows : work.rows.count;
#pragma unroll 1
  for (typename Traits::Walk walk(rows.p, work); walk.more(); walk.advance()) {
    if (!walk.hides_pairs()) continue;
    const int begin = walk.key0(), after = begin + Traits::kKeys;
    for_each_visible_poison<Traits::kFeatured>(
        a, window, work.rows, work.batch, begin, after < window.seqlen_k ? after : window.seqlen_k,
        rows.row0, row1, static_cast<int>(threadIdx.x) % kWarpgroupThreads, kWarpgroupThreads,
        [&](int key, int column) { return ptx::to_float(values.element(key, column)); },
        [&](int number, int column, float x) {
          const auto row = rows.row(number - rows.row0);
          row.put(column, row.get(column) + x);
        });
  }
}

/** Staged rows leave 16 bytes at a time, those of other sequences left alone. */
template <class Traits>
PTX_FN void store_rows(const AttentionParams& a, const ForwardWork& work, int row0,
                       uint32_t staged) {
  using Out = typename Traits::Out;
  constexpr int kChunks = Traits::kWidthV / 8;
  const int thread = static_cast<int>(threadIdx.x) % kWarpgroupThreads;
#pragma unroll 1
  for (int at = thread; at < kWarpgroupRows * kChunks; at += kWarpgroupThreads) {
    const int line = at / kChunks, chunk = at % kChunks, row = row0 + line;
    if (row >= work.rows.count || chunk * 8 >= a.head_dim_v) continue;
    Out* const to = static_cast<Out*>(a.out.data) + work.sequence.q_batch * a.out.batch +
                    (work.sequence.q_begin + work.rows.query(row)) * a.out.row +
                    work.rows.head(row) * a.out.head + chunk * 8;
    ptx::stg<uint4>(reinterpret_cast<uint4*>(to),
                    ptx::lds<uint4>(staged + Traits::OutputTile::offset(line, chunk)));
  }
}

/** Stages the accumulators of a warp for its lines from line0 on, rounded. */
template <class Traits>
PTX_FN void stage_rows(uint32_t staged, int line0, const typename Traits::Output& o) {
  using OutputTile = typename Traits::OutputTile;
  const int lane = this_thread() % 32;
  constexpr int kChunks = Traits::kWidthV / 8;
#pragma unroll
  for (int d = 0; d < OutputTile::kPanels * 8; d += 2) {
    uint32_t words[4] = {};  // what fills up the last panel is stored nowhere
    if (d < kChunks) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float(&pair)[4] = o[0][(d + i / 2) % kChunks];
        words[i] = ptx::pack2<typename Traits::Out>(pair[i % 2 * 2], pair[i % 2 * 2 + 1]);
      }
    }
    ptx::stmatrix_x4(staged + OutputTile::offset(line0 + lane % 16, d + lane / 16), words);
  }
}

/**
 * Stores the accumulators of a warp, of its lines from line0 on: the four lanes of a row fill a
 * sector of 32 bytes.
 */
template <class Traits>
PTX_FN void store_partial(const CompleteRows<Traits>& rows, int line0,
                          const typename Traits::Output& o) {
  const LanePosition lane;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int line = line0 + 8 * r + lane.g;
    if (rows.row0 + line >= rows.work.rows.count) continue;
    float* const to = rows.partial(line);
#pragma unroll
    for (int d = 0; d < Traits::kWidthV / 8; ++d) {
      const int column = 8 * d + 2 * lane.t;
      if (column < rows.p.attention.head_dim_v)
        ptx::stg<float2>(reinterpret_cast<float2*>(to + column),
                         {o[0][d][2 * r], o[0][d][2 * r + 1]});
    }
  }
}

/** What the warpgroup has staged leaves. */
template <class Traits>
PTX_FN void store_staged(const ForwardParams& p, const ForwardWork& work, int row0,
                         uint32_t staged) {
  using OutputTile = typename Traits::OutputTile;
  const AttentionParams& a = p.attention;
  if (a.cu_seqlens_q.data == nullptr || row0 + kWarpgroupRows <= work.rows.count) {
    // TMA leaves out what lies beyond the tensor.
    if (threadIdx.x % kWarpgroupThreads == 0) {
#pragma unroll
      for (int panel = 0; panel < OutputTile::kPanels; ++panel)
        ptx::tma_store_5d(
            &p.out, staged + panel * OutputTile::kPanelBytes, panel * OutputTile::kPanelColumns, 0,
            work.sequence.q_begin + work.rows.query(row0), work.head_block, work.sequence.q_batch);
      ptx::bulk_commit();
    }
  } else {
    store_rows<Traits>(a, work, row0, staged);
    ptx::fence_proxy_async();  // before TMA writes there again
  }
}

/** Stores the rows of consumer `of`, from row0 on. */
template <class Traits>
PTX_FN void store_output(const ForwardParams& p, const ForwardWork& work, int row0, int of,
                         uint32_t staged, uint32_t extreme, bool poisoned,
                         const typename Traits::Output& o) {
  const int thread = static_cast<int>(threadIdx.x) % kWarpgroupThreads;
  const int warp_row = thread / 32 * 16;
  const CompleteRows<Traits> rows{p, work, row0, staged};
  if (!work.part.alone()) {
    store_partial(rows, warp_row, o);
  } else {
    // The memory is done with: as the output before, or as queries.
    if (thread == 0) ptx::bulk_wait_read<0>();
    sync_warpgroup(of);
    stage_rows<Traits>(staged, warp_row, o);
  }
  if constexpr (!Traits::kFeatured) {
    if (extreme != 0) {
      ptx::sync_warp();  // after all that the lanes have stored
      attend_naturally(rows, warp_row, extreme);
    }
  }
  if (poisoned) {
    sync_warpgroup(of);
    restore_poison(rows);
  }
  // Also where nothing is staged: with these in the branch ptxas spills registers at width 64.
  ptx::fence_proxy_async();
  sync_warpgroup(of);
  if (work.part.alone()) store_staged<Traits>(p, work, row0, staged);
}

}  // namespace fa::cuda::sm90
