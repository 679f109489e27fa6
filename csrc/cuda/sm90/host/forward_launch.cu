#include "cuda/runtime/forward_sm90.h"
#include "cuda/runtime/params.h"
#include "cuda/runtime/tensor_map.h"
#include "cuda/sm90/panels.h"

namespace fa::cuda {

namespace {

/** Boxes of q or out: one panel of a warpgroup's rows, the heads of a pack side by side. */
ptx::tensor_map query_map(const View& view, int pack) {
  const int64_t heads = view.strides[2];
  return encode_tensor_map(
      view.dtype, view.data,
      {{view.shape[3], 1, sm90::kPanelRowBytes / static_cast<int>(dtype_size(view.dtype))},
       {pack, heads, pack},
       {view.shape[1], view.strides[1], sm90::kWarpgroupRows / pack},
       {view.shape[2] / pack, heads * pack, 1},
       {view.shape[0], view.strides[0], 1}});
}

/** Boxes of k or v: one panel of a tile. */
ptx::tensor_map key_map(const View& view, int keys) {
  return encode_tensor_map(
      view.dtype, view.data,
      {{view.shape[3], 1, sm90::kPanelRowBytes / static_cast<int>(dtype_size(view.dtype))},
       {view.shape[1], view.strides[1], keys},
       {view.shape[2], view.strides[2], 1},
       {view.shape[0], view.strides[0], 1}});
}

}  // namespace

sm90::ForwardParams sm90_forward_params(const AttentionProblem& p, const ForwardLaunch& launch) {
  sm90::ForwardParams params{};
  params.attention = attention_params(p);
  params.pack = FastDivide(launch.pack);
  params.head_blocks = FastDivide(launch.head_blocks);
  params.row_tiles = FastDivide(launch.row_tiles);
  params.section = FastDivide(launch.section);
  params.queries = launch.queries;
  params.tiles = static_cast<int>(launch.tiles);
  params.q = query_map(p.q, launch.pack);
  params.k = key_map(p.k, launch.keys);
  params.v = key_map(p.v, launch.keys);
  params.out = query_map(p.out, launch.pack);
  return params;
}

}  // namespace fa::cuda
