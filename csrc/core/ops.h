// Everything that a stream can be asked to do: an operation is what it needs, and one `run` per
// backend, defined in that backend's file for it. How to add one: docs/architecture.md.
#pragma once

#include <cstdint>
#include <memory>
#include <variant>
#include <vector>

#include "core/append.h"
#include "core/attention.h"
#include "core/convolution.h"
#include "core/quantize.h"
#include "core/storage.h"
#include "core/view.h"

namespace fa {
struct DecodeGraph;
struct GraphTables;
}  // namespace fa
namespace fa::cpu {
struct Execution;
}
namespace fa::cuda {
struct Execution;
}

namespace fa::ops {

struct Attention {
  AttentionProblem problem;
  bool check_contents = false;  // of the index tensors, which the call could not look at

  void run(cpu::Execution& execution) const;
  void run(cuda::Execution& execution) const;
};

struct AttentionBackward {
  AttentionProblem problem;
  AttentionGradients gradients;
  bool check_contents = false;

  void run(cpu::Execution& execution) const;
  void run(cuda::Execution& execution) const;
};

/** outs [B, S, H, D] and lses (float32, [B, H, S]), one pair per state -> out, lse. */
struct MergeStates {
  std::vector<View> outs, lses;
  View out, lse;

  void run(cpu::Execution& execution) const;
  void run(cuda::Execution& execution) const;
};

/** Writes to the pages in place: see TaskStorages. */
struct Append {
  Appending appending;
  bool check_contents = false;

  void run(cpu::Execution& execution) const;
  void run(cuda::Execution& execution) const;
};

struct Rotate {
  Rotation rotation;
  bool check_contents = false;

  void run(cpu::Execution& execution) const;
  void run(cuda::Execution& execution) const;
};

/** On the CPU alone: see Backend::check_supported. */
struct DynamicConv {
  Convolution convolution;

  void run(cpu::Execution& execution) const;
  void run(cuda::Execution& execution) const;
};

/** Element-wise conversion of any view into another of the same shape. */
struct Convert {
  View source, target;

  void run(cpu::Execution& execution) const;
  void run(cuda::Execution& execution) const;
};

/** Copies every source, bit by bit, to its part: a view of the result of its shape and dtype. */
struct Concat {
  std::vector<View> sources, parts;

  void run(cpu::Execution& execution) const;
  void run(cuda::Execution& execution) const;
};

/**
 * A layer of a step, in this order: pages that others hold too are copied, new tokens appended,
 * then attended to. What has no view is not done.
 */
struct StepAttention {
  Concat copies;
  Append append;
  Rotate rotate;      // of q, to the dtype that is computed in
  Convert convert_q;  // the same of a q that does not turn
  Attention attention;
  Convert convert_out;  // to the dtype of q

  void run(cpu::Execution& execution) const {
    run(execution, [&] { attention.run(execution); });
  }
  void run(cuda::Execution& execution) const {
    run(execution, [&] { attention.run(execution); });
  }

  /** `attend` takes the place of attention. */
  template <typename Execution, typename Attend>
  void run(Execution& execution, Attend attend) const {
    if (!copies.sources.empty()) copies.run(execution);
    append.run(execution);
    if (rotate.rotation.x.present()) rotate.run(execution);
    if (convert_q.source.present()) convert_q.run(execution);
    attend();
    if (convert_out.source.present()) convert_out.run(execution);
  }
};

/**
 * Consecutive layers of a step, over the memory of a graph: see core/decode_graph.h. Tables and
 * rows are brought there first, and pages that others hold too are copied. Only a device that
 * captures has it: see Backend::decode_list_bytes.
 */
struct ReplayDecode {
  std::shared_ptr<const DecodeGraph> graph;
  std::shared_ptr<const GraphTables> tables;
  int64_t first_layer = 0, layers = 0;
  Concat rows;  // q, k and v that are on the device
  std::shared_ptr<const HostStorage>
      numbers;    // those that are not, as the graph's layers have them
  Concat copies;  // of pages
  std::vector<std::shared_ptr<Storage>> replaced;  // results that this replay writes over

  void run(cpu::Execution& execution) const;
  void run(cuda::Execution& execution) const;
};

/** plain [batch, seqlen, heads, dim] -> values and scales. */
struct Quantize {
  View plain;
  Quantized quantized;
  bool check_contents = false;

  void run(cpu::Execution& execution) const;
  void run(cuda::Execution& execution) const;
};

struct Dequantize {
  Quantized quantized;
  View plain;
  bool check_contents = false;

  void run(cpu::Execution& execution) const;
  void run(cuda::Execution& execution) const;
};

struct FillZero {
  View target;

  void run(cpu::Execution& execution) const;
  void run(cuda::Execution& execution) const;
};

/**
 * Standard normal values: Box-Muller over Philox4x32-10 by element index; the same on every device.
 */
struct FillNormal {
  View target;
  uint64_t seed = 0;

  void run(cpu::Execution& execution) const;
  void run(cuda::Execution& execution) const;
};

/**
 * Converts `source` to contiguous `dtype` at `host`, the memory of the one storage written, which
 * nobody else touches until what is notified afterwards has run.
 */
struct Download {
  View source;
  DType dtype = DType::kFloat32;
  void* host = nullptr;

  void run(cpu::Execution& execution) const;
  void run(cuda::Execution& execution) const;
};

/** The reverse: `host` is contiguous, as is `target`, and belongs to one of the storages read. */
struct Receive {
  const void* host = nullptr;
  DType dtype = DType::kFloat32;
  View target;

  void run(cpu::Execution& execution) const;
  void run(cuda::Execution& execution) const;
};

/**
 * Writes to `milliseconds`, the memory of the one storage written, how long the device was at what
 * was enqueued since the lap before; 0 for the first.
 */
struct Lap {
  double* milliseconds = nullptr;

  void run(cpu::Execution& execution) const;
  void run(cuda::Execution& execution) const;
};

}  // namespace fa::ops

namespace fa {

using Operation =
    std::variant<ops::Attention, ops::AttentionBackward, ops::MergeStates, ops::Append, ops::Rotate,
                 ops::DynamicConv, ops::Convert, ops::Concat, ops::StepAttention, ops::ReplayDecode,
                 ops::Quantize, ops::Dequantize, ops::FillZero, ops::FillNormal, ops::Download,
                 ops::Receive, ops::Lap>;

}  // namespace fa
