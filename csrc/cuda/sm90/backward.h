// Attention backward on wgmma, by recomputation (FlashAttention-2: Dao 2023, Algorithm 2), in the
// form of FlashAttention-3 (Shah et al. 2024): one warpgroup moves data, two or three compute. A
// block keeps some keys; the tiles of queries that see them, of every head that shares them, stream
// past:
//   S^T = K Q^T         dP^T = V dO^T           dV += P^T dO        dK += dS^T Q
//   P = exp(S - lse)    dS = P (dP - delta)
// Head dims up to 128: each computing warpgroup owns 64 keys. P^T and dS^T stay in its registers,
// where an accumulator is the next product's operand. dS^T also goes to shared memory, for
//   dQ = dS K
// over the keys of both; each computes a part of it, which a warp of the first warpgroup adds to
// global memory. Wider ones: each owns dims of dK, dV and dQ, and P goes the way of dS.
//
//   warp 0         loads K and V, then tiles of Q, dO and their row states, as rings have room
//   warps 1 .. 3   add the parts of dQ that a computing warpgroup each leaves in shared memory
//   warps 4 ..     compute
#pragma once

#include "cuda/sm90/backward_by_dims.h"
#include "cuda/sm90/backward_by_keys.h"
#include "cuda/sm90/backward_mover.h"

namespace fa::cuda::sm90 {

template <class T, int kWidth, bool kFeatured>
static __global__ void __launch_bounds__(backward_tile(kWidth).threads(), 1)
    backward_kernel(const __grid_constant__ BackwardKernelParams p) {
  using Traits = BackwardTraits<T, kWidth, kFeatured>;
  using Consumer =
      std::conditional_t<Traits::kByDims, ConsumerByDims<Traits>, ConsumerByKeys<Traits>>;
  const BackwardShared<Traits> shared(ptx::dyn_smem());
  if (threadIdx.x == 0) {
    shared.init();
    if (p.turns != nullptr) ptx::sts<int>(shared.ticket, ptx::atomic_add(p.ticket, 1));
  }
  ptx::sync_block();
  // In order of tickets a block waits only for blocks that run already or are done.
  const int index =
      p.turns != nullptr ? ptx::lds<int>(shared.ticket) : static_cast<int>(blockIdx.x);
  const BackwardBlock<Traits> block(p.call, index);
  if (block.outer0 >= block.outer_count()) return;

  const int warp = ptx::shfl_idx(static_cast<int>(threadIdx.x) / 32, 0);
  if (warp < 4) {
    ptx::setmaxnreg_dec<Traits::kMoverRegisters>();
    if (warp == 0)
      load_tiles<Traits>(p, block, shared);
    else if (warp <= Traits::kConsumers && ptx::elect_one())
      add_sums<Traits>(p, block, shared, warp - 1);
  } else {
    ptx::setmaxnreg_inc<Traits::kConsumerRegisters>();
    Consumer{{p, block, shared, warp / 4 - 1}}.run();
  }
}

template <KernelImage kImage, class T, int kWidth, bool kFeatured>
BackwardKernel backward_entry() {
  return backward_kernel<T, kWidth, kFeatured>;
}

}  // namespace fa::cuda::sm90
