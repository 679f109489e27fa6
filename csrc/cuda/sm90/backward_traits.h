// The backward kernels' types, and where things lie in their shared memory.
#pragma once

#include "cuda/device/differentiate.h"
#include "cuda/sm90/backward_kernels.h"
#include "cuda/sm90/panels.h"
#include "cuda/sm90/query_sum.h"
#include "cuda/sm90/ring.h"
#include "cuda/sm90/turns.h"

namespace fa::cuda::sm90 {

template <class Element, int kTileWidth, bool kWithOptions>
struct BackwardTraits {
  using T = Element;
  static constexpr bool kKeys = true, kFeatured = kWithOptions;
  static constexpr BackwardTile kTile = backward_tile(kTileWidth);
  static constexpr int kWidth = kTile.width, kOuter = kTile.keys, kInner = kTile.queries;
  static constexpr int kStages = kBackwardStages, kConsumers = kBackwardConsumers;
  // Registers of a thread.
  static constexpr int kMoverRegisters = 24;
  static constexpr int kConsumerRegisters = 240;
  static_assert(kMoverRegisters + kBackwardConsumers * kConsumerRegisters <=
                registers_at_launch(kBackwardThreads) * (kBackwardConsumers + 1));
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
  static constexpr int kEnd = kBarriers + (2 + QueryRing::kBarriers + VisitRing::kBarriers +
                                           kBackwardConsumers * SumRing::kBarriers) *
                                              kBarrierBytes;
  static_assert(kEnd <= backward_shared_bytes(Traits::kTile) && kBarriers % kBarrierBytes == 0);

  uint32_t k, v, ds, sum_records, poisoned, ticket, keys_full, ds_full, sum_barriers;
  QueryRing queries;
  VisitRing visits;

  PTX_FN explicit BackwardShared(uint32_t base)
      : k(base),
        v(base + kV),
        ds(base + kDs),
        sum_records(base + kSumRecords),
        poisoned(base + kPoisoned),
        ticket(base + kTicket),
        keys_full(base + kBarriers),
        ds_full(keys_full + kBarrierBytes) {
    uint32_t barriers = ds_full + kBarrierBytes;
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

  /**
   * One thread. Warps of consumers arrive for themselves: none vouches for another's use of a
   * stage.
   */
  PTX_FN void init() const {
    ptx::sts<int>(poisoned, 0);
    ptx::mbar_init(keys_full, 1);
    ptx::mbar_init(ds_full, 4 * kBackwardConsumers);
    queries.init(4 * kBackwardConsumers);
    visits.init(4 * kBackwardConsumers);
    for (int part = 0; part < kBackwardConsumers; ++part) {
      ptx::mbar_init(sum(part).full({}), 4);
      ptx::mbar_init(sum(part).free({}), 1);
    }
    ptx::fence_mbar_init();
  }
};

}  // namespace fa::cuda::sm90
