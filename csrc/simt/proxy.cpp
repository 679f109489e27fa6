#include "simt/proxy.h"

#include <algorithm>

#include "simt/execution.h"
#include "simt/scheduler.h"

namespace simt {

namespace {

bool fenced_by(const Thread& thread, uint32_t time, uint32_t known) {
  const auto fence = std::lower_bound(thread.fences.begin(), thread.fences.end(), time);
  return fence != thread.fences.end() && *fence < known;
}

}  // namespace

void proxy_fence() {
  maybe_yield();
  Warp& warp = *current->warp;
  VectorClock& clock = warp.clock;
  for (int agent = 0; agent < kAgents; ++agent) {
    // Of its own warp a lane knows what came before they last synchronised.
    const uint32_t known = agent == warp.index ? current->seen - 1 : clock.time[agent];
    clock.async_time[agent] = std::max(clock.async_time[agent], known);
  }
  current->fences.push_back(warp.time());
  ++warp.time();  // what is written from now on is not covered
}

bool fenced_by_writer(const Block& block, int warp, int lane, uint32_t time,
                      const VectorClock& clock) {
  const Warp& writer = block.warps[static_cast<size_t>(warp)];
  const uint32_t known = clock.time[warp];
  if (lane >= 0) return fenced_by(*writer.threads[lane], time, known);
  return std::all_of(writer.threads, writer.threads + kLanes,
                     [&](const Thread* each) { return fenced_by(*each, time, known); });
}

}  // namespace simt
