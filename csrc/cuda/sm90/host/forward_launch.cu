#include "core/quantize.h"
#include "cuda/base/launch.h"
#include "cuda/base/params.h"
#include "cuda/sm90/host/forward_launch.h"
#include "cuda/sm90/host/tensor_map.h"
#include "cuda/sm90/panels.h"

namespace fa::cuda::sm90 {

namespace {

/** Boxes of q or out: one panel of a warpgroup's rows, the heads of a pack side by side. */
void set_query_map(ptx::tensor_map& map, const View& view, int pack) {
  const int64_t heads = view.strides[2];
  encode_tensor_map(map, view.dtype, view.data,
                    {{view.shape[3], 1, kPanelRowBytes / static_cast<int>(dtype_size(view.dtype))},
                     {pack, heads, pack},
                     {view.shape[1], view.strides[1], kWarpgroupRows / pack},
                     {view.shape[2] / pack, heads * pack, 1},
                     {view.shape[0], view.strides[0], 1}});
}

/** Boxes of k or v: one panel of `keys` keys. */
void set_key_map(ptx::tensor_map& map, const View& view, int keys) {
  encode_tensor_map(map, view.dtype, view.data,
                    {{view.shape[3], 1, kPanelRowBytes / static_cast<int>(dtype_size(view.dtype))},
                     {view.shape[1], view.strides[1], keys},
                     {view.shape[2], view.strides[2], 1},
                     {view.shape[0], view.strides[0], 1}});
}

/** [batch, heads, blocks of tokens], or [batch, heads] for all tokens. */
BlockScales block_scales(const View& scales) {
  return {static_cast<const float*>(scales.data), scales.strides[0], scales.strides[1],
          scales.rank == 3 ? scales.strides[2] : 0, FastDivide(kScaleTokens)};
}

ForwardVariant variant_of(const AttentionProblem& p, const ForwardLaunch& launch) {
  if (p.float8()) return ForwardVariant::kFp8;
  return launch.featured ? ForwardVariant::kFeatured : ForwardVariant::kPlain;
}

}  // namespace

ForwardParams forward_params(const AttentionProblem& p, const ForwardLaunch& launch) {
  ForwardParams params{};
  params.attention = attention_params(p);
  params.pack = FastDivide(launch.pack);
  params.head_blocks = FastDivide(launch.head_blocks);
  params.m_blocks = FastDivide(launch.m_blocks);
  params.section = FastDivide(launch.section);
  params.tiles = static_cast<int>(launch.tiles);
  set_query_map(params.q, p.q, launch.pack);
  params.box_keys = launch.box_keys;
  params.boxes = launch.keys / launch.box_keys;
  set_key_map(params.k, p.k, launch.box_keys);
  set_key_map(params.v, p.v, launch.box_keys);
  set_query_map(params.out, p.out, launch.pack);
  return params;
}

void launch_forward(const AttentionProblem& p, const ForwardLaunch& with, const SplitParams& splits,
                    const Queue& queue) {
  if (with.tiles == 0) return;
  ForwardParams params = forward_params(p, with);
  params.splits = splits;
  params.drawn = queue.drawn;
  if (p.float8()) {
    params.q_scales = block_scales(p.q_scale);
    params.k_scales = block_scales(p.k_scale);
    params.v_scales = block_scales(p.v_scale);
  }
  launch(find_forward(p.q.dtype, variant_of(p, with), with.width, with.width_v), with.blocks,
         with.threads, static_cast<size_t>(with.shared_bytes), queue, params);
}

}  // namespace fa::cuda::sm90
