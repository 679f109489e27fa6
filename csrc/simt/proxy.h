// The generic proxy, through which threads access memory, and the async proxy, through which the
// engines do. What threads have written, or have learned from others, the engines know only behind
// a proxy fence. Shared memory is the race checker's (race_checker.h); global memory is looked
// after here.
#pragma once

#include <cstdint>

#include "simt/location.h"
#include "simt/vector_clock.h"

namespace simt {

struct Block;

/**
 * fence.proxy.async: what the running thread has written and knows of becomes visible to the
 * engines,
 *  for it and for whoever synchronises with it afterwards. */
void proxy_fence(Space space);

/**
 * Whether an engine that acts for somebody with this clock sees what `lane` of `warp` (all of its
 * lanes
 *  where that is -1) did at `time`. */
bool fenced_by_writer(const Block& block, Space space, int warp, int lane, uint32_t time,
                      const VectorClock& clock);

/** A new grid: what earlier ones have written is visible to everybody. */
void begin_proxies();
/** The running thread has written global memory. */
void note_global_write(const void* pointer, uint32_t bytes, const Location& at);
/** The running thread has read what other blocks have released. */
void note_acquire();
/**
 * An engine accesses global memory in the name of the running thread. Reported are bytes that a
 * thread of the block has written, in this grid, without a fence in between; and bytes of other
 * blocks where there is none after an acquire, which may be what told of them.
 */
void check_async_access(const void* pointer, uint32_t bytes, bool writes, const Location& at);

}  // namespace simt
