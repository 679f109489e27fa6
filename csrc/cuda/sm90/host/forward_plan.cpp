#include "cuda/sm90/host/forward_plan.h"

#include <algorithm>
#include <numeric>

#include "cuda/base/section.h"
#include "cuda/sm90/forward_tiles.h"
#include "cuda/sm90/host/tma_addressable.h"

namespace fa::cuda::sm90 {

namespace {

/**
 * What stays with the kernels of sm_80: also in docs/design/forward-hopper.md. (So do sequences of
 * few rows, which want tiles of few rows: see kFewRows.)
 */
constexpr bool (*kStaysOnSm80[])(const AttentionProblem& p) = {
    // wgmma has no product that is good to float32.
    [](const AttentionProblem& p) { return p.q.dtype == DType::kFloat32; },
    // TMA copies boxes of one page, and swizzles eight rows at a time.
    [](const AttentionProblem& p) { return p.paged() && !tma_copies_pages(p.k.shape[1]); },
    // Pages of another dtype are converted by threads.
    [](const AttentionProblem& p) { return p.k.dtype != p.q.dtype; },
    [](const AttentionProblem& p) {
      return !tma_addressable(p.q) || !tma_addressable(p.k) || !tma_addressable(p.v) ||
             !tma_addressable(p.out);
    },
};

}  // namespace

bool takes_forward(const AttentionProblem& p) {
  return std::none_of(std::begin(kStaysOnSm80), std::end(kStaysOnSm80),
                      [&](const auto applies) { return applies(p); });
}

ForwardLaunch plan_forward(const AttentionProblem& p, const cudaDeviceProp& properties,
                           QueryCounts queries) {
  ForwardLaunch launch{};
  launch.family = ForwardKernelFamily::kSm90;
  launch.featured = needs_featured_forward(p);
  const ForwardTile tile =
      forward_tile(p.float8()        ? ForwardVariant::kFp8
                   : launch.featured ? ForwardVariant::kFeatured
                                     : ForwardVariant::kPlain,
                   static_cast<int>(p.head_dim()), static_cast<int>(p.head_dim_v()));
  launch.width = tile.width;
  launch.width_v = tile.width_v;
  launch.rows = tile.rows();
  launch.keys = launch.keys_at_once = tile.keys;
  launch.box_keys =
      p.paged() ? static_cast<int>(std::gcd<int64_t>(p.k.shape[1], tile.keys)) : tile.keys;
  launch.rows_together = launch.rows / tile.consumers;
  launch.stages = tile.stages;
  launch.threads = tile.threads();
  launch.shared_bytes = forward_shared_bytes(tile, static_cast<int>(dtype_size(p.q.dtype)));
  launch.pack =
      packs_heads(p) && launch.rows_together % p.group() == 0 ? static_cast<int>(p.group()) : 1;
  launch.count_tiles(p, queries);
  launch.blocks_per_sm = 1;

  // Rows of all lengths: the longest of several heads first, as many as share L2. Else one head
  // after the other.
  const int64_t heads = launch.head_blocks * p.batch();
  const double head_bytes = static_cast<double>(p.max_seqlen_k * (p.head_dim() + p.head_dim_v())) *
                            static_cast<double>(dtype_size(p.k.dtype));
  const bool uneven = p.window_right < p.max_seqlen_k;
  launch.section = uneven ? section_of(heads, head_bytes, properties) : 1;
  return launch;
}

}  // namespace fa::cuda::sm90
