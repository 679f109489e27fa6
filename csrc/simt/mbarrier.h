// mbarriers. Their 8 bytes are opaque: plain accesses to them are reported.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "simt/location.h"
#include "simt/vector_clock.h"

namespace simt {

struct Block;
struct Thread;

/** What a thread is said to wait for while it waits for a phase. */
inline constexpr char kMbarrierWait[] = "mbarrier";

struct Mbarrier {
  uint32_t offset = 0;
  int count = 0;  // arrivals of a phase; 0 for one that has been invalidated
  int pending = 0;
  int64_t pending_bytes = 0;
  int parity = 0;      // of the phase under way
  uint32_t phase = 0;  // the same, counted, and never reset
  int agent = -1;      // in the clocks, once copies complete on it
  bool fenced = false;
  const Thread* initialiser = nullptr;
  Location at;
  uint32_t landed = 0;  // time of the latest copy
  Location landed_at;
  VectorClock arrived;    // of those who have arrived in the phase under way
  VectorClock completed;  // of those who arrived in earlier ones
  std::vector<Thread*> waiting;

  /** Time at which the copies of the phase under way are known to have landed. */
  uint32_t time(uint32_t start) const { return start + phase + 1; }
};

struct MbarrierWait {
  uint32_t offset = 0;
  int parity = 0;
};

void mbarrier_init(uint32_t address, int count, const Location& at);
void mbarrier_invalidate(uint32_t address, const Location& at);
/** fence.mbarrier_init: without it the asynchronous engines do not know of the barriers. */
void mbarrier_init_fence();
/** One arrival, which announces `bytes` of copies first. */
void mbarrier_arrive(uint32_t address, uint32_t bytes, const Location& at);
/** Gives up only when no other thread can run. */
bool mbarrier_try_wait(uint32_t address, int parity, const Location& at);
void mbarrier_wait(uint32_t address, int parity, const Location& at);

/**
 * The mbarrier at `address`, as its index in the block, of which the running thread and the engines
 *  must know. */
int mbarrier_for_copy(uint32_t address, const char* what, const Location& at);
/** For the engines: `bytes` have landed, and an arrival comes with them or not. */
void mbarrier_complete(Block& block, int index, uint32_t bytes, bool arrival);

/** "mbarrier at shared offset 64, parity 0: …" */
std::string describe_mbarrier_wait(const Thread& thread);

}  // namespace simt
