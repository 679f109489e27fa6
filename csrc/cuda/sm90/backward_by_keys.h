// Computing warpgroups that divide dK and dV by keys: each has 64 and all dims. S^T and dP^T are
// computed with keys as rows, so that P^T and dS^T are operands as they lie in registers.
#pragma once

#include "cuda/sm90/backward_consumer.h"

namespace fa::cuda::sm90 {

template <class Traits>
struct ConsumerByKeys : BackwardConsumer<Traits> {
  using Base = BackwardConsumer<Traits>;
  using T = typename Traits::T;
  using KeyTile = typename Traits::KeyTile;
  using QueryTile = typename Traits::QueryTile;
  using ScoreTile = typename Traits::ScoreTile;
  using Sum = typename Traits::Sum;
  using typename Base::SumPart;
  using typename Base::Visit;
  static constexpr int kSteps = Traits::kInner / 16;  // of products over queries
  using Scores = float[Traits::kInner / 2];
  using Gradient = float[Traits::kWidth / 2];
  using Operand = uint32_t[kSteps][4];
  using Base::await_ds, Base::pack, Base::leave_sum, Base::thread;
  using Base::block, Base::consumer, Base::p, Base::shared;

  Turns<Traits> turns{consumer};

  PTX_FN int first_key() const { return 64 * consumer + Base::first_row(); }

  /** d = the warpgroup's rows of a, times b^T: S^T and dP^T. */
  PTX_FN void multiply_scores(Scores& d, uint32_t a, uint32_t b) const {
    const uint32_t rows = a + static_cast<uint32_t>(consumer * 64 * kPanelRowBytes);
#pragma unroll
    for (int step = 0; step < Traits::kWidth / 16; ++step)
      ptx::wgmma_ss<T>(d, KeyTile::by_columns(rows, step), QueryTile::by_columns(b, step),
                       step > 0);
  }

  /** d += a b, b being a tile of Q or dO: dV and dK. */
  PTX_FN void multiply_gradient(Gradient& d, const Operand& a, uint32_t b) const {
#pragma unroll
    for (int step = 0; step < kSteps; ++step)
      ptx::wgmma_rs<T, 1>(d, a[step], QueryTile::by_rows(b, step), true);
  }

  /** d = the warpgroup's part of dS K. */
  PTX_FN void multiply_sum(SumPart& d, uint32_t ds) const {
    const uint32_t rows =
        ds + static_cast<uint32_t>(Sum::query_panel(consumer) * ScoreTile::kPanelBytes);
    const uint32_t columns =
        shared.k + static_cast<uint32_t>(Sum::column_panel(consumer) * KeyTile::kPanelBytes);
#pragma unroll
    for (int step = 0; step < Traits::kOuter / 16; ++step)
      ptx::wgmma_ss<T, 1, 1>(d, ScoreTile::by_rows(rows, step), KeyTile::by_rows(columns, step),
                             step > 0);
  }

  /** S to P where no pair is hidden. */
  PTX_FN void weigh(Scores& s, uint32_t states) const {
    const LanePosition lane;
    const float scale = p.call.attention.scale_log2;
#pragma unroll
    for (int n = 0; n < Traits::kInner / 8; ++n) {
      const uint4 pair =
          ptx::lds<uint4>(states + static_cast<uint32_t>((8 * n + 2 * lane.t) * kRowStateBytes));
      const float lse[2] = {ptx::float_from_bits(pair.x), ptx::float_from_bits(pair.z)};
#pragma unroll
      for (int e = 0; e < 4; ++e)
        s[4 * n + e] = ptx::exp2_approx(s[4 * n + e] * scale - lse[e % 2]);
    }
  }

  /** dP to dS where no pair is hidden. */
  PTX_FN void derive(Scores& dp, const Scores& weights, uint32_t states) const {
    const LanePosition lane;
#pragma unroll
    for (int n = 0; n < Traits::kInner / 8; ++n) {
      const uint4 pair =
          ptx::lds<uint4>(states + static_cast<uint32_t>((8 * n + 2 * lane.t) * kRowStateBytes));
      const float delta[2] = {ptx::float_from_bits(pair.y), ptx::float_from_bits(pair.w)};
#pragma unroll
      for (int e = 0; e < 4; ++e)
        dp[4 * n + e] = weights[4 * n + e] * (dp[4 * n + e] - delta[e % 2]);
    }
  }

  /** Stores 16 rows of packed accumulators from `row` on. */
  template <class Tile, int kCount>
  static PTX_FN void store_rows(uint32_t tile, int row, const uint32_t (&packed)[kCount][4]) {
    const int lane = this_thread() % 32;
#pragma unroll
    for (int step = 0; step < kCount; ++step)
      ptx::stmatrix_x4(tile + Tile::offset(row + lane % 16, 2 * step + lane / 16), packed[step]);
  }

  /**
   * Writes a warp's 16 rows of dK or dV, times `factor`, by way of `tile`, of which it uses its own
   * rows.
   */
  PTX_FN void store_gradient(uint32_t tile, const Tensor& tensor, int columns, float factor,
                             Gradient& gradient) const {
    uint32_t packed[Traits::kWidth / 16][4];
#pragma unroll
    for (float& x : gradient) x *= factor;
    pack(packed, gradient);
    store_rows<KeyTile>(tile, first_key(), packed);
    ptx::sync_warp();
    constexpr int kChunks = Traits::kWidth / 8;
#pragma unroll 4
    for (int i = thread() % 32; i < 16 * kChunks; i += 32)
      Base::write_chunk(tile, tensor, columns, first_key() + i / kChunks, i % kChunks);
  }

  /** Begins S and dP of a tile. */
  PTX_FN void begin_scores(const Visit& visit, Scores& s, Scores& dp) const {
    turns.begin();
    ptx::wgmma_fence(s);
    multiply_scores(s, shared.k, shared.q(visit.at));
    ptx::wgmma_commit();
    ptx::wgmma_fence(dp);
    multiply_scores(dp, shared.v, shared.dout(visit.at));
    ptx::wgmma_commit();
    turns.end();
  }

  PTX_FN void free_rows(const Visit& visit) const {
    arrive_warp(shared.queries.free(visit.at));
    arrive_warp(shared.douts.free(visit.at));
  }

  /**
   * Adds what P^T and dS^T of a tile make of dV and dK, and leaves the part of dQ. Its products
   * come last: the other warpgroup may be late by those of the two. Neither is more than a tile
   * ahead, so that two buffers of dS are enough.
   */
  PTX_FN void multiply_tile(const Visit& visit, RingPosition<1> sum_at, const Scores& s,
                            const Scores& dp, Gradient& dk, Gradient& dv) const {
    Operand weights, gradients;
    pack(weights, s);
    pack(gradients, dp);
    const uint32_t ds = shared.ds + static_cast<uint32_t>(visit.at.stage * ScoreTile::kBytes);
    store_rows<ScoreTile>(ds, first_key(), gradients);
    ptx::fence_proxy_async();
    arrive_warp(shared.ds_full);
    ptx::wgmma_fence(dv, weights, dk, gradients);
    multiply_gradient(dv, weights, shared.dout(visit.at));
    multiply_gradient(dk, gradients, shared.q(visit.at));
    ptx::wgmma_commit();

    await_ds(sum_at);
    SumPart dq;
    ptx::wgmma_fence(dq);
    multiply_sum(dq, ds);
    ptx::wgmma_commit();
    ptx::wgmma_wait<1>(dv, dk);
    free_rows(visit);
    ptx::wgmma_wait<0>(dq);
    leave_sum(sum_at, dq, consumer, visit.record);
  }

  /**
   * The same pair by pair: for rows that are not finite and hidden from others, whose weight 0
   * would make NaN of them.
   */
  PTX_FN void multiply_pairs(const Visit& visit, RingPosition<1> sum_at, const Scores& s,
                             const Scores& dp, Gradient& dk, Gradient& dv) const {
    const LanePosition lane;
    const uint32_t ds = shared.ds + static_cast<uint32_t>(visit.at.stage * ScoreTile::kBytes);
    const auto by_keys = [&](int query, int h) {
      return ds + ScoreTile::offset(first_key() + lane.g + 8 * h, query / 8) +
             static_cast<uint32_t>(query % 8 * 2);
    };
    const auto by_queries = [&](int key, int h) {
      return ds + ScoreTile::offset(key, 8 * Sum::query_panel(consumer) + thread() / 32 * 2 + h) +
             static_cast<uint32_t>(lane.g * 2);
    };
    Operand packed;
    pack(packed, s);
    store_rows<ScoreTile>(ds, first_key(), packed);
    ptx::sync_warp();
    add_pairs<T, QueryTile, Weights::kA>(dv, shared.dout(visit.at), by_keys);
    ptx::sync_warp();
    pack(packed, dp);
    store_rows<ScoreTile>(ds, first_key(), packed);
    arrive_warp(shared.ds_full);
    await_ds(sum_at);
    add_pairs<T, QueryTile, Weights::kA>(dk, shared.q(visit.at), by_keys);
    SumPart dq;
#pragma unroll
    for (float& x : dq) x = 0;
    add_pairs<T, KeyTile, Weights::kA>(
        dq, shared.k + static_cast<uint32_t>(Sum::column_panel(consumer) * KeyTile::kPanelBytes),
        by_queries);
    leave_sum(sum_at, dq, consumer,
              visit.record);  // with a proxy fence: TMA may write Q and dO now
    free_rows(visit);
  }

  PTX_FN void run() const {
    Gradient dk, dv;
#pragma unroll
    for (int i = 0; i < Traits::kWidth / 2; ++i) dk[i] = dv[i] = 0;
    RingPosition<1> sum_at;
    bool first = true, bad_keys = false;
    for (Visit visit;; visit.at.advance(), sum_at.advance()) {
      shared.visits.wait(visit.at);
      visit.record = ptx::lds<VisitRecord>(shared.visits.tile(visit.at));
      if (visit.record.head < 0) break;
      if (first) {
        Base::await_keys();
        bad_keys = Base::keys_poisoned();
        first = false;
      }
      Base::await_rows(shared.queries, visit);
      Base::await_rows(shared.douts, visit);
      const bool by_pairs = visit.partial() && (bad_keys || Base::queries_poisoned(visit));
      Scores s, dp;
      begin_scores(visit, s, dp);
      Base::differentiate_tile(
          visit, {first_key(), 0}, s, dp, [&](uint32_t states) { weigh(s, states); },
          [&](uint32_t states) { derive(dp, s, states); });
      if (by_pairs)
        multiply_pairs(visit, sum_at, s, dp, dk, dv);
      else
        multiply_tile(visit, sum_at, s, dp, dk, dv);
    }
    Base::leave_no_more_sums(sum_at);
    if (consumer == 0) turns.finish();

    const AttentionParams& a = p.call.attention;
    Base::sync_consumers();  // all are done with K
    store_gradient(shared.k, p.call.dk, a.head_dim, a.scale, dk);
    store_gradient(shared.v, p.call.dv, a.head_dim_v, 1.f, dv);
  }
};

}  // namespace fa::cuda::sm90
