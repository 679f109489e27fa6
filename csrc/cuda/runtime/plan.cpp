// What a call would do and cost.
#include "cuda/runtime/plan.h"

#include "core/cost.h"
#include "core/divide.h"
#include "core/tile_count.h"
#include "cuda/runtime/backward_plan.h"
#include "cuda/runtime/decode_plan.h"
#include "cuda/runtime/forward_plan.h"
#include "cuda/runtime/head_block.h"

namespace fa::cuda {

namespace {

constexpr double kTf32Products = 3;  // device/fragment.h

/**
 * Rows that a sequence's tiles may read: those of the sequence or, by TMA, of the whole tensor from
 * its first one on, of pages whole boxes.
 */
struct RowsThere {
  int64_t queries, keys;
};

RowsThere rows_there(const AttentionProblem& p, const ForwardLaunch& launch, const Sequence& s) {
  if (launch.family != ForwardKernelFamily::kSm90) return {s.seqlen_q, s.seqlen_k};
  const int64_t keys = p.paged() ? ceil_div(s.seqlen_k, launch.box_keys) * launch.box_keys
                                 : p.k.shape[1] - s.k_begin;
  return {p.q.shape[1] - s.q_begin, keys};
}

/** The tiles of one (batch, block of heads): see sm80/forward.h and sm90/forward.h. */
TileCounts tiles_of(const ForwardLaunch& launch, int num_splits, const HeadBlock& head,
                    const Sequence& s, RowsThere there) {
  const Tiling tiling{.packed_heads = launch.pack,
                      .block_rows = launch.rows,
                      .tile_rows = launch.rows,
                      .rows_together = launch.rows_together,
                      .tile_keys = launch.keys,
                      .num_splits = num_splits};
  const auto classify = [&](int64_t i0, int64_t i1, int64_t j0, int64_t j1) {
    // Rows whose windows are empty visit no tile, not even one that their bounds cross.
    const TileRange visible = visible_tiles(head.window, i0, i1, launch.keys);
    return visible.begin < visible.end ? head.classify(i0, i1, j0, j1) : TileKind::kSkip;
  };
  return count_tiles(tiling, {.window = head.window,
                              .seqlen_q = s.seqlen_q,
                              .queries_there = there.queries,
                              .keys_there = there.keys,
                              .mask_block_k = head.table.block_k,
                              .classify = classify});
}

std::string kernel_name(const AttentionProblem& p, const ForwardLaunch& launch) {
  std::string name;
  switch (launch.family) {
    case ForwardKernelFamily::kSm80: name = "sm80.forward"; break;
    case ForwardKernelFamily::kSm80Decode: name = "sm80.decode"; break;
    case ForwardKernelFamily::kSm80Mla: name = "sm80.mla"; break;
    case ForwardKernelFamily::kSm90: name = "sm90.forward"; break;
    case ForwardKernelFamily::kSm90Mla: name = "sm90.mla"; break;
  }
  if (launch.family == ForwardKernelFamily::kSm80Decode && p.quantized_pages()) name += ".8bit";
  if (launch.featured) name += ".featured";
  if (p.float8()) name += ".float8";
  return name;
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
  const bool mla = longest.is_mla();
  plan.isa = longest.family == ForwardKernelFamily::kSm90 ||
                     longest.family == ForwardKernelFamily::kSm90Mla
                 ? "sm_90a"
                 : "sm_80";
  plan.kernel = kernel_name(p, longest);
  if (!p.paged() && !p.float8() && !mla) {
    AttentionGradients gradients;
    gradients.dout = p.out;
    const BackwardPlan backward = plan_backward(p, gradients, properties);
    plan.backward_kernel = backward.kernel();
    plan.backward_scratch_bytes = backward.scratch_bytes(p);
  }
  plan.threads = longest.threads;
  plan.tile_q = longest.rows;
  plan.block_rows = longest.rows;
  plan.tile_k = longest.keys;
  plan.stages = longest.stages;
  plan.packed_heads = longest.pack;
  plan.num_splits = forward.num_splits;
  plan.work_items = forward.tiles();
  plan.launches = forward.filled_launches();
  plan.shared_bytes = longest.shared_bytes;

  Traffic traffic{.values_in_keys = mla && p.values_in_keys()};
  double executed = 0;
  const CallSize size = visit_heads(
      p, [&](const Sequence& s) { return forward.launch_of(s.seqlen_q).pack; },
      [&](int64_t batch, const Sequence& s, int64_t head, int64_t repeats) {
        const ForwardLaunch& launch = forward.launch_of(s.seqlen_q);
        const int splits =
            forward.work ? forward.work->splits[static_cast<size_t>(batch)] : forward.num_splits;
        const TileCounts tiles =
            tiles_of(launch, splits, head_block(p, s, batch, head), s, rows_there(p, launch, s));
        plan.tiles_full += repeats * tiles.full;
        plan.tiles_partial += repeats * tiles.partial;
        plan.tiles_skipped += repeats * tiles.skipped;
        const double times = static_cast<double>(repeats);
        traffic.query_rows += times * tiles.query_rows;
        traffic.key_rows += times * tiles.key_rows;
        executed += 2 * times * static_cast<double>(launch.width + launch.width_v) * tiles.products;
      });
  // Partial results are written by pairs of columns and read whole, with sum and maximum, the
  // latter twice (combine.cu).
  const int64_t rows = forward.partial_rows(p);
  const int64_t written = forward.work ? forward.work->written_rows : rows;
  traffic.partial_bytes = static_cast<double>(rows * (2 + 3 + ForwardPlan::partial_width(p)) +
                                              written * ceil_div(p.head_dim_v(), 2) * 2) *
                          sizeof(float);
  set_cost(plan, p, size, traffic);
  plan.executed_flops = executed * (p.q.dtype == DType::kFloat32 ? kTf32Products : 1);
  plan.scratch_bytes = forward.scratch_bytes(p);
  return plan;
}

size_t decode_list_bytes(const AttentionProblem& problem, const cudaDeviceProp& properties) {
  return plan_decode(problem, properties).work->bytes();
}

}  // namespace fa::cuda
