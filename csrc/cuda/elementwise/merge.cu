// Exact merge of attention over disjoint key sets (Flash-Decoding; Rabe & Staats 2021, §2):
//   lse = log sum_s exp(lse_s),   out = sum_s exp(lse_s - lse) out_s.
#include <algorithm>
#include <cmath>

#include "core/ops.h"
#include "cuda/base/error.h"
#include "cuda/base/execution.h"
#include "cuda/base/launch.h"
#include "cuda/base/scratch.h"
#include "cuda/elementwise/merge.h"
#include "cuda/ptx/ptx.h"

namespace fa::cuda {

namespace {

constexpr int kWarp = 32;
constexpr int kWarps = 4;

struct State {
  const void* out;
  const float* lse;
  int64_t out_strides[4];  // [B, S, H, D]
  int64_t lse_strides[3];  // [B, H, S]
};

struct MergeParams {
  const State* states;
  int count;
  void* out;
  float* lse;
  int64_t out_strides[4], lse_strides[3];
  int64_t batch, seqlen, heads, dim;
};

/** Where a state has the lse and the elements of row (b, i, h). */
PTX_FN const float* lse_of(const State& state, int64_t b, int64_t i, int64_t h) {
  return ptx::ldg(&state.lse) + b * ptx::ldg(&state.lse_strides[0]) +
         h * ptx::ldg(&state.lse_strides[1]) + i * ptx::ldg(&state.lse_strides[2]);
}
template <class T>
PTX_FN const T* out_of(const State& state, int64_t b, int64_t i, int64_t h, int64_t d) {
  return static_cast<const T*>(ptx::ldg(&state.out)) + b * ptx::ldg(&state.out_strides[0]) +
         i * ptx::ldg(&state.out_strides[1]) + h * ptx::ldg(&state.out_strides[2]) +
         d * ptx::ldg(&state.out_strides[3]);
}

/** A warp merges one row; its lanes share out the dims. */
template <class T>
__global__ void __launch_bounds__(kWarp* kWarps)
    merge_kernel(const __grid_constant__ MergeParams p) {
  const int lane = threadIdx.x % kWarp;
  const int64_t row = int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp;
  if (row >= p.batch * p.seqlen * p.heads) return;
  const int64_t h = row % p.heads, i = row / p.heads % p.seqlen, b = row / p.heads / p.seqlen;

  const float kInfinity = ptx::float_from_bits(0x7f800000u);
  float highest = -kInfinity;
  for (int s = 0; s < p.count; ++s)
    highest = fmaxf(highest, ptx::ldg(lse_of(p.states[s], b, i, h)));
  const float origin = highest == -kInfinity ? 0.f : highest;
  float sum = 0;  // NaN where a state has one, 0 where none saw anything
  for (int s = 0; s < p.count; ++s) sum += expf(ptx::ldg(lse_of(p.states[s], b, i, h)) - origin);
  if (lane == 0)
    ptx::stg(p.lse + b * p.lse_strides[0] + h * p.lse_strides[1] + i * p.lse_strides[2],
             sum == 0 ? -kInfinity : highest + logf(sum));
  for (int64_t d = lane; d < p.dim; d += kWarp) {
    float value = 0;
    for (int s = 0; s < p.count; ++s) {
      const float lse = ptx::ldg(lse_of(p.states[s], b, i, h));
      if (lse == -kInfinity) continue;  // a state that saw nothing
      value +=
          expf(lse - origin) / sum * ptx::to_float(ptx::ldg(out_of<T>(p.states[s], b, i, h, d)));
    }
    T* const out = static_cast<T*>(p.out) + b * p.out_strides[0] + i * p.out_strides[1] +
                   h * p.out_strides[2] + d * p.out_strides[3];
    ptx::stg(out, ptx::from_float<T>(value));
  }
}

State describe(const View& out, const View& lse) {
  State state{};
  state.out = out.data;
  state.lse = static_cast<const float*>(lse.data);
  std::copy_n(out.strides, 4, state.out_strides);
  std::copy_n(lse.strides, 3, state.lse_strides);
  return state;
}

}  // namespace

void merge_states(const std::vector<View>& outs, const std::vector<View>& lses, const View& out,
                  const View& lse, const Queue& queue) {
  const int64_t rows = lse.size();
  if (rows == 0) return;
  std::vector<State> states;
  for (size_t s = 0; s < outs.size(); ++s) states.push_back(describe(outs[s], lses[s]));
  Scratch scratch(queue);
  State* const on_device = scratch.take_array<State>(states.size());
  // From memory that is not pinned: it has been read when the call returns.
  FA_CUDA(cudaMemcpyAsync, on_device, states.data(), states.size() * sizeof(State),
          cudaMemcpyHostToDevice, queue.stream);

  MergeParams p{};
  p.states = on_device;
  p.count = static_cast<int>(states.size());
  p.out = out.data;
  p.lse = static_cast<float*>(lse.data);
  std::copy_n(out.strides, 4, p.out_strides);
  std::copy_n(lse.strides, 3, p.lse_strides);
  p.batch = out.shape[0];
  p.seqlen = out.shape[1];
  p.heads = out.shape[2];
  p.dim = out.shape[3];
  const int64_t blocks = (rows + kWarps - 1) / kWarps;
  constexpr int kThreads = kWarp * kWarps;
  switch (out.dtype) {
    case DType::kFloat16: return launch(merge_kernel<ptx::f16>, blocks, kThreads, 0, queue, p);
    case DType::kBFloat16: return launch(merge_kernel<ptx::bf16>, blocks, kThreads, 0, queue, p);
    default: return launch(merge_kernel<float>, blocks, kThreads, 0, queue, p);
  }
}

}  // namespace fa::cuda

namespace fa {

void ops::MergeStates::run(cuda::Execution& execution) const {
  cuda::merge_states(outs, lses, out, lse, execution.queue);
}

}  // namespace fa
