// Turns of the computing warpgroups at the tensor cores (ping-pong: Shah et al. 2024), so that
// one's exponentials run beside another's products; and the numbers of all named barriers.
#pragma once

#include "cuda/sm90/panels.h"

namespace fa::cuda::sm90 {

// Named barriers. Turns have one for each warpgroup, of three at most.
constexpr int kFirstTurnBarrier = 1;
constexpr int kFirstWeightsBarrier = 1;    // latents: of a warpgroup's weights
constexpr int kFirstWarpgroupBarrier = 4;  // forward: of the threads of a warpgroup
constexpr int kStorersBarrier = 7;         // latents: of all that compute
constexpr int kConsumersBarrier = 4;       // backward: of all that compute

/** Who may give work to the tensor cores: one warpgroup after the other, once per tile. */
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
  /** The first warpgroup, after the last turn: takes up the arrival that nobody waits for. */
  static PTX_FN void finish() { ptx::bar_sync(barrier(0), 2 * kWarpgroupThreads); }
};

}  // namespace fa::cuda::sm90
