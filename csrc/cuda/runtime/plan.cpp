// What a call would do and cost, counted block by block as the kernels go.
#include "cuda/runtime/plan.h"

#include <algorithm>

#include "core/tile_range.h"
#include "cuda/runtime/backward_plan.h"
#include "cuda/runtime/forward_plan.h"
#include "cuda/runtime/head_block.h"

namespace fa::cuda {

namespace {

constexpr double kTf32Products = 3;  // device/fragment.h

struct Counts {
  int64_t full = 0, partial = 0, skipped = 0;
  double query_rows = 0, key_rows = 0;  // rows read
  double products = 0;                  // rows x keys of the tiles that warps compute
};

/**
 * Rows that a sequence's tiles may read: those of the sequence, or of the whole tensor from its
 * first one on (TMA).
 */
struct RowsThere {
  int64_t queries, keys;
};

RowsThere rows_there(const AttentionProblem& p, const ForwardLaunch& launch, const Sequence& s) {
  if (launch.family == ForwardKernelFamily::kSm80) return {s.seqlen_q, s.seqlen_k};
  return {p.q.shape[1] - s.q_begin, p.k.shape[1] - s.k_begin};
}

/** The blocks of one (batch, block of heads): see sm80/forward.h and sm90/forward.h. */
Counts count(const ForwardLaunch& plan, int num_splits, const HeadBlock& head, const Sequence& s,
             RowsThere there) {
  Counts c;
  const int64_t rows = s.seqlen_q * plan.pack, keys = plan.keys;
  const int64_t tiles = (s.seqlen_k + keys - 1) / keys;
  for (int64_t row0 = 0; row0 < rows; row0 += plan.rows) {
    const int64_t row_end = std::min(rows, row0 + plan.rows);
    const int64_t i0 = row0 / plan.pack, i1 = (row_end - 1) / plan.pack + 1;
    const int64_t last = head.window.end(i1 - 1);
    const int64_t first = head.window.sink_tokens > 0 ? 0 : head.window.begin(i0);
    const int64_t begin = first < last ? first / keys : 0;
    const int64_t end = first < last ? (last + keys - 1) / keys : 0;
    c.skipped += tiles - (end - begin);
    const TileRange visible{static_cast<int>(begin), static_cast<int>(end)};
    for (int split = 0; split < num_splits; ++split) {
      bool any = false;
      const TileRange range = visible.split(split, num_splits);
      for (int64_t tile = range.begin; tile < range.end; ++tile) {
        const int64_t key0 = tile * keys;
        const TileKind kind = head.classify(i0, i1, key0, key0 + keys);
        c.full += kind == TileKind::kFull;
        c.partial += kind == TileKind::kPartial;
        c.skipped += kind == TileKind::kSkip;
        if (kind == TileKind::kSkip) continue;
        any = true;
        c.key_rows += static_cast<double>(std::min(keys, there.keys - key0));
        for (int64_t row = row0; row < row_end; row += plan.rows_together) {
          const int64_t last_row = std::min(row_end, row + plan.rows_together) - 1;
          if (key0 < head.window.end(last_row / plan.pack))
            c.products += static_cast<double>(plan.rows_together * keys);
        }
      }
      if (any)
        c.query_rows +=
            static_cast<double>(std::min(row0 + plan.rows, there.queries * plan.pack) - row0);
    }
  }
  return c;
}

}  // namespace

AttentionPlan plan_attention(const AttentionProblem& problem, const cudaDeviceProp& properties) {
  AttentionProblem p = problem;
  if (!p.out.present()) {
    // As it will be made: contiguous.
    p.out = contiguous_view(nullptr, p.out_dtype(),
                            {p.q.shape[0], p.q.shape[1], p.q.shape[2], p.head_dim_v()});
  }
  const ForwardPlan forward = plan_forward(p, properties);
  AttentionPlan plan;
  // What is said of one sequence is said of the longest.
  const ForwardLaunch& longest = forward.launches[0];
  const bool sm90 = longest.family == ForwardKernelFamily::kSm90;
  plan.isa = sm90 ? "sm_90a" : "sm_80";
  plan.kernel = std::string(sm90 ? "sm90" : "sm80") + ".forward";
  if (longest.featured) plan.kernel += ".featured";
  if (p.float8()) plan.kernel += ".float8";
  if (!p.paged() && !p.float8()) {
    AttentionGradients gradients;
    gradients.dout = p.out;
    const BackwardPlan backward = plan_backward(p, gradients, properties);
    plan.backward_kernel = backward.kernel();
    plan.backward_scratch_bytes = backward.scratch_bytes(p);
  }
  plan.threads = longest.threads;
  plan.tile_q = longest.rows;
  plan.tile_k = longest.keys;
  plan.stages = longest.stages;
  plan.packed_heads = longest.pack;
  plan.num_splits = forward.num_splits;
  plan.work_items = forward.tiles();
  plan.shared_bytes = longest.shared_bytes;

  Counts total;
  double rows = 0, keys = 0, scores = 0, executed = 0, total_pairs = 0;
  for (int64_t b = 0; b < p.batch(); ++b) {
    const Sequence s = sequence(p, b);
    rows += static_cast<double>(s.seqlen_q * p.heads());
    keys += static_cast<double>(s.seqlen_k * p.kv_heads());
    scores += static_cast<double>(s.seqlen_q) * static_cast<double>(s.seqlen_k) *
              static_cast<double>(p.heads());
    // Head blocks that a block mask does not tell apart are counted once.
    const bool alike = !p.block_mask.present() || p.block_mask.table.shape[1] == 1;
    const ForwardLaunch& launch = forward.launch_of(s.seqlen_q);
    const int64_t repeats = alike ? launch.head_blocks : 1;
    for (int64_t block = 0; block < launch.head_blocks; block += repeats) {
      const Counts c = count(launch, forward.num_splits, head_block(p, s, b, block * launch.pack),
                             s, rows_there(p, launch, s));
      plan.tiles_full += repeats * c.full;
      plan.tiles_partial += repeats * c.partial;
      plan.tiles_skipped += repeats * c.skipped;
      const double times = static_cast<double>(repeats);
      total_pairs += times * launch.pack * visible_pairs(p, s, b, block * launch.pack);
      total.query_rows += times * c.query_rows;
      total.key_rows += times * c.key_rows;
      executed += 2 * times * static_cast<double>(launch.width + launch.width_v) * c.products;
    }
  }
  const double element = static_cast<double>(dtype_size(p.q.dtype)),
               out_element = static_cast<double>(dtype_size(p.out_dtype()));
  const double dim = static_cast<double>(p.head_dim()), dim_v = static_cast<double>(p.head_dim_v());
  const double splits = forward.num_splits;
  const bool lse = p.lse.present();
  plan.flops = 2 * (dim + dim_v) * total_pairs;
  plan.executed_flops = executed * (p.q.dtype == DType::kFloat32 ? kTf32Products : 1);
  plan.bytes = total.query_rows * dim * element + total.key_rows * (dim + dim_v) * element +
               rows * (dim_v * out_element + (lse ? 4 : 0));
  // Partial results are written and read once, with sum and maximum, the latter twice (combine.cu).
  if (forward.num_splits > 1) plan.bytes += splits * rows * (2 * dim_v + 5) * 4;
  plan.standard_bytes =
      rows * (dim + dim_v) * element + keys * (dim + dim_v) * element + 4 * scores * element;
  plan.standard_memory = 2 * scores * element;
  plan.scratch_bytes = forward.scratch_bytes(p);
  return plan;
}

}  // namespace fa::cuda
