// Attention over latents on Hopper (MLA in absorbed form; DeepSeek-V2 2024, section 2.1): one kv
// head of up to 576 dims whose values are its keys' first 512. Of 64 rows of output, 64 x 512
// float32, an SM's registers hold one copy: two warpgroups have a half each. They take turns at the
// scores of tiles of 64 keys, so that the softmax of one runs beside the products of the other, and
// tell each other weights and maxima through shared memory (FlashMLA's "seesaw": Li and Liu 2025).
// A third warpgroup copies. Options are those of sm80/mla.h.
#pragma once

#include "cuda/sm80/mla_poison.h"
#include "cuda/sm90/mla_consumer.h"
#include "cuda/sm90/mla_loader.h"
#include "cuda/sm90/mla_output.h"
#include "cuda/sm90/mla_params.h"

namespace fa::cuda::sm90 {

/** A computing warpgroup: all of a block that is its own. */
template <class Traits, int kGroup>
PTX_FN void consume_latents(const sm80::ForwardParams& p, const MlaShared<Traits>& shared) {
  using Consumer = LatentConsumer<Traits, kGroup>;
  Consumer consumer(p, shared);
  {
    const sm80::ForwardBlock block(p, static_cast<int>(blockIdx.x), kMlaRows);
    LatentWalk<Traits> walk(p.attention, block);
    consumer.attend(block, walk);
  }
  consumer.tell_sums();
  ptx::bar_sync(kStorersBarrier, Traits::kStorers);  // sums and poison have been told
  // Worked out anew, so that the loop need not keep it in registers.
  const sm80::ForwardBlock done = sm80::block_again(p, kMlaRows);
  const int line0 = Consumer::line0();
  finish_latent_rows<Traits>(p, done, shared, kGroup, line0, consumer.softmax, consumer.o);
  store_latent_rows<Traits>(p, done, kGroup, line0, consumer.o);
  if (!shared.poisoned()) return;
  ptx::bar_sync(kStorersBarrier, Traits::kStorers);  // rows have been stored by all warps
  sm80::restore_wide_poison<typename Traits::T, Traits>(p, this_thread() - kWarpgroupThreads,
                                                        Traits::kStorers);
}

template <class T, int kWidth>
__global__ void __launch_bounds__(kMlaThreads, 1)
    mla(const __grid_constant__ sm80::ForwardParams p) {
  using Traits = MlaTraits<T, kWidth>;
  if (without_work(p.splits, p.head_blocks)) return;
  ptx::launch_dependents();
  const MlaShared<Traits> shared;
  if (threadIdx.x == 0) shared.init_barriers();
  ptx::sync_block();
  const int warpgroup = ptx::shfl_idx(static_cast<int>(threadIdx.x) / kWarpgroupThreads, 0);
  if (warpgroup == 0) {
    ptx::setmaxnreg_dec<Traits::kCopyRegisters>();
    load_latents(p, shared);
  } else {
    ptx::setmaxnreg_inc<Traits::kComputeRegisters>();
    if (warpgroup == 1)
      consume_latents<Traits, 0>(p, shared);
    else
      consume_latents<Traits, 1>(p, shared);
  }
}

template <KernelImage kImage, class T, int kWidth>
MlaKernel mla_entry() {
  return mla<T, kWidth>;
}

}  // namespace fa::cuda::sm90
