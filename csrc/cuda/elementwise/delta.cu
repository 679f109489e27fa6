#include "cuda/base/launch.h"
#include "cuda/device/load_tile.h"
#include "cuda/device/scores.h"
#include "cuda/elementwise/delta.h"

namespace fa::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kLanesPerRow = 16;  // 16-byte chunks of a row of 128 16-bit elements
constexpr int kRowsPerBlock = kThreads / kLanesPerRow;

/** Sixteen bytes of a row as floats, zeros beyond its end. */
template <class T>
PTX_FN void load_floats(float (&values)[kChunkBytes / sizeof(T)], const T* row, int64_t dim_stride,
                        int column, int columns, bool aligned) {
  const uint4 words = aligned ? ptx::ldg(reinterpret_cast<const uint4*>(row + column))
                              : gather_chunk<T>(row, dim_stride, column, columns);
  const uint32_t word[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
  for (int w = 0; w < 4; ++w) {
    if constexpr (sizeof(T) == 4) {
      values[w] = ptx::float_from_bits(word[w]);
    } else {
      const float2 pair = ptx::unpack2<T>(word[w]);
      values[2 * w] = pair.x;
      values[2 * w + 1] = pair.y;
    }
  }
}

/** Row (batch, head, i) of the tensors falls to sixteen lanes. */
template <class T>
__global__ void __launch_bounds__(kThreads)
    row_states_kernel(const __grid_constant__ BackwardParams p) {
  constexpr int kElements = kChunkBytes / static_cast<int>(sizeof(T));
  const AttentionParams& a = p.attention;
  const int lane = static_cast<int>(threadIdx.x) % kLanesPerRow;
  const int64_t rows = int64_t{p.q_batches} * a.heads * p.q_rows;
  const int64_t row =
      int64_t{blockIdx.x} * kRowsPerBlock + static_cast<int>(threadIdx.x) / kLanesPerRow;
  const int64_t inside = row < rows ? row : rows - 1;  // for the shuffles to have all lanes
  const int64_t i = inside % p.q_rows, head = inside / p.q_rows % a.heads,
                batch = inside / p.q_rows / a.heads;
  const auto row_of = [&](const Tensor& tensor) {
    return static_cast<const T*>(tensor.data) + batch * tensor.batch + i * tensor.row +
           head * tensor.head;
  };
  const T* const out = row_of(a.out);
  const T* const dout = row_of(p.dout);

  float delta = 0;
  for (int column = lane * kElements; column < a.head_dim_v; column += kLanesPerRow * kElements) {
    float x[kElements], y[kElements];
    load_floats<T>(x, out, a.out.dim, column, a.head_dim_v, p.aligned);
    load_floats<T>(y, dout, p.dout.dim, column, a.head_dim_v, p.aligned);
#pragma unroll
    for (int e = 0; e < kElements; ++e) delta += x[e] * y[e];
  }
#pragma unroll
  for (int step = kLanesPerRow / 2; step > 0; step /= 2) delta += ptx::shfl_xor(delta, step);
  if (lane != 0 || row >= rows) return;
  const float lse = ptx::ldg(a.lse.data + batch * a.lse.batch + head * a.lse.head + i * a.lse.row);
  const bool extreme = is_extreme(p, lse);
  if (extreme) ptx::atomic_or(p.extreme.found, 1);
  ptx::stg<RowState>(p.states + row,
                     {extreme || lse == -kInfinity ? kInfinity : lse * kLog2E, delta});
}

/** A block sums one head. */
__global__ void __launch_bounds__(kThreads, 1)
    sink_gradient_kernel(const __grid_constant__ BackwardParams p) {
  PTX_SHARED(float, sums, kThreads);
  const AttentionParams& a = p.attention;
  const int head = static_cast<int>(blockIdx.x), thread = static_cast<int>(threadIdx.x);
  const float sink = load_float(a.sinks, a.sinks_dtype, head * a.sinks_head);
  float sum = 0;
  for (int batch = 0; batch < a.batch; ++batch) {
    const SequenceRows s = locate_sequence(a, batch);
    const int64_t first = (int64_t{s.q_batch} * a.heads + head) * p.q_rows + s.q_begin;
    for (int i = thread; i < s.seqlen_q; i += kThreads) {
      const RowState state = ptx::ldg(p.states + first + i);
      if (state.lse != kInfinity) {
        sum -= ptx::exp2_approx(sink * kLog2E - state.lse) * state.delta;
      } else if (is_extreme(p, ptx::ldg(a.lse.data + s.q_batch * a.lse.batch + head * a.lse.head +
                                        (s.q_begin + i) * a.lse.row))) {
        const ExtremeRow row = ptx::ldg(p.extreme.rows + first + i);
        sum -= ptx::exp2_approx((sink - row.maximum) * kLog2E) * row.rcp_sum * row.delta;
      }
    }
  }
  const auto slot = [&](int of) { return sums + static_cast<uint32_t>(of) * 4u; };
  ptx::sts<float>(slot(thread), sum);
  for (int half = kThreads / 2; half > 0; half /= 2) {
    ptx::sync_block();
    if (thread < half)
      ptx::sts<float>(slot(thread),
                      ptx::lds<float>(slot(thread)) + ptx::lds<float>(slot(thread + half)));
  }
  if (thread == 0) ptx::stg<float>(p.dsinks + head, ptx::lds<float>(slot(0)));
}

}  // namespace

void compute_row_states(const BackwardParams& params, DType dtype, const Queue& queue) {
  const int64_t rows = int64_t{params.q_batches} * params.attention.heads * params.q_rows;
  const auto kernel = dtype == DType::kFloat32   ? row_states_kernel<float>
                      : dtype == DType::kFloat16 ? row_states_kernel<ptx::f16>
                                                 : row_states_kernel<ptx::bf16>;
  launch(kernel, (rows + kRowsPerBlock - 1) / kRowsPerBlock, kThreads, 0, queue, params);
}

void compute_sink_gradients(const BackwardParams& params, const Queue& queue) {
  launch(sink_gradient_kernel, params.attention.heads, kThreads, 0, queue, params);
}

}  // namespace fa::cuda
