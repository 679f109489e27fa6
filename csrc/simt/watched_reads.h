// Reads of some allocations counted apart, for tests that tell what is read of what.
#pragma once

#include <cstdint>

namespace simt {

/** From now on. Between grids. */
void watch_global_reads(const void* memory);

/** Bytes that grids have read of what is watched; then nothing is watched any more. */
uint64_t take_watched_reads();

}  // namespace simt
