// The state of a running grid: threads in warps in blocks.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "simt/async_copy.h"
#include "simt/bank_conflicts.h"
#include "simt/barrier.h"
#include "simt/config.h"
#include "simt/counters.h"
#include "simt/fiber.h"
#include "simt/in_flight.h"
#include "simt/location.h"
#include "simt/mbarrier.h"
#include "simt/shared_memory.h"
#include "simt/vector_clock.h"
#include "simt/vector_types.h"
#include "simt/warp.h"
#include "simt/warpgroup.h"
#include "simt/wgmma.h"

namespace simt {

constexpr int kLanes = 32;
constexpr int kWarpSlots = 64;  // of resident warps: one bit each in Execution::ready

struct Block;

struct Thread {
  Context context;
  uint8_t* stack = nullptr;
  Block* block = nullptr;
  Warp* warp = nullptr;
  int index = 0, lane = 0;
  bool exited = false;
  bool polling = false;
  bool waited_for_primary = false;
  uint32_t seen = 0;  // the warp's clock at the last synchronisation this lane took part in
  const char* waits_for = nullptr;  // while it is suspended
  Location at;
  int barrier = 0;           // the one it waits for
  bool barrier_any = false;  // of the last barrier it passed
  AsyncCopies copies;
  int wanted_registers = 0;               // while it waits for them
  MbarrierWait mbarrier;                  // the phase it waits for
  uint32_t bulk_group = 0;                // that writing bulk copies issued now belong to
  std::vector<uint32_t> fences[kSpaces];  // the warp's time at each of its proxy fences
  uint32_t acquired = 0;                  // that of its last acquire
};

struct Warp {
  Block* block = nullptr;
  int index = 0;
  int slot = 0;  // among all resident warps
  uint32_t ready = 0, alive = 0;
  int64_t priority = 0;
  Thread* threads[kLanes] = {};
  Rendezvous rendezvous[kRendezvous];
  void* arguments[kLanes] = {};  // of the collective that the lanes wait for
  VectorClock clock;
  SharedAccesses accesses;
  uint32_t bulk_time = 0;  // of the latest bulk copy that reads shared memory
  int registers = 0;       // of each of its threads
  WarpProducts products;

  uint32_t& time() { return clock.time[index]; }
  uint32_t time() const { return clock.time[index]; }
};

struct Block {
  int slot = 0;
  unsigned number = 0;  // of the grid's
  bool active = false;
  dim3 index;
  int live = 0;  // threads that have not exited
  bool launched_dependents = false;
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  Barrier barriers[kBarriers];
  SharedMemory shared;
  std::vector<Mbarrier> mbarriers;
  InFlight in_flight;
  RegisterPool registers;
  std::vector<Warpgroup> warpgroups;
};

/** The grid that runs now; one at a time in a process. */
struct Execution {
  const char* kernel = "";
  dim3 grid, block;
  size_t dynamic_shared_bytes = 0;
  Config config;
  int warps_per_block = 0;
  std::vector<std::unique_ptr<Block>> blocks;  // resident
  Warp* warps[kWarpSlots] = {};                // of the resident blocks, by slot

  uint64_t random_state = 1;
  uint64_t ready = 0;     // warps with a thread that can run
  uint64_t progress = 0;  // counts events that can end another thread's polling
  int64_t lowest_priority = 0;
  int until_yield = 0;
  bool can_start_block = false;

  bool failed = false;
  std::string error;
  Context main;
};

extern Execution execution;
/** The thread that runs now; null between threads. */
extern Thread* current;

inline uint64_t random_bits() {  // xorshift64*, Vigna 2016
  uint64_t& x = execution.random_state;
  x ^= x >> 12;
  x ^= x << 25;
  x ^= x >> 27;
  return x * 0x2545f4914f6cdd1dull >> 7;
}

}  // namespace simt
