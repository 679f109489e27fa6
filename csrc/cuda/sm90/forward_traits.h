// The forward kernels' types, and where things lie in their shared memory.
#pragma once

#include "cuda/device/fragment.h"
#include "cuda/sm90/forward_tiles.h"
#include "cuda/sm90/forward_work.h"
#include "cuda/sm90/panels.h"
#include "cuda/sm90/ring.h"

namespace fa::cuda::sm90 {

template <class Element, int kHeadDim, int kHeadDimV, ForwardVariant kVariant>
struct ForwardTraits {
  using T = Element;
  static constexpr bool kFeatured = kVariant == ForwardVariant::kFeatured;
  static constexpr bool kFp8 = kVariant == ForwardVariant::kFp8;
  static_assert(kFp8 == (sizeof(T) == 1));
  using Out = std::conditional_t<kFp8, ptx::bf16, T>;
  static constexpr int kWidth = kHeadDim, kWidthV = kHeadDimV;
  static constexpr ForwardTile kTile = forward_tile(kVariant, kWidth, kWidthV);
  static_assert(kTile.width == kWidth && kTile.width_v == kWidthV);
  static constexpr int kConsumers = kTile.consumers, kKeys = kTile.keys;
  static constexpr int kRows = kTile.rows(), kThreads = kTile.threads();
  static constexpr bool kStagesApart = forward_stages_apart(kTile, sizeof(T));
  static_assert(kStagesApart || !kFp8, "an output of 16 bits has no room in queries of 8");
  // Of 64 K registers an SM, what the producer can do without goes to the consumers.
  // Masks that are looked up take some.
  static constexpr int kProducerRegisters = kFeatured ? 56 : kConsumers == 3 ? 32 : 24;
  static constexpr int kConsumerRegisters = kConsumers == 3 ? 160 : kFeatured ? 224 : 240;
  static_assert(kProducerRegisters + kConsumers * kConsumerRegisters <=
                registers_at_launch(kThreads) * (kConsumers + 1));
  static constexpr int kCheckers = kWarpgroupWarps - 1;  // warps
  // Weights are 2^lift times as large, for e4m3 to have bits for the small ones.
  static constexpr float kLift = kFp8 ? 8 : 0;

  using QueryTile = Panels<T, kWarpgroupRows, kWidth>;  // of one warpgroup, like the output
  using KeyTile = Panels<T, kKeys, kWidth>;
  using ValueTile = Panels<T, kKeys, kWidthV>;
  using TransposedTile = Panels<T, kWidthV, kKeys>;  // of values; 8-bit ones
  using OutputTile = Panels<Out, kWarpgroupRows, kWidthV>;
  using KeyRing = Ring<kTile.stages, KeyTile::kBytes>;
  using ValueRing = Ring<kTile.stages, ValueTile::kBytes>;
  using TransposedRing = Ring<kTile.stages, kFp8 ? TransposedTile::kBytes : 0>;
  using Position = typename KeyRing::Position;
  using Walk = KeyWalk<kFeatured, kRows, kKeys>;

  // Of a thread, laid out as those of mma.sync: one accumulator tile of 16 rows a warp.
  using Scores = float[1][kKeys / 8][4];
  using Weights = uint32_t[kKeys / KeyTile::kStep][4];
  using Output = float[1][kWidthV / 8][4];
};

/** The same accumulators as wgmma names them. */
template <int kTiles>
PTX_FN float (&flat(float (&tiles)[1][kTiles][4]))[4 * kTiles] {
  return reinterpret_cast<float(&)[4 * kTiles]>(tiles);
}

/** Everything that the warps of a block share. */
template <class Traits>
struct SharedLayout {
  static constexpr int kConsumers = Traits::kConsumers, kStages = Traits::kTile.stages;
  using Position = typename Traits::Position;
  typename Traits::KeyRing keys;
  typename Traits::ValueRing values;
  typename Traits::TransposedRing transposed;
  uint32_t queries, output, barriers;

  PTX_FN SharedLayout() {
    queries = ptx::dyn_smem();
    keys.tiles = queries + kConsumers * Traits::QueryTile::kBytes;
    values.tiles = keys.tiles + Traits::KeyRing::kBytes;
    transposed.tiles = values.tiles + Traits::ValueRing::kBytes;
    const uint32_t end = transposed.tiles + Traits::TransposedRing::kBytes;
    output = Traits::kStagesApart ? end : queries;
    barriers = end + (Traits::kStagesApart ? kConsumers * Traits::OutputTile::kBytes : 0);
    keys.barriers = barriers;
    values.barriers = barrier(Traits::KeyRing::kBarriers);
    transposed.barriers = barrier(Traits::KeyRing::kBarriers + Traits::ValueRing::kBarriers);
  }
  static_assert(forward_operand_bytes(Traits::kTile, sizeof(typename Traits::T)) ==
                    kConsumers * Traits::QueryTile::kBytes + Traits::KeyRing::kBytes +
                        Traits::ValueRing::kBytes + Traits::TransposedRing::kBytes,
                "the table and the kernel mean the same tiles");
  static_assert(forward_shared_bytes(Traits::kTile, sizeof(typename Traits::T)) <= kMaxSharedBytes);

  PTX_FN uint32_t barrier(int index) const {
    return barriers + static_cast<uint32_t>(index * kBarrierBytes);
  }
  static constexpr int kRingBarriers =
      Traits::KeyRing::kBarriers + Traits::ValueRing::kBarriers + Traits::TransposedRing::kBarriers;
  /** 16-bit values whose tile has hidden pairs are free of infinities and NaN. */
  PTX_FN uint32_t checked(Position at) const { return barrier(kRingBarriers + at.stage); }
  PTX_FN uint32_t queries_full(int consumer) const {
    return barrier(kRingBarriers + kStages + consumer);
  }
  PTX_FN uint32_t queries_free(int consumer) const {
    return barrier(kRingBarriers + kStages + kConsumers + consumer);
  }
  /**
   * The number of the tile of rows, which comes with a consumer's queries. Checkers read that of
   * consumer 0.
   */
  PTX_FN uint32_t tile(int consumer) const {
    return barrier(kRingBarriers + kStages + 2 * kConsumers) + static_cast<uint32_t>(4 * consumer);
  }
  /** One word per checker and stage: whether it has found any. */
  PTX_FN uint32_t poison(Position at, int checker) const {
    return tile(kConsumers) + static_cast<uint32_t>(4 * (at.stage * Traits::kCheckers + checker));
  }

  /** The ring of values as the products take them. */
  PTX_FN const auto& operands() const {
    if constexpr (Traits::kFp8)
      return transposed;
    else
      return values;
  }

  PTX_FN uint32_t queries_of(int consumer) const {
    return queries + static_cast<uint32_t>(consumer * Traits::QueryTile::kBytes);
  }
  PTX_FN uint32_t output_of(int consumer) const {
    return output +
           static_cast<uint32_t>(consumer * (Traits::kStagesApart ? Traits::OutputTile::kBytes
                                                                  : Traits::QueryTile::kBytes));
  }

  /** One thread, before all others go on. */
  PTX_FN void init_barriers() const {
    constexpr int kWarps = kConsumers * kWarpgroupWarps;
    keys.init(kWarps);
    if constexpr (Traits::kFp8) {
      values.init(Traits::kCheckers);
      transposed.init(kWarps, Traits::kCheckers);
    } else {
      values.init(kWarps + Traits::kCheckers);
      for (int stage = 0; stage < kStages; ++stage)
        ptx::mbar_init(checked({stage, 0}), Traits::kCheckers);
    }
    for (int consumer = 0; consumer < kConsumers; ++consumer) {
      ptx::mbar_init(queries_full(consumer), 1);
      ptx::mbar_init(queries_free(consumer),
                     kWarpgroupWarps + (consumer == 0 ? Traits::kCheckers : 0));
    }
    ptx::fence_mbar_init();
  }
};

}  // namespace fa::cuda::sm90
