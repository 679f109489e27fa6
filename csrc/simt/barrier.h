// The sixteen barriers of a block.
#pragma once

#include <vector>

#include "simt/location.h"
#include "simt/vector_clock.h"

namespace simt {

struct Block;
struct Thread;

constexpr int kBarriers = 16;
/** Instead of a number of threads: all that have not exited. */
constexpr int kWholeBlock = -1;

/** What a thread is said to wait for while it stands at a barrier. */
inline constexpr char kBarrierWait[] = "barrier";

struct Barrier {
  int threads = 0;  // that have to arrive, or kWholeBlock
  int arrived = 0;
  bool any = false;  // whether one who arrived brought a true predicate
  std::vector<Thread*> waiting;
  VectorClock clock;  // of those who have arrived

  int expected(int live) const { return threads == kWholeBlock ? live : threads; }
};

void barrier_sync(int id, int threads, const Location& at);
/** As barrier_sync for the whole block; whether `predicate` held for any thread. */
bool barrier_or(bool predicate, const Location& at);
void barrier_arrive(int id, int threads, const Location& at);

/** Completes the barrier of the whole block if those who are left stand at it. */
void barrier_after_exit(Block& block);

/** Reports arrivals that nobody waited for. */
void check_barriers_at_end(const Block& block);

}  // namespace simt
