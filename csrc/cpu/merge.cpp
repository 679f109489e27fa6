// Exact merge of attention over disjoint key sets (Flash-Decoding; Rabe & Staats 2021, §2):
//   lse = log sum_s exp(lse_s),   out = sum_s exp(lse_s - lse) out_s.
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "cpu/arena.h"
#include "cpu/isa.h"
#include "cpu/ops.h"
#include "cpu/thread_pool.h"

namespace fa::cpu {

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/**
 * Fills `weights` from the states' lse; returns the merged lse. All weights are 0 when no state saw
 * anything.
 */
float merge_weights(float* weights, size_t states) {
  const float highest = *std::max_element(weights, weights + states);
  if (highest == -kInfinity) {
    std::fill(weights, weights + states, 0.f);
    return -kInfinity;
  }
  float sum = 0;
  for (size_t s = 0; s < states; ++s) {
    weights[s] = std::exp(weights[s] - highest);
    sum += weights[s];
  }
  for (size_t s = 0; s < states; ++s) weights[s] /= sum;
  return highest + std::log(sum);
}

}  // namespace

void merge_states(const std::vector<View>& outs, const std::vector<View>& lses, const View& out,
                  const View& lse, Cancel cancel) {
  const int64_t batch = out.shape[0], seqlen = out.shape[1], heads = out.shape[2];
  const size_t states = outs.size();
  const KernelTable& table = kernels();
  const auto merge_rows = [&](int64_t index) {
    const int64_t b = index / seqlen, i = index % seqlen;
    const int padded = static_cast<int>((out.shape[3] + 15) / 16 * 16);
    static thread_local Arena arena;
    const size_t row_bytes = 2 * static_cast<size_t>(padded) * sizeof(float);
    char* at =
        arena.reserve(row_bytes + states * (sizeof(float) + sizeof(int64_t) + sizeof(char*)) + 16);
    MergeRowArgs args{};
    args.scratch = reinterpret_cast<float*>(at);
    const char** const rows = reinterpret_cast<const char**>(at + row_bytes);
    int64_t* const dim_strides = reinterpret_cast<int64_t*>(rows + states);
    float* const weights = reinterpret_cast<float*>(dim_strides + states);
    args.states = static_cast<int>(states);
    args.rows = rows;
    args.dim_strides = dim_strides;
    args.weights = weights;
    args.dtype = static_cast<int>(outs[0].dtype);
    args.n = static_cast<int>(out.shape[3]);
    args.out_dtype = static_cast<int>(out.dtype);
    args.out_dim_stride = out.strides[3];
    for (int64_t h = 0; h < heads; ++h) {
      for (size_t s = 0; s < states; ++s) {
        const View& o = outs[s];
        const View& l = lses[s];
        rows[s] = o.at(b * o.strides[0] + i * o.strides[1] + h * o.strides[2]);
        dim_strides[s] = o.strides[3];
        weights[s] = static_cast<const float*>(
            l.data)[b * l.strides[0] + h * l.strides[1] + i * l.strides[2]];
      }
      const float merged = merge_weights(weights, states);
      if (lse.present())
        static_cast<float*>(
            lse.data)[b * lse.strides[0] + h * lse.strides[1] + i * lse.strides[2]] = merged;
      args.out = out.at(b * out.strides[0] + i * out.strides[1] + h * out.strides[2]);
      table.merge_row(args);
    }
  };
  ThreadPool::shared().parallel_for(batch * seqlen, std::ref(merge_rows), cancel);
}

}  // namespace fa::cpu
