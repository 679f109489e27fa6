#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "core/ops.h"
#include "cuda/base/execution.h"
#include "cuda/base/image_for.h"
#include "cuda/base/launch.h"
#include "cuda/base/params.h"
#include "cuda/base/scratch.h"
#include "cuda/elementwise/combine.h"
#include "cuda/elementwise/index_contents.h"
#include "cuda/runtime/branches.h"
#include "cuda/runtime/cuda_backend.h"
#include "cuda/runtime/forward.h"
#include "cuda/runtime/forward_plan.h"
#include "cuda/sm80/mla_params.h"
#include "cuda/sm90/host/forward_launch.h"
#include "cuda/sm90/mla_params.h"

namespace fa::cuda {

namespace {

FastDivide divide(int64_t by) { return FastDivide(by > 0 ? by : 1); }

sm80::ForwardParams params_on_sm80(const AttentionProblem& p, const ForwardLaunch& with,
                                   const SplitParams& splits) {
  sm80::ForwardParams params{};
  params.attention = attention_params(p);
  params.pack = divide(with.pack);
  params.head_blocks = divide(with.head_blocks);
  params.m_blocks = divide(with.m_blocks);
  params.splits = splits;
  return params;
}

/** Latents on Hopper. As all of sm_90a, the first launch of its call. */
void launch_mla_sm90(const AttentionProblem& p, const ForwardLaunch& with,
                     const SplitParams& splits, const Queue& queue) {
  launch(sm90::find_mla(p.q.dtype), with.blocks, with.threads,
         static_cast<size_t>(with.shared_bytes), queue, params_on_sm80(p, with, splits));
}

auto mla_kernel(const AttentionProblem& p, const ForwardLaunch& with, const Queue& queue) {
  return sm80::find_mla(image_for(queue.properties), p.q.dtype, with.rows);
}

void launch_mla(const AttentionProblem& p, const ForwardLaunch& with, const SplitParams& splits,
                const Queue& queue, Order order) {
  const sm80::MlaParams params = {params_on_sm80(p, with, splits), p.values_in_keys()};
  launch(mla_kernel(p, with, queue), with.blocks, with.threads,
         static_cast<size_t>(with.shared_bytes), queue, params, order);
}

sm80::ForwardKernel kernel_on_sm80(const AttentionProblem& p, const ForwardLaunch& with,
                                   const Queue& queue) {
  const KernelImage image = image_for(queue.properties);
  if (with.family == ForwardKernelFamily::kSm80Decode)
    return sm80::find_decode(image, p.q.dtype, p.quantized_pages(), with.featured, with.width);
  return sm80::find_forward(image, p.q.dtype, with.featured, with.tile);
}

void launch_on_sm80(const AttentionProblem& p, const ForwardLaunch& with, const SplitParams& splits,
                    const Queue& queue, Order order) {
  launch(kernel_on_sm80(p, with, queue), with.blocks, with.threads,
         static_cast<size_t>(with.shared_bytes), queue, params_on_sm80(p, with, splits), order);
}

/** Whether there are several launches, of which the others cannot overlap the one in front. */
bool run_side_by_side(const AttentionProblem& p, const ForwardPlan& plan, const Queue& queue) {
  if (plan.filled_launches() < 2) return false;
  int last = plan.launch_count - 1;  // not sm_90a's, which is the first
  while (plan.launches[last].blocks == 0) --last;
  const ForwardLaunch& with = plan.launches[last];
  return with.family == ForwardKernelFamily::kSm80Mla
             ? !can_overlap(reinterpret_cast<const void*>(mla_kernel(p, with, queue)))
             : !can_overlap(reinterpret_cast<const void*>(kernel_on_sm80(p, with, queue)));
}

/**
 * Launches have rows of their own, so they run side by side: on branches of the queue, or each may
 * begin while the one in front ends. Returns how a launch behind them may follow. That of sm_90a,
 * which has the longest sequences, comes first.
 */
Order launch_all(const AttentionProblem& p, const ForwardPlan& plan, const SplitParams& splits,
                 const Queue& queue) {
  Fork fork(queue, run_side_by_side(p, plan, queue));
  Order order = Order::kAfter;
  for (int i = 0; i < plan.launch_count; ++i) {
    const ForwardLaunch& with = plan.launches[i];
    if (with.blocks == 0) continue;
    SplitParams own = splits;
    if (own.items != nullptr) own.items += with.first_item;
    const Queue on = fork.next();
    if (with.family == ForwardKernelFamily::kSm90)
      sm90::launch_forward(p, with, own, on);
    else if (with.family == ForwardKernelFamily::kSm90Mla)
      launch_mla_sm90(p, with, own, on);
    else if (with.family == ForwardKernelFamily::kSm80Mla)
      launch_mla(p, with, own, on, order);
    else
      launch_on_sm80(p, with, own, on, order);
    order = Order::kOverlaps;
  }
  fork.join();
  return order;
}

/** Of queries from `first` on, and no partial results. */
CombineParams combine_params(const AttentionProblem& p, int64_t first) {
  CombineParams params{};
  params.attention = attention_params(p);
  params.first_query = static_cast<int>(first);
  params.query_count = static_cast<int>(p.q.shape[0] * p.q.shape[1] - first);
  params.rows = divide(p.q.shape[1]);
  params.heads = divide(p.heads());
  return params;
}

PartialResults partial_results(const AttentionProblem& p, const ForwardPlan& plan, void* memory) {
  const int64_t rows = plan.partial_rows(p), width = ForwardPlan::partial_width(p);
  const int64_t own = p.q.shape[0] * p.q.shape[1] * p.heads();  // items count from these
  constexpr int64_t kMost = std::numeric_limits<PartialRow>::max();
  if (rows > 0 && std::max(rows, own) > kMost)
    throw Error(ErrorCode::kShape, "q",
                "Expected at most " + std::to_string(kMost) +
                    " rows of all heads and splits but received " + std::to_string(rows));
  float* const out = static_cast<float*>(memory);
  return {out, static_cast<int>(width), out + rows * width, rows};
}

/** The list of `plan` on the device, uploaded for the first call that has it; null: it is empty. */
const char* list_on_device(const ForwardPlan& plan, const Upload& upload) {
  if (!plan.work || plan.work->bytes() == 0) return nullptr;
  WorkList& work = *plan.work;
  if (!work.on_device) {
    std::vector<char> list(work.bytes());
    work.write_to(list.data());
    work.on_device = upload(list.data(), list.size());
  }
  return static_cast<const char*>(work.on_device.get());
}

}  // namespace

void enqueue_forward(const AttentionProblem& p, const ForwardPlan& plan, const char* list,
                     void* partials, const Queue& queue) {
  SplitParams splits{.items = nullptr,
                     .count = divide(plan.num_splits),
                     .stride = static_cast<int>(p.q.shape[0] * p.q.shape[1] * p.heads()),
                     .partial = partial_results(p, plan, partials)};
  CombineParams merge = combine_params(p, plan.work ? plan.work->covered : 0);
  merge.partial = splits.partial;
  if (!plan.work) {
    merge.splits = plan.num_splits;
    if (plan.num_splits == 1) merge.query_count = 0;
  } else if (list != nullptr) {
    splits.items = reinterpret_cast<const WorkItem*>(list);
    merge.items = reinterpret_cast<const MergeItem*>(list + plan.work->merges_offset());
    merge.item_count = static_cast<int>(plan.work->merges.size());
  }
  combine(merge, p.out.dtype, queue, launch_all(p, plan, splits, queue));
}

void attention_forward(const AttentionProblem& p, const Queue& queue, const Upload& upload) {
  const ForwardPlan plan = plan_forward(p, queue.properties);
  if (p.float8() && (p.max_seqlen_k == 0 || p.k.size() == 0)) {
    // Nothing for TMA: rows see nothing.
    return combine(combine_params(p, 0), p.out.dtype, queue, Order::kAfter);
  }
  Scratch scratch(queue);
  void* const partials = scratch.take(static_cast<size_t>(plan.scratch_bytes(p)));
  enqueue_forward(p, plan, list_on_device(plan, upload), partials, queue);
}

}  // namespace fa::cuda

namespace fa {

void ops::Attention::run(cuda::Execution& execution) const {
  const cuda::Upload upload = [&](const void* host, size_t bytes) {
    return execution.backend.upload(host, bytes, execution.cancel);
  };
  if (!check_contents) return cuda::attention_forward(problem, execution.queue, upload);
  AttentionProblem known = problem;
  cuda::validate_contents_on_device(problem, execution.queue, [&](const AttentionProblem& p) {
    known.sequences = sequence_table(p);
  });
  cuda::attention_forward(known, execution.queue, upload);
}

}  // namespace fa
