// The `args` object of attention() and plan() as an attention problem.
#pragma once

#include <memory>
#include <vector>

#include "binding/napi.h"
#include "core/stream.h"

namespace fa::binding {

/** A call without its outputs. Nothing of it has been validated but what building it needs. */
struct AttentionCall {
  AttentionProblem problem;
  Stream* stream = nullptr;
  std::vector<std::shared_ptr<Storage>> inputs;
  std::vector<std::shared_ptr<Storage>>
      indices;        // those inputs whose contents decide what is legal
  bool bhsd = false;  // dense and paged queries are [B, H, S, D]
  bool return_lse = false;
  bool longest_q_given = false;  // varlen: maxSeqlenQ was, so problem.max_seqlen_q is not the total
  bool longest_k_given = false;

  /** True when the contents of all `indices` can be looked at now. */
  bool indices_ready() const;
};

AttentionCall attention_call(const Napi::Value& args);

/** A call of attentionBackward(): the forward call, its results, and the gradients as far as they are given. */
struct BackwardCall {
  AttentionCall forward;
  AttentionGradients gradients;
};

BackwardCall backward_call(const Napi::Value& args);

/**
 * Replaces the totals that a varlen call without maxSeqlenQ or maxSeqlenK starts with by the length of
 * the longest sequence. The call is valid, and its indices are ready.
 */
void tighten_lengths(AttentionCall& call);

}  // namespace fa::binding
