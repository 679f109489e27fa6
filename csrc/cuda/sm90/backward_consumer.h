// What the computing warpgroups of a backward kernel do, each for 64 keys: the products of every
// tile of queries, from scores to the sums dK and dV and the parts of dQ.
#pragma once

#include "cuda/sm90/backward_pairs.h"
#include "cuda/sm90/backward_traits.h"

namespace fa::cuda::sm90 {

/** Waits for the computing warpgroups. */
PTX_FN void sync_consumers() { ptx::bar_sync(kConsumersBarrier, 128 * kBackwardConsumers); }

/** A warp of a computing warpgroup. */
template <class Traits>
struct BackwardConsumer {
  using T = typename Traits::T;
  using KeyTile = typename Traits::KeyTile;
  using QueryTile = typename Traits::QueryTile;
  using ScoreTile = typename Traits::ScoreTile;
  using Sum = typename Traits::Sum;
  using Shared = BackwardShared<Traits>;
  static constexpr int kSteps = Traits::kInner / 16;  // of products over queries
  using Scores = float[Traits::kInner / 2];
  using Gradient = float[Traits::kWidth / 2];
  using Operand = uint32_t[kSteps][4];
  using SumPart = float[32];

  /** The tile of queries that a warp is at. */
  struct Visit {
    RingPosition<Traits::kStages> at;
    VisitRecord record;
    PTX_FN bool partial() const { return record.kind != static_cast<int>(TileKind::kFull); }
  };

  const BackwardKernelParams& p;
  const BackwardBlock<Traits>& block;
  const Shared& shared;
  int part;  // number of the warpgroup, and of its part of dQ
  Turns<Traits> turns{part};

  PTX_FN int thread() const { return this_thread() % 128; }
  PTX_FN int first_key() const { return 64 * part + this_thread() % 128 / 32 * 16; }

  /** d = the warpgroup's rows of a, times b^T: S^T and dP^T. */
  PTX_FN void multiply_scores(Scores& d, uint32_t a, uint32_t b) const {
    const uint32_t rows = a + static_cast<uint32_t>(part * 64 * kPanelRowBytes);
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
        ds + static_cast<uint32_t>(Sum::query_panel(part) * ScoreTile::kPanelBytes);
    const uint32_t columns =
        shared.k + static_cast<uint32_t>(Sum::column_panel(part) * KeyTile::kPanelBytes);
#pragma unroll
    for (int step = 0; step < Traits::kOuter / 16; ++step)
      ptx::wgmma_ss<T, 1, 1>(d, ScoreTile::by_rows(rows, step), KeyTile::by_rows(columns, step),
                             step > 0);
  }

  /**
   * Waits for K and V. Rows beyond the end, padding or the next sequence, become zeros: their NaN
   * would look like a key's.
   */
  PTX_FN void await_keys() const {
    ptx::mbar_wait(shared.keys_full, 0);
    const int rows = block.sequence.seqlen_k - block.outer0;
    if (rows >= Traits::kOuter) return;
    clear_rows<KeyTile>(shared.k, rows);
    ptx::fence_proxy_async();
    sync_consumers();
  }

  /** Whether the keys hold an infinity or NaN. Each thread looks at some. */
  PTX_FN bool keys_poisoned() const {
    constexpr int kThreads = 128 * kBackwardConsumers;
    if (chunks_poisoned<T, KeyTile>(shared.k, 128 * part + thread(), kThreads) &&
        thread() % 32 == 0)
      ptx::smem_atomic_add(shared.poisoned, 1);
    sync_consumers();
    return ptx::lds<int>(shared.poisoned) != 0;
  }

  /**
   * The same of a tile of Q and dO. Each warp looks at all of them, for all to agree without a
   * barrier: it is seldom asked.
   */
  PTX_FN bool queries_poisoned(const Visit& visit) const {
    if (visit.record.suspect == 0) return false;
    return chunks_poisoned<T, QueryTile>(shared.q(visit.at), thread() % 32, 32) ||
           chunks_poisoned<T, QueryTile>(shared.dout(visit.at), thread() % 32, 32);
  }

  /** Zeros for the rows of a tile from `first` on. */
  template <class Tile>
  PTX_FN void clear_rows(uint32_t tile, int first) const {
    const int chunks = (Tile::kRows - first) * kPanelRowBytes / 16;
#pragma unroll 1
    for (int i = 128 * part + thread(); i < Tile::kPanels * chunks; i += 128 * kBackwardConsumers) {
      const int panel = i / chunks;
      ptx::sts<uint4>(
          tile + static_cast<uint32_t>(panel * Tile::kPanelBytes + first * kPanelRowBytes +
                                       16 * (i - panel * chunks)),
          {});
    }
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

  /** Accumulators as the operand of the next product. */
  template <int kCount>
  static PTX_FN void pack(uint32_t (&packed)[kCount / 8][4], const float (&from)[kCount]) {
#pragma unroll
    for (int i = 0; i < kCount / 2; ++i)
      packed[i / 4][i % 4] = ptx::pack2<T>(from[2 * i], from[2 * i + 1]);
  }

  /** Stores 16 rows of packed accumulators from `row` on. */
  template <class Tile, int kCount>
  static PTX_FN void store_rows(uint32_t tile, int row, const uint32_t (&packed)[kCount][4]) {
    const int lane = this_thread() % 32;
#pragma unroll
    for (int step = 0; step < kCount; ++step)
      ptx::stmatrix_x4(tile + Tile::offset(row + lane % 16, 2 * step + lane / 16), packed[step]);
  }

  /** Leaves the warpgroup's part of dQ for add_sums. */
  PTX_FN void leave_sum(RingPosition<1> at, const SumPart& dq, const VisitRecord& visit) const {
    const auto sum = shared.sum(part);
    ptx::mbar_wait(sum.free(at), at.parity ^ 1);
    const uint32_t to = sum.tile(at) + static_cast<uint32_t>(16 * thread());
#pragma unroll
    for (int run = 0; run < 8; ++run)
      ptx::sts<float4>(to + static_cast<uint32_t>(run * Sum::kRunBytes),
                       {dq[4 * run], dq[4 * run + 1], dq[4 * run + 2], dq[4 * run + 3]});
    if (thread() == 0)
      ptx::sts<SumRecord>(shared.sum_record(part),
                          {Sum::tile(p, block.sequence, block.batch, visit.head, visit.tile),
                           visit.head, visit.tile, 0});
    ptx::fence_proxy_async();
    arrive_warp(sum.full(at));
  }
  PTX_FN void leave_no_more_sums(RingPosition<1> at) const {
    const auto sum = shared.sum(part);
    ptx::mbar_wait(sum.free(at), at.parity ^ 1);
    if (thread() == 0) ptx::sts<SumRecord>(shared.sum_record(part), {-1, 0, 0, 0});
    arrive_warp(sum.full(at));
  }

  /**
   * Writes a warp's 16 rows of dK or dV, times `factor`, by way of `tile`, of which it uses its own
   * rows.
   */
  PTX_FN void store_gradient(uint32_t tile, const Tensor& tensor, int columns, float factor,
                             Gradient& gradient) const {
    const SequenceRows& s = block.sequence;
    uint32_t packed[Traits::kWidth / 16][4];
#pragma unroll
    for (float& x : gradient) x *= factor;
    pack(packed, gradient);
    store_rows<KeyTile>(tile, first_key(), packed);
    ptx::sync_warp();
    constexpr int kChunks = Traits::kWidth / 8;
    T* const to =
        static_cast<T*>(tensor.data) + s.k_batch * tensor.batch + block.head * tensor.head;
#pragma unroll 4
    for (int i = thread() % 32; i < 16 * kChunks; i += 32) {
      const int row = first_key() + i / kChunks, chunk = i % kChunks;
      if (block.outer0 + row < s.seqlen_k && 8 * chunk < columns)
        ptx::stg<uint4>(reinterpret_cast<uint4*>(
                            to + (s.k_begin + block.outer0 + row) * tensor.row + 8 * chunk),
                        ptx::lds<uint4>(tile + KeyTile::offset(row, chunk)));
    }
  }

  /** Waits for Q and dO. Packed sequences follow one another: rows of the next one become zeros. */
  PTX_FN void await_queries(const Visit& visit) const {
    shared.queries.wait(visit.at);
    const int rows = block.sequence.seqlen_q - visit.record.tile * Traits::kInner;
    if (p.call.attention.cu_seqlens_q.data == nullptr || rows >= Traits::kInner) return;
    clear_rows<QueryTile>(shared.q(visit.at), rows);
    clear_rows<QueryTile>(shared.dout(visit.at), rows);
    ptx::fence_proxy_async();
    sync_consumers();
  }

  /** s = P^T and dp = dS^T of a tile. Without hidden pairs, P is computed while dP still is. */
  PTX_FN void differentiate_tile(const Visit& visit, Scores& s, Scores& dp) const {
    const uint32_t states =
        shared.visits.tile(visit.at) + static_cast<uint32_t>(sizeof(VisitRecord));
    turns.begin();
    ptx::wgmma_fence(s);
    multiply_scores(s, shared.k, shared.q(visit.at));
    ptx::wgmma_commit();
    ptx::wgmma_fence(dp);
    multiply_scores(dp, shared.v, shared.dout(visit.at));
    ptx::wgmma_commit();
    turns.end();
    if (Traits::kFeatured || visit.partial()) {
      const InnerVisit where{visit.record.head, visit.record.tile,
                             static_cast<TileKind>(visit.record.kind)};
      const ScorePart mine{first_key(), 0};
      ScoreBits<Traits> kept = 0;
      if (Traits::kFeatured && p.call.attention.dropout.enabled)
        kept = kept_scores<Traits>(p.call, block, where, mine);
      ptx::wgmma_wait<0>(s, dp);
      differentiate<Traits, true>(p.call, block, where, mine, states, kept,
                                  reinterpret_cast<typename Traits::Scores&>(s),
                                  reinterpret_cast<typename Traits::Scores&>(dp));
    } else {
      ptx::wgmma_wait<1>(s);
      weigh(s, states);
      ptx::schedule_fence();  // or dP would be waited for before P is computed
      ptx::wgmma_wait<0>(dp);
      derive(dp, s, states);
    }
    arrive_warp(shared.visits.free(visit.at));
  }

  /** Waits until both warpgroups have stored their dS of the tile. */
  PTX_FN void await_ds(RingPosition<1> at) const { ptx::mbar_wait(shared.ds_full, at.parity); }

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
    ptx::wgmma_fence(dv, weights);
    multiply_gradient(dv, weights, shared.dout(visit.at));
    ptx::wgmma_fence(dk, gradients);
    multiply_gradient(dk, gradients, shared.q(visit.at));
    ptx::wgmma_commit();

    await_ds(sum_at);
    SumPart dq;
    ptx::wgmma_fence(dq);
    multiply_sum(dq, ds);
    ptx::wgmma_commit();
    ptx::wgmma_wait<1>(dv, dk);
    arrive_warp(shared.queries.free(visit.at));
    ptx::wgmma_wait<0>(dq);
    leave_sum(sum_at, dq, visit.record);
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
      return ds + ScoreTile::offset(key, 8 * Sum::query_panel(part) + thread() / 32 * 2 + h) +
             static_cast<uint32_t>(lane.g * 2);
    };
    Operand packed;
    pack(packed, s);
    store_rows<ScoreTile>(ds, first_key(), packed);
    ptx::sync_warp();
    add_pairs<T, QueryTile>(dv, shared.dout(visit.at), by_keys);
    ptx::sync_warp();
    pack(packed, dp);
    store_rows<ScoreTile>(ds, first_key(), packed);
    arrive_warp(shared.ds_full);
    await_ds(sum_at);
    add_pairs<T, QueryTile>(dk, shared.q(visit.at), by_keys);
    SumPart dq;
#pragma unroll
    for (float& x : dq) x = 0;
    add_pairs<T, KeyTile>(
        dq, shared.k + static_cast<uint32_t>(Sum::column_panel(part) * KeyTile::kPanelBytes),
        by_queries);
    leave_sum(sum_at, dq, visit.record);  // with a proxy fence: TMA may write Q and dO now
    arrive_warp(shared.queries.free(visit.at));
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
        await_keys();
        bad_keys = keys_poisoned();
        first = false;
      }
      await_queries(visit);
      const bool by_pairs = visit.partial() && (bad_keys || queries_poisoned(visit));
      Scores s, dp;
      differentiate_tile(visit, s, dp);
      if (by_pairs)
        multiply_pairs(visit, sum_at, s, dp, dk, dv);
      else
        multiply_tile(visit, sum_at, s, dp, dk, dv);
    }
    leave_no_more_sums(sum_at);
    if (part == 0) turns.finish();

    const AttentionParams& a = p.call.attention;
    sync_consumers();  // all are done with K
    store_gradient(shared.k, p.call.dk, a.head_dim, a.scale, dk);
    store_gradient(shared.v, p.call.dv, a.head_dim_v, 1.f, dv);
  }
};

}  // namespace fa::cuda::sm90
