// Computing warpgroups that divide dK and dV by dims: gradients of wide heads fit their registers
// no other way. They share the block's keys. Each computes the scores of a part of them, with
// queries as rows, and leaves P and dS in shared memory for all:
//   S = Q K^T    dP = dO V^T    dK^T += Q^T dS    dV^T += dO^T P    dQ = dS K
// Of the last three it computes its dims, in bands of 64.
#pragma once

#include "cuda/sm90/backward_consumer.h"

namespace fa::cuda::sm90 {

template <class Traits>
struct ConsumerByDims : BackwardConsumer<Traits> {
  using Base = BackwardConsumer<Traits>;
  using T = typename Traits::T;
  using KeyTile = typename Traits::KeyTile;
  using QueryTile = typename Traits::QueryTile;
  using ScoreTile = typename Traits::ScoreTile;
  using typename Base::SumPart;
  using typename Base::Visit;
  static constexpr int kBands = Traits::kWidth / 64 / Traits::kConsumers;
  static_assert(kBands * 64 * Traits::kConsumers == Traits::kWidth);
  using Scores = float[Traits::kScoreKeys / 2];
  using Gradient = float[kBands][Traits::kOuter / 2];  // of a band: 64 dims as rows, and the keys
  using Base::await_ds, Base::first_row, Base::leave_sum;
  using Base::block, Base::consumer, Base::p, Base::shared;

  PTX_FN int first_key() const { return Traits::kScoreKeys * consumer; }
  /** Number of a band, which is that of its panel, and of its part of dQ. */
  PTX_FN int number(int band) const { return kBands * consumer + band; }
  PTX_FN uint32_t ds() const { return shared.ds + static_cast<uint32_t>(ScoreTile::kBytes); }
  PTX_FN uint32_t weights() const { return shared.ds; }

  /** The band's dims of a tile of rows. */
  template <class Tile>
  PTX_FN uint32_t dims(uint32_t tile, int band) const {
    return tile + static_cast<uint32_t>(number(band) * Tile::kPanelBytes);
  }

  /** d = a times the warpgroup's rows of b: S and dP. */
  PTX_FN void multiply_scores(Scores& d, uint32_t a, uint32_t b) const {
    const uint32_t rows = b + static_cast<uint32_t>(first_key() * kPanelRowBytes);
#pragma unroll
    for (int step = 0; step < Traits::kWidth / 16; ++step)
      ptx::wgmma_ss<T>(d, QueryTile::by_columns(a, step), KeyTile::by_columns(rows, step),
                       step > 0);
  }

  /** d += the warpgroup's dims of a, a tile of Q or dO, times b, dS or P: dK and dV. */
  PTX_FN void multiply_gradient(Gradient& d, uint32_t a, uint32_t b) const {
#pragma unroll
    for (int band = 0; band < kBands; ++band)
#pragma unroll
      for (int step = 0; step < Traits::kInner / 16; ++step)
        ptx::wgmma_ss<T, 1, 1>(d[band], QueryTile::by_rows(dims<QueryTile>(a, band), step),
                               ScoreTile::by_rows(b, step), true);
  }

  /** d = a band of dS K. */
  PTX_FN void multiply_sum(SumPart& d, int band) const {
    const uint32_t columns = dims<KeyTile>(shared.k, band);
#pragma unroll
    for (int step = 0; step < Traits::kOuter / 16; ++step)
      ptx::wgmma_ss<T, 0, 1>(d, ScoreTile::by_columns(ds(), step), KeyTile::by_rows(columns, step),
                             step > 0);
  }

  /** The row state of row g + 8 h of the warp's 16 queries. */
  PTX_FN RowState state(uint32_t states, int h) const {
    const int row = first_row() + LanePosition().g + 8 * h;
    return ptx::lds<RowState>(states + static_cast<uint32_t>(row * kRowStateBytes));
  }

  /** S to P where no pair is hidden. */
  PTX_FN void weigh(Scores& s, uint32_t states) const {
    const float lse[2] = {state(states, 0).lse, state(states, 1).lse};
#pragma unroll
    for (int i = 0; i < Traits::kScoreKeys / 2; ++i)
      s[i] = ptx::exp2_approx(s[i] * p.call.attention.scale_log2 - lse[i / 2 % 2]);
  }

  /** dP to dS where no pair is hidden. */
  PTX_FN void derive(Scores& dp, const Scores& weights, uint32_t states) const {
    const float delta[2] = {state(states, 0).delta, state(states, 1).delta};
#pragma unroll
    for (int i = 0; i < Traits::kScoreKeys / 2; ++i)
      dp[i] = weights[i] * (dp[i] - delta[i / 2 % 2]);
  }

  /** Stores the warp's 16 queries and the warpgroup's keys of P or dS. */
  PTX_FN void store_scores(uint32_t tile, const Scores& scores) const {
    const LanePosition lane;
#pragma unroll
    for (int i = 0; i < Traits::kScoreKeys / 4; ++i)
      ptx::sts<uint32_t>(
          tile + ScoreTile::offset(first_row() + lane.g + 8 * (i % 2), first_key() / 8 + i / 2) +
              static_cast<uint32_t>(4 * lane.t),
          ptx::pack2<T>(scores[2 * i], scores[2 * i + 1]));
  }

  /** Leaves P and dS of a tile for all, and waits for theirs. */
  PTX_FN void share_scores(const Visit& visit, const Scores& s, const Scores& dp) const {
    ptx::mbar_wait(shared.ds_free, visit.at.parity ^ 1);
    store_scores(weights(), s);
    store_scores(ds(), dp);
    ptx::fence_proxy_async();
    arrive_warp(shared.ds_full);
    await_ds(visit.at);
  }

  /**
   * Begins S and dP of a tile. That of dO may arrive later, since it is the one before which is
   * done with last.
   */
  PTX_FN void begin_scores(const Visit& visit, Scores& s, Scores& dp) const {
    Base::await_rows(shared.queries, visit);
    ptx::wgmma_fence(s);
    multiply_scores(s, shared.q(visit.at), shared.k);
    ptx::wgmma_commit();
    Base::await_rows(shared.douts, visit);
    ptx::wgmma_fence(dp);
    multiply_scores(dp, shared.dout(visit.at), shared.v);
    ptx::wgmma_commit();
  }

  /**
   * Adds what P and dS of a tile make of dV and dK, and leaves the parts of dQ. dK comes first: its
   * Q is what the next tile begins with.
   */
  PTX_FN void multiply_tile(const Visit& visit, RingPosition<1>& sum_at, Gradient& dk,
                            Gradient& dv) const {
    ptx::wgmma_fence(dk);
    multiply_gradient(dk, shared.q(visit.at), ds());
    ptx::wgmma_commit();
    ptx::wgmma_fence(dv);
    multiply_gradient(dv, shared.dout(visit.at), weights());
    ptx::wgmma_commit();
#pragma unroll
    for (int band = 0; band < kBands; ++band) {
      SumPart dq;
      ptx::wgmma_fence(dq);
      multiply_sum(dq, band);
      ptx::wgmma_commit();
      if (band == 0) {
        ptx::wgmma_wait<2>(dk);
        arrive_warp(shared.queries.free(visit.at));
        ptx::wgmma_wait<1>(dv);
        arrive_warp(shared.douts.free(visit.at));
      }
      ptx::wgmma_wait<0>(dq);
      if (band == kBands - 1) arrive_warp(shared.ds_free);
      leave_sum(sum_at, dq, number(band), visit.record);
      sum_at.advance();
    }
  }

  /**
   * The same pair by pair: for rows that are not finite and hidden from others, whose weight 0
   * would make NaN of them.
   */
  PTX_FN void multiply_pairs(const Visit& visit, RingPosition<1>& sum_at, Gradient& dk,
                             Gradient& dv) const {
    const LanePosition lane;
#pragma unroll
    for (int band = 0; band < kBands; ++band) {
      const auto dims_of = [&](uint32_t tile) {
        return [this, tile, band, &lane](int query, int h) {
          return tile + QueryTile::offset(query, 8 * number(band) + first_row() / 8 + h) +
                 static_cast<uint32_t>(2 * lane.g);
        };
      };
      add_pairs<T, ScoreTile, Weights::kB>(dk[band], ds(), dims_of(shared.q(visit.at)));
      add_pairs<T, ScoreTile, Weights::kB>(dv[band], weights(), dims_of(shared.dout(visit.at)));
      SumPart dq;
#pragma unroll
      for (float& x : dq) x = 0;
      add_pairs<T, KeyTile, Weights::kA>(dq, dims<KeyTile>(shared.k, band), [&](int key, int h) {
        return ds() + ScoreTile::offset(first_row() + lane.g + 8 * h, key / 8) +
               static_cast<uint32_t>(key % 8 * 2);
      });
      leave_sum(sum_at, dq, number(band), visit.record);
      sum_at.advance();
    }
    // After the proxy fence of leave_sum: TMA may write Q and dO now.
    arrive_warp(shared.queries.free(visit.at));
    arrive_warp(shared.douts.free(visit.at));
    arrive_warp(shared.ds_free);
  }

  /**
   * Writes a warp's dims of dK or dV, times `factor`, by way of `tile`, of which it uses its own
   * columns.
   */
  PTX_FN void store_gradient(uint32_t tile, const Tensor& tensor, int columns, float factor,
                             Gradient& gradient) const {
    const int lane = this_thread() % 32;
#pragma unroll
    for (int band = 0; band < kBands; ++band) {
      const int chunk = 8 * number(band) + first_row() / 8;  // the first of the warp's two
      uint32_t packed[Traits::kOuter / 16][4];
#pragma unroll
      for (float& x : gradient[band]) x *= factor;
      Base::pack(packed, gradient[band]);
#pragma unroll
      for (int step = 0; step < Traits::kOuter / 16; ++step)
        ptx::stmatrix_x4_trans(
            tile + KeyTile::offset(16 * step + lane / 16 * 8 + lane % 8, chunk + lane / 8 % 2),
            packed[step]);
      ptx::sync_warp();
      // Both chunks of a key together, of every other key: lanes of a load meet no bank twice.
#pragma unroll 4
      for (int i = lane; i < 2 * Traits::kOuter; i += 32)
        Base::write_chunk(tile, tensor, columns, i / 32 * 16 + i / 2 % 8 * 2 + i / 16 % 2,
                          chunk + i % 2);
    }
  }

  PTX_FN void run() const {
    Gradient dk, dv;
#pragma unroll
    for (int band = 0; band < kBands; ++band)
#pragma unroll
      for (int i = 0; i < Traits::kOuter / 2; ++i) dk[band][i] = dv[band][i] = 0;
    RingPosition<1> sum_at;
    bool first = true, bad_keys = false;
    for (Visit visit;; visit.at.advance()) {
      shared.visits.wait(visit.at);
      visit.record = ptx::lds<VisitRecord>(shared.visits.tile(visit.at));
      if (visit.record.head < 0) break;
      if (first) {
        Base::await_keys();
        bad_keys = Base::keys_poisoned();
        first = false;
      }
      Scores s, dp;
      begin_scores(visit, s, dp);
      Base::differentiate_tile(
          visit, {first_row(), first_key()}, s, dp, [&](uint32_t states) { weigh(s, states); },
          [&](uint32_t states) { derive(dp, s, states); });
      share_scores(visit, s, dp);
      if (visit.partial() && (bad_keys || Base::queries_poisoned(visit)))
        multiply_pairs(visit, sum_at, dk, dv);
      else
        multiply_tile(visit, sum_at, dk, dv);
    }
    // Waits until the last part of dQ has been taken. So all four warps are done with the bands of
    // K that they now write, and the others have been since all shared their scores.
    Base::leave_no_more_sums(sum_at);

    const AttentionParams& a = p.call.attention;
    store_gradient(shared.k, p.call.dk, a.head_dim, a.scale, dk);
    store_gradient(shared.v, p.call.dv, a.head_dim_v, 1.f, dv);
  }
};

}  // namespace fa::cuda::sm90
