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

}  // namespace fa::cuda
