// Grids of a stream that overlap (programmatic dependent launch, sm_90 and up). Code for older GPUs
// has nothing in their place: there the host launches one grid after the other (base/launch.h).
#pragma once

#include "cuda/ptx/types.h"

#if !PTX_DEVICE
#include "simt/overlap.h"
#endif

namespace ptx {

#if PTX_DEVICE

/**
 * Lets the grid behind this one begin, once every block has said so or ended. It says nothing of
 * what this grid has written.
 */
PTX_FN void launch_dependents() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}

/**
 * Waits until the grid in front of this one, its primary, has ended and what it wrote is visible.
 * Returns at once where this grid was not launched to begin before that.
 */
PTX_FN void wait_for_primary() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

#else

inline void launch_dependents() { simt::launch_dependents(); }
inline void wait_for_primary() { simt::wait_for_primary(); }

#endif

}  // namespace ptx
