// What a kernel did, counted exactly.
#pragma once

#include <cstdint>

namespace simt {

struct Counters {
  // Bytes that threads asked for; caches are not modelled.
  uint64_t global_read_bytes, global_written_bytes, global_atomic_bytes;
  uint64_t shared_read_bytes, shared_written_bytes;

  // Instructions of a whole warp.
  uint64_t mma, ldmatrix, stmatrix, shuffles, votes, warp_syncs;
  // Instructions of a single thread.
  uint64_t cp_async, exp2, global_loads, global_stores, global_atomics;
  uint64_t shared_loads, shared_stores, shared_atomics;
  // Of a warpgroup, and copies by the engine of sm_90 (bulk and tensor).
  uint64_t wgmma, wgmma_flops, bulk_copies;
  // Completions of a block's barrier.
  uint64_t barriers;
  // Blocks that have let the grid behind theirs begin before they ended.
  uint64_t early_blocks;

  // Passes over shared memory beyond the fewest that the access width allows.
  uint64_t ldmatrix_conflicts, stmatrix_conflicts, shared_load_conflicts, shared_store_conflicts,
      cp_async_conflicts;

  uint64_t context_switches;
};

extern Counters running_counters;

/** Of the kernel that runs now. */
inline Counters& counters() { return running_counters; }

}  // namespace simt
