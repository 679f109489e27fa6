#include <algorithm>
#include <cmath>
#include <string>

#include "core/mask.h"
#include "cuda/runtime/plan.h"
#include "cuda/sm90/forward_tiles.h"
#include "forward_call.h"
#include "fp8.h"
#include "simt/fp8.h"
#include "simt/launch_log.h"
#include "simt/report.h"

namespace simt_test {

namespace {

using fa::DType;
using fa::View;

constexpr int kMultiprocessors = 3;  // several tiles each
constexpr double kLift = 256;        // of the weights (forward_traits.h)
constexpr uint8_t kNaN = 0x7f;

/** One row, tile by tile as the kernel goes, its weights rounded as the kernel rounds them. */
struct Row {
  std::vector<double> out;
  double lse;
};
Row reference_row(const fa::WindowMask& window, const Float8Tensor& q, const Float8Tensor& k,
                  const Float8Tensor& v, double scale, int64_t batch, int64_t head, int64_t i,
                  int keys) {
  const int64_t kv_head = head / (q.view.shape[2] / k.view.shape[2]), dims = v.view.shape[3];
  const int64_t begin = window.begin(i), end = window.end(i);
  double top = -INFINITY, sum = 0;
  std::vector<double> out(static_cast<size_t>(dims)), scores(static_cast<size_t>(keys));
  for (int64_t key0 = (end - 1) / keys * keys; end > begin && key0 + keys > begin; key0 -= keys) {
    double highest = top;
    for (int64_t j = std::max(begin, key0); j < std::min(end, key0 + keys); ++j) {
      double s = 0;
      for (int64_t d = 0; d < q.view.shape[3]; ++d)
        s += q.at(batch, i, head, d) * k.at(batch, j, kv_head, d);
      scores[static_cast<size_t>(j - key0)] = s * scale;
      highest = std::max(highest, s * scale);
    }
    const double alpha = std::exp(top - highest);
    top = highest;
    sum *= alpha;
    for (double& x : out) x *= alpha;
    for (int64_t j = std::max(begin, key0); j < std::min(end, key0 + keys); ++j) {
      const double p = std::exp(scores[static_cast<size_t>(j - key0)] - top);
      const double rounded = static_cast<double>(simt::e4m3_to_float(
                                 simt::float_to_e4m3(static_cast<float>(p * kLift)))) /
                             kLift;
      sum += p;
      for (int64_t d = 0; d < dims; ++d)
        out[static_cast<size_t>(d)] += rounded * v.at(batch, j, kv_head, d);
    }
  }
  for (double& x : out) x = sum > 0 ? x / sum : 0;
  return {out, sum > 0 ? top + std::log(sum) : -INFINITY};
}

/** A tensor of int32 in device memory. */
View indices(std::vector<std::unique_ptr<DeviceMemory>>& memory, const std::vector<int32_t>& values,
             std::initializer_list<int64_t> shape) {
  memory.push_back(std::make_unique<DeviceMemory>(values.size() * sizeof(int32_t)));
  std::copy(values.begin(), values.end(), static_cast<int32_t*>(memory.back()->data()));
  return fa::contiguous_view(memory.back()->data(), DType::kInt32, shape);
}

}  // namespace

SequenceLayout::Place SequenceLayout::place(int64_t sequence, int64_t row) const {
  if (page_size > 0) {
    const int64_t page = sequence * pages_of_each + row / page_size;
    return {pages[static_cast<size_t>(page)], row % page_size};
  }
  if (packed) return {0, begins[static_cast<size_t>(sequence)] + row};
  return {sequence, row};
}

SequenceLayout::SequenceLayout(const Spec& s, bool keys) : packed(s.varlen) {
  for (int b = 0; b < s.batch; ++b) {
    const auto [queries_there, keys_there] =
        s.lengths.empty() ? std::pair(s.seqlen_q, s.seqlen_k) : s.lengths[static_cast<size_t>(b)];
    lengths.push_back(keys ? keys_there : queries_there);
    longest = std::max(longest, lengths.back());
    begins.push_back(begins.back() + lengths.back());
  }
  if (keys) page_size = s.page_size;
  if (page_size == 0) return;
  pages_of_each = (longest + page_size - 1) / page_size;
  for (int64_t page = s.batch * pages_of_each; page > 0; --page)
    pages.push_back(static_cast<int32_t>(page - 1));
}

Float8Tensor::Float8Tensor(const SequenceLayout& layout, int64_t heads, int64_t dim, Range range,
                           std::mt19937_64& random)
    : layout_(layout) {
  const int64_t sequences = static_cast<int64_t>(layout.lengths.size());
  const int64_t blocks =
      layout.page_size > 0 ? 1 : (layout.longest + fa::kScaleTokens - 1) / fa::kScaleTokens;
  view = layout.page_size > 0 ? fa::contiguous_view(nullptr, DType::kFloat8E4M3,
                                                    {static_cast<int64_t>(layout.pages.size()),
                                                     layout.page_size, heads, dim})
         : layout.packed      ? fa::contiguous_view(nullptr, DType::kFloat8E4M3,
                                                    {1, layout.begins.back(), heads, dim})
                              : fa::contiguous_view(nullptr, DType::kFloat8E4M3,
                                                    {sequences, layout.longest, heads, dim});
  const size_t bytes = static_cast<size_t>(view.size());
  codes_ = std::make_unique<DeviceMemory>(bytes);
  view.data = codes_->data();
  // What a page holds behind the end is nobody's business.
  std::fill_n(static_cast<uint8_t*>(view.data), bytes, kNaN);

  scales = fa::contiguous_view(nullptr, DType::kFloat32,
                               {layout.page_size > 0 ? 1 : sequences, heads, blocks});
  scale_memory_ =
      std::make_unique<DeviceMemory>(static_cast<size_t>(scales.size()) * sizeof(float));
  scales.data = scale_memory_->data();
  std::uniform_real_distribution<double> uniform(range.lowest, range.highest), exponent(-1, 1);
  for (int64_t i = 0; i < scales.size(); ++i)
    static_cast<float*>(scales.data)[i] = static_cast<float>(std::exp2(exponent(random))) / 64;
  if (layout.page_size > 0) {  // one per head, whose sequences are
    scales.rank = 2;
    scales.shape[0] = sequences;
    scales.strides[0] = 0;
  }
  for (int64_t b = 0; b < sequences; ++b)
    for (int64_t row = 0; row < layout.lengths[static_cast<size_t>(b)]; ++row)
      for (int64_t head = 0; head < heads; ++head)
        for (int64_t d = 0; d < dim; ++d)
          code(b, row, head, d) = simt::float_to_e4m3(static_cast<float>(64 * uniform(random)));
}

uint8_t& Float8Tensor::code(int64_t sequence, int64_t row, int64_t head, int64_t dim) const {
  const SequenceLayout::Place at = layout_.place(sequence, row);
  return static_cast<uint8_t*>(view.data)[at.outer * view.strides[0] + at.row * view.strides[1] +
                                          head * view.strides[2] + dim];
}

double Float8Tensor::scale(int64_t sequence, int64_t row, int64_t head) const {
  const int64_t block = scales.rank == 3 ? row / fa::kScaleTokens * scales.strides[2] : 0;
  return static_cast<const float*>(
      scales.data)[sequence * scales.strides[0] + head * scales.strides[1] + block];
}

double Float8Tensor::at(int64_t sequence, int64_t row, int64_t head, int64_t dim) const {
  static const std::vector<double> values = [] {
    std::vector<double> all;
    for (int bits = 0; bits < 256; ++bits)
      all.push_back(static_cast<double>(simt::e4m3_to_float(static_cast<uint8_t>(bits))));
    return all;
  }();
  return values[code(sequence, row, head, dim)] * scale(sequence, row, head);
}

// Scores of real pairs lie below that of a row of zeros: see Problem::make_inputs.
Float8Problem::Float8Problem(const Spec& spec, uint64_t seed)
    : spec_(spec),
      random_(seed),
      queries_(spec, false),
      keys_(spec, true),
      q_(queries_, spec.heads, spec.head_dim, {0.1, 1}, random_),
      k_(keys_, spec.kv_heads, spec.head_dim, {-1, -0.1}, random_),
      v_(keys_, spec.kv_heads, spec.head_dim_v, {-1, 1}, random_) {
  const Spec& s = spec_;
  fa::AttentionProblem& p = device;
  p.scale = 4 / static_cast<float>(s.head_dim);
  if (s.poison_v)
    for (int row = 20; row < s.seqlen_k; row += 50) v_.code(0, row, 0, row % s.head_dim_v) = kNaN;
  if (s.sink_tokens) {
    // One key, met first, that outweighs each of the others by about 2^11 in the eyes of the first
    // queries.
    const int last = s.seqlen_k - 1;
    const uint8_t high = simt::float_to_e4m3(static_cast<float>(2 / k_.scale(0, last, 0)));
    for (int d = 0; d < s.head_dim; ++d) k_.code(0, last, 0, d) = high;
    p.scale /= 48 * static_cast<float>(q_.scale(0, 0, 0));
  }
  p.q = q_.view;
  p.k = k_.view;
  p.v = v_.view;
  p.q_scale = q_.scales;
  p.k_scale = k_.scales;
  p.v_scale = v_.scales;
  for (const View* scales : {&p.q_scale, &p.k_scale, &p.v_scale})
    simt::watch_global_reads(scales->data);
  p.max_seqlen_q = queries_.longest;
  p.max_seqlen_k = s.page_size > 0 ? keys_.pages_of_each * s.page_size : int64_t{keys_.longest};
  if (s.varlen) p.cu_seqlens_q = indices(memory_, queries_.begins, {s.batch + 1});
  if (s.page_size > 0) {
    p.page_table = indices(memory_, keys_.pages, {s.batch, keys_.pages_of_each});
    p.seqlens_k = indices(memory_, keys_.lengths, {s.batch});
  } else if (s.varlen) {
    p.cu_seqlens_k = indices(memory_, keys_.begins, {s.batch + 1});
  }
  p.out = fa::contiguous_view(nullptr, DType::kBFloat16,
                              {p.q.shape[0], p.q.shape[1], s.heads, s.head_dim_v});
  p.lse = fa::contiguous_view(nullptr, DType::kFloat32, {p.q.shape[0], s.heads, p.q.shape[1]});
  for (View* result : {&p.out, &p.lse}) {
    memory_.push_back(std::make_unique<DeviceMemory>(static_cast<size_t>(result->size()) *
                                                     fa::dtype_size(result->dtype)));
    result->data = memory_.back()->data();
  }
  p.num_splits = s.num_splits;
  if (s.window_left >= 0) p.window_left = s.window_left;
  if (s.window_right >= 0) p.window_right = s.window_right;
  if (s.causal) p.window_right = 0;
}

std::string Float8Problem::wrong_values() const {
  const fa::AttentionProblem& p = device;
  const int tile_keys = fa::cuda::sm90::forward_tile(fa::cuda::sm90::ForwardVariant::kFp8,
                                                     spec_.head_dim, spec_.head_dim_v)
                            .keys;
  const int64_t group = spec_.heads / spec_.kv_heads;
  for (int64_t b = 0; b < spec_.batch; ++b) {
    const int64_t queries = queries_.lengths[static_cast<size_t>(b)],
                  keys = keys_.lengths[static_cast<size_t>(b)];
    const fa::WindowMask window = {p.window_left, p.window_right, 0, keys, keys - queries};
    for (int64_t i = 0; i < queries; ++i) {
      const SequenceLayout::Place at = queries_.place(b, i);
      for (int64_t h = 0; h < spec_.heads; ++h) {
        const Row expected = reference_row(window, q_, k_, v_, p.scale, b, h, i, tile_keys);
        // The output is bfloat16; now and then a weight is rounded the other way.
        const double allowed = 0.012 * (keys > 0 ? v_.scale(b, 0, h / group) : 1) * 64;
        for (int64_t d = 0; d < spec_.head_dim_v; ++d) {
          const double e = expected.out[static_cast<size_t>(d)];
          const double a =
              read_element(p.out, at.outer * p.out.strides[0] + at.row * p.out.strides[1] +
                                      h * p.out.strides[2] + d);
          if (std::isnan(e) ? !std::isnan(a) : !(std::fabs(a - e) <= allowed))
            return simt::format(
                "wrong values: out[%d, %d, %d, %d] is %.9g, not %.9g; allowed: %.2g", int(b),
                int(i), int(h), int(d), a, e, allowed);
        }
        const double a =
            read_element(p.lse, at.outer * p.lse.strides[0] + h * p.lse.strides[1] + at.row);
        if (!(a == expected.lse || std::fabs(a - expected.lse) <= 1e-5))
          return simt::format("wrong values: lse[%d, %d, %d] is %.9g, not %.9g", int(b), int(h),
                              int(i), a, expected.lse);
      }
    }
  }
  return {};
}

std::vector<Spec> forward_fp8_cases() {
  std::vector<Spec> cases;
  const auto add = [&](const char* name, auto change) {
    Spec spec{name};
    spec.seqlen_q = 150;
    spec.seqlen_k = 400;
    spec.head_dim = spec.head_dim_v = 128;
    spec.heads = spec.kv_heads = 1;
    change(spec);
    cases.push_back(spec);
  };
  add("128", [](Spec& s) { s.heads = s.kv_heads = 2; });
  add("128, causal, grouped heads", [](Spec& s) {
    s.causal = true;
    s.heads = 4;
    s.kv_heads = 2;
    s.batch = 2;
    s.seqlen_q = 80;
    s.seqlen_k = 300;
  });
  add("64, window", [](Spec& s) {
    s.head_dim = s.head_dim_v = 64;
    s.window_left = 150;
    s.window_right = 5;
    s.seqlen_q = 220;
    s.seqlen_k = 390;
  });
  add("256, causal", [](Spec& s) {
    s.head_dim = s.head_dim_v = 256;
    s.causal = true;
    s.seqlen_k = 170;
  });
  add("96 and 112, more queries than keys", [](Spec& s) {
    s.head_dim = 96;
    s.head_dim_v = 112;
    s.causal = true;
    s.seqlen_q = 300;
    s.seqlen_k = 140;
  });
  const auto packed = [](Spec& s) {
    s.varlen = true;
    s.lengths = {{0, 40}, {1, 1}, {127, 130}, {128, 128}, {20, 0}, {129, 300}, {70, 257}};
    s.batch = static_cast<int>(s.lengths.size());
    s.causal = true;
  };
  add("packed", [&](Spec& s) {
    packed(s);
    s.heads = 2;
  });
  add("packed, splits, window", [&](Spec& s) {
    packed(s);
    s.head_dim = s.head_dim_v = 64;
    s.num_splits = 3;
    s.window_left = 140;
  });
  add("packed, pages of 16", [&](Spec& s) {
    packed(s);
    s.heads = 4;
    s.kv_heads = 2;
    s.lengths = {{3, 40}, {129, 300}, {0, 17}, {40, 257}};
    s.batch = 4;
    s.page_size = 16;
  });
  add("pages of 48, 256", [](Spec& s) {
    s.head_dim = s.head_dim_v = 256;
    s.page_size = 48;
    s.lengths = {{80, 170}, {80, 90}};
    s.batch = 2;
  });
  add("pages of 256, splits", [](Spec& s) {
    s.page_size = 256;
    s.num_splits = 2;
    s.lengths = {{80, 300}};
    s.heads = 2;
  });
  add("many small weights", [](Spec& s) { s.sink_tokens = 1; });
  add("NaN among the values", [](Spec& s) {
    s.causal = s.poison_v = true;
    s.seqlen_k = 150;
  });
  return cases;
}

std::string run_forward_fp8(const Spec& spec, uint64_t seed) {
  const Float8Problem problem(spec, seed);
  cudaDeviceProp properties;
  cudaGetDeviceProperties(&properties, 0);
  properties.multiProcessorCount = kMultiprocessors;
  simt::keep_reports();
  const int drawn = forward_call(problem.device, properties);
  double bytes = -static_cast<double>(simt::take_watched_reads());
  for (const simt::Report& report : simt::take_reports()) {
    if (!report.ok()) return report.error;
    const simt::Counters& c = report.counters;
    if (c.ldmatrix_conflicts || c.stmatrix_conflicts)
      return simt::format("bank conflicts: %llu of ldmatrix, %llu of stmatrix",
                          static_cast<unsigned long long>(c.ldmatrix_conflicts),
                          static_cast<unsigned long long>(c.stmatrix_conflicts));
    bytes += static_cast<double>(c.global_read_bytes + c.global_written_bytes);
  }
  if (drawn != 0) return "wrong values: the counter of tiles is left at " + std::to_string(drawn);
  const double planned = fa::cuda::plan_attention(problem.device, properties).bytes;
  if (!spec.poison_v && bytes != planned)
    return "global bytes: " + std::to_string(bytes) + ", and the plan says " +
           std::to_string(planned);
  return problem.wrong_values();
}

}  // namespace simt_test
