// Tensors to float8 with scales, and back.
#include "core/quantize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "core/validate.h"
#include "cpu/isa.h"
#include "cpu/ops.h"
#include "cpu/thread_pool.h"

namespace fa::cpu {

namespace {

/** Rows [begin, end) of values[batch]. */
struct Tokens {
  int64_t batch, begin, end;
};

Tokens tokens_of(const Quantized& q, int64_t sequence) {
  if (!q.packed()) return {sequence, 0, q.seqlen()};
  const int32_t* const offsets = int32_data(q.cu_seqlens);
  const int64_t stride = q.cu_seqlens.strides[0];
  return {0, offsets[sequence * stride], offsets[(sequence + 1) * stride]};
}

/** One (sequence, head, block of tokens): what one scale of the finest kind covers. */
struct Block {
  int64_t sequence, head, index;
  Tokens tokens;

  Block(const Quantized& q, int64_t item)
      : sequence(item / (q.heads() * q.filled_blocks())),
        head(item / q.filled_blocks() % q.heads()),
        index(item % q.filled_blocks()),
        tokens(tokens_of(q, sequence)) {
    tokens.begin += index * kScaleTokens;
    tokens.end = std::min(tokens.end, tokens.begin + kScaleTokens);
  }

  char* row(const View& view, int64_t token) const {
    return view.at(tokens.batch * view.strides[0] + token * view.strides[1] +
                   head * view.strides[2]);
  }
  float& scale(const View& scales) const {
    return *reinterpret_cast<float*>(scales.at(
        sequence * scales.strides[0] + head * scales.strides[1] + index * scales.strides[2]));
  }
};

int64_t count(const Quantized& q) { return q.batch() * q.heads() * q.filled_blocks(); }

/** Rows behind the last of the packed sequences become 0. */
void clear_rest(const Quantized& q, const View& view) {
  if (!q.packed()) return;
  const int64_t begin = int32_data(q.cu_seqlens)[q.batch() * q.cu_seqlens.strides[0]];
  const int64_t elements = (view.shape[1] - begin) * view.shape[2] * view.shape[3];
  if (elements > 0)
    std::memset(view.at(begin * view.shape[2] * view.shape[3]), 0,
                static_cast<size_t>(elements) * dtype_size(view.dtype));
}

/**
 * Rows of a tensor by the rotation of a Quantized; that of one which is not rotated does nothing.
 */
class Rotation {
 public:
  explicit Rotation(const Quantized& q)
      : dim_(q.rotated ? static_cast<int>(q.dim()) : 0),
        norm_(1 / std::sqrt(static_cast<float>(q.dim()))) {
    for (int d = 0; d < dim_; ++d) {
      const uint32_t word = rotation_signs(q.seed, static_cast<uint32_t>(d) / 32);
      signs_[d] = word >> d % 32 & 1u ? -1.f : 1.f;
    }
  }

  void apply(float* row) const {
    if (dim_ == 0) return;
    for (int d = 0; d < dim_; ++d) row[d] *= signs_[d];
    hadamard(row);
  }

  void undo(float* row) const {
    if (dim_ == 0) return;
    hadamard(row);
    for (int d = 0; d < dim_; ++d) row[d] *= signs_[d];
  }

 private:
  /**
   * row <- row * Hadamard / sqrt(dim), its own inverse: log2(dim) steps of sums and differences.
   */
  void hadamard(float* row) const {
    for (int half = 1; half < dim_; half *= 2) {
      for (int at = 0; at < dim_; at += 2 * half) {
        for (int d = at; d < at + half; ++d) {
          const float a = row[d], b = row[d + half];
          row[d] = a + b;
          row[d + half] = a - b;
        }
      }
    }
    for (int d = 0; d < dim_; ++d) row[d] *= norm_;
  }

  int dim_;
  float norm_;
  float signs_[kMaxHeadDim];
};

/** Calls `function(row, token)` with the rows of a block as floats. */
template <typename Function>
void for_each_row(const View& view, const Block& block, Function function) {
  constexpr int kRoom = kMaxHeadDim + 16;
  alignas(64) float row[kRoom];
  const int dim = static_cast<int>(view.shape[3]);
  for (int64_t token = block.tokens.begin; token < block.tokens.end; ++token) {
    kernels().convert_row(block.row(view, token), static_cast<int>(view.dtype), view.strides[3],
                          dim, reinterpret_cast<char*>(row), static_cast<int>(DType::kFloat32));
    function(row, token);
  }
}

void store_row(const View& view, const Block& block, int64_t token, const float* row) {
  kernels().convert_row(reinterpret_cast<const char*>(row), static_cast<int>(DType::kFloat32), 1,
                        static_cast<int>(view.shape[3]), block.row(view, token),
                        static_cast<int>(view.dtype));
}

}  // namespace

/** Into contiguous values. */
void quantize(const View& plain, const Quantized& quantized, Cancel cancel) {
  const Rotation rotation(quantized);
  const View scales = quantized.block_scales();
  const int64_t dim = quantized.dim(), blocks = count(quantized);
  std::vector<float> largest(static_cast<size_t>(blocks));
  parallel_for(
      blocks,
      [&](int64_t item) {
        float& most = largest[static_cast<size_t>(item)];
        for_each_row(plain, Block(quantized, item), [&](float* row, int64_t) {
          rotation.apply(row);
          for (int64_t d = 0; d < dim; ++d) most = std::max(most, finite_magnitude(row[d]));
        });
      },
      cancel, "quantize");

  float* const all = static_cast<float*>(quantized.scales.data);
  const int64_t size = quantized.scales.size();
  std::fill_n(all, size, 0.f);
  for (int64_t item = 0; item < blocks; ++item) {
    float& most = Block(quantized, item).scale(scales);
    most = std::max(most, largest[static_cast<size_t>(item)]);
  }
  std::transform(all, all + size, all, scale_of);

  parallel_for(
      blocks,
      [&](int64_t item) {
        const Block block(quantized, item);
        const float scale = block.scale(scales);
        for_each_row(plain, block, [&](float* row, int64_t token) {
          rotation.apply(row);
          for (int64_t d = 0; d < dim; ++d) row[d] /= scale;
          store_row(quantized.values, block, token, row);
        });
      },
      cancel, "quantize");
  clear_rest(quantized, quantized.values);
}

/** Into a contiguous `plain`. */
void dequantize(const Quantized& quantized, const View& plain, Cancel cancel) {
  const Rotation rotation(quantized);
  const View scales = quantized.block_scales();
  const int64_t dim = quantized.dim();
  parallel_for(
      count(quantized),
      [&](int64_t item) {
        const Block block(quantized, item);
        const float scale = block.scale(scales);
        for_each_row(quantized.values, block, [&](float* row, int64_t token) {
          for (int64_t d = 0; d < dim; ++d) row[d] *= scale;
          rotation.undo(row);
          store_row(plain, block, token, row);
        });
      },
      cancel, "dequantize");
  clear_rest(quantized, plain);
}

}  // namespace fa::cpu

namespace fa {

void ops::Quantize::run(cpu::Execution& execution) const {
  if (check_contents) validate_contents(quantized);
  cpu::quantize(plain, quantized, execution.cancel);
}

void ops::Dequantize::run(cpu::Execution& execution) const {
  if (check_contents) validate_contents(quantized);
  cpu::dequantize(quantized, plain, execution.cancel);
}

}  // namespace fa
