// Decode steps that a device computes again and again at the same addresses, so that it can keep
// what it was asked for as one graph.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/attention.h"
#include "core/ops.h"
#include "core/storage.h"

namespace fa {

/** Tables of a step as a graph has them. */
struct GraphTables {
  std::vector<int32_t> values;  // the front of its memory
  std::shared_ptr<const SequenceTable> sequences;
};

/**
 * Steps of up to so many sequences, with as many new tokens of each. What is short of the batch has
 * slots -1, which are not appended to, and no tokens. Memory: tables, lists of the device, rows of
 * all layers.
 */
struct DecodeGraph {
  struct Layer {
    ops::StepAttention step;  // of a whole batch; its sequences are the longest ones
    View q, k, v;             // contiguous [rows, heads, dim]; no v: see Appending
    View out;
    View lse;         // contiguous [heads, rows]; absent where nobody asks for it
    int64_t rows_at;  // bytes into the memory: of q, with k and v behind it
  };

  std::shared_ptr<Storage> memory;
  int64_t lists_at = 0, rows_at = 0, end = 0;  // bytes into the memory
  std::vector<Layer> layers;

  std::vector<std::shared_ptr<Storage>> held;  // what else the layers write to

  /** What a device has made of it. Its stream's thread's. */
  mutable std::shared_ptr<void> captured;

  int64_t rows_begin(int64_t layer) const {
    return layer < static_cast<int64_t>(layers.size()) ? layers[static_cast<size_t>(layer)].rows_at
                                                       : end;
  }
};

}  // namespace fa
