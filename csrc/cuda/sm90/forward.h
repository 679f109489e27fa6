// Attention forward for Hopper (FlashAttention-3: Shah et al. 2024): warps are specialised. A producer
// warpgroup keeps TMA busy; two or three consumer warpgroups of 64 rows each take turns at the tensor
// cores, so that one's softmax runs beside another's products (ping-pong), and within a warpgroup the
// scores of the next tile are computed together with P V of this one. Weights stay in registers.
#pragma once

#include "cuda/common/dropout.h"
#include "cuda/common/row_result.h"
#include "cuda/sm90/forward_output.h"
#include "cuda/sm90/forward_producer.h"

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
#pragma unroll
  for (int step = 0; step < Traits::kKeys / 16; ++step)
    ptx::wgmma_rs<typename Traits::T, 1>(flat(o), weights[step],
                                         Traits::ValueTile::by_rows(values, step), true);
}

/** Scores' accumulators are the layout of the A operand: to round them is all. */
template <class Traits>
PTX_FN void round_weights(typename Traits::Weights& weights, const typename Traits::Scores& s) {
#pragma unroll
  for (int tile = 0; tile < Traits::kKeys / 8; ++tile)
#pragma unroll
    for (int half = 0; half < 2; ++half)
      weights[tile / 2][tile % 2 * 2 + half] =
          ptx::pack2<typename Traits::T>(s[0][tile][2 * half], s[0][tile][2 * half + 1]);
}

/** Who may give work to the tensor cores: one warpgroup after the other, once per tile of keys. */
template <class Traits>
struct Turns {
  int consumer;

  static PTX_FN int barrier(int of) { return kFirstTurnBarrier + of; }
  PTX_FN explicit Turns(int of) : consumer(of) {
    if (consumer == Traits::kConsumers - 1) ptx::bar_arrive(barrier(0), 2 * kWarpgroupThreads);
  }
  PTX_FN void begin() const { ptx::bar_sync(barrier(consumer), 2 * kWarpgroupThreads); }
  PTX_FN void end() const {
    const int next = consumer + 1 == Traits::kConsumers ? 0 : consumer + 1;
    ptx::bar_arrive(barrier(next), 2 * kWarpgroupThreads);
  }
  /** After the last turn of all: takes up the arrival that nobody else waits for. */
  PTX_FN void finish() const {
    if (consumer == 0) begin();
  }
};

/** The consumer of 64 rows of a tile. */
template <class Traits>
struct Consumer {
  static constexpr bool kFeatured = Traits::kFeatured;
  using Position = typename Traits::Position;
  using Walk = typename Traits::Walk;
  using Softmax = OnlineSoftmax<1>;
  const ForwardParams& p;
  const SharedLayout<Traits>& shared;
  const int consumer;
  const Turns<Traits> turns;
  Position at;     // in the rings
  int parity = 0;  // of the queries

  PTX_FN Consumer(const ForwardParams& params, const SharedLayout<Traits>& layout, int of)
      : p(params), shared(layout), consumer(of), turns(of) {}

  /** The warp's first row, of the tile's. */
  PTX_FN int warp_row() const {
    return kWarpgroupRows * consumer + this_thread() / 32 % kWarpgroupWarps * 16;
  }

  /** Scores become weights, not yet rounded; true when the accumulators must be rescaled by alpha. */
  PTX_FN bool soften(const ForwardWork& work, const Walk& walk, bool partial, Softmax& softmax,
                     typename Traits::Scores& s, float (&alpha)[2]) const {
    const AttentionParams& a = p.attention;
    const int row0 = work.row0 + warp_row(), key0 = walk.key0();
    if (kFeatured || partial)
      modify_scores<kFeatured>(a, walk.mask.window, work.rows, work.batch, row0, key0, partial, s);
    const bool moved = softmax.exponentiate(s, alpha, scale(), kFeatured ? kLog2E : 1.f);
    if constexpr (kFeatured) {
      if (a.dropout.enabled) drop_out(a, work.rows, work.batch, row0, key0, s);
    }
    return moved;
  }
  /** Scores are products still in a plain kernel, and complete in a featured one: see OnlineSoftmax. */
  PTX_FN float scale() const { return kFeatured ? 1.f : p.attention.scale_log2; }

  /** Waits for values; true when infinities or NaN were taken out of them. */
  PTX_FN bool wait_values(Position values, bool partial) const {
    shared.values.wait(values);
    if (!partial) return false;
    ptx::mbar_wait(shared.checked(values), values.parity);
    uint32_t poisoned = 0;
#pragma unroll
    for (int checker = 0; checker < Traits::kCheckers; ++checker)
      poisoned |= ptx::lds<uint32_t>(shared.poison(values, checker));
    return poisoned != 0;
  }

  /** Leaves out the tiles that none of the warpgroup's rows sees, `end` being the keys that they see. */
  PTX_FN void skip_hidden(Walk& walk, int end) {
    while (walk.more() && walk.key0() >= end) {
      shared.keys.wait(at);
      arrive_warp(shared.keys.free(at));
      shared.values.wait(at);
      arrive_warp(shared.values.free(at));
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

  /** Whether the warpgroup's rows [i0, i1) do not see all keys of the tile. Options may hide any. */
  PTX_FN bool hides_pairs(const Walk& walk, bool tile_hides, int i0, int i1) const {
    if constexpr (kFeatured)
      return tile_hides;
    else
      return tile_hides && walk.mask.hides_pairs(i0, i1, walk.key0(), walk.key0() + Traits::kKeys);
  }

  /** One tile of rows. True when values were poisoned. */
  PTX_FN bool attend(const ForwardWork& work, Softmax& softmax, typename Traits::Output& o) {
    Walk walk(p.attention, work);
    const int row0 = work.row0 + kWarpgroupRows * consumer;
    const int i0 = work.rows.query_begin(work.rows.inside(row0));
    const int i1 = work.rows.query_end(row0 + kWarpgroupRows);
    const uint32_t queries = shared.queries_of(consumer);
    ptx::mbar_wait(shared.queries_full(consumer), parity);
    parity ^= 1;
    skip_hidden(walk, row0 < work.rows.count ? walk.mask.window.end(i1 - 1) : 0);
    bool poisoned = false;
    if (walk.more()) {
      typename Traits::Scores s;
      typename Traits::Weights weights;
      float alpha[2];
      bool tile_hides = walk.hides_pairs();
      shared.keys.wait(at);
      ptx::wgmma_fence(s);
      multiply_queries_keys<Traits>(s, queries, shared.keys.tile(at));
      ptx::wgmma_commit();
      ptx::wgmma_wait<0>(s);
      arrive_warp(shared.keys.free(at));
      soften(work, walk, hides_pairs(walk, tile_hides, i0, i1), softmax, s, alpha);
      round_weights<Traits>(weights, s);

      Position values = at;
      advance(walk);
      while (walk.more()) {
        shared.keys.wait(at);
        turns.begin();
        ptx::wgmma_fence(s);
        multiply_queries_keys<Traits>(s, queries, shared.keys.tile(at));
        ptx::wgmma_commit();
        poisoned |= wait_values(values, tile_hides);
        ptx::wgmma_fence(o, weights);
        multiply_weights_values<Traits>(o, weights, shared.values.tile(values));
        ptx::wgmma_commit();
        turns.end();
        ptx::wgmma_wait<1>(s);
        arrive_warp(shared.keys.free(at));
        tile_hides = walk.hides_pairs();
        const bool moved =
            soften(work, walk, hides_pairs(walk, tile_hides, i0, i1), softmax, s, alpha);
        ptx::wgmma_wait<0>(o);
        arrive_warp(shared.values.free(values));
        if (moved) Softmax::rescale(o, alpha);
        round_weights<Traits>(weights, s);
        values = at;
        advance(walk);
      }

      if constexpr (Traits::kStagesApart) arrive_warp(shared.queries_free(consumer));
      poisoned |= wait_values(values, tile_hides);
      ptx::wgmma_fence(o, weights);
      multiply_weights_values<Traits>(o, weights, shared.values.tile(values));
      ptx::wgmma_commit();
      ptx::wgmma_wait<0>(o);
      arrive_warp(shared.values.free(values));
    } else if constexpr (Traits::kStagesApart) {
      arrive_warp(shared.queries_free(consumer));
    }
    return poisoned;
  }
};

template <class Traits>
PTX_FN void consume(const ForwardParams& p, const SharedLayout<Traits>& shared, int of) {
  Consumer<Traits> consumer(p, shared, of);
  for (ForwardSchedule schedule; schedule.tile() < p.tiles; schedule.advance()) {
    const ForwardWork work(p, schedule.tile(), Traits::kRows);
    if (work.empty()) continue;
    OnlineSoftmax<1> softmax;
    typename Traits::Output o = {};
    const bool poisoned = consumer.attend(work, softmax, o);
    const int row0 = work.row0 + kWarpgroupRows * of;
    if (row0 < work.rows.count) {
      finish_rows<Traits>(p.attention, work, work.row0 + consumer.warp_row(), consumer.scale(),
                          softmax, o);
      store_output<Traits>(p, work, row0, of, shared.output_of(of), poisoned, o);
    }
    if constexpr (!Traits::kStagesApart) {
      // The queries' memory has held the output.
      if (threadIdx.x % kWarpgroupThreads == 0) ptx::bulk_wait_read<0>();
      arrive_warp(shared.queries_free(of));
    }
  }
  consumer.turns.finish();
  if (threadIdx.x % kWarpgroupThreads == 0) ptx::bulk_wait<0>();
}

template <class Traits>
__global__ void __launch_bounds__(Traits::kThreads, 1)
    forward(const __grid_constant__ ForwardParams p) {
  const SharedLayout<Traits> shared;
  if (threadIdx.x == 0) {
    shared.init_barriers();
    for (const ptx::tensor_map* map : {&p.q, &p.k, &p.v, &p.out}) ptx::tma_prefetch(map);
  }
  ptx::sync_block();
  const int warp = ptx::shfl_idx(static_cast<int>(threadIdx.x) / 32, 0);
  const int warpgroup = warp / kWarpgroupWarps;
  if (warpgroup == 0) {
    ptx::setmaxnreg_dec<Traits::kProducerRegisters>();
    if (warp == 0) {
      if (ptx::elect_one()) load_tiles(p, shared);
    } else {
      check_values(p, shared, warp - 1);
    }
  } else {
    ptx::setmaxnreg_inc<Traits::kConsumerRegisters>();
    consume(p, shared, warpgroup - 1);
  }
}

/** The kernels of one dtype: forward_tiles.h has their widths. */
template <class T>
ForwardKernel forward_kernel(bool featured, int width, int width_v) {
#define FA_KERNEL(w, w_v)                                   \
  if (width == w && width_v == w_v)                         \
  return featured ? forward<ForwardTraits<T, w, w_v, true>> \
                  : forward<ForwardTraits<T, w, w_v, false>>
  FA_KERNEL(64, 64);
  FA_KERNEL(96, 96);
  FA_KERNEL(128, 128);
  FA_KERNEL(192, 128);
  FA_KERNEL(192, 192);
  FA_KERNEL(256, 256);
#undef FA_KERNEL
  return nullptr;
}

}  // namespace fa::cuda::sm90
