// How kernels of a call follow each other: docs/design/ragged.md, "Launches that overlap".
#pragma once

#include "cuda/ptx/ptx.h"

namespace fa::cuda {

/**
 * For a kernel that shares no row with the one in front of it, so that its blocks need not wait.
 * The last one does, for the grid to end behind that: who waits for this grid waits for both.
 */
PTX_FN void end_behind_primary() {
  if (blockIdx.x == gridDim.x - 1) ptx::wait_for_primary();
}

}  // namespace fa::cuda
