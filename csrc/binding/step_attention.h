// A layer of a step.
#pragma once

#include "binding/napi.h"

namespace fa::binding {

/**
 * stepAttention(step, kPages, vPages, kScales, vScales, q, k, v, options, positions, returnLse,
 * sync): see ops::StepAttention.
 */
Napi::Value step_attention(const Napi::CallbackInfo& call);

}  // namespace fa::binding
