// The generic proxy, through which threads access shared memory, and the async proxy, through which
// the engines do. What threads have written is visible to the engines only behind a proxy fence.
#pragma once

#include <cstdint>

namespace simt {

struct Block;
struct VectorClock;

/**
 * fence.proxy.async: what the running thread has written and knows of becomes visible to the
 * engines,
 *  for it and for whoever synchronises with it afterwards. */
void proxy_fence();

/**
 * Whether an engine that acts for somebody with this clock sees what `lane` of `warp` (all of its
 * lanes
 *  where that is -1) wrote at `time`. */
bool fenced_by_writer(const Block& block, int warp, int lane, uint32_t time,
                      const VectorClock& clock);

}  // namespace simt
