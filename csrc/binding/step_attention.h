// A layer of a step.
#pragma once

#include <memory>

#include "binding/napi.h"
#include "binding/step.h"
#include "core/ops.h"
#include "core/storage.h"

namespace fa::binding {

/**
 * stepAttention(step, kPages, vPages, kScales, vScales, q, k, v, options, positions, returnLse,
 * sync): see ops::StepAttention.
 */
Napi::Value step_attention(const Napi::CallbackInfo& call);

/** What a layer is given, as JavaScript has it: see step_attention. */
struct LayerArgs {
  Napi::Value k_pages, v_pages, k_scales, v_scales, q, k, v, options, positions;
};

/** What is to be done for a layer, and with what memory. */
struct LayerTask {
  std::unique_ptr<Operation> operation;  // an ops::StepAttention
  TaskStorages storages;
};

/**
 * Of a layer of `step` that writes [total, heads, headDimV] to `out`, in the dtype of q, and
 * [heads, total] to `lse` unless that has no memory.
 */
LayerTask layer_task(Napi::Env env, PreparedStep& step, const LayerArgs& args, const TensorRef& out,
                     const TensorRef& lse);

}  // namespace fa::binding
