// Vector clocks (Fidge, Mattern 1988): what an agent knows of the others. An agent is a warp, whose
// lanes share a clock, or an engine that works beside the threads: the tensor core and the copy
// engine of a warp, and an mbarrier, to which the copies that complete on it belong.
#pragma once

#include <algorithm>
#include <cstdint>

namespace simt {

constexpr int kMaxWarps = 32;      // of a block
constexpr int kMaxMbarriers = 32;  // of a block, that copies complete on

constexpr int wgmma_agent(int warp) { return kMaxWarps + warp; }
constexpr int bulk_agent(int warp) { return 2 * kMaxWarps + warp; }
constexpr int mbarrier_agent(int index) { return 3 * kMaxWarps + index; }
constexpr int kAgents = 3 * kMaxWarps + kMaxMbarriers;

/** Memory that a proxy fence is about. */
enum Space { kShared, kGlobal, kSpaces };

struct VectorClock {
  uint32_t time[kAgents] = {};
  /** Of which the asynchronous engines know, too: what a proxy fence stands behind. */
  uint32_t async_time[kSpaces][kAgents] = {};

  void join(const VectorClock& other) {
    for (int i = 0; i < kAgents; ++i) time[i] = std::max(time[i], other.time[i]);
    for (int space = 0; space < kSpaces; ++space)
      for (int i = 0; i < kAgents; ++i)
        async_time[space][i] = std::max(async_time[space][i], other.async_time[space][i]);
  }
  void set_all(uint32_t value) {
    std::fill(time, time + kAgents, value);
    for (auto& times : async_time) std::fill(times, times + kAgents, value);
  }
};

}  // namespace simt
