// q, k and v of a replay on their way into the memory of a graph.
#pragma once

#include <memory>

#include "binding/inputs.h"
#include "binding/napi.h"
#include "core/decode_graph.h"

namespace fa::binding {

class ReplayRows {
 public:
  /** Of `count` layers from `first` on, `there` rows of each. What is on the device is read. */
  ReplayRows(const DecodeGraph& graph, int64_t first, int64_t count, int64_t there, Inputs& inputs)
      : graph_(graph), first_(first), count_(count), there_(there), inputs_(inputs) {}

  /** Rows [q, k, v] of layer first + n: tensors in the graph's dtype, or Float32Arrays. */
  void add(int64_t n, const Napi::Array& rows);

  ops::Concat device;                          // what is copied on the device
  std::shared_ptr<const HostStorage> numbers;  // as the memory of these layers is; may be null

 private:
  void add(const Napi::Value& value, const View& target, const char* argument);
  void add_numbers(const Napi::Value& value, const View& rows, const char* argument);

  const DecodeGraph& graph_;
  const int64_t first_, count_, there_;
  Inputs& inputs_;
  std::shared_ptr<HostStorage> copied_;
};

}  // namespace fa::binding
