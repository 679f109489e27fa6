#include "core/attention.h"

#include "core/error.h"

namespace fa {

namespace {

const int32_t* int32_data(const View& view) { return static_cast<const int32_t*>(view.data); }

int32_t int32_at(const View& view, int64_t i) { return int32_data(view)[i * view.strides[0]]; }

}  // namespace

Sequence sequence(const AttentionProblem& problem, int64_t batch) {
  Sequence s{};
  if (problem.varlen()) {
    s.q_begin = int32_at(problem.cu_seqlens_q, batch);
    s.seqlen_q = int32_at(problem.cu_seqlens_q, batch + 1) - s.q_begin;
    s.k_begin = int32_at(problem.cu_seqlens_k, batch);
    s.seqlen_k = int32_at(problem.cu_seqlens_k, batch + 1) - s.k_begin;
    return s;
  }
  s.q_batch = batch;
  s.k_batch = batch;
  s.seqlen_q = problem.q.shape[1];
  s.seqlen_k =
      problem.seqlens_k.present() ? int32_at(problem.seqlens_k, batch) : problem.max_seqlen_k;
  return s;
}

}  // namespace fa
