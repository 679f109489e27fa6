#include "simt/proxy.h"

#include <algorithm>

#include "simt/execution.h"
#include "simt/scheduler.h"

namespace simt {

void note_write(Thread& thread) {
  thread.last_write = thread.warp->time();
  if (!thread.unfenced_write) thread.unfenced_write = thread.last_write;
}

void proxy_fence() {
  maybe_yield();
  Thread& self = *current;
  Warp& warp = *self.warp;
  VectorClock& clock = warp.clock;
  self.unfenced_write = 0;
  uint32_t covered = warp.time();
  for (Thread* lane : warp.threads) {
    if (!lane || !lane->unfenced_write) continue;
    // Of other lanes' writes it covers those before the last synchronisation with them.
    if (lane->last_write < self.seen)
      lane->unfenced_write = 0;
    else
      lane->unfenced_write = std::max(lane->unfenced_write, self.seen);
    if (lane->unfenced_write) covered = std::min(covered, lane->unfenced_write - 1);
  }
  for (int agent = 0; agent < kAgents; ++agent) {
    const uint32_t known = agent == warp.index ? covered : clock.time[agent];
    clock.async_time[agent] = std::max(clock.async_time[agent], known);
  }
  ++warp.time();  // what is written from now on is not covered
}

}  // namespace simt
