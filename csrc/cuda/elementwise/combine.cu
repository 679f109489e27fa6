#include "cuda/base/launch.h"
#include "cuda/device/row_result.h"
#include "cuda/device/sequence.h"
#include "cuda/elementwise/combine.h"

namespace fa::cuda {

namespace {

constexpr int kWarps = 4;
constexpr int kMostSplits = 256;  // core/validate.cpp
constexpr int kLanes = 32;
constexpr int kFloatBytes = sizeof(float);
constexpr int kColumns = 4;        // of a lane at a time: ForwardPlan::partial_width
constexpr float kSawNothing = -1;  // in place of a split's weight

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

/**
 * A warp merges one row: lane l works out the weights of splits l, l + 32, ... and merges four dims
 * from 4 l on, then those 128 further on, ...
 */
template <class T>
__global__ void __launch_bounds__(kWarps* kLanes)
    combine_kernel(const __grid_constant__ CombineParams p) {
  PTX_SHARED(float, weights_of_block, kWarps* kMostSplits);
  const AttentionParams& a = p.attention;
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  const int warp = static_cast<int>(threadIdx.x) / kLanes;
  const uint32_t weights = weights_of_block + warp * kMostSplits * kFloatBytes;
  const int64_t index = int64_t{blockIdx.x} * kWarps + warp;
  if (index >= int64_t{p.item_count + p.query_count} * a.heads) return;
  const int at = p.heads.quotient(static_cast<int>(index));
  const int head = p.heads.remainder(static_cast<int>(index));
  const int query = p.first_query + at - p.item_count;
  const MergeItem item = at < p.item_count
                             ? ptx::ldg(p.items + at)
                             : MergeItem{query, p.splits, query * a.heads, p.query_count * a.heads};
  ptx::wait_for_primary();     // until here nothing was read that kernels of the call write
  if (item.query < 0) return;  // a list of fixed capacity: nobody waits for this warp
  const int batch = p.rows.quotient(item.query), row = p.rows.remainder(item.query);
  const int splits = item.splits;

  const int64_t first = int64_t{item.partial} + head;
  const float* const top = p.partial.tops + first;
  float highest = -kInfinity, sum = 0;
  for (int split = lane; split < splits; split += kLanes)
    highest = fmaxf(highest, ptx::ldg(top + int64_t{split} * item.stride));
  highest = warp_max(highest);
  const float origin = highest == -kInfinity ? 0.f : highest;
  for (int split = lane; split < splits; split += kLanes) {
    const float* const of_split = top + int64_t{split} * item.stride;
    const float sum_of_split = ptx::ldg(of_split + p.partial.sums);  // NaN where the row has one
    const float weight = ptx::exp2_approx((ptx::ldg(of_split) - origin) * kLog2E) * sum_of_split;
    ptx::sts<float>(weights + split * kFloatBytes, sum_of_split == 0 ? kSawNothing : weight);
    sum += weight;
  }
  sum = warp_sum(sum);
  const float inverse = sum == 0 ? 0.f : 1 / sum;
  // Of one split alone the weight is 1, and the row comes out as it is.
  for (int split = lane; split < splits; split += kLanes) {
    const uint32_t at_split = weights + split * kFloatBytes;
    const float weight = ptx::lds<float>(at_split);
    if (weight != kSawNothing)
      ptx::sts<float>(at_split, weight == sum && sum != 0 ? 1.f : weight * inverse);
  }
  ptx::sync_warp();  // every lane reads all weights

  const float* const partial = p.partial.out + first * p.partial.width;
  const int64_t stride = int64_t{item.stride} * p.partial.width;
  T* const out =
      static_cast<T*>(a.out.data) + batch * a.out.batch + row * a.out.row + head * a.out.head;
  // Rows of partial results are padded to whole vectors: a lane has four columns, and several
  // splits of them on their way.
  for (int column = kColumns * lane; column < a.head_dim_v; column += kColumns * kLanes) {
    float value[kColumns] = {};
    const float* from = partial + column;
#pragma unroll 8
    for (int split = 0; split < splits; ++split, from += stride) {
      const float weight = ptx::lds<float>(weights + split * kFloatBytes);
      const float4 x = ptx::ldg(reinterpret_cast<const float4*>(from));
      // What a split left behind that saw nothing must not matter; NaN of one that weighs nothing
      // must.
      const bool counts = weight != kSawNothing;
      const float of_split[kColumns] = {x.x, x.y, x.z, x.w};
#pragma unroll
      for (int c = 0; c < kColumns; ++c) value[c] += counts ? weight * of_split[c] : 0.f;
    }
#pragma unroll
    for (int c = 0; c < kColumns; ++c)
      if (column + c < a.head_dim_v)
        ptx::stg(out + (column + c) * a.out.dim, ptx::from_float<T>(value[c]));
  }
  if (lane == 0 && a.lse.data != nullptr)
    ptx::stg(a.lse.data + batch * a.lse.batch + head * a.lse.head + row * a.lse.row,
             row_lse(highest, sum));
}

}  // namespace

void combine(const CombineParams& p, DType dtype, const Queue& queue, Order order) {
  const int64_t rows = int64_t{p.item_count + p.query_count} * p.attention.heads;
  if (rows > kMostBlocks)
    throw Error(ErrorCode::kShape, "q",
                "Expected at most " + std::to_string(kMostBlocks) +
                    " rows of all heads but received " + std::to_string(rows));
  const int64_t blocks = (rows + kWarps - 1) / kWarps;
  constexpr int kThreads = kWarps * kLanes;
  const auto kernel = dtype == DType::kFloat16    ? combine_kernel<ptx::f16>
                      : dtype == DType::kBFloat16 ? combine_kernel<ptx::bf16>
                                                  : combine_kernel<float>;
  launch(kernel, blocks, kThreads, 0, queue, p, order);
}

}  // namespace fa::cuda
