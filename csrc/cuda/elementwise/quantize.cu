#include <cmath>

#include "core/ops.h"
#include "cuda/base/execution.h"
#include "cuda/base/launch.h"
#include "cuda/device/element.h"
#include "cuda/device/sequence.h"
#include "cuda/elementwise/fill.h"
#include "cuda/elementwise/index_contents.h"
#include "cuda/elementwise/quantize.h"

namespace fa::cuda {

namespace {

constexpr int kWarp = 32;
constexpr int kWarps = 4;
constexpr int kThreads = kWarp * kWarps;
constexpr int kBlocksPerSm = 5;                // or ptxas aims at 64 registers, and spills two
constexpr int kPerLane = kMaxHeadDim / kWarp;  // elements of a row: dims lane, lane + 32, ...

struct Elements {
  char* data;
  int dtype;
  int64_t strides[4];
};

struct QuantizeParams {
  Elements plain, values;
  float* scales;
  int64_t scale_strides[3];
  int64_t seqlen;
  int heads, blocks;   // blocks of a head
  Indices cu_seqlens;  // of packed sequences; seqlen then is that of all
  int dim;
  bool rotated;
  uint64_t seed;
  float norm;  // 1 / sqrt(dim)
};

struct ScaleParams {
  float* scales;
  int64_t count;
};

/** The (sequence, head, block of tokens) of a thread block: rows [begin, end) of a batch. */
struct Place {
  int sequence, head, block, batch;
  int64_t begin, end;
};

/** Whatever the offsets are, the rows lie within the tensor. */
PTX_FN Place place(const QuantizeParams& p) {
  const int item = static_cast<int>(blockIdx.x), of_heads = item / p.blocks;
  Place at{of_heads / p.heads, of_heads % p.heads, item % p.blocks, 0, 0, p.seqlen};
  if (p.cu_seqlens.data != nullptr) {
    const auto inside = [&](int64_t offset) {
      return offset < 0 ? 0 : offset > p.seqlen ? p.seqlen : offset;
    };
    at.begin = inside(index_at(p.cu_seqlens, at.sequence));
    at.end = inside(index_at(p.cu_seqlens, at.sequence + 1));
  } else {
    at.batch = at.sequence;
  }
  at.begin += int64_t{at.block} * kScaleTokens;
  if (at.end > at.begin + kScaleTokens) at.end = at.begin + kScaleTokens;
  return at;
}

PTX_FN float* scale_at(const QuantizeParams& p, const Place& at) {
  return p.scales + at.sequence * p.scale_strides[0] + at.head * p.scale_strides[1] +
         at.block * p.scale_strides[2];
}

/** Calls `function(row)` with the rows of a block that fall to this warp. */
template <typename Function>
PTX_FN void for_each_token(const Place& at, Function function) {
  for (int64_t token = at.begin + threadIdx.x / kWarp; token < at.end; token += kWarps)
    function(token);
}

PTX_FN char* element(const Elements& e, const Place& at, int64_t token, int dim) {
  const int64_t offset =
      at.batch * e.strides[0] + token * e.strides[1] + at.head * e.strides[2] + dim * e.strides[3];
  return e.data + offset * element_size(e.dtype);
}

/** This lane's elements of a row; 0 beyond its end. */
PTX_FN void load_row(float (&x)[kPerLane], const QuantizeParams& p, const Elements& e,
                     const Place& at, int64_t token) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
  for (int n = 0; n < kPerLane; ++n) {
    const int dim = lane + n * kWarp;
    x[n] = dim < p.dim ? load_element(element(e, at, token, dim), e.dtype) : 0.0f;
  }
}

PTX_FN void store_row(const float (&x)[kPerLane], const QuantizeParams& p, const Elements& e,
                      const Place& at, int64_t token) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
  for (int n = 0; n < kPerLane; ++n) {
    const int dim = lane + n * kWarp;
    if (dim < p.dim) store_element(element(e, at, token, dim), e.dtype, x[n]);
  }
}

/** x <- x * Hadamard / sqrt(dim): steps within the warp first, then within the lane. */
PTX_FN void hadamard(float (&x)[kPerLane], const QuantizeParams& p) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
  for (int half = 1; half < kWarp; half *= 2) {
    if (half >= p.dim) break;
#pragma unroll
    for (int n = 0; n < kPerLane; ++n) {
      if (n * kWarp >= p.dim) break;
      const float other = ptx::shfl_xor(x[n], half);
      x[n] = lane & half ? other - x[n] : x[n] + other;
    }
  }
#pragma unroll
  for (int half = 1; half < kPerLane; half *= 2) {
    if (half * kWarp >= p.dim) break;
#pragma unroll
    for (int n = 0; n + half < kPerLane; ++n) {
      if (n & half) continue;
      const float a = x[n], b = x[n + half];
      x[n] = a + b;
      x[n + half] = a - b;
    }
  }
#pragma unroll
  for (int n = 0; n < kPerLane; ++n) x[n] *= p.norm;
}

PTX_FN void apply_signs(float (&x)[kPerLane], const QuantizeParams& p) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
  for (int n = 0; n < kPerLane; ++n) {
    if (n * kWarp >= p.dim) break;
    if (rotation_signs(p.seed, static_cast<uint32_t>(n)) >> lane & 1u) x[n] = -x[n];
  }
}

PTX_FN void load_rotated(float (&x)[kPerLane], const QuantizeParams& p, const Place& at,
                         int64_t token) {
  load_row(x, p, p.plain, at, token);
  if (!p.rotated) return;
  apply_signs(x, p);
  hadamard(x, p);
}

/** scale <- the largest magnitude of what shares it. Magnitudes order like their bits. */
__global__ void __launch_bounds__(kThreads, kBlocksPerSm)
    largest_kernel(const __grid_constant__ QuantizeParams p) {
  const Place at = place(p);
  float most = 0;
  for_each_token(at, [&](int64_t token) {
    float x[kPerLane];
    load_rotated(x, p, at, token);
#pragma unroll
    for (int n = 0; n < kPerLane; ++n) most = fmaxf(most, finite_magnitude(x[n]));
  });
#pragma unroll
  for (int step = kWarp / 2; step > 0; step /= 2) most = fmaxf(most, ptx::shfl_xor(most, step));
  if (threadIdx.x % kWarp == 0)
    ptx::atomic_max(reinterpret_cast<int*>(scale_at(p, at)),
                    static_cast<int>(ptx::float_bits(most)));
}

__global__ void __launch_bounds__(kThreads) scale_kernel(const __grid_constant__ ScaleParams p) {
  const int64_t index = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (index < p.count) ptx::stg<float>(p.scales + index, scale_of(ptx::ldg(p.scales + index)));
}

__global__ void __launch_bounds__(kThreads, kBlocksPerSm)
    quantize_kernel(const __grid_constant__ QuantizeParams p) {
  const Place at = place(p);
  const float scale = ptx::ldg(scale_at(p, at));
  for_each_token(at, [&](int64_t token) {
    float x[kPerLane];
    load_rotated(x, p, at, token);
#pragma unroll
    for (int n = 0; n < kPerLane; ++n) x[n] /= scale;
    store_row(x, p, p.values, at, token);
  });
}

__global__ void __launch_bounds__(kThreads, kBlocksPerSm)
    dequantize_kernel(const __grid_constant__ QuantizeParams p) {
  const Place at = place(p);
  const float scale = ptx::ldg(scale_at(p, at));
  for_each_token(at, [&](int64_t token) {
    float x[kPerLane];
    load_row(x, p, p.values, at, token);
#pragma unroll
    for (int n = 0; n < kPerLane; ++n) x[n] *= scale;
    if (p.rotated) {
      hadamard(x, p);
      apply_signs(x, p);
    }
    store_row(x, p, p.plain, at, token);
  });
}

Elements elements(const View& view) {
  Elements e{static_cast<char*>(view.data), static_cast<int>(view.dtype), {}};
  for (int axis = 0; axis < 4; ++axis) e.strides[axis] = view.strides[axis];
  return e;
}

QuantizeParams quantize_params(const View& plain, const Quantized& quantized) {
  QuantizeParams p{};
  p.plain = elements(plain);
  p.values = elements(quantized.values);
  const View scales = quantized.block_scales();
  p.scales = static_cast<float*>(scales.data);
  for (int axis = 0; axis < 3; ++axis) p.scale_strides[axis] = scales.strides[axis];
  p.seqlen = quantized.values.shape[1];
  p.heads = static_cast<int>(quantized.heads());
  p.blocks = static_cast<int>(quantized.filled_blocks());
  if (quantized.packed())
    p.cu_seqlens = {int32_data(quantized.cu_seqlens), quantized.cu_seqlens.strides[0]};
  p.dim = static_cast<int>(quantized.dim());
  p.rotated = quantized.rotated;
  p.seed = quantized.seed;
  p.norm = 1 / std::sqrt(static_cast<float>(p.dim));
  return p;
}

int64_t thread_blocks(const Quantized& q) { return q.batch() * q.heads() * q.filled_blocks(); }

}  // namespace

void quantize(const View& plain, const Quantized& quantized, const Queue& queue) {
  const QuantizeParams params = quantize_params(plain, quantized);
  const int64_t blocks = thread_blocks(quantized);
  const int64_t scales = quantized.scales.size();
  fill_zero(quantized.scales, queue);
  if (quantized.packed()) fill_zero(quantized.values, queue);  // some rows may be of no sequence
  launch(largest_kernel, blocks, kThreads, 0, queue, params);
  launch(scale_kernel, (scales + kThreads - 1) / kThreads, kThreads, 0, queue,
         ScaleParams{params.scales, scales});
  launch(quantize_kernel, blocks, kThreads, 0, queue, params);
}

void dequantize(const Quantized& quantized, const View& plain, const Queue& queue) {
  if (quantized.packed()) fill_zero(plain, queue);
  launch(dequantize_kernel, thread_blocks(quantized), kThreads, 0, queue,
         quantize_params(plain, quantized));
}

}  // namespace fa::cuda

namespace fa {

void ops::Quantize::run(cuda::Execution& execution) const {
  if (check_contents) cuda::validate_contents_on_device(quantized, execution.queue);
  cuda::quantize(plain, quantized, execution.queue);
}

void ops::Dequantize::run(cuda::Execution& execution) const {
  if (check_contents) cuda::validate_contents_on_device(quantized, execution.queue);
  cuda::dequantize(quantized, plain, execution.queue);
}

}  // namespace fa
