// Which item of a ragged call a block works on.
#pragma once

#include "cuda/device/work_item.h"
#include "cuda/ptx/ptx.h"

namespace fa::cuda {

/** The longest items come first, those of all blocks of heads side by side. */
PTX_FN WorkItem item_of(const SplitParams& p, const FastDivide& head_blocks, int index,
                        int& head_block) {
  head_block = head_blocks.remainder(index);
  return ptx::ldg(p.items + head_blocks.quotient(index));
}

/** Whether the item of the running block stands for no work: of a list that has room for more. */
PTX_FN bool without_work(const SplitParams& p, const FastDivide& head_blocks) {
  if (p.items == nullptr) return false;
  return ptx::ldg(&p.items[head_blocks.quotient(static_cast<int>(blockIdx.x))].batch) < 0;
}

}  // namespace fa::cuda
