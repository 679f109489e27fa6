// The backward pass over threads. A work item is a (batch, kv head) and a part of its query rows:
// it owns the rows' dQ and sums dK and dV privately. Parts are added in a fixed order, so the
// result is reproducible.
#include <algorithm>
#include <mutex>
#include <utility>
#include <vector>

#include "core/divide.h"
#include "core/validate.h"
#include "cpu/arena.h"
#include "cpu/backward_plan.h"
#include "cpu/forward_plan.h"
#include "cpu/ops.h"
#include "cpu/scratch.h"
#include "cpu/thread_pool.h"

namespace fa::cpu {

namespace {

constexpr int64_t kChunkKeys = 96;  // that a thread adds up at a time

/** Memory that as many items as run at a time take in turns. */
class SumPool {
 public:
  explicit SumPool(std::vector<float*> free) : free_(std::move(free)) {}

  float* take() {
    std::lock_guard<std::mutex> lock(mutex_);
    float* const sum = free_.back();
    free_.pop_back();
    return sum;
  }
  void give(float* sum) {
    std::lock_guard<std::mutex> lock(mutex_);
    free_.push_back(sum);
  }

 private:
  std::mutex mutex_;
  std::vector<float*> free_;
};

/** What items of one head summed up, in the order in which it is added. */
struct Parts {
  int64_t head;
  float* const* sums;
  size_t count;
  bool carried;   // the first one is that of all parts before, complete but for those to come
  bool complete;  // the last one is of the head's last part
};

class Backward {
 public:
  Backward(const AttentionProblem& p, const AttentionGradients& g, const BackwardPlan& plan,
           Cancel cancel)
      : p_(p), g_(g), plan_(plan), cancel_(cancel), sinks_(sink_logits(p)) {
    dsinks_.resize(sinks_.empty() ? 0 : static_cast<size_t>(plan.items() * p.group()));
  }

  void run() {
    static thread_local Arena kept;  // one per stream: its thread runs this
    const Scratch scratch(kept, plan_.scratch_bytes());
    std::vector<float*> sums;
    for (int64_t i = 0; i < plan_.sums; ++i)
      sums.push_back(scratch.floats() + i * plan_.sum_floats());
    if (plan_.parts == 1)
      run_heads(std::move(sums));
    else
      run_waves(std::move(sums));
    if (!sinks_.empty()) add_sink_gradients();
  }

 private:
  /** A kv head is an item: its sums are the result. */
  void run_heads(std::vector<float*> sums) {
    SumPool pool(std::move(sums));
    parallel_for(
        plan_.heads,
        [&](int64_t head) {
          float* const sum = pool.take();
          run_item(head, sum);
          add_up({head, &sum, 1, false, true}, 0, sequence_of(head).seqlen_k);
          pool.give(sum);
        },
        cancel_, "backward");
  }

  /** Heads in parts: as many items as there are sums for, then their addition, and so on. */
  void run_waves(std::vector<float*> sums) {
    const int64_t parts = plan_.parts;
    for (int64_t first = 0; first < plan_.items();) {
      const bool carried = first % parts != 0;  // sums[0], of the first head's parts before
      const int64_t end = std::min(plan_.items(), first + plan_.sums - carried);
      const auto sum_of = [&](int64_t item) { return sums.data() + carried + (item - first); };
      parallel_for(
          end - first, [&](int64_t item) { run_item(first + item, *sum_of(first + item)); },
          cancel_, "backward");

      std::vector<Parts> heads;
      for (int64_t item = first; item < end;) {
        const int64_t head = item / parts, next = std::min(end, (head + 1) * parts);
        const bool goes_on = item == first && carried;
        heads.push_back({head, sum_of(item) - goes_on, static_cast<size_t>(next - item + goes_on),
                         goes_on, next == (head + 1) * parts});
        item = next;
      }
      add_up_all(heads);
      const Parts& last = heads.back();
      if (!last.complete) std::swap(sums[0], sums[static_cast<size_t>(last.sums - sums.data())]);
      first = end;
    }
  }

  void add_up_all(const std::vector<Parts>& heads) {
    const int64_t chunks = std::max<int64_t>(1, ceil_div(plan_.longest, kChunkKeys));
    parallel_for(
        static_cast<int64_t>(heads.size()) * chunks,
        [&](int64_t item) {
          const Parts& of = heads[static_cast<size_t>(item / chunks)];
          const int64_t begin = item % chunks * kChunkKeys;
          add_up(of, begin, std::min(sequence_of(of.head).seqlen_k, begin + kChunkKeys));
        },
        cancel_, "sum gradients");
  }

  const Sequence& sequence_of(int64_t head) const {
    return plan_.sequences[static_cast<size_t>(head / p_.kv_heads())];
  }
  float* dv_of(float* sum) const { return sum + plan_.longest * plan_.dk_pitch; }

  void run_item(int64_t item, float* sum) {
    static thread_local Arena scratch;
    BackwardArgs args = backward_args(p_, plan_, item, sinks_.empty() ? nullptr : sinks_.data());
    const int64_t head = item / plan_.parts;
    const Sequence& s = sequence_of(head);
    const auto query_rows = [&](const View& view) {
      const int64_t first = s.q_batch * view.strides[0] + s.q_begin * view.strides[1] +
                            head % p_.kv_heads() * p_.group() * view.strides[2];
      return Rows{view.at(first), static_cast<int>(view.dtype), view.strides[1], view.strides[3]};
    };
    args.dout = query_rows(g_.dout);
    args.dout_head_stride = g_.dout.strides[2];
    args.dq = query_rows(g_.dq);
    args.dq_head_stride = g_.dq.strides[2];
    args.dk = sum;
    args.dv = dv_of(sum);
    args.dsinks = dsinks_.empty() ? nullptr : dsinks_.data() + item * p_.group();
    plan_.kernels->backward(args, scratch.reserve(plan_.kernels->backward_scratch(args)));
  }

  /** Keys [begin, end): into dK and dV, or into the first sum until the other parts have come. */
  void add_up(const Parts& parts, int64_t begin, int64_t end) {
    const Sequence& s = sequence_of(parts.head);
    std::vector<const float*> dk, dv;
    for (size_t i = 0; i < parts.count; ++i) {
      dk.push_back(parts.sums[i]);
      dv.push_back(dv_of(parts.sums[i]));
    }
    const auto rows_of = [&](const View& view) {
      const int64_t first = s.k_batch * view.strides[0] + s.k_begin * view.strides[1] +
                            parts.head % p_.kv_heads() * view.strides[2];
      return Rows{view.at(first), static_cast<int>(view.dtype), view.strides[1], view.strides[3]};
    };
    const auto rows_in = [](float* sum, int64_t pitch) {
      return Rows{reinterpret_cast<char*>(sum), static_cast<int>(DType::kFloat32), pitch, 1};
    };
    float* const first = parts.sums[0];
    add_rows(dk, p_.head_dim(), plan_.dk_pitch, p_.scale, parts.carried,
             parts.complete ? rows_of(g_.dk) : rows_in(first, plan_.dk_pitch), begin, end);
    add_rows(dv, p_.head_dim_v(), plan_.dv_pitch, 1, parts.carried,
             parts.complete ? rows_of(g_.dv) : rows_in(dv_of(first), plan_.dv_pitch), begin, end);
  }

  /** Rows [begin, end) of target = factor * sum of the parts' rows; a carried sum has it. */
  void add_rows(const std::vector<const float*>& parts, int64_t dim, int64_t pitch, float factor,
                bool carried, const Rows& target, int64_t begin, int64_t end) {
    static thread_local Arena arena;
    std::vector<const char*> rows(parts.size());
    const std::vector<int64_t> strides(parts.size(), 1);
    std::vector<float> factors(parts.size(), factor);
    if (carried) factors[0] = 1;
    MergeRowArgs args{};
    args.states = static_cast<int>(parts.size());
    args.rows = rows.data();
    args.dim_strides = strides.data();
    args.dtype = static_cast<int>(DType::kFloat32);
    args.weights = factors.data();
    args.n = static_cast<int>(dim);
    args.out_dtype = target.dtype;
    args.out_dim_stride = target.dim_stride;
    args.scratch =
        reinterpret_cast<float*>(arena.reserve(2 * static_cast<size_t>(pitch) * sizeof(float)));
    const int64_t size = static_cast<int64_t>(dtype_size(static_cast<DType>(target.dtype)));
    const auto row = [&](int64_t j) { return target.base + j * target.row_stride * size; };
    for (int64_t j = begin; j < end; ++j) {
      for (size_t part = 0; part < parts.size(); ++part)
        rows[part] = reinterpret_cast<const char*>(parts[part] + j * pitch);
      args.out = row(j);
      const char* const later = row(std::min(j + kRowsAhead, end - 1));
      for (int64_t at = 0; at < dim * size; at += 64) __builtin_prefetch(later + at, 1);
      plan_.kernels->merge_row(args);
    }
  }

  void add_sink_gradients() {
    const int64_t group = p_.group(), parts = plan_.parts;
    float* const target = static_cast<float*>(g_.dsinks.data);
    for (int64_t h = 0; h < p_.heads(); ++h) {
      double sum = 0;
      for (int64_t batch = 0; batch < p_.batch(); ++batch) {
        for (int64_t part = 0; part < parts; ++part) {
          const int64_t item = (batch * p_.kv_heads() + h / group) * parts + part;
          sum += dsinks_[static_cast<size_t>(item * group + h % group)];
        }
      }
      target[h * g_.dsinks.strides[0]] = static_cast<float>(sum);
    }
  }

  const AttentionProblem& p_;
  const AttentionGradients& g_;
  const BackwardPlan& plan_;
  const Cancel cancel_;
  const std::vector<float> sinks_;
  std::vector<float> dsinks_;  // of every item, its query heads
};

}  // namespace

void attention_backward(const AttentionProblem& p, const AttentionGradients& g, Cancel cancel) {
  // Rows and keys that no sequence covers.
  if (p.ragged()) {
    for (const View* view : {&g.dq, &g.dk, &g.dv}) fill_zero(*view, cancel);
  }
  const BackwardPlan plan = plan_backward(p);
  Backward(p, g, plan, cancel).run();
}

}  // namespace fa::cpu

namespace fa {

void ops::AttentionBackward::run(cpu::Execution& execution) const {
  if (check_contents) validate_contents(problem);
  cpu::attention_backward(problem, gradients, execution.cancel);
}

}  // namespace fa
