// The backward kernels' types, and where things lie in their shared memory.
#pragma once

#include <type_traits>

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
  static constexpr bool kByDims = kTile.by_dims(), kKeyRows = !kByDims;
  static constexpr int kWidth = kTile.width, kOuter = kTile.keys, kInner = kTile.queries;
  static constexpr int kStages = kTile.stages, kConsumers = kTile.consumers;
  // Registers of a thread.
  static constexpr int kMoverRegisters = 24;
  static constexpr int kConsumerRegisters = kConsumers == 2 ? 240 : 160;
  static_assert(kMoverRegisters + kConsumers * kConsumerRegisters <=
                registers_at_launch(kTile.threads()) * (kConsumers + 1));
  // Parts of scores for differentiate(): 16 keys of a warp and all queries, or 16 queries of a warp
  // and the keys of its warpgroup.
  static constexpr int kScoreKeys = kOuter / kConsumers;  // of a warpgroup
  static constexpr int kRowTiles = 1, kScoreTiles = (kByDims ? kScoreKeys : kInner) / 8;
  using Scores = float[kRowTiles][kScoreTiles][4];

  using KeyTile = Panels<T, kOuter, kWidth>;
  using QueryTile = Panels<T, kInner, kWidth>;
  using ScoreTile =  // dS^T; P and dS
      std::conditional_t<kByDims, Panels<T, kInner, kOuter>, Panels<T, kOuter, kInner>>;
  using Sum = QuerySum<kWidth>;
  static_assert(kByDims ? kInner == 64 && kStages == 1 && kScoreKeys % 8 == 0
                        : kScoreKeys == 64 && kStages == 2);
};

/** What a block does with a tile of queries; its row states follow in shared memory. */
struct VisitRecord {
  int head, tile, kind;  // head: -1 after the last one
  int suspect;  // a row state is not finite: perhaps the row is not, or nobody has looked at it
};

/** Which part of dq_sum a warpgroup has left in shared memory. */
struct SumRecord {
  int tile;  // of dq_sum; -1 after the last one
  int head, query_tile, part;
};

/** Dynamic shared memory. */
template <class Traits>
struct BackwardShared {
  static constexpr int kStages = Traits::kStages;
  static constexpr int kVisitBytes = sizeof(VisitRecord) + Traits::kInner * kRowStateBytes;
  static constexpr int kPartBytes = Traits::Sum::kPartFloats * 4;
  using QueryRing = Ring<kStages, Traits::QueryTile::kBytes>;  // Q, or dO
  using VisitRing = Ring<kStages, kVisitBytes>;
  using SumRing = Ring<1, kPartBytes>;

  static constexpr int kV = Traits::KeyTile::kBytes;
  static constexpr int kQueries = kV + Traits::KeyTile::kBytes;
  static constexpr int kDouts = kQueries + QueryRing::kBytes;
  static constexpr int kDs = kDouts + QueryRing::kBytes;
  static constexpr int kSums = kDs + 2 * Traits::ScoreTile::kBytes;
  static constexpr int kVisits = kSums + Traits::kConsumers * SumRing::kBytes;
  static constexpr int kSumRecords = kVisits + VisitRing::kBytes;
  static constexpr int kPoisoned = kSumRecords + Traits::kConsumers * sizeof(SumRecord);
  static constexpr int kTicket = kPoisoned + 4;
  static constexpr int kBarriers = kTicket + 4;
  static constexpr int kEnd = kBarriers + (3 + 2 * QueryRing::kBarriers + VisitRing::kBarriers +
                                           Traits::kConsumers * SumRing::kBarriers) *
                                              kBarrierBytes;
  static_assert(kEnd <= backward_shared_bytes(Traits::kTile) && kBarriers % kBarrierBytes == 0);

  uint32_t k, v, ds, sum_records, poisoned, ticket, keys_full, ds_full, ds_free, sum_barriers;
  QueryRing queries, douts;
  VisitRing visits;

  PTX_FN explicit BackwardShared(uint32_t base)
      : k(base),
        v(base + kV),
        ds(base + kDs),
        sum_records(base + kSumRecords),
        poisoned(base + kPoisoned),
        ticket(base + kTicket),
        keys_full(base + kBarriers),
        ds_full(keys_full + kBarrierBytes),
        ds_free(ds_full + kBarrierBytes) {
    uint32_t barriers = ds_free + kBarrierBytes;
    queries = {base + kQueries, barriers};
    douts = {base + kDouts, barriers += QueryRing::kBarriers * kBarrierBytes};
    visits = {base + kVisits, barriers += QueryRing::kBarriers * kBarrierBytes};
    barriers += VisitRing::kBarriers * kBarrierBytes;
    sum_barriers = barriers;
  }

  PTX_FN SumRing sum(int consumer) const {
    return {k + kSums + static_cast<uint32_t>(consumer * SumRing::kBytes),
            sum_barriers + static_cast<uint32_t>(consumer * SumRing::kBarriers * kBarrierBytes)};
  }

  PTX_FN uint32_t q(RingPosition<kStages> at) const { return queries.tile(at); }
  PTX_FN uint32_t dout(RingPosition<kStages> at) const { return douts.tile(at); }
  PTX_FN uint32_t sum_record(int consumer) const {
    return sum_records + static_cast<uint32_t>(consumer * static_cast<int>(sizeof(SumRecord)));
  }

  /**
   * One thread. Warps of consumers arrive for themselves: none vouches for another's use of a
   * stage.
   */
  PTX_FN void init() const {
    constexpr int kWarps = 4 * Traits::kConsumers;
    ptx::sts<int>(poisoned, 0);
    ptx::mbar_init(keys_full, 1);
    ptx::mbar_init(ds_full, kWarps);
    ptx::mbar_init(ds_free, kWarps);
    queries.init(kWarps);
    douts.init(kWarps);
    visits.init(kWarps);
    for (int consumer = 0; consumer < Traits::kConsumers; ++consumer) {
      ptx::mbar_init(sum(consumer).full({}), 4);
      ptx::mbar_init(sum(consumer).free({}), 1);
    }
    ptx::fence_mbar_init();
  }
};

}  // namespace fa::cuda::sm90
