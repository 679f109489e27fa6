// Attention forward for Hopper (FlashAttention-3: Shah et al. 2024): warps are specialised. A
// producer warpgroup keeps TMA busy; two or three consumer warpgroups of 64 rows each take turns at
// the tensor cores, so that one's softmax runs beside another's products (ping-pong), and within a
// warpgroup the scores of the next tile are computed together with P V of this one. Weights stay in
// registers.
//
// float8 (e4m3) operands: products are scores times the scales of the row's and the tile's block;
// weights are 2^8 times as large, for e4m3 to have bits for the small ones; accumulators are kept
// in units of the values' scale.
#pragma once

#include "cuda/device/dropout.h"
#include "cuda/device/score_tile.h"
#include "cuda/sm90/forward_loader.h"
#include "cuda/sm90/forward_output.h"
#include "cuda/sm90/forward_producer.h"
#include "cuda/sm90/turns.h"

namespace fa::cuda::sm90 {

/** s = Q K^T for the rows of the warpgroup. */
template <class Traits>
PTX_FN void multiply_queries_keys(typename Traits::Scores& s, uint32_t queries, uint32_t keys) {
#pragma unroll
  for (int step = 0; step < Traits::kWidth / Traits::KeyTile::kStep; ++step)
    ptx::wgmma_ss<typename Traits::T>(flat(s), Traits::QueryTile::by_columns(queries, step),
                                      Traits::KeyTile::by_columns(keys, step), step != 0);
}

/** o += P V. */
template <class Traits>
PTX_FN void multiply_weights_values(typename Traits::Output& o,
                                    const typename Traits::Weights& weights, uint32_t values) {
  using T = typename Traits::T;
#pragma unroll
  for (int step = 0; step < Traits::kKeys / Traits::KeyTile::kStep; ++step) {
    if constexpr (Traits::kFp8)
      ptx::wgmma_rs<T>(flat(o), weights[step], Traits::TransposedTile::by_columns(values, step),
                       true);
    else
      ptx::wgmma_rs<T, 1>(flat(o), weights[step], Traits::ValueTile::by_rows(values, step), true);
  }
}

/**
 * Accumulators of scores are the layout of the A operand (of 8 bits: for values in
 * transpose_values' order): to round them is all.
 */
template <class Traits>
PTX_FN void round_weights(typename Traits::Weights& weights, const typename Traits::Scores& s) {
#pragma unroll
  for (int step = 0; step < Traits::kKeys / Traits::KeyTile::kStep; ++step) {
#pragma unroll
    for (int q = 0; q < 4; ++q) {
      const int half = 2 * (q % 2);
      if constexpr (Traits::kFp8) {
        const int tile = 4 * step + q / 2 * 2;
        weights[step][q] = ptx::pack4_e4m3(s[0][tile][half], s[0][tile][half + 1],
                                           s[0][tile + 1][half], s[0][tile + 1][half + 1]);
      } else {
        const int tile = 2 * step + q / 2;
        weights[step][q] = ptx::pack2<typename Traits::T>(s[0][tile][half], s[0][tile][half + 1]);
      }
    }
  }
}

/** What the keys' products and the values of a tile are to be multiplied by. */
struct TileScales {
  float keys, values;
};

/** The consumer of 64 rows of a tile. */
template <class Traits>
struct Consumer {
  static constexpr bool kFeatured = Traits::kFeatured, kFp8 = Traits::kFp8;
  using Position = typename Traits::Position;
  using Walk = typename Traits::Walk;
  using Softmax = OnlineSoftmax<1>;
  const ForwardParams& p;
  const SharedLayout<Traits>& shared;
  const int consumer;
  const Turns<Traits> turns;
  Position at;            // in the rings
  int parity = 0;         // of the queries
  float query_scale[2];   // float8 alone
  float value_scale = 1;  // the accumulators are to be multiplied by it

  PTX_FN Consumer(const ForwardParams& params, const SharedLayout<Traits>& layout, int of)
      : p(params), shared(layout), consumer(of), turns(of) {}

  /**
   * Waits for the next tile of rows, and for its queries; from p.tiles on there are no more. The
   * shuffle tells the compiler that the lanes agree: what follows stays in uniform registers.
   */
  PTX_FN int next_tile() {
    ptx::mbar_wait(shared.queries_full(consumer), parity);
    parity ^= 1;
    return ptx::shfl_idx(ptx::lds<int>(shared.tile(consumer)), 0);
  }

  /** The warp's first row, of the tile's. */
  PTX_FN int warp_row() const {
    return kWarpgroupRows * consumer + this_thread() / 32 % kWarpgroupWarps * 16;
  }

  /** Looks up the scales of the rows that this thread has a share of. */
  PTX_FN void begin_rows(const ForwardWork& work) {
    if constexpr (kFp8) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const int row = work.rows.inside(work.row0 + warp_row() + 8 * r + LanePosition().g);
        query_scale[r] =
            block_scale(p.q_scales, work.batch, work.rows.head(row), work.rows.query(row));
      }
    }
  }
  /**
   * What turns products into scores: in base 2 in a plain kernel; in a featured one they are
   * complete already (OnlineSoftmax).
   */
  PTX_FN float score_scale(int r, TileScales tile) const {
    const float scale = kFeatured ? 1.f : p.attention.scale_log2;
    // Above 0 even where the product is not: 0 times the score of a hidden pair would be NaN.
    return kFp8 ? fmaxf(scale * query_scale[r] * tile.keys, kSmallestNormal) : scale;
  }
  /** Of keys and values of a tile: loads, ahead of what needs them. */
  PTX_FN TileScales tile_scales(const ForwardWork& work, const Walk& walk) const {
    if constexpr (!kFp8) return {1.f, 1.f};
    const int head = p.attention.group.quotient(work.rows.head0);
    return {block_scale(p.k_scales, work.batch, head, walk.key0()),
            block_scale(p.v_scales, work.batch, head, walk.key0())};
  }

  /**
   * Scores become weights, not yet rounded; true when the accumulators must be rescaled by alpha,
   * for new maxima or a new value_scale.
   */
  PTX_FN bool softmax_step(const ForwardWork& work, const Walk& walk, bool partial,
                           TileScales scales, Softmax& softmax, typename Traits::Scores& s,
                           float (&alpha)[2]) {
    const AttentionParams& a = p.attention;
    const int row0 = work.row0 + warp_row(), key0 = walk.key0();
    if (kFeatured || partial)
      modify_scores<typename Traits::T, kFeatured>(a, walk.mask.window, work.rows, work.batch, row0,
                                                   key0, partial, s);
    const float scale[2] = {score_scale(0, scales), score_scale(1, scales)};
    bool moved = softmax.exponentiate(s, alpha, scale, kFeatured ? kLog2E : 1.f, Traits::kLift);
    if constexpr (kFeatured) {
      if (a.dropout.enabled) drop_out(a, work.rows, work.batch, row0, key0, s);
    }
    if (kFp8 && scales.values != value_scale) {
      const float ratio = value_scale / scales.values;
      alpha[0] *= ratio;
      alpha[1] *= ratio;
      value_scale = scales.values;
      moved = true;
    }
    return moved;
  }

  /** Waits for values; true when infinities or NaN were taken out of them. */
  PTX_FN bool wait_values(Position values, bool partial) const {
    shared.operands().wait(values);
    if (!partial) return false;
    if constexpr (!kFp8) ptx::mbar_wait(shared.checked(values), values.parity);
    uint32_t poisoned = 0;
#pragma unroll
    for (int checker = 0; checker < Traits::kCheckers; ++checker)
      poisoned |= ptx::lds<uint32_t>(shared.poison(values, checker));
    return poisoned != 0;
  }

  /**
   * Leaves out the tiles that none of the warpgroup's rows sees, `end` being the keys that they
   * see.
   */
  PTX_FN void skip_hidden(Walk& walk, int end) {
    while (walk.more() && walk.key0() >= end) {
      shared.keys.wait(at);
      arrive_warp(shared.keys.free(at));
      shared.operands().wait(at);
      arrive_warp(shared.operands().free(at));
      advance(walk);
      if (!walk.more()) break;
      turns.begin();
      turns.end();
    }
  }
  PTX_FN void advance(Walk& walk) {
    walk.advance();
    at.advance();
  }

  /**
   * Whether the warpgroup's rows do not see all keys of a tile of which some row does not. Options
   * may hide any.
   */
  PTX_FN bool hides_pairs(const ForwardWork& work, const Walk& walk, bool tile_hides) const {
    if constexpr (kFeatured) return tile_hides;
    if (!tile_hides) return false;
    const int row0 = work.row0 + kWarpgroupRows * consumer;
    return walk.mask.hides_pairs(work.rows.query_begin(work.rows.inside(row0)),
                                 work.rows.query_end(row0 + kWarpgroupRows), walk.key0(),
                                 walk.key0() + Traits::kKeys);
  }
  /** One past the last key that the warpgroup's rows see; 0 when there are none. */
  PTX_FN int keys_end(const ForwardWork& work, const Walk& walk) const {
    const int row0 = work.row0 + kWarpgroupRows * consumer;
    if (row0 >= work.rows.count) return 0;
    return walk.mask.window.end(work.rows.query_end(row0 + kWarpgroupRows) - 1);
  }

  /** One tile of rows. True when values were poisoned. */
  PTX_FN bool attend(const ForwardWork& work, Softmax& softmax, typename Traits::Output& o) {
    Walk walk(p, work);
    const uint32_t queries = shared.queries_of(consumer);
    skip_hidden(walk, keys_end(work, walk));
    bool poisoned = false;
    if (walk.more()) {
      typename Traits::Scores s;
      typename Traits::Weights weights;
      float alpha[2];
      bool tile_hides = walk.hides_pairs();
      begin_rows(work);
      TileScales scales = tile_scales(work, walk);
      value_scale = scales.values;
      shared.keys.wait(at);
      ptx::wgmma_fence(s);
      multiply_queries_keys<Traits>(s, queries, shared.keys.tile(at));
      ptx::wgmma_commit();
      ptx::wgmma_wait<0>(s);
      arrive_warp(shared.keys.free(at));
      softmax_step(work, walk, hides_pairs(work, walk, tile_hides), scales, softmax, s, alpha);
      round_weights<Traits>(weights, s);

      advance(walk);
      while (walk.more()) {
        const Position values = at.previous();
        shared.keys.wait(at);
        turns.begin();
        ptx::wgmma_fence(s);
        multiply_queries_keys<Traits>(s, queries, shared.keys.tile(at));
        ptx::wgmma_commit();
        poisoned |= wait_values(values, tile_hides);
        ptx::wgmma_fence(o, weights);
        multiply_weights_values<Traits>(o, weights, shared.operands().tile(values));
        ptx::wgmma_commit();
        turns.end();
        scales = tile_scales(work, walk);
        ptx::wgmma_wait<1>(s);
        arrive_warp(shared.keys.free(at));
        tile_hides = walk.hides_pairs();
        const bool moved = softmax_step(work, walk, hides_pairs(work, walk, tile_hides), scales,
                                        softmax, s, alpha);
        ptx::schedule_fence();  // or P V would be waited for before the softmax
        ptx::wgmma_wait<0>(o, weights);
        arrive_warp(shared.operands().free(values));
        if (moved) Softmax::rescale(o, alpha);
        round_weights<Traits>(weights, s);
        advance(walk);
      }
      const Position values = at.previous();

      if constexpr (Traits::kStagesApart) arrive_warp(shared.queries_free(consumer));
      poisoned |= wait_values(values, tile_hides);
      ptx::wgmma_fence(o, weights);
      multiply_weights_values<Traits>(o, weights, shared.operands().tile(values));
      ptx::wgmma_commit();
      ptx::wgmma_wait<0>(o);
      arrive_warp(shared.operands().free(values));
    } else if constexpr (Traits::kStagesApart) {
      arrive_warp(shared.queries_free(consumer));
    }
    return poisoned;
  }
};

template <class Traits>
PTX_FN void consume(const ForwardParams& p, const SharedLayout<Traits>& shared, int of) {
  Consumer<Traits> consumer(p, shared, of);
  for (;;) {
    const int tile = consumer.next_tile();
    if (tile >= p.tiles) break;
    const ForwardWork work(p, tile, Traits::kRows);
    OnlineSoftmax<1> softmax(kLeastMaximum<Traits::kFeatured>);
    typename Traits::Output o = {};
    const bool poisoned = consumer.attend(work, softmax, o);
    // Worked out anew, so that the loop need not keep it in registers.
    const ForwardWork done(p, ptx::opaque(tile), Traits::kRows);
    const int row0 = done.row0 + kWarpgroupRows * of;
    if (row0 < done.rows.count) {
      const uint32_t extreme = finish_rows<Traits>(p, done, done.row0 + consumer.warp_row(),
                                                   consumer.value_scale, softmax, o);
      store_output<Traits>(p, done, row0, of, shared.output_of(of), extreme, poisoned, o);
    }
    if constexpr (!Traits::kStagesApart) {
      // The queries' memory has held the output.
      if (threadIdx.x % kWarpgroupThreads == 0) ptx::bulk_wait_read<0>();
      arrive_warp(shared.queries_free(of));
    }
  }
  if (this_thread() < kWarpgroupThreads) consumer.turns.finish();
  if (threadIdx.x % kWarpgroupThreads == 0) ptx::bulk_wait<0>();
}

template <class Traits>
static __global__ void __launch_bounds__(Traits::kThreads, 1)
    forward(const __grid_constant__ ForwardParams p) {
  ptx::launch_dependents();
  const SharedLayout<Traits> shared;
  if (threadIdx.x == 0) {
    shared.init_barriers();
    for (const ptx::tensor_map* map : {&p.q, &p.k, &p.v, &p.out}) ptx::tma_prefetch(map);
  }
  ptx::sync_block();
  const int warp = ptx::shfl_idx(static_cast<int>(threadIdx.x) / 32, 0);
  const int warpgroup = warp / kWarpgroupWarps;
  if (warpgroup < Traits::kConsumers) {
    ptx::setmaxnreg_inc<Traits::kConsumerRegisters>();
    consume(p, shared, warpgroup);
  } else {
    ptx::setmaxnreg_dec<Traits::kProducerRegisters>();
    const int of_producer = warp % kWarpgroupWarps;
    if (of_producer > 0)
      prepare_values(p, shared, of_producer - 1);
    else
      load_tiles(p, shared);
  }
}

template <KernelImage kImage, class T, int kWidth, int kWidthV, ForwardVariant kVariant>
ForwardKernel forward_entry() {
  return forward<ForwardTraits<T, kWidth, kWidthV, kVariant>>;
}

}  // namespace fa::cuda::sm90
