// Attention backward on wgmma, by recomputation (FlashAttention-2: Dao 2023, Algorithm 2), in the form of FlashAttention-3
// (Shah et al. 2024): one warpgroup moves data, two compute. A block keeps 128 keys; the tiles of queries that see them, of
// every head that shares them, stream past. Each computing warpgroup owns 64 keys:
//   S^T = K Q^T    dP^T = V dO^T    dV += P^T dO    dK += dS^T Q        P = exp(S - lse)    dS = P (dP - delta)
// P^T and dS^T stay in its registers, where an accumulator is the next product's operand. dS^T also goes to shared memory, for
//   dQ = dS K
// over the keys of both; each computes a part of it, which a warp of the first warpgroup adds to global memory.
//
//   warp 0         loads K and V, then tiles of Q, dO and their row states, as rings have room
//   warps 1, 2     add the parts of dQ that the computing warpgroups leave in shared memory
//   warps 4 .. 11  compute
#pragma once

#include "cuda/common/differentiate.h"
#include "cuda/common/poison.h"
#include "cuda/sm90/backward_kernels.h"
#include "cuda/sm90/panels.h"
#include "cuda/sm90/query_sum.h"
#include "cuda/sm90/ring.h"

namespace fa::cuda::sm90 {

template <class Element, int kTileWidth, bool kWithOptions>
struct BackwardTraits {
  using T = Element;
  static constexpr bool kKeys = true, kFeatured = kWithOptions;
  static constexpr BackwardTile kTile = backward_tile(kTileWidth);
  static constexpr int kWidth = kTile.width, kOuter = kTile.keys, kInner = kTile.queries;
  static constexpr int kStages = kBackwardStages;
  // Registers of a thread: 128 of the first and 256 of the second kind share 65536.
  static constexpr int kMoverRegisters = 24;
  static constexpr int kConsumerRegisters = 240;
  // Parts of scores for differentiate(): a warp's 16 keys.
  static constexpr int kRowTiles = 1, kScoreTiles = kInner / 8;
  using Scores = float[kRowTiles][kScoreTiles][4];

  using KeyTile = Panels<T, kOuter, kWidth>;
  using QueryTile = Panels<T, kInner, kWidth>;
  using ScoreTile = Panels<T, kOuter, kInner>;  // dS^T
  using Sum = QuerySum<kWidth>;
  static_assert(kOuter == 64 * kBackwardConsumers);
};

/** What a block does with a tile of queries; its row states follow in shared memory. */
struct VisitRecord {
  int head, tile, kind;  // head: -1 after the last one
  int suspect;  // a row state is not finite: perhaps the row is not, or nobody has looked at it
};

/** Which part of dq_sum a warpgroup has left in shared memory. */
struct SumRecord {
  int tile;  // of dq_sum; -1 after the last one
  int head, query_tile, unused;
};

/** Dynamic shared memory. */
template <class Traits>
struct BackwardShared {
  static constexpr int kStages = Traits::kStages;
  static constexpr int kVisitBytes = sizeof(VisitRecord) + Traits::kInner * kRowStateBytes;
  static constexpr int kPartBytes = Traits::Sum::kPartFloats * 4;
  using QueryRing = Ring<kStages, 2 * Traits::QueryTile::kBytes>;  // Q and dO
  using VisitRing = Ring<kStages, kVisitBytes>;
  using SumRing = Ring<1, kPartBytes>;

  static constexpr int kV = Traits::KeyTile::kBytes;
  static constexpr int kQueries = kV + Traits::KeyTile::kBytes;
  static constexpr int kDs = kQueries + QueryRing::kBytes;
  static constexpr int kSums = kDs + kStages * Traits::ScoreTile::kBytes;
  static constexpr int kVisits = kSums + kBackwardConsumers * SumRing::kBytes;
  static constexpr int kSumRecords = kVisits + VisitRing::kBytes;
  static constexpr int kPoisoned = kSumRecords + kBackwardConsumers * sizeof(SumRecord);
  static constexpr int kTicket = kPoisoned + 4;
  static constexpr int kBarriers = kTicket + 4;
  static constexpr int kEnd = kBarriers + (1 + QueryRing::kBarriers + VisitRing::kBarriers +
                                           kBackwardConsumers * SumRing::kBarriers) *
                                              kBarrierBytes;
  static_assert(kEnd <= backward_shared_bytes(Traits::kTile) && kBarriers % kBarrierBytes == 0);

  uint32_t k, v, ds, sum_records, poisoned, ticket, keys_full, sum_barriers;
  QueryRing queries;
  VisitRing visits;

  PTX_FN explicit BackwardShared(uint32_t base)
      : k(base),
        v(base + kV),
        ds(base + kDs),
        sum_records(base + kSumRecords),
        poisoned(base + kPoisoned),
        ticket(base + kTicket),
        keys_full(base + kBarriers) {
    uint32_t barriers = keys_full + kBarrierBytes;
    queries = {base + kQueries, barriers};
    visits = {base + kVisits, barriers += QueryRing::kBarriers * kBarrierBytes};
    barriers += VisitRing::kBarriers * kBarrierBytes;
    sum_barriers = barriers;
  }

  PTX_FN SumRing sum(int part) const {
    return {k + kSums + static_cast<uint32_t>(part * SumRing::kBytes),
            sum_barriers + static_cast<uint32_t>(part * SumRing::kBarriers * kBarrierBytes)};
  }

  PTX_FN uint32_t q(RingPosition<kStages> at) const { return queries.tile(at); }
  PTX_FN uint32_t dout(RingPosition<kStages> at) const {
    return queries.tile(at) + static_cast<uint32_t>(Traits::QueryTile::kBytes);
  }
  PTX_FN uint32_t sum_record(int part) const {
    return sum_records + static_cast<uint32_t>(part * static_cast<int>(sizeof(SumRecord)));
  }

  /** One thread. Warps of consumers arrive for themselves: none vouches for another's use of a stage. */
  PTX_FN void init() const {
    ptx::sts<int>(poisoned, 0);
    ptx::mbar_init(keys_full, 1);
    queries.init(4 * kBackwardConsumers);
    visits.init(4 * kBackwardConsumers);
    for (int part = 0; part < kBackwardConsumers; ++part) {
      ptx::mbar_init(sum(part).full({}), 4);
      ptx::mbar_init(sum(part).free({}), 1);
    }
    ptx::fence_mbar_init();
  }
};

/** All panels of a tile of rows. */
template <class Tile>
PTX_FN void load_panels(uint32_t tile, const ptx::tensor_map* map, uint32_t barrier, int row,
                        int head, int batch) {
#pragma unroll
  for (int panel = 0; panel < Tile::kPanels; ++panel)
    ptx::tma_load_4d(tile + static_cast<uint32_t>(panel * Tile::kPanelBytes), map, barrier,
                     panel * Tile::kPanelColumns, row, head, batch);
}

/** The row states of a tile of queries; rows beyond the end are rows that see nothing. Returns whether one is not finite. */
template <class Traits>
PTX_FN bool load_states(const BackwardKernelParams& p, const SequenceRows& s,
                        const InnerVisit& visit, uint32_t states) {
  const int lane = this_thread() % 32, first = visit.tile * Traits::kInner;
  const RowState* const from =
      p.call.states +
      (static_cast<int64_t>(s.q_batch) * p.call.attention.heads + visit.head) * p.call.q_rows +
      s.q_begin + first;
  bool strange = false;
#pragma unroll
  for (int i = 0; i < Traits::kInner; i += 32) {
    RowState state = {kInfinity, 0};
    if (first + i + lane < s.seqlen_q) {
      state = ptx::ldg(from + i + lane);
      strange |= not_finite(state.lse) || not_finite(state.delta);
    }
    ptx::sts<RowState>(states + static_cast<uint32_t>((i + lane) * kRowStateBytes), state);
  }
  return ptx::vote_any(strange);
}

/** Warp 0: decides which tiles of queries come, and loads them. */
template <class Traits>
PTX_FN void load_tiles(const BackwardKernelParams& p, const BackwardBlock<Traits>& block,
                       const BackwardShared<Traits>& shared) {
  using KeyTile = typename Traits::KeyTile;
  using QueryTile = typename Traits::QueryTile;
  const InnerTiles<Traits> tiles(p.call, block);
  const SequenceRows& s = block.sequence;
  const bool elected = ptx::elect_one();
  RingPosition<Traits::kStages> at;
  InnerVisit visit = tiles.first();
  if (elected && !tiles.done(visit)) {
    const int row = s.k_begin + block.outer0;
    ptx::mbar_arrive_expect_tx(shared.keys_full, 2 * KeyTile::kBytes);
    load_panels<KeyTile>(shared.k, &p.k, shared.keys_full, row, block.head, s.k_batch);
    load_panels<KeyTile>(shared.v, &p.v, shared.keys_full, row, block.head, s.k_batch);
  }
  for (; !tiles.done(visit); visit = tiles.after(visit), at.advance()) {
    if (elected) {
      const int row = s.q_begin + visit.tile * Traits::kInner;
      const uint32_t full = shared.queries.full(at);
      shared.queries.begin_fill(at);
      load_panels<QueryTile>(shared.q(at), &p.q, full, row, visit.head, s.q_batch);
      load_panels<QueryTile>(shared.dout(at), &p.dout, full, row, visit.head, s.q_batch);
    }
    ptx::mbar_wait(shared.visits.free(at), at.parity ^ 1);
    const uint32_t record = shared.visits.tile(at);
    const bool suspect =
        load_states<Traits>(p, s, visit, record + static_cast<uint32_t>(sizeof(VisitRecord)));
    if (this_thread() % 32 == 0)
      ptx::sts<VisitRecord>(record,
                            {visit.head, visit.tile, static_cast<int>(visit.kind), suspect});
    ptx::sync_warp();
    arrive_warp(shared.visits.full(at));
  }
  ptx::mbar_wait(shared.visits.free(at), at.parity ^ 1);
  if (this_thread() % 32 == 0) ptx::sts<VisitRecord>(shared.visits.tile(at), {-1, 0, 0, 0});
  arrive_warp(shared.visits.full(at));
}

/** The tile of keys before the block's that meets a tile of queries last; -1 when there is none. */
template <class Traits>
PTX_FN int key_tile_before(const InnerTiles<Traits>& tiles, int head, int query_tile) {
  int tile = tiles.block.outer0 / Traits::kOuter - 1;
  while (tile >= 0 && tiles.classify({head, query_tile, TileKind::kSkip}, tile * Traits::kOuter) ==
                          TileKind::kSkip)
    --tile;
  return tile;
}

/** One thread: adds a warpgroup's parts of dQ to the sum in global memory. */
template <class Traits>
PTX_FN void add_sums(const BackwardKernelParams& p, const BackwardBlock<Traits>& block,
                     const BackwardShared<Traits>& shared, int part) {
  const auto sum = shared.sum(part);
  const uint32_t bytes = static_cast<uint32_t>(Traits::Sum::runs(part) * Traits::Sum::kRunBytes);
  for (RingPosition<1> at;; at.advance()) {
    sum.wait(at);
    const SumRecord record = ptx::lds<SumRecord>(shared.sum_record(part));
    if (record.tile < 0) break;
    float* const to = Traits::Sum::part(p, record.tile, part);
    if (p.turns == nullptr) {
      ptx::bulk_reduce_add_f32(to, sum.tile(at), bytes);
      ptx::bulk_commit();
      ptx::bulk_wait_read<0>();
    } else {
      const InnerTiles<Traits> tiles(p.call, block);
      const int before = key_tile_before<Traits>(tiles, record.head, record.query_tile);
      int* const turn = p.turns + 2 * record.tile + part;
      while (ptx::ld_acquire(turn) != before + 1) ptx::spin_pause();
      ptx::fence_proxy_async_global();
      ptx::bulk_reduce_add_f32(to, sum.tile(at), bytes);
      ptx::bulk_commit();
      ptx::bulk_wait<0>();  // not only read: the next block's addition must find this one done
      ptx::st_release(turn, block.outer0 / Traits::kOuter + 1);
    }
    ptx::mbar_arrive(sum.free(at));
  }
}

/** Waits for the computing warpgroups. */
PTX_FN void sync_consumers() { ptx::bar_sync(1, 128 * kBackwardConsumers); }

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
   * d += a b pair by pair, without those whose a is 0. weight(k, h): where a is, at inner row k and row g + 8 h of the warp's
   * 16; b: rows of a tile.
   */
  template <class Tile, int kCount, class Weight>
  static PTX_FN void add_pairs(float (&d)[kCount], uint32_t b, Weight weight) {
    const LanePosition lane;
#pragma unroll 1
    for (int k = 0; k < Tile::kRows; ++k) {
      const float weights[2] = {ptx::to_float(ptx::lds<T>(weight(k, 0))),
                                ptx::to_float(ptx::lds<T>(weight(k, 1)))};
#pragma unroll
      for (int run = 0; run < kCount / 4; ++run) {
        const float2 pair = ptx::unpack2<T>(
            ptx::lds<uint32_t>(b + Tile::offset(k, run) + static_cast<uint32_t>(4 * lane.t)));
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          if (weights[h] == 0) continue;
          d[4 * run + 2 * h] += weights[h] * pair.x;
          d[4 * run + 2 * h + 1] += weights[h] * pair.y;
        }
      }
    }
  }

  /** Whether chunks `first`, first + step .. of a tile hold an infinity or NaN; for the whole warp. */
  template <class Tile>
  static PTX_FN bool chunks_poisoned(uint32_t tile, int first, int step) {
    bool found = false;
#pragma unroll 1
    for (int i = first; i < Tile::kBytes / 16; i += step) {
      const uint4 words = ptx::lds<uint4>(tile + static_cast<uint32_t>(16 * i));
      found |= !same(words, finite_part<T>(words));
    }
    return ptx::vote_any(found);
  }

  /** Whether the keys, those beyond the end included, hold an infinity or NaN. Each thread looks at some. */
  PTX_FN bool keys_poisoned() const {
    constexpr int kThreads = 128 * kBackwardConsumers;
    if (chunks_poisoned<KeyTile>(shared.k, 128 * part + thread(), kThreads) && thread() % 32 == 0)
      ptx::smem_atomic_add(shared.poisoned, 1);
    sync_consumers();
    return ptx::lds<int>(shared.poisoned) != 0;
  }

  /** The same of a tile of Q and dO. Each warp looks at all of them, for all to agree without a barrier: it is seldom asked. */
  PTX_FN bool queries_poisoned(const Visit& visit) const {
    if (visit.record.suspect == 0) return false;
    return chunks_poisoned<QueryTile>(shared.q(visit.at), thread() % 32, 32) ||
           chunks_poisoned<QueryTile>(shared.dout(visit.at), thread() % 32, 32);
  }

  /** Zeros for the rows of a tile from `first` on. */
  PTX_FN void clear_rows(uint32_t tile, int first) const {
    const int chunks = (Traits::kInner - first) * kPanelRowBytes / 16;
#pragma unroll 1
    for (int i = 128 * part + thread(); i < QueryTile::kPanels * chunks;
         i += 128 * kBackwardConsumers) {
      const int panel = i / chunks;
      ptx::sts<uint4>(
          tile + static_cast<uint32_t>(panel * QueryTile::kPanelBytes + first * kPanelRowBytes +
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
    ptx::sync_warp();
    arrive_warp(sum.full(at));
  }
  PTX_FN void leave_no_more_sums(RingPosition<1> at) const {
    const auto sum = shared.sum(part);
    ptx::mbar_wait(sum.free(at), at.parity ^ 1);
    if (thread() == 0) ptx::sts<SumRecord>(shared.sum_record(part), {-1, 0, 0, 0});
    arrive_warp(sum.full(at));
  }

  /** Writes a warp's 16 rows of dK or dV, times `factor`, by way of `tile`, of which it uses its own rows. */
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
    clear_rows(shared.q(visit.at), rows);
    clear_rows(shared.dout(visit.at), rows);
    ptx::fence_proxy_async();
    sync_consumers();
  }

  /** s = P^T and dp = dS^T of a tile. Without hidden pairs, P is computed while dP still is. */
  PTX_FN void differentiate_tile(const Visit& visit, Scores& s, Scores& dp) const {
    const uint32_t states =
        shared.visits.tile(visit.at) + static_cast<uint32_t>(sizeof(VisitRecord));
    ptx::wgmma_fence(s);
    multiply_scores(s, shared.k, shared.q(visit.at));
    ptx::wgmma_commit();
    ptx::wgmma_fence(dp);
    multiply_scores(dp, shared.v, shared.dout(visit.at));
    ptx::wgmma_commit();
    if (Traits::kFeatured || visit.partial()) {
      const InnerVisit where{visit.record.head, visit.record.tile, TileKind::kPartial};
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
      ptx::wgmma_wait<0>(dp);
      derive(dp, s, states);
    }
    ptx::sync_warp();
    arrive_warp(shared.visits.free(visit.at));
  }

  /** Adds what P^T and dS^T of a tile make of dV and dK, and leaves the part of dQ. */
  PTX_FN void multiply_tile(const Visit& visit, RingPosition<1> sum_at, const Scores& s,
                            const Scores& dp, Gradient& dk, Gradient& dv) const {
    Operand weights, gradients;
    pack(weights, s);
    pack(gradients, dp);
    const uint32_t ds = shared.ds + static_cast<uint32_t>(visit.at.stage * ScoreTile::kBytes);
    store_rows<ScoreTile>(ds, first_key(), gradients);
    ptx::fence_proxy_async();
    ptx::wgmma_fence(dv, weights);
    multiply_gradient(dv, weights, shared.dout(visit.at));
    ptx::wgmma_commit();
    sync_consumers();  // dS is complete

    SumPart dq;
    ptx::wgmma_fence(dq);
    multiply_sum(dq, ds);
    ptx::wgmma_commit();
    ptx::wgmma_fence(dk, gradients);
    multiply_gradient(dk, gradients, shared.q(visit.at));
    ptx::wgmma_commit();
    ptx::wgmma_wait<1>(dv, dq);
    leave_sum(sum_at, dq, visit.record);
    ptx::wgmma_wait<0>(dk);
    arrive_warp(shared.queries.free(visit.at));
  }

  /** The same pair by pair: for rows that are not finite and hidden from others, whose weight 0 would make NaN of them. */
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
    add_pairs<QueryTile>(dv, shared.dout(visit.at), by_keys);
    ptx::sync_warp();
    pack(packed, dp);
    store_rows<ScoreTile>(ds, first_key(), packed);
    sync_consumers();
    add_pairs<QueryTile>(dk, shared.q(visit.at), by_keys);
    SumPart dq;
#pragma unroll
    for (float& x : dq) x = 0;
    add_pairs<KeyTile>(
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
        ptx::mbar_wait(shared.keys_full, 0);
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

    const AttentionParams& a = p.call.attention;
    sync_consumers();  // all are done with K
    store_gradient(shared.k, p.call.dk, a.head_dim, a.scale, dk);
    store_gradient(shared.v, p.call.dv, a.head_dim_v, 1.f, dv);
  }
};

template <class T, int kWidth, bool kFeatured>
__global__ void __launch_bounds__(kBackwardThreads, 1)
    backward_kernel(const __grid_constant__ BackwardKernelParams p) {
  using Traits = BackwardTraits<T, kWidth, kFeatured>;
  const BackwardShared<Traits> shared(ptx::dyn_smem());
  if (threadIdx.x == 0) {
    shared.init();
    if (p.turns != nullptr) ptx::sts<int>(shared.ticket, ptx::atomic_add(p.ticket, 1));
  }
  ptx::sync_block();
  // In order of tickets a block waits only for blocks that run already or are done.
  const int index =
      p.turns != nullptr ? ptx::lds<int>(shared.ticket) : static_cast<int>(blockIdx.x);
  const BackwardBlock<Traits> block(p.call, index);
  if (block.outer0 >= block.outer_count()) return;

  const int warp = ptx::shfl_idx(static_cast<int>(threadIdx.x) / 32, 0);
  if (warp < 4) {
    ptx::setmaxnreg_dec<Traits::kMoverRegisters>();
    if (warp == 0)
      load_tiles<Traits>(p, block, shared);
    else if (warp <= kBackwardConsumers && ptx::elect_one())
      add_sums<Traits>(p, block, shared, warp - 1);
  } else {
    ptx::setmaxnreg_inc<Traits::kConsumerRegisters>();
    BackwardConsumer<Traits>{p, block, shared, warp / 4 - 1}.run();
  }
}

template <class T>
BackwardKernel find_backward_kernel(bool featured, int width) {
  if (featured)
    return width == 64   ? backward_kernel<T, 64, true>
           : width == 96 ? backward_kernel<T, 96, true>
                         : backward_kernel<T, 128, true>;
  return width == 64   ? backward_kernel<T, 64, false>
         : width == 96 ? backward_kernel<T, 96, false>
                       : backward_kernel<T, 128, false>;
}

}  // namespace fa::cuda::sm90
