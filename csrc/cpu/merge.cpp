// Exact merge of attention over disjoint key sets (Flash-Decoding; Rabe & Staats 2021, §2):
//   lse = log sum_s exp(lse_s),   out = sum_s exp(lse_s - lse) out_s.
#include "cpu/merge.h"

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

/** Of the states of one row that saw something. */
struct RowStates {
  const char** outs;
  int64_t* dim_strides;
  float* lses;
  float* rests;
  float* weights;
  size_t count = 0;

  static size_t bytes(size_t states) {
    return states * (sizeof(char*) + sizeof(int64_t) + 3 * sizeof(float));
  }

  RowStates(char* memory, size_t states)
      : outs(reinterpret_cast<const char**>(memory)),
        dim_strides(reinterpret_cast<int64_t*>(outs + states)),
        lses(reinterpret_cast<float*>(dim_strides + states)),
        rests(lses + states),
        weights(rests + states) {}

  /** A state of lse -infinity saw nothing: whatever its out holds must not leak. */
  void add(const char* out, int64_t dim_stride, float lse, float rest) {
    if (lse == -kInfinity) return;
    outs[count] = out;
    dim_strides[count] = dim_stride;
    lses[count] = lse;
    rests[count++] = rest;
  }

  /** The state whose lse is highest, or NaN; the first when there is none. */
  size_t highest() const {
    size_t best = 0;
    for (size_t s = 0; s < count; ++s) {
      if (std::isnan(lses[s])) return s;
      if (lses[s] > lses[best] || (lses[s] == lses[best] && rests[s] > rests[best])) best = s;
    }
    return best;
  }

  /** Fills `weights`; returns the merged lse. */
  float weigh() {
    if (count == 0) return -kInfinity;
    const size_t top = highest();
    float sum = 0;
    for (size_t s = 0; s < count; ++s) {
      // Subtracted apart: near 1e9 a rest is more than the last digit of a float32 lse.
      weights[s] = std::exp((lses[s] - lses[top]) + (rests[s] - rests[top]));
      sum += weights[s];
    }
    for (size_t s = 0; s < count; ++s) weights[s] /= sum;
    return lses[top] + (rests[top] + std::log(sum));
  }
};

int64_t lse_at(const View& lse, int64_t b, int64_t h, int64_t i) {
  return b * lse.strides[0] + h * lse.strides[1] + i * lse.strides[2];
}

}  // namespace

void merge_row(const MergeState* states, size_t count, const View& out, const View& lse, int64_t b,
               int64_t i) {
  static thread_local Arena arena;
  const int64_t padded = (out.shape[3] + 15) / 16 * 16;
  const size_t row_bytes = 2 * static_cast<size_t>(padded) * sizeof(float);
  char* const scratch = arena.reserve(row_bytes + RowStates::bytes(count));
  for (int64_t h = 0; h < out.shape[2]; ++h) {
    RowStates row(scratch + row_bytes, count);
    for (size_t s = 0; s < count; ++s) {
      const View& o = states[s].out;
      const auto read = [&](const View& view) {
        return view.present() ? static_cast<const float*>(view.data)[lse_at(view, b, h, i)] : 0.f;
      };
      row.add(o.at(b * o.strides[0] + i * o.strides[1] + h * o.strides[2]), o.strides[3],
              read(states[s].lse), read(states[s].rest));
    }
    const float merged = row.weigh();
    if (lse.present()) static_cast<float*>(lse.data)[lse_at(lse, b, h, i)] = merged;
    kernels().merge_row(MergeRowArgs{
        .states = static_cast<int>(row.count),
        .rows = row.outs,
        .dim_strides = row.dim_strides,
        .dtype = static_cast<int>(states[0].out.dtype),
        .weights = row.weights,
        .n = static_cast<int>(out.shape[3]),
        .out = out.at(b * out.strides[0] + i * out.strides[1] + h * out.strides[2]),
        .out_dtype = static_cast<int>(out.dtype),
        .out_dim_stride = out.strides[3],
        .scratch = reinterpret_cast<float*>(scratch),
    });
  }
}

void merge_states(const std::vector<View>& outs, const std::vector<View>& lses, const View& out,
                  const View& lse, Cancel cancel) {
  std::vector<MergeState> states;
  for (size_t s = 0; s < outs.size(); ++s)
    states.push_back({.out = outs[s], .lse = lses[s], .rest = {}});
  const int64_t seqlen = out.shape[1];
  const auto merge = [&](int64_t index) {
    merge_row(states.data(), states.size(), out, lse, index / seqlen, index % seqlen);
  };
  parallel_for(out.shape[0] * seqlen, std::ref(merge), cancel, "merge states");
}

}  // namespace fa::cpu

namespace fa {

void ops::MergeStates::run(cpu::Execution& execution) const {
  cpu::merge_states(outs, lses, out, lse, execution.cancel);
}

}  // namespace fa
