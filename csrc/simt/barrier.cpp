#include "simt/barrier.h"

#include "simt/execution.h"
#include "simt/report.h"
#include "simt/scheduler.h"

namespace simt {

namespace {

/** Lets everybody go who waits. */
void complete(Block& block, Barrier& barrier) {
  ++counters().barriers;
  ++execution.progress;
  uint32_t lanes[kMaxWarps] = {};
  for (Thread* thread : barrier.waiting) {
    lanes[thread->warp->index] |= 1u << thread->lane;
    thread->barrier_any = barrier.any;
    if (thread != current) wake(*thread);
  }
  for (Warp& warp : block.warps) {
    if (!lanes[warp.index]) continue;
    warp.clock.join(barrier.clock);
    synchronise_lanes(warp, lanes[warp.index]);
    if (lanes[warp.index] == warp.alive) warp.accesses.flush();
  }
  barrier.waiting.clear();
  barrier.arrived = 0;
  barrier.any = false;
  barrier.clock = {};
}

/** Counts the running thread in; true if it is the last. */
bool arrive(Barrier& barrier, int id, int threads, const Location& at) {
  Block& block = *current->block;
  const int size = static_cast<int>(block.threads.size());
  if (threads != kWholeBlock && (threads <= 0 || threads % kLanes != 0 || threads > size))
    fail(at, "barrier %d for %d threads: expected a multiple of 32, at most %d", id, threads, size);
  if (barrier.arrived == 0) barrier.threads = threads;
  if (barrier.threads != threads)
    fail(at, "barrier %d for %d threads, but others arrived for %d", id, threads, barrier.threads);
  Warp& warp = *current->warp;
  barrier.clock.join(warp.clock);
  ++warp.time();
  if (++barrier.arrived > barrier.expected(block.live))
    fail(at, "barrier %d: more than %d arrivals", id, barrier.expected(block.live));
  return barrier.arrived == barrier.expected(block.live);
}

Barrier& barrier_of_block(int id, const Location& at) {
  if (id < 0 || id >= kBarriers) fail(at, "barrier %d: a block has 0 to %d", id, kBarriers - 1);
  return current->block->barriers[id];
}

}  // namespace

void barrier_sync(int id, int threads, const Location& at) {
  maybe_yield();
  Barrier& barrier = barrier_of_block(id, at);
  barrier.waiting.push_back(current);
  if (arrive(barrier, id, threads, at)) {
    complete(*current->block, barrier);
  } else {
    current->barrier = id;
    block_current(kBarrierWait, at);
  }
}

bool barrier_or(bool predicate, const Location& at) {
  current->block->barriers[0].any |= predicate;
  barrier_sync(0, kWholeBlock, at);
  return current->barrier_any;
}

void barrier_arrive(int id, int threads, const Location& at) {
  maybe_yield();
  Barrier& barrier = barrier_of_block(id, at);
  if (arrive(barrier, id, threads, at)) complete(*current->block, barrier);
}

void barrier_after_exit(Block& block) {
  Barrier& barrier = block.barriers[0];
  if (barrier.arrived && barrier.threads == kWholeBlock && barrier.arrived == block.live)
    complete(block, barrier);
}

void check_barriers_at_end(const Block& block) {
  for (int id = 0; id < kBarriers; ++id) {
    if (block.barriers[id].arrived)
      note_failure(format(
          ", block (%u, %u, %u): it ends with %d arrivals at barrier %d that nobody waits for",
          block.index.x, block.index.y, block.index.z, block.barriers[id].arrived, id));
  }
}

}  // namespace simt
