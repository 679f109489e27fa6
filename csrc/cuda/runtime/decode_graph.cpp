// Replays: tables, list and rows of a step are brought to where the graph has them, in one copy
// where they lie side by side, then all kernels of its layers are launched as one graph.
#include "core/decode_graph.h"

#include <map>
#include <string>
#include <utility>

#include "core/error.h"
#include "cuda/base/graph.h"
#include "cuda/runtime/cuda_backend.h"
#include "cuda/runtime/decode_plan.h"
#include "cuda/runtime/forward.h"

namespace fa::cuda {

namespace {

/** What the device has made of a graph. */
class CapturedDecode {
 public:
  CapturedDecode(const DecodeGraph& graph, Execution& execution)
      : lane_(execution.backend.lane()), graph_(graph) {
    const AttentionProblem& p = graph.layers[0].step.attention.problem;
    const cudaDeviceProp& properties = execution.queue.properties;
    plan_ = plan_decode(p, properties);
    for (const DecodeGraph::Layer& layer : graph.layers) {
      const ForwardPlan plan = plan_decode(layer.step.attention.problem, properties);
      if (!(plan.launches[0] == plan_.launches[0]))
        throw Error(ErrorCode::kOption, "kPages", "Expected layers that one kernel takes");
    }
    partials_ = execution.backend.allocate(nullptr, static_cast<size_t>(plan_.scratch_bytes(p)));
  }
  ~CapturedDecode() {
    const CurrentDevice current(lane_->device());
    graphs_.clear();
  }
  CapturedDecode(const CapturedDecode&) = delete;
  CapturedDecode& operator=(const CapturedDecode&) = delete;

  /** Tables and list of the step, unless they are there, and rows that the host has. */
  void bring(const ops::ReplayDecode& replay, Execution& execution) {
    std::vector<HostPart> parts;
    std::vector<char> list;
    const bool tables = present_ != replay.tables;
    if (tables) {
      present_ = nullptr;  // until it is on its way
      list = list_of(*replay.tables, execution.queue);
      const std::vector<int32_t>& values = replay.tables->values;
      parts.push_back({values.data(), values.size() * sizeof(int32_t), 0});
      parts.push_back({list.data(), list.size(), static_cast<size_t>(graph_.lists_at)});
    }
    if (replay.numbers)
      parts.push_back({replay.numbers->data(), replay.numbers->bytes(),
                       static_cast<size_t>(graph_.rows_begin(replay.first_layer))});
    execution.backend.copy_to_device(parts, static_cast<char*>(graph_.memory->data()),
                                     execution.cancel);
    if (tables) present_ = replay.tables;
  }

  /** The kernels of some layers; as one graph from the second time on. */
  void launch_layers(int64_t first, int64_t count, Execution& execution) {
    const auto found = graphs_.find({first, count});
    if (found != graphs_.end()) return launch(found->second, execution.queue);
    // CUDA loads a kernel when it is first launched, which may take what a capture does not allow.
    enqueue_layers(first, count, execution);
    graphs_[{first, count}] = capture(execution.queue, [&](const Queue& queue) {
      Execution captured{.queue = queue,
                         .backend = execution.backend,
                         .storages = execution.storages,
                         .cancel = execution.cancel};
      enqueue_layers(first, count, captured);
    });
  }

 private:
  std::vector<char> list_of(const GraphTables& tables, const Queue& queue) const {
    AttentionProblem step = graph_.layers[0].step.attention.problem;
    step.sequences = tables.sequences;
    const WorkList work = decode_work(step, plan_, queue.properties);
    std::vector<char> list(work.bytes());
    work.write_to(list.data());
    return list;
  }

  void enqueue_layers(int64_t first, int64_t count, Execution& execution) const {
    const char* const list = static_cast<const char*>(graph_.memory->data()) + graph_.lists_at;
    for (int64_t n = first; n < first + count; ++n) {
      const ops::StepAttention& layer = graph_.layers[static_cast<size_t>(n)].step;
      layer.run(execution, [&] {
        enqueue_forward(layer.attention.problem, plan_, list, partials_->data(), execution.queue);
      });
    }
  }

  const std::shared_ptr<Lane> lane_;
  const DecodeGraph& graph_;  // which holds this
  ForwardPlan plan_;
  std::shared_ptr<Storage> partials_;           // of a layer: they run one after the other
  std::shared_ptr<const GraphTables> present_;  // what the graph's memory has
  std::map<std::pair<int64_t, int64_t>, GraphExec> graphs_;  // by first layer and number
};

}  // namespace

}  // namespace fa::cuda

namespace fa {

void ops::ReplayDecode::run(cuda::Execution& execution) const {
  const auto gone = std::make_shared<const Error>(
      ErrorCode::kState, "tensor",
      "Expected the result of a graph to be read before the next replay but received one that was "
      "written over");
  for (const auto& storage : replaced) storage->fail(gone);
  if (!graph->captured) graph->captured = std::make_shared<cuda::CapturedDecode>(*graph, execution);
  auto& captured = *static_cast<cuda::CapturedDecode*>(graph->captured.get());
  captured.bring(*this, execution);
  rows.run(execution);
  copies.run(execution);
  captured.launch_layers(first_layer, layers, execution);
}

}  // namespace fa
