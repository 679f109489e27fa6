#include "cuda/runtime/decode_plan.h"

#include <algorithm>
#include <string>

#include "core/divide.h"
#include "core/error.h"
#include "cuda/runtime/split_choice.h"

namespace fa::cuda {

namespace {

size_t count(int64_t n) { return static_cast<size_t>(n); }

/** Whether blocks without work leave at once: in the kernels for few rows, and of latents. */
bool leaves_at_once(const ForwardLaunch& launch) {
  return launch.family == ForwardKernelFamily::kSm80Decode || launch.is_mla() ||
         (launch.family == ForwardKernelFamily::kSm80 && launch.featured);
}

}  // namespace

ForwardPlan plan_decode(const AttentionProblem& p, const cudaDeviceProp& properties) {
  ForwardPlan plan = plan_forward(p, properties);
  plan.launch_count = 1;  // that of the longest sequences: all are as long
  ForwardLaunch& launch = plan.launches[0];
  if (!leaves_at_once(launch))
    throw Error(ErrorCode::kShape, "heads",
                "Expected heads that a graph replays, at most 64 rows of queries per kv head where "
                "they have at most 256 dims, but received " +
                    std::to_string(p.max_seqlen_q * p.group()) + " of " +
                    std::to_string(p.head_dim()) + " dims");
  const int64_t most = p.num_splits > 0 ? p.num_splits : kMaxAutoSplits;
  const int64_t splits = std::clamp<int64_t>(key_tiles(p, launch), 1, most);
  const int64_t tiles = p.batch() * launch.m_blocks;  // of rows, of a block of heads
  int64_t items = tiles * splits;
  if (p.num_splits == 0) {
    const bool alike = p.max_seqlen_q == 1 || launch.m_blocks == 1;
    const int64_t blocks =
        most_blocks(tiles * launch.head_blocks, places_of(launch, properties), alike);
    items = std::min(items, ceil_div(blocks, launch.head_blocks));
  }
  const bool merges = splits > 1;
  auto work = std::make_shared<WorkList>();
  work->items.assign(count(items), WorkItem::none());
  work->merges.assign(count(merges ? p.q.shape[1] : 0), MergeItem::none());
  work->covered = p.q.shape[1];  // rows of no sequence stay as they are
  // Splits of a sequence have a row for each of its queries, whatever tiles those are in.
  work->partial_rows = merges ? ceil_div(items, launch.m_blocks) * p.max_seqlen_q * p.heads() : 0;
  plan.num_splits = static_cast<int>(splits);
  plan.work = std::move(work);
  launch.first_item = 0;
  set_tiles(launch, items * launch.head_blocks, properties);
  return plan;
}

WorkList decode_work(const AttentionProblem& step, const ForwardPlan& plan,
                     const cudaDeviceProp& properties) {
  const ForwardLaunch& launch = plan.launches[0];
  WorkList work = *work_list(step, {{&launch, places_of(launch, properties)}});
  const WorkList& room = *plan.work;
  if (work.items.size() > room.items.size() || work.merges.size() > room.merges.size() ||
      work.partial_rows > room.partial_rows)
    throw Error(ErrorCode::kShape, "step",
                "Expected a step of at most " + std::to_string(room.items.size()) +
                    " items of work but received " + std::to_string(work.items.size()));
  work.items.resize(room.items.size(), WorkItem::none());
  work.merges.resize(room.merges.size(), MergeItem::none());
  return work;
}

}  // namespace fa::cuda
