#include "cuda/runtime/forward_plan.h"

#include <algorithm>
#include <limits>
#include <string>

#include "core/error.h"
#include "cuda/runtime/params.h"

namespace fa::cuda {

namespace {

using sm80::ForwardTile;

constexpr int kMaxAutoSplits = 128;
constexpr int64_t kFewTiles = 4;      // too few for a split to be worth its merge
constexpr double kFullDevice = 0.8;   // share of the device's places that is busy enough
constexpr double kGoodEnough = 0.85;  // of the best occupancy that any number of splits reaches
constexpr int64_t kBlocksPerSm = 2;   // what registers allow blocks of 4 warps

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/** What the plain kernels leave out. */
bool needs_features(const AttentionProblem& p) {
  return p.softcap > 0 || p.alibi_slopes.present() || p.mask.present() || p.block_mask.present() ||
         p.sinks.present() || p.dropout.p > 0 || p.sink_tokens > 0 || p.paged() || p.scale <= 0 ||
         !attention_params(p).aligned;
}

/** Keys that the rows of one tile can see. */
int64_t visible_keys(const AttentionProblem& p, const ForwardPlan& plan) {
  if (p.sink_tokens > 0) return p.max_seqlen_k;
  const int64_t span = p.window_left + p.window_right + 1 + plan.tile.rows / plan.pack;
  return std::clamp<int64_t>(span, 1, std::max<int64_t>(1, p.max_seqlen_k));
}

/**
 * The fewest splits that occupy the device nearly as well as any number would: `blocks` s blocks run in waves of `places`,
 * and the last wave may leave most of them empty (FlashAttention-3's rule).
 */
int automatic_splits(int64_t blocks, int64_t tiles, int64_t places) {
  if (blocks == 0 || tiles <= kFewTiles ||
      static_cast<double>(blocks) >= kFullDevice * static_cast<double>(places))
    return 1;
  const int most = static_cast<int>(std::min<int64_t>({kMaxAutoSplits, places, tiles}));
  const auto occupied = [&](int splits) {
    const int64_t all = blocks * splits;
    return static_cast<double>(all) / static_cast<double>(ceil_div(all, places) * places);
  };
  double best = 0;
  for (int s = 1; s <= most; ++s) best = std::max(best, occupied(s));
  int splits = 1;
  while (occupied(splits) < kGoodEnough * best) ++splits;
  return splits;
}

}  // namespace

sm80::ForwardKernel ForwardPlan::kernel(DType dtype) const {
  switch (dtype) {
    case DType::kFloat16: return sm80::forward_f16(featured, tile.width);
    case DType::kBFloat16: return sm80::forward_bf16(featured, tile.width);
    default: return sm80::forward_f32(featured, tile.width);
  }
}

int64_t ForwardPlan::partial_width(const AttentionProblem& p) {
  constexpr int64_t kAlignment = 4;  // so that rows can be stored by pairs
  return ceil_div(p.head_dim_v(), kAlignment) * kAlignment;
}

int64_t ForwardPlan::scratch_bytes(const AttentionProblem& p) const {
  if (num_splits == 1) return 0;
  const int64_t rows = p.q.shape[0] * p.q.shape[1] * p.heads();
  return num_splits * rows * (partial_width(p) + 1) * static_cast<int64_t>(sizeof(float));
}

ForwardPlan plan_forward(const AttentionProblem& p, const cudaDeviceProp& properties) {
  ForwardPlan plan{};
  const bool float32 = p.q.dtype == DType::kFloat32;
  const int element = static_cast<int>(dtype_size(p.q.dtype));
  const int head_dim = static_cast<int>(std::max(p.head_dim(), p.head_dim_v()));
  // A block mask that tells heads apart lets tiles be skipped for one of them alone.
  const bool heads_differ = p.block_mask.present() && p.block_mask.table.shape[1] != 1;
  plan.pack = heads_differ ? 1 : static_cast<int>(p.group());
  const int64_t rows = p.max_seqlen_q * plan.pack;

  const auto fits = [&](const ForwardTile& tile) {
    return tile.width > 0 && static_cast<size_t>(sm80::forward_shared_bytes(tile, element)) <=
                                 properties.sharedMemPerBlockOptin;
  };
  const ForwardTile few_rows = sm80::forward_tile(float32, true, head_dim);
  const ForwardTile many_rows = sm80::forward_tile(float32, false, head_dim);
  plan.featured = float32 || needs_features(p) || rows <= few_rows.rows || !fits(many_rows);
  plan.tile = plan.featured ? few_rows : many_rows;
  if (!fits(plan.tile)) {
    throw Error(ErrorCode::kShape, p.head_dim() >= p.head_dim_v() ? "q" : "v",
                "Expected head dims of at most 256 on CUDA devices but received " +
                    std::to_string(head_dim));
  }
  plan.shared_bytes = sm80::forward_shared_bytes(plan.tile, element);
  plan.row_tiles = ceil_div(rows, plan.tile.rows);
  plan.head_blocks = p.heads() / plan.pack;

  const int64_t blocks = plan.row_tiles * plan.head_blocks * p.batch();
  const int64_t tiles = ceil_div(visible_keys(p, plan), plan.tile.keys);
  const int64_t resident = std::clamp<int64_t>(
      static_cast<int64_t>(properties.sharedMemPerMultiprocessor) / plan.shared_bytes, 1,
      kBlocksPerSm);
  plan.num_splits =
      p.num_splits > 0
          ? static_cast<int>(std::min<int64_t>(p.num_splits, std::max<int64_t>(1, tiles)))
          : automatic_splits(blocks, tiles, resident * properties.multiProcessorCount);
  plan.blocks = blocks * plan.num_splits;
  if (plan.blocks > std::numeric_limits<int32_t>::max()) {
    throw Error(ErrorCode::kShape, "q",
                "Expected at most 2^31 - 1 blocks of " + std::to_string(plan.tile.rows) +
                    " rows but received " + std::to_string(plan.blocks));
  }
  return plan;
}

}  // namespace fa::cuda
