// What the CUDA runtime of the executor knows of graphs: streams that note their work down, and
// what is not allowed meanwhile.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "simt/include/cuda_runtime.h"
#include "simt/stream_order.h"

/** Work in the order in which it was noted down: that of one stream, so it is a chain. */
struct SimtGraph {
  int device;
  std::vector<std::function<void()>> nodes;
  bool broken = false;
};
struct SimtGraphExec {
  SimtGraph graph;
};
struct SimtStream {
  int device;
  std::unique_ptr<SimtGraph> capture;
  simt::StreamOrder order;
};

namespace simt {

/** From now on the calling thread captures. */
void begin_capture(SimtStream& stream);
/** What was noted down; null when something broke it. */
SimtGraph* end_capture(SimtStream& stream);

/** Whether `stream`, or without one the calling thread, captures: the capture is broken then. */
bool breaks_capture(cudaStream_t stream);
bool breaks_capture();

/** Runs work of `stream`, or notes it down. */
void run_or_capture(cudaStream_t stream, std::function<void()> work);

/** Memory of the host that copies need not wait for. */
void pin(const void* memory, size_t bytes);
void unpin(const void* memory);
bool is_pinned(const void* memory, size_t bytes);

}  // namespace simt
