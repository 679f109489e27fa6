#include "core/cost.h"

#include <algorithm>
#include <vector>

namespace fa {

namespace {

/** Sum over i in [i0, i1) of i + c, clamped to [low, high]. Exact below 2^53. */
double clamped_sum(int64_t i0, int64_t i1, int64_t c, int64_t low, int64_t high) {
  const int64_t rise = std::clamp(low - c, i0, i1);
  const int64_t top = std::clamp(high - c, rise, i1);
  const double rising = static_cast<double>(top - rise);
  return static_cast<double>(rise - i0) * static_cast<double>(low) +
         rising * static_cast<double>(rise + c + top - 1 + c) / 2 +
         static_cast<double>(i1 - top) * static_cast<double>(high);
}

/** Pairs of a partial cell that its bitmap and the window show. */
double bitmap_pairs(const WindowMask& window, const View& bits, int64_t bitmap, int64_t i0,
                    int64_t i1, int64_t j0, int64_t j1) {
  const int32_t* const words = static_cast<const int32_t*>(bits.data) + bitmap * bits.strides[0];
  double pairs = 0;
  for (int64_t i = i0; i < i1; ++i) {
    const int32_t* const row = words + (i - i0) * bits.strides[1];
    const int64_t begin = window.begin(i), end = std::min(window.end(i), j1);
    for (int64_t j = j0; j < end; ++j) {
      if (j < begin && j >= window.sink_tokens) continue;
      const auto word = static_cast<uint32_t>(row[(j - j0) / 32 * bits.strides[2]]);
      pairs += word >> ((j - j0) % 32) & 1u;
    }
  }
  return pairs;
}

}  // namespace

WindowMask window_of(const AttentionProblem& p, const Sequence& s) {
  return {p.window_left, p.window_right, p.sink_tokens, s.seqlen_k, s.first_position};
}

double window_pairs(const WindowMask& w, int64_t i0, int64_t i1, int64_t j0, int64_t j1) {
  if (i0 >= i1 || j0 >= j1) return 0;
  const int64_t to_end = w.offset + w.right + 1;
  // Where the window is empty its begin lies past its end, and keys count as before it.
  const int64_t to_begin = std::min(w.offset - w.left, to_end);
  const int64_t sinks = std::clamp(w.sink_tokens, j0, j1);
  return clamped_sum(i0, i1, to_end, j0, j1) - clamped_sum(i0, i1, to_begin, j0, j1) +
         clamped_sum(i0, i1, to_begin, j0, sinks) -
         static_cast<double>(i1 - i0) * static_cast<double>(j0);
}

double visible_pairs(const AttentionProblem& p, const Sequence& s, int64_t batch, int64_t head) {
  const WindowMask window = window_of(p, s);
  if (!p.block_mask.present()) return window_pairs(window, 0, s.seqlen_q, 0, s.seqlen_k);
  const View& table = p.block_mask.table;
  const int64_t block_q = p.block_mask.block_q, block_k = p.block_mask.block_k;
  const int32_t* const cells = static_cast<const int32_t*>(table.data) +
                               (table.shape[0] == 1 ? 0 : batch * table.strides[0]) +
                               (table.shape[1] == 1 ? 0 : head * table.strides[1]);
  constexpr double kNotCounted = -1;
  std::vector<double> whole;  // pairs of bitmaps, as far as they were counted
  if (p.block_mask.bits.present())
    whole.assign(static_cast<size_t>(p.block_mask.bits.shape[0]), kNotCounted);
  const auto partial = [&](int64_t bitmap, int64_t i0, int64_t i1, int64_t j0, int64_t j1) {
    const auto count = [&] {
      return bitmap_pairs(window, p.block_mask.bits, bitmap, i0, i1, j0, j1);
    };
    const double seen = window_pairs(window, i0, i1, j0, j1);
    if (seen == 0) return 0.0;
    if (seen < static_cast<double>(block_q) * static_cast<double>(block_k)) return count();
    double& known = whole[static_cast<size_t>(bitmap)];
    if (known == kNotCounted) known = count();
    return known;
  };
  double pairs = 0;
  for (int64_t i0 = 0; i0 < s.seqlen_q; i0 += block_q) {
    const int64_t i1 = std::min(i0 + block_q, s.seqlen_q);
    for (int64_t j0 = 0; j0 < s.seqlen_k; j0 += block_k) {
      const int64_t j1 = std::min(j0 + block_k, s.seqlen_k);
      const int32_t cell = cells[i0 / block_q * table.strides[2] + j0 / block_k * table.strides[3]];
      if (cell == 1) pairs += window_pairs(window, i0, i1, j0, j1);
      if (cell >= 2) pairs += partial(cell - 2, i0, i1, j0, j1);
    }
  }
  return pairs;
}

void set_cost(AttentionPlan& plan, const AttentionProblem& p, const CallSize& size,
              const Traffic& traffic) {
  const double element = static_cast<double>(dtype_size(p.q.dtype)),
               out_element = static_cast<double>(dtype_size(p.out_dtype()));
  const double dim = static_cast<double>(p.head_dim()), dim_v = static_cast<double>(p.head_dim_v());
  const double key_element = static_cast<double>(dtype_size(p.k.dtype));
  const double key_bytes =
      (dim + dim_v) * key_element + (p.quantized_pages() ? 2 * sizeof(float) : 0);
  const double read_again = traffic.values_in_keys ? dim_v * key_element : 0;
  plan.flops = 2 * (dim + dim_v) * size.pairs;
  plan.bytes = traffic.query_rows * dim * element + traffic.key_rows * (key_bytes - read_again) +
               size.rows * (dim_v * out_element + (p.lse.present() ? 4 : 0)) +
               traffic.partial_bytes;
  plan.standard_bytes =
      size.rows * (dim + dim_v) * element + size.keys * key_bytes + 4 * size.scores * element;
  plan.standard_memory = 2 * size.scores * element;
}

}  // namespace fa
