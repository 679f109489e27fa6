#include <cmath>

#include "core/ops.h"
#include "core/philox.h"
#include "cuda/base/error.h"
#include "cuda/base/execution.h"
#include "cuda/base/launch.h"
#include "cuda/elementwise/fill.h"
#include "cuda/ptx/ptx.h"

namespace fa::cuda {

namespace {

constexpr int kThreads = 128;
constexpr int kDraw = 4;  // values that one draw of Philox makes

struct NormalParams {
  char* target;
  int dtype;
  int64_t size;
  uint32_t key0, key1;
};

PTX_FN void store(char* target, int dtype, int64_t index, float value) {
  if (dtype == static_cast<int>(DType::kFloat32))
    ptx::stg(reinterpret_cast<float*>(target) + index, value);
  else if (dtype == static_cast<int>(DType::kFloat16))
    ptx::stg(reinterpret_cast<ptx::f16*>(target) + index, ptx::from_float<ptx::f16>(value));
  else
    ptx::stg(reinterpret_cast<ptx::bf16*>(target) + index, ptx::from_float<ptx::bf16>(value));
}

__global__ void __launch_bounds__(kThreads) normal_kernel(const __grid_constant__ NormalParams p) {
  constexpr double kTwoPi = 6.283185307179586;
  const int64_t draw = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (draw * kDraw >= p.size) return;
  uint32_t words[4] = {static_cast<uint32_t>(draw), static_cast<uint32_t>(draw >> 32), 0, 0};
  philox(words, p.key0, p.key1);
  for (int pair = 0; pair < kDraw; pair += 2) {
    // Box-Muller on (0, 1] x [0, 1), in float64 as on the CPU, so that the float32 result is the
    // same.
    const double radius = std::sqrt(-2 * std::log((words[pair] + 1.0) / 4294967296.0));
    const double angle = kTwoPi * (words[pair + 1] / 4294967296.0);
    const int64_t index = draw * kDraw + pair;
    if (index < p.size)
      store(p.target, p.dtype, index, static_cast<float>(radius * std::cos(angle)));
    if (index + 1 < p.size)
      store(p.target, p.dtype, index + 1, static_cast<float>(radius * std::sin(angle)));
  }
}

}  // namespace

void fill_zero(const View& target, const Queue& queue) {
  const size_t bytes = static_cast<size_t>(target.size()) * dtype_size(target.dtype);
  if (bytes > 0) FA_CUDA(cudaMemsetAsync, target.data, 0, bytes, queue.stream);
}

void fill_normal(const View& target, uint64_t seed, const Queue& queue) {
  NormalParams p{};
  p.target = static_cast<char*>(target.data);
  p.dtype = static_cast<int>(target.dtype);
  p.size = target.size();
  p.key0 = static_cast<uint32_t>(seed);
  p.key1 = static_cast<uint32_t>(seed >> 32);
  const int64_t per_block = kThreads * kDraw;
  launch(normal_kernel, (p.size + per_block - 1) / per_block, kThreads, 0, queue, p);
}

cudaError_t find_kernels() {
  cudaFuncAttributes attributes;
  return cudaFuncGetAttributes(&attributes, normal_kernel);
}

}  // namespace fa::cuda

namespace fa {

void ops::FillZero::run(cuda::Execution& execution) const {
  cuda::fill_zero(target, execution.queue);
}

void ops::FillNormal::run(cuda::Execution& execution) const {
  cuda::fill_normal(target, seed, execution.queue);
}

}  // namespace fa
