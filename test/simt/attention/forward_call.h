// A forward call as the backend makes it, with lists of work in memory of the executor.
#pragma once

#include <cstring>
#include <memory>

#include "cuda/runtime/forward.h"
#include "problem.h"
#include "simt/watched_reads.h"

namespace simt_test {

/**
 * Reads of index tensors and lists are watched, which plans leave out. Returns what the counter of
 * tiles is left at, which is to be 0.
 */
inline int forward_call(const Problem& problem, const cudaDeviceProp& properties) {
  const fa::cuda::Upload upload = [](const void* host, size_t bytes) {
    const auto memory = std::make_shared<DeviceMemory>(bytes);
    std::memcpy(memory->data(), host, bytes);
    simt::watch_global_reads(memory->data());
    return std::shared_ptr<const void>(memory, memory->data());
  };
  fa::AttentionProblem call = problem.device;
  fa::for_each_index(call, [](const fa::View& view) { simt::watch_global_reads(view.data); });
  call.sequences = fa::sequence_table(call);
  const DeviceMemory drawn(sizeof(int));
  int* const counter = static_cast<int*>(drawn.data());
  *counter = 0;
  fa::cuda::attention_forward(call, {properties, nullptr, counter}, upload);
  return *counter;
}

}  // namespace simt_test
