// A forward call as the backend makes it, with lists of work in memory of the executor.
#pragma once

#include <cstring>
#include <map>
#include <memory>

#include "cuda/runtime/branches.h"
#include "cuda/runtime/forward.h"
#include "problem.h"
#include "simt/watched_reads.h"

namespace simt_test {

/** The streams of the current device: as runtime/lane.h has them. */
struct Streams {
  cudaStream_t stream = nullptr;
  fa::cuda::Branches branches{0};

  Streams() { cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, 0); }
};

inline Streams& streams() {
  static auto& all = *new std::map<int, Streams>;  // until the process ends
  int device = 0;
  cudaGetDevice(&device);
  return all[device];
}

/** Reads of index tensors and lists are watched, which plans leave out. */
inline std::shared_ptr<const void> upload(const void* host, size_t bytes) {
  const auto memory = std::make_shared<DeviceMemory>(bytes);
  std::memcpy(memory->data(), host, bytes);
  simt::watch_global_reads(memory->data());
  return std::shared_ptr<const void>(memory, memory->data());
}

/** A call whose list is longer than its work. */
inline void call_with_spare_items(const fa::AttentionProblem& call, const fa::cuda::Queue& queue) {
  constexpr int64_t kSpare = 3;
  fa::cuda::ForwardPlan plan = fa::cuda::plan_forward(call, queue.properties);
  fa::cuda::WorkList& work = *plan.work;
  fa::cuda::ForwardLaunch& last = plan.launches[plan.launch_count - 1];
  work.items.resize(work.items.size() + kSpare, fa::cuda::WorkItem::none());
  work.merges.resize(work.merges.size() + kSpare, fa::cuda::MergeItem::none());
  fa::cuda::set_tiles(last, last.tiles + kSpare * last.head_blocks, queue.properties);
  std::vector<char> list(work.bytes());
  work.write_to(list.data());
  const auto on_device = upload(list.data(), list.size());
  const DeviceMemory partials(static_cast<size_t>(plan.scratch_bytes(call)));
  fa::cuda::enqueue_forward(call, plan, static_cast<const char*>(on_device.get()), partials.data(),
                            queue);
}

/**
 * Returns what the counter of tiles is left at, which is to be 0. Launches run side by side where
 * the backend has them do so.
 */
inline int forward_call(fa::AttentionProblem call, const cudaDeviceProp& properties,
                        bool spare_items = false, bool side_by_side = true) {
  fa::for_each_index(call, [](const fa::View& view) { simt::watch_global_reads(view.data); });
  call.sequences = fa::sequence_table(call);
  const DeviceMemory drawn(sizeof(int));
  int* const counter = static_cast<int*>(drawn.data());
  *counter = 0;
  const fa::cuda::Queue queue{properties, streams().stream, counter,
                              side_by_side ? &streams().branches : nullptr};
  if (spare_items)
    call_with_spare_items(call, queue);
  else
    fa::cuda::attention_forward(call, queue, upload);
  cudaStreamSynchronize(queue.stream);
  return *counter;
}

inline int forward_call(const Problem& problem, const cudaDeviceProp& properties,
                        bool side_by_side = true) {
  return forward_call(problem.device, properties, problem.spec().spare_items, side_by_side);
}

}  // namespace simt_test
