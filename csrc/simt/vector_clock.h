// Vector clocks (Fidge, Mattern 1988): what an agent knows of the others. An agent is a warp, whose
// lanes share a clock; asynchronous engines (sm_90) will be further agents.
#pragma once

#include <algorithm>
#include <cstdint>

namespace simt {

constexpr int kMaxWarps = 32;  // of a block
constexpr int kAgents = kMaxWarps;

struct VectorClock {
  uint32_t time[kAgents] = {};

  void join(const VectorClock& other) {
    for (int i = 0; i < kAgents; ++i) time[i] = std::max(time[i], other.time[i]);
  }
  void set_all(uint32_t value) { std::fill(time, time + kAgents, value); }
};

}  // namespace simt
