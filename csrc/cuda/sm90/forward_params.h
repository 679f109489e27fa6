// Parameters of the forward kernels of sm_90a, and where to find a kernel.
#pragma once

#include "core/dtype.h"
#include "cuda/device/kernel_image.h"
#include "cuda/device/params.h"
#include "cuda/device/work_item.h"
#include "cuda/ptx/tma.h"
#include "cuda/sm90/forward_tiles.h"

namespace fa::cuda::sm90 {

/**
 * Scales of quantised rows, [batch, head, block of rows], strides in elements: a positive float32
 * each, by which an element is to
 *  be multiplied. Blocks count from the sequence's first row. */
struct BlockScales {
  const float* data;
  int64_t batch, head, block;
  FastDivide rows;  // of a block
};

struct ForwardParams {
  AttentionParams attention;
  FastDivide pack;         // query heads packed as rows: 1, or the whole group; divides 64
  FastDivide head_blocks;  // heads / pack
  SplitParams splits;
  // Where all sequences are alike: tiles of rows of one, and (batch, block of heads)s that are
  // worked on at a time.
  FastDivide m_blocks, section;
  int tiles;            // all of them
  int* drawn;           // counts those that blocks have taken; 0 between launches (draw_tile)
  int boxes, box_keys;  // of a tile of keys: one, or of pages what lies within each

  // Boxes of one panel. Dimensions of q and out: dim, head in the pack, query, block of heads,
  // batch; of k and v: dim, key, kv head, batch, or dim, row of a page, kv head, page.
  ptx::tensor_map q, k, v, out;

  // float8 alone; blocks of keys and values are multiples of the tile's keys.
  BlockScales q_scales, k_scales, v_scales;
};

using ForwardKernel = void (*)(ForwardParams);

/** The kernel of a tile (forward_tiles.h). forward_kernels.def lists them. */
ForwardKernel find_forward(DType dtype, ForwardVariant variant, int width, int width_v);

// What a unit defines (forward.cu).
template <KernelImage kImage, class T, int kWidth, int kWidthV, ForwardVariant kVariant>
ForwardKernel forward_entry();

}  // namespace fa::cuda::sm90
