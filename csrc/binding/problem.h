// The `args` object of attention() and plan() as an attention problem.
#pragma once

#include <memory>
#include <vector>

#include "binding/napi.h"
#include "core/assume.h"
#include "core/stream.h"
#include "core/validate.h"

namespace fa::binding {

/** A tensor of a problem whose contents decide what is legal, and what holds them. */
struct Index {
  View& (*view)(AttentionProblem&);
  std::shared_ptr<Storage> storage;
};

/** A call without its outputs. Nothing of it has been validated but what building it needs. */
struct AttentionCall {
  AttentionProblem problem;
  Stream* stream = nullptr;
  std::vector<std::shared_ptr<Storage>> inputs;
  std::vector<Index> indices;
  Layout layout = Layout::kBshd;      // of q and out
  Layout key_layout = Layout::kBshd;  // of k and v
  bool return_lse = false;
  bool longest_q_given = false;  // varlen: maxSeqlenQ was, so problem.max_seqlen_q is not the total
  bool longest_k_given = false;

  /** True when the host can read the contents of all `indices` without waiting. */
  bool indices_ready() const;
};

/** The scale of a call that gives none: 1 / sqrt(head_dim). */
float usual_scale(int64_t head_dim);

/** Scale, window and the like: what `args` say of a call whatever its q, k and v are. */
void read_modifiers(const Napi::Object& args, AttentionCall& call);

AttentionCall attention_call(const Napi::Value& args);

/**
 * A call of attentionBackward(): the forward call, its results, and the gradients as far as they
 * are given.
 */
struct BackwardCall {
  AttentionCall forward;
  AttentionGradients gradients;
};

BackwardCall backward_call(const Napi::Value& args);

/** A valid call's problem with index tensors that the host can read, and what holds them. */
struct HostProblem {
  AttentionProblem problem;
  std::vector<std::shared_ptr<Storage>> fetched;
  AssumedContents assumed;
};

/**
 * Reads the index tensors of a valid call and throws unless what they hold is legal. Replaces, in
 * the call as well, the totals that a varlen call without maxSeqlenQ or maxSeqlenK starts with by
 * the length of the longest sequence. Never waits for queued work: what is not known yet is assumed
 * (core/assume.h), which is nothing when the indices are ready. Those that only the device has are
 * fetched when nothing is queued.
 */
HostProblem check_indices(AttentionCall& call);

}  // namespace fa::binding
