#include "cuda/any/combine.h"
#include "cuda/common/sequence.h"
#include "cuda/common/softmax.h"
#include "cuda/runtime/launch.h"

namespace fa::cuda {

namespace {

constexpr int kWarps = 4;
constexpr int kMostSplits = 256;  // core/validate.cpp
constexpr int kLanes = 32;
constexpr int kSplitsPerLane = kMostSplits / kLanes;

PTX_FN float warp_max(float x) {
#pragma unroll
  for (int step = kLanes / 2; step > 0; step /= 2) x = fmaxf(x, ptx::shfl_xor(x, step));
  return x;
}
PTX_FN float warp_sum(float x) {
#pragma unroll
  for (int step = kLanes / 2; step > 0; step /= 2) x += ptx::shfl_xor(x, step);
  return x;
}

/** A warp merges one row: lane l looks after the weights of splits l, l + 32, ... and of dims l, l + 32, ... */
template <class T>
__global__ void __launch_bounds__(kWarps* kLanes)
    combine_kernel(const __grid_constant__ CombineParams p) {
  const AttentionParams& a = p.attention;
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  const int64_t index = int64_t{blockIdx.x} * kWarps + static_cast<int>(threadIdx.x) / kLanes;
  if (index >= int64_t{p.batches} * p.rows * a.heads) return;
  const int head = static_cast<int>(index % a.heads);
  const int row = static_cast<int>(index / a.heads % p.rows);
  const int batch = static_cast<int>(index / a.heads / p.rows);
  const Indices cu = a.cu_seqlens_q;
  const bool covered = cu.data == nullptr || row < ptx::ldg(cu.data + a.batch * cu.stride);
  if (covered && p.splits == 0) return;
  const int splits = covered ? p.splits : 0;

  const RowScalars& lses = p.partial_lse;
  const float* const lse = lses.data + batch * lses.batch + head * lses.head + row * lses.row;
  float weight[kSplitsPerLane], highest = -kInfinity, sum = 0;
#pragma unroll
  for (int n = 0; n < kSplitsPerLane; ++n) {
    const int split = n * kLanes + lane;
    weight[n] = split < splits ? ptx::ldg(lse + split * p.lse_split) : -kInfinity;
    highest = fmaxf(highest, weight[n]);
  }
  highest = warp_max(highest);
  const float origin = highest == -kInfinity ? 0.f : highest;
#pragma unroll
  for (int n = 0; n < kSplitsPerLane; ++n) {
    weight[n] = ptx::exp2_approx((weight[n] - origin) * kLog2E);
    sum += weight[n];
  }
  sum = warp_sum(sum);
  const float inverse = sum == 0 ? 0.f : 1 / sum;

  const float* const partial = static_cast<const float*>(p.partial_out.data) +
                               batch * p.partial_out.batch + row * p.partial_out.row +
                               head * p.partial_out.head;
  T* const out =
      static_cast<T*>(a.out.data) + batch * a.out.batch + row * a.out.row + head * a.out.head;
  for (int first = 0; first < a.head_dim_v; first += kLanes) {
    const int column = first + lane;
    const bool inside = column < a.head_dim_v;
    float value = 0;
#pragma unroll
    for (int n = 0; n < kSplitsPerLane; ++n) {
      for (int l = 0; l < kLanes && n * kLanes + l < splits; ++l) {
        const float w = ptx::shfl_idx(weight[n], l) * inverse;
        // What no row of a split sees has weight 0, and what it left behind must not matter.
        const float x = inside ? ptx::ldg(partial + (n * kLanes + l) * p.out_split + column) : 0.f;
        if (w != 0) value += w * x;
      }
    }
    if (inside) ptx::stg(out + column * a.out.dim, ptx::from_float<T>(value));
  }
  if (lane == 0 && a.lse.data != nullptr)
    ptx::stg(a.lse.data + batch * a.lse.batch + head * a.lse.head + row * a.lse.row,
             sum == 0 ? -kInfinity : highest + ptx::log2_approx(sum) * kLn2);
}

}  // namespace

void combine(const CombineParams& p, DType dtype, const Queue& queue) {
  const int64_t rows = int64_t{p.batches} * p.rows * p.attention.heads;
  const dim3 grid(static_cast<unsigned>((rows + kWarps - 1) / kWarps)), block(kWarps * kLanes);
  switch (dtype) {
    case DType::kFloat16: return launch(combine_kernel<ptx::f16>, grid, block, 0, queue, p);
    case DType::kBFloat16: return launch(combine_kernel<ptx::bf16>, grid, block, 0, queue, p);
    default: return launch(combine_kernel<float>, grid, block, 0, queue, p);
  }
}

}  // namespace fa::cuda
