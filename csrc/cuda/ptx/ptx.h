// The instructions that kernels use, one small function each. Shared memory is addressed by 32-bit
// addresses of the shared window, never by pointers; global memory is read and written by ldg, stg,
// cp_async and the atomics, so that the executor sees every access.
#pragma once

#include "cuda/ptx/atomics.h"
#include "cuda/ptx/bulk.h"
#include "cuda/ptx/cp_async.h"
#include "cuda/ptx/fp8.h"
#include "cuda/ptx/grid.h"
#include "cuda/ptx/ldmatrix.h"
#include "cuda/ptx/math.h"
#include "cuda/ptx/mbarrier.h"
#include "cuda/ptx/memory.h"
#include "cuda/ptx/mma.h"
#include "cuda/ptx/stmatrix.h"
#include "cuda/ptx/sync.h"
#include "cuda/ptx/tma.h"
#include "cuda/ptx/types.h"
#include "cuda/ptx/warpgroup.h"
#include "cuda/ptx/wgmma.h"
