// The backward pass over threads. A work item is a (batch, kv head) and a part of its query rows:
// it owns the rows' dQ and sums dK and dV privately. Parts are added in a fixed order, so the
// result is reproducible.
#include <algorithm>
#include <vector>

#include "core/validate.h"
#include "cpu/arena.h"
#include "cpu/forward_plan.h"
#include "cpu/isa.h"
#include "cpu/ops.h"
#include "cpu/thread_pool.h"

namespace fa::cpu {

namespace {

constexpr int kTileKeys = 96;
constexpr int64_t kBlockBytes = 512 * 1024;  // packed rows that share a packed tile
constexpr int64_t kItemsPerThread = 4;
constexpr int64_t kDeterministicItems = 32;  // a count that does not depend on threads
constexpr int64_t kMaxParts = 16;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t padded_dim(int64_t dim) { return ceil_div(dim, 16) * 16; }

struct BackwardPlan {
  ForwardPlan forward;
  int64_t parts;       // of a kv head's query rows
  int64_t key_floats;  // of one part's dK and dV
};

BackwardPlan plan_backward(const AttentionProblem& p, bool deterministic) {
  BackwardPlan plan{};
  ForwardPlan& f = plan.forward;
  f.kernels = &kernels();
  f.threads = num_threads();
  f.tile_k = kTileKeys;
  f.heads_per_item = 1;
  const int64_t row_bytes = (3 * padded_dim(p.head_dim()) + 2 * padded_dim(p.head_dim_v())) * 4;
  const int64_t groups_per_block =
      std::clamp<int64_t>(kBlockBytes / (row_bytes * kBackwardGroupRows), 1, 64);
  f.panels = static_cast<int>(groups_per_block * kBackwardGroupRows / f.kernels->panel_rows);
  const int64_t heads = std::max<int64_t>(1, p.batch() * p.kv_heads());
  const int64_t wanted = deterministic            ? kDeterministicItems
                         : heads >= 2 * f.threads ? 1
                                                  : kItemsPerThread * f.threads;
  const int64_t groups = ceil_div(p.max_seqlen_q * p.group(), kBackwardGroupRows);
  plan.parts = std::clamp<int64_t>(std::min(ceil_div(wanted, heads), groups), 1, kMaxParts);
  plan.key_floats = p.max_seqlen_k * (padded_dim(p.head_dim()) + padded_dim(p.head_dim_v()));
  return plan;
}

/** One of an item's two sums, as the kernel lays it out. */
struct KeySums {
  float* dk;
  float* dv;
};

KeySums key_sums(const AttentionProblem& p, float* data) {
  return {data, data + p.max_seqlen_k * padded_dim(p.head_dim())};
}

/** Rows [begin, end) of target = factor * (sum of the parts' rows), in the target's dtype. */
void add_parts(const std::vector<const float*>& parts, int64_t dim, float factor,
               const View& target, int64_t first, int64_t begin, int64_t end,
               const KernelTable& table) {
  static thread_local Arena arena;
  const int64_t padded = padded_dim(dim);
  std::vector<const char*> rows(parts.size());
  const std::vector<int64_t> strides(parts.size(), 1);
  const std::vector<float> factors(parts.size(), factor);
  MergeRowArgs args{};
  args.states = static_cast<int>(parts.size());
  args.rows = rows.data();
  args.dim_strides = strides.data();
  args.dtype = static_cast<int>(DType::kFloat32);
  args.weights = factors.data();
  args.n = static_cast<int>(dim);
  args.out_dtype = static_cast<int>(target.dtype);
  args.out_dim_stride = target.strides[3];
  args.scratch =
      reinterpret_cast<float*>(arena.reserve(2 * static_cast<size_t>(padded) * sizeof(float)));
  const int64_t row_bytes = dim * static_cast<int64_t>(dtype_size(target.dtype));
  for (int64_t j = begin; j < end; ++j) {
    for (size_t part = 0; part < parts.size(); ++part)
      rows[part] = reinterpret_cast<const char*>(parts[part] + j * padded);
    args.out = target.at(first + j * target.strides[1]);
    const char* const later =
        target.at(first + std::min(j + kRowsAhead, end - 1) * target.strides[1]);
    for (int64_t at = 0; at < row_bytes; at += 64) __builtin_prefetch(later + at, 1);
    table.merge_row(args);
  }
}

void store_keys(const AttentionProblem& p, const AttentionGradients& g, const BackwardPlan& plan,
                int64_t batch, int64_t kv_head, const std::vector<float*>& sums, int64_t begin,
                int64_t end) {
  const Sequence s = sequence(p, batch);
  std::vector<const float*> dk, dv;
  for (float* data : sums) {
    dk.push_back(key_sums(p, data).dk);
    dv.push_back(key_sums(p, data).dv);
  }
  const auto first = [&](const View& view) {
    return s.k_batch * view.strides[0] + s.k_begin * view.strides[1] + kv_head * view.strides[2];
  };
  const KernelTable& table = *plan.forward.kernels;
  add_parts(dk, p.head_dim(), p.scale, g.dk, first(g.dk), begin, end, table);
  add_parts(dv, p.head_dim_v(), 1, g.dv, first(g.dv), begin, end, table);
}

}  // namespace

void attention_backward(const AttentionProblem& p, const AttentionGradients& g, Cancel cancel) {
  const BackwardPlan plan = plan_backward(p, g.deterministic);
  const KernelTable& table = *plan.forward.kernels;
  const std::vector<float> sinks = sink_logits(p);
  const int64_t group = p.group(), parts = plan.parts, heads = p.batch() * p.kv_heads();
  std::vector<float> dsinks(static_cast<size_t>(sinks.empty() ? 0 : heads * parts * group));
  // Rows and keys that no sequence covers.
  if (p.varlen() || p.seqlens_k.present()) {
    for (const View* view : {&g.dq, &g.dk, &g.dv}) fill_zero(*view, cancel);
  }

  static thread_local Arena workspace;  // one per stream: its thread runs this
  float* const all =
      parts == 1 ? nullptr
                 : reinterpret_cast<float*>(workspace.reserve(
                       static_cast<size_t>(heads * parts * plan.key_floats) * sizeof(float)));
  ThreadPool::shared().parallel_for(
      heads * parts,
      [&](int64_t item) {
        static thread_local Arena scratch, own;
        const int64_t part = item % parts, kv_head = item / parts % p.kv_heads();
        const int64_t batch = item / parts / p.kv_heads();
        BackwardArgs args{};
        args.forward =
            forward_args(p, plan.forward, batch, kv_head, sinks.empty() ? nullptr : sinks.data());
        const int64_t rows = args.forward.row_end;
        const int64_t groups = ceil_div(rows, kBackwardGroupRows);
        args.forward.row_begin = std::min(rows, groups * part / parts * kBackwardGroupRows);
        args.forward.row_end = std::min(rows, groups * (part + 1) / parts * kBackwardGroupRows);
        const Sequence s = sequence(p, batch);
        const auto query_rows = [&](const View& view) {
          const int64_t first = s.q_batch * view.strides[0] + s.q_begin * view.strides[1] +
                                kv_head * group * view.strides[2];
          return Rows{view.at(first), static_cast<int>(view.dtype), view.strides[1],
                      view.strides[3]};
        };
        args.dout = query_rows(g.dout);
        args.dout_head_stride = g.dout.strides[2];
        args.dq = query_rows(g.dq);
        args.dq_head_stride = g.dq.strides[2];
        float* const data = parts > 1 ? all + item * plan.key_floats
                                      : reinterpret_cast<float*>(own.reserve(
                                            static_cast<size_t>(plan.key_floats) * sizeof(float)));
        args.dk = key_sums(p, data).dk;
        args.dv = key_sums(p, data).dv;
        args.dsinks = dsinks.empty() ? nullptr : dsinks.data() + item * group;
        table.backward(args, scratch.reserve(table.backward_scratch(args)));
        if (parts == 1) store_keys(p, g, plan, batch, kv_head, {data}, 0, s.seqlen_k);
      },
      cancel);

  if (parts > 1) {
    const int64_t chunks = std::max<int64_t>(1, ceil_div(p.max_seqlen_k, kTileKeys));
    ThreadPool::shared().parallel_for(
        heads * chunks,
        [&](int64_t item) {
          const int64_t head = item / chunks, begin = item % chunks * kTileKeys;
          std::vector<float*> sums;
          for (int64_t part = 0; part < parts; ++part)
            sums.push_back(all + (head * parts + part) * plan.key_floats);
          const int64_t batch = head / p.kv_heads();
          store_keys(p, g, plan, batch, head % p.kv_heads(), sums, begin,
                     std::min(sequence(p, batch).seqlen_k, begin + kTileKeys));
        },
        cancel);
  }
  if (dsinks.empty()) return;
  float* const target = static_cast<float*>(g.dsinks.data);
  for (int64_t h = 0; h < p.heads(); ++h) {
    double sum = 0;
    for (int64_t batch = 0; batch < p.batch(); ++batch) {
      for (int64_t part = 0; part < parts; ++part) {
        const int64_t item = (batch * p.kv_heads() + h / group) * parts + part;
        sum += dsinks[static_cast<size_t>(item * group + h % group)];
      }
    }
    target[h * g.dsinks.strides[0]] = static_cast<float>(sum);
  }
}

}  // namespace fa::cpu

namespace fa {

void ops::AttentionBackward::run(cpu::Execution& execution) const {
  if (check_contents) validate_contents(problem);
  cpu::attention_backward(problem, gradients, execution.cancel);
}

}  // namespace fa
