#include "core/divide.h"
#include "cuda/base/launch.h"
#include "cuda/base/section.h"
#include "cuda/elementwise/fill.h"
#include "cuda/sm90/backward_kernels.h"
#include "cuda/sm90/host/backward_launch.h"
#include "cuda/sm90/host/tensor_map.h"

namespace fa::cuda::sm90 {

namespace {

/** Boxes of `rows` rows of one head, a panel of 64 columns wide. */
void set_panel_map(ptx::tensor_map& map, const View& view, int rows) {
  encode_tensor_map(map, view.dtype, view.data,
                    {{view.shape[3], 1, 64},
                     {view.shape[1], view.strides[1], rows},
                     {view.shape[2], view.strides[2], 1},
                     {view.shape[0], view.strides[0], 1}});
}

}  // namespace

void launch_backward(const AttentionProblem& problem, const AttentionGradients& gradients,
                     const BackwardLayout& layout, bool featured, const BackwardParams& call,
                     Scratch& scratch, const Queue& queue) {
  const BackwardTile& tile = layout.tile;
  const DType dtype = problem.q.dtype;
  BackwardKernelParams p{};
  p.call = call;
  p.query_tiles = static_cast<int>(layout.query_tiles);
  set_panel_map(p.q, problem.q, tile.queries);
  set_panel_map(p.dout, gradients.dout, tile.queries);
  set_panel_map(p.k, problem.k, tile.keys);
  set_panel_map(p.v, problem.v, tile.keys);
  const auto zeros = [&](DType dtype, int64_t size) {
    View view = contiguous_view(nullptr, dtype, {size});
    view.data = scratch.take(static_cast<size_t>(size) * dtype_size(dtype));
    fill_zero(view, queue);
    return view.data;
  };
  p.call.dq_sum = static_cast<float*>(zeros(DType::kFloat32, layout.sum_size(problem)));
  if (problem.deterministic) {
    const int64_t turns = tile.sum_parts() * layout.sum_tiles(problem);
    p.turns = static_cast<int*>(zeros(DType::kInt32, turns + 1));
    p.ticket = p.turns + turns;
  }

  p.call.section = FastDivide(backward_section(problem, true, queue.properties));
  const auto run = [&](auto kernel, int64_t rows, int tile_rows, int64_t heads, int threads,
                       int shared_bytes) {
    const int64_t tiles = ceil_div(rows, tile_rows);
    p.call.tiles = FastDivide(tiles);
    p.call.columns = FastDivide(heads);
    launch(kernel, tiles * heads * problem.batch(), threads, static_cast<size_t>(shared_bytes),
           queue, p);
  };
  run(find_backward(dtype, featured, tile.width), problem.max_seqlen_k, tile.keys,
      problem.kv_heads(), tile.threads(), backward_shared_bytes(tile));
  run(find_query_sum(dtype, tile.width), problem.max_seqlen_q, tile.queries, problem.heads(),
      128 * tile.sum_parts(), 0);
}

}  // namespace fa::cuda::sm90
