// A ring of tiles between warps that work at their own pace: the producer fills a stage when it is
// free, consumers use it when it is full. Each state is an mbarrier per stage, whose phases are the
// rounds.
#pragma once

#include "cuda/ptx/ptx.h"

namespace fa::cuda::sm90 {

constexpr int kBarrierBytes = 8;

/**
 * Where a warp is in a ring. Consumers wait for full(stage) with `parity`, the producer for
 * free(stage) with `parity ^ 1`,
 *  which a new barrier passes. */
template <int kStages>
struct RingPosition {
  int stage = 0, parity = 0;

  PTX_FN void advance() {
    if (++stage == kStages) {
      stage = 0;
      parity ^= 1;
    }
  }
  PTX_FN RingPosition previous() const {
    return stage == 0 ? RingPosition{kStages - 1, parity ^ 1} : RingPosition{stage - 1, parity};
  }
};

/** kStages tiles of kTileBytes at `tiles`, and their barriers. */
template <int kRingStages, int kTileBytes>
struct Ring {
  static constexpr int kStages = kRingStages;
  static constexpr int kBytes = kStages * kTileBytes;
  static constexpr int kBarriers = 2 * kStages;
  using Position = RingPosition<kStages>;
  uint32_t tiles, barriers;

  PTX_FN uint32_t tile(Position at) const {
    return tiles + static_cast<uint32_t>(at.stage * kTileBytes);
  }
  PTX_FN uint32_t full(Position at) const {
    return barriers + static_cast<uint32_t>(at.stage * kBarrierBytes);
  }
  PTX_FN uint32_t free(Position at) const {
    return barriers + static_cast<uint32_t>((kStages + at.stage) * kBarrierBytes);
  }

  /**
   * One thread, before any other looks: `consumers` arrive to free a stage, `producers` to fill it
   * (one, where TMA brings bytes).
   */
  PTX_FN void init(int consumers, int producers = 1) const {
    for (int stage = 0; stage < kStages; ++stage) {
      ptx::mbar_init(full({stage, 0}), producers);
      ptx::mbar_init(free({stage, 0}), consumers);
    }
  }

  /** A producer: waits until the stage is free. */
  PTX_FN void wait_free(Position at) const { ptx::mbar_wait(free(at), at.parity ^ 1); }
  /** The same, and announces that TMA will bring a whole tile. */
  PTX_FN void begin_fill(Position at) const {
    wait_free(at);
    ptx::mbar_arrive_expect_tx(full(at), kTileBytes);
  }
  /** A consumer: waits for the tile. */
  PTX_FN void wait(Position at) const { ptx::mbar_wait(full(at), at.parity); }
};

/**
 * One arrival for the whole warp, once all its lanes have come here: none may still wait for the
 * phase that this ends.
 */
PTX_FN void arrive_warp(uint32_t barrier) {
  ptx::sync_warp();
  if (threadIdx.x % 32 == 0) ptx::mbar_arrive(barrier);
}

}  // namespace fa::cuda::sm90
