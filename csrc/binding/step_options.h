// What a model's calls of stepAttention() have in common, read once.
#pragma once

#include <memory>
#include <vector>

#include "binding/napi.h"
#include "core/attention.h"
#include "core/rotary.h"
#include "core/stream.h"

namespace fa::binding {

struct StepOptions {
  AttentionProblem problem;  // what it says of any q, k and v
  bool scale_given = false;
  Rotary rotary;  // without positions
  Stream* stream = nullptr;
  /** Of the tensors above, which whoever made them may dispose. */
  std::vector<std::weak_ptr<Storage>> storages;
};

/** stepOptions(device, { scale, ..., rotary }) */
Napi::Value step_options(const Napi::CallbackInfo& call);

const StepOptions& step_options_of(const Napi::Value& value);

}  // namespace fa::binding
