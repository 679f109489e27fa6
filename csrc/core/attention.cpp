#include "core/attention.h"

#include "core/error.h"
#include "core/layout.h"

namespace fa {

namespace {

int32_t int32_at(const View& view, int64_t i) { return int32_data(view)[i * view.strides[0]]; }

}  // namespace

bool values_in_keys(const View& k, const View& v) {
  const auto same_strides = [&] {
    for (int axis = 0; axis < 4; ++axis)
      if (v.shape[axis] > 1 && v.strides[axis] != k.strides[axis]) return false;
    return true;
  };
  return v.data == k.data && v.dtype == k.dtype && v.shape[3] <= k.shape[3] && same_strides();
}

Sequence sequence(const AttentionProblem& problem, int64_t batch) {
  if (problem.sequences) return problem.sequences->sequences[static_cast<size_t>(batch)];
  Sequence s{.q_batch = batch,
             .q_begin = 0,
             .seqlen_q = problem.q.shape[1],
             .k_batch = batch,
             .k_begin = 0,
             .seqlen_k = problem.max_seqlen_k,
             .first_position = 0};
  if (problem.packed_queries()) {
    s.q_batch = 0;
    s.q_begin = int32_at(problem.cu_seqlens_q, batch);
    s.seqlen_q = int32_at(problem.cu_seqlens_q, batch + 1) - s.q_begin;
  }
  if (problem.packed_keys()) {
    s.k_batch = 0;
    s.k_begin = int32_at(problem.cu_seqlens_k, batch);
    s.seqlen_k = int32_at(problem.cu_seqlens_k, batch + 1) - s.k_begin;
  } else if (problem.seqlens_k.present()) {
    s.seqlen_k = int32_at(problem.seqlens_k, batch);
  }
  s.first_position = problem.first_positions.present() ? int32_at(problem.first_positions, batch)
                                                       : s.seqlen_k - s.seqlen_q;
  return s;
}

std::shared_ptr<const SequenceTable> sequence_table(const AttentionProblem& problem) {
  if (!problem.ragged()) return nullptr;
  const auto table = std::make_shared<SequenceTable>();
  for (int64_t b = 0; b < problem.batch(); ++b) table->sequences.push_back(sequence(problem, b));
  return table;
}

View scales_over(const View& scales, std::initializer_list<int64_t> shape) {
  const int64_t* const extents = shape.begin();
  const bool one = scales.rank == 1 && scales.shape[0] == 1;
  const bool per_head =
      scales.rank == 2 && scales.shape[0] == extents[0] && scales.shape[1] == extents[1];
  if (!one && !per_head) return scales;
  View result = scales;
  result.rank = 0;
  for (const int64_t extent : shape) {
    const int axis = result.rank++;
    if (per_head && axis < scales.rank) continue;
    result.shape[axis] = extent;
    result.strides[axis] = 0;
  }
  return result;
}

View head_scales_over(const View& scales, int64_t batch, int64_t heads) {
  if (scales.rank != 1 || scales.shape[0] != heads) return scales_over(scales, {batch, heads});
  View result = with_leading_axis(scales);
  result.shape[0] = batch;
  return result;
}

View page_scales_over(const View& scales, const View& pages) {
  const int64_t heads = pages.shape[2];
  if (scales.rank != 1 || (scales.shape[0] != 1 && scales.shape[0] != heads)) return scales;
  View result = scales;
  result.rank = 3;
  for (int axis = 0; axis < 3; ++axis) {
    result.shape[axis] = pages.shape[axis];
    result.strides[axis] = 0;
  }
  if (scales.shape[0] == heads) result.strides[2] = scales.strides[0];
  return result;
}

View mask_over(const View& mask, std::initializer_list<int64_t> shape) {
  const int missing = static_cast<int>(shape.size()) - mask.rank;
  if (missing < 0) return mask;
  View result = mask;
  result.rank = 0;
  for (const int64_t extent : shape) {
    const int axis = result.rank++, source = axis - missing;
    const bool repeated = source < 0 || mask.shape[source] == 1;
    if (!repeated && mask.shape[source] != extent) return mask;
    result.shape[axis] = extent;
    result.strides[axis] = repeated ? 0 : mask.strides[source];
  }
  return result;
}

}  // namespace fa
