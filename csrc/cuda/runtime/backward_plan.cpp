#include "cuda/runtime/backward_plan.h"

#include <algorithm>
#include <string>
#include <vector>

#include "core/cost.h"
#include "core/divide.h"
#include "cuda/base/params.h"
#include "cuda/runtime/device.h"
#include "cuda/runtime/head_block.h"

namespace fa::cuda {

namespace {

/** Kernels without options know intervals of keys alone. */
bool has_options(const AttentionProblem& p) {
  return p.softcap > 0 || p.alibi_slopes.present() || p.mask.present() || p.block_mask.present() ||
         p.sink_tokens > 0 || p.dropout.p > 0;
}

/** What the kernels of sm_90a do for one (batch, query head): see sm90/backward.h. */
struct Counts {
  int64_t full = 0, partial = 0, skipped = 0;
  double query_rows = 0, states = 0;  // rows loaded
  std::vector<bool> met;              // tiles of keys with something to do

  Counts(const HeadBlock& head, const sm90::BackwardTile& tile, const Sequence& s,
         int64_t query_rows_there)
      : met(static_cast<size_t>(ceil_div(s.seqlen_k, tile.keys))) {
    for (int64_t j0 = 0; j0 < s.seqlen_k; j0 += tile.keys) {
      for (int64_t i0 = 0; i0 < s.seqlen_q; i0 += tile.queries) {
        const int64_t last = std::min(i0 + tile.queries, s.seqlen_q);
        TileKind kind = head.classify(i0, last, j0, j0 + tile.keys);
        if (last < i0 + tile.queries) kind = both(kind, TileKind::kPartial);
        full += kind == TileKind::kFull;
        partial += kind == TileKind::kPartial;
        skipped += kind == TileKind::kSkip;
        if (kind == TileKind::kSkip) continue;
        met[static_cast<size_t>(j0 / tile.keys)] = true;
        query_rows += static_cast<double>(std::min<int64_t>(tile.queries, query_rows_there - i0));
        states += static_cast<double>(last - i0);
      }
    }
  }
};

}  // namespace

BackwardPlan plan_backward(const AttentionProblem& problem, const AttentionGradients& gradients,
                           const cudaDeviceProp& properties) {
  BackwardPlan plan{};
  plan.aligned = true;
  for (const View* view : {&problem.q, &problem.k, &problem.v, &problem.out, &gradients.dout})
    plan.aligned &= aligned_rows(*view);
  plan.sm90 = runs_sm90a(properties) && sm90::takes_backward(problem, gradients);
  // Neither do the plain kernels of sm_80 know float32 or rows that are not aligned.
  plan.featured =
      has_options(problem) || (!plan.sm90 && (problem.q.dtype == DType::kFloat32 || !plan.aligned));
  if (plan.sm90) plan.layout = sm90::plan_backward(problem);
  return plan;
}

std::string BackwardPlan::kernel() const {
  return std::string(sm90 ? "sm90" : "sm80") + ".backward" + (featured ? ".featured" : "");
}

int64_t BackwardPlan::scratch_bytes(const AttentionProblem& p) const {
  const int64_t rows = p.q.shape[0] * p.q.shape[1] * p.heads();
  const int64_t sum = sm90 ? layout.sum_size(p) : rows * sum_pitch(p);
  return rows * (kRowStateBytes + kExtremeRowBytes) + sum * static_cast<int64_t>(sizeof(float));
}

AttentionPlan plan_gradients(const AttentionProblem& p, const AttentionGradients& gradients,
                             const cudaDeviceProp& properties) {
  const BackwardPlan backward = plan_backward(p, gradients, properties);
  AttentionPlan plan;
  plan.isa = backward.sm90 ? "sm_90a" : "sm_80";
  plan.kernel = backward.kernel();
  if (!backward.sm90) return plan;
  const sm90::BackwardTile& tile = backward.layout.tile;
  plan.threads = tile.threads();
  plan.tile_q = tile.queries;
  plan.tile_k = tile.keys;
  plan.stages = tile.stages;
  plan.work_items = ceil_div(p.max_seqlen_k, tile.keys) * p.kv_heads() * p.batch();
  plan.shared_bytes = sm90::backward_shared_bytes(tile);
  plan.scratch_bytes = backward.scratch_bytes(p);

  const double element = static_cast<double>(dtype_size(p.q.dtype));
  const double dim = static_cast<double>(p.head_dim()), dim_v = static_cast<double>(p.head_dim_v());
  const double row = (dim + dim_v) * element;  // of Q and dO, K and V, dK and dV
  const CallSize size = visit_heads(
      p, [&](const Sequence&) { return p.group(); },
      [&](int64_t batch, const Sequence& s, int64_t first_head, int64_t times) {
        const int64_t sum_rows = ceil_div(s.seqlen_q, tile.queries) * tile.queries * p.group();
        double bytes = static_cast<double>(sum_rows) * dim * 4;  // read once more, for dQ
        std::vector<bool> met(static_cast<size_t>(ceil_div(s.seqlen_k, tile.keys)));
        for (int64_t head = first_head; head < first_head + p.group(); ++head) {
          const Counts c(head_block(p, s, batch, head), tile, s, p.q.shape[1] - s.q_begin);
          plan.tiles_full += times * c.full;
          plan.tiles_partial += times * c.partial;
          plan.tiles_skipped += times * c.skipped;
          bytes += c.query_rows * row + c.states * kRowStateBytes;
          for (size_t i = 0; i < met.size(); ++i) met[i] = met[i] || c.met[i];
        }
        for (size_t i = 0; i < met.size(); ++i) {
          const int64_t there = p.k.shape[1] - s.k_begin - static_cast<int64_t>(i) * tile.keys;
          if (met[i]) bytes += static_cast<double>(std::min<int64_t>(tile.keys, there)) * row;
        }
        plan.bytes += static_cast<double>(times) * bytes;
      });
  const double visits = static_cast<double>(plan.tiles_full + plan.tiles_partial);
  const double all_rows = static_cast<double>(p.q.shape[0] * p.q.shape[1] * p.heads());
  plan.flops = 2 * (3 * dim + 2 * dim_v) * size.pairs;
  plan.executed_flops =
      visits * 2 * tile.keys * (4. * tile.queries * tile.width + tile.sum_parts() * 64 * 64);
  plan.bytes +=
      visits * tile.queries * tile.width * 4                    // added to the sum of dQ
      + size.keys * row + size.rows * dim * element             // dK and dV, dQ
      + all_rows * (2 * dim_v * element + 4 + kRowStateBytes);  // out, dOut, lse: row states
  // Q, K, V, dOut and the gradients once; P read twice, dP written and read, dS written and read
  // twice.
  plan.standard_bytes =
      size.rows * (2 * dim + dim_v) * element + 2 * size.keys * row + 7 * size.scores * element;
  plan.standard_memory = 2 * size.scores * element;
  return plan;
}

}  // namespace fa::cuda
