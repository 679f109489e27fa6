#include <algorithm>
#include <cmath>
#include <random>

#include "core/dtype.h"
#include "core/mask.h"
#include "cuda/base/launch.h"
#include "cuda/sm90/forward_tiles.h"
#include "cuda/sm90/host/forward_launch.h"
#include "fp8.h"
#include "simt/fp8.h"
#include "simt/launch_log.h"
#include "simt/report.h"

namespace simt_test {

namespace {

using fa::DType;
using fa::View;

constexpr int kScaleRows = 128;
constexpr int kBlocks = 3;     // of the grid: several tiles each
constexpr double kLift = 256;  // of the weights (forward_traits.h)
constexpr uint8_t kNaN = 0x7f;

/** [batch, row, head, dim] bytes in device memory, and what they stand for. */
struct Quantised {
  View view;
  std::unique_ptr<DeviceMemory> bytes, scales;
  int64_t blocks;
  std::vector<double> values;  // scale included

  Quantised(int64_t batch, int64_t rows, int64_t heads, int64_t dim, double lowest, double highest,
            std::mt19937_64& random)
      : blocks((rows + kScaleRows - 1) / kScaleRows) {
    // kBool stands for any type of one byte.
    view = fa::contiguous_view(nullptr, DType::kBool, {batch, rows, heads, dim});
    const size_t count = static_cast<size_t>(view.size());
    bytes = std::make_unique<DeviceMemory>(count);
    view.data = bytes->data();
    scales = std::make_unique<DeviceMemory>(static_cast<size_t>(batch * heads * blocks) * 4);
    std::uniform_real_distribution<double> uniform(lowest, highest), exponent(-1, 1);
    float* const scale = static_cast<float*>(scales->data());
    for (int64_t i = 0; i < batch * heads * blocks; ++i)
      scale[i] = static_cast<float>(std::exp2(exponent(random))) / 64;
    values.resize(count);
    for (size_t i = 0; i < count; ++i) {
      const uint8_t bits = simt::float_to_e4m3(static_cast<float>(64 * uniform(random)));
      static_cast<uint8_t*>(view.data)[i] = bits;
      values[i] = static_cast<double>(simt::e4m3_to_float(bits)) * scale[scale_index(i)];
    }
  }

  size_t scale_index(size_t element) const {
    const size_t dim = static_cast<size_t>(view.shape[3]),
                 heads = static_cast<size_t>(view.shape[2]);
    const size_t rows = static_cast<size_t>(view.shape[1]);
    const size_t head = element / dim % heads, row = element / dim / heads % rows;
    const size_t batch = element / dim / heads / rows;
    return (batch * heads + head) * static_cast<size_t>(blocks) + row / kScaleRows;
  }
  double at(int64_t batch, int64_t row, int64_t head, int64_t dim) const {
    return values[static_cast<size_t>(batch * view.strides[0] + row * view.strides[1] +
                                      head * view.strides[2] + dim)];
  }
  double scale(int64_t batch, int64_t row, int64_t head) const {
    return static_cast<const float*>(
        scales->data())[(batch * view.shape[2] + head) * blocks + row / kScaleRows];
  }
  void set(int64_t batch, int64_t row, int64_t head, int64_t dim, uint8_t bits) {
    const int64_t at =
        batch * view.strides[0] + row * view.strides[1] + head * view.strides[2] + dim;
    static_cast<uint8_t*>(view.data)[at] = bits;
    values[static_cast<size_t>(at)] =
        static_cast<double>(simt::e4m3_to_float(bits)) * scale(batch, row, head);
  }
  fa::cuda::sm90::BlockScales params() const {
    return {static_cast<const float*>(scales->data()), view.shape[2] * blocks, blocks, 1,
            fa::cuda::FastDivide(kScaleRows)};
  }
};

/** One row, tile by tile as the kernel goes, its weights rounded as the kernel rounds them. */
struct Row {
  std::vector<double> out;
  double lse;
};
Row reference_row(const fa::WindowMask& window, const Quantised& q, const Quantised& k,
                  const Quantised& v, double scale, int64_t batch, int64_t head, int64_t i,
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

}  // namespace

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
  add("many small weights", [](Spec& s) { s.sink_tokens = 1; });
  add("NaN among the values", [](Spec& s) {
    s.causal = s.poison_v = true;
    s.seqlen_k = 150;
  });
  return cases;
}

std::string run_forward_fp8(const Spec& s, uint64_t seed) {
  std::mt19937_64 random(seed);
  // Scores of real pairs lie below that of a row of zeros: see Problem::make_inputs.
  const Quantised q(s.batch, s.seqlen_q, s.heads, s.head_dim, 0.1, 1, random);
  Quantised k(s.batch, s.seqlen_k, s.kv_heads, s.head_dim, -1, -0.1, random);
  Quantised v(s.batch, s.seqlen_k, s.kv_heads, s.head_dim_v, -1, 1, random);
  if (s.poison_v)
    for (int row = 20; row < s.seqlen_k; row += 50) v.set(0, row, 0, row % s.head_dim_v, kNaN);

  if (s.sink_tokens) {
    // One key, met first, that outweighs each of the others by about 2^11 in the eyes of the first
    // queries.
    const int last = s.seqlen_k - 1;
    const uint8_t high = simt::float_to_e4m3(static_cast<float>(2 / k.scale(0, last, 0)));
    for (int d = 0; d < s.head_dim; ++d) k.set(0, last, 0, d, high);
  }

  fa::AttentionProblem p;
  p.q = q.view;
  p.k = k.view;
  p.v = v.view;
  p.out =
      fa::contiguous_view(nullptr, DType::kBFloat16, {s.batch, s.seqlen_q, s.heads, s.head_dim_v});
  p.lse = fa::contiguous_view(nullptr, DType::kFloat32, {s.batch, s.heads, s.seqlen_q});
  const DeviceMemory out(static_cast<size_t>(p.out.size()) * 2);
  const DeviceMemory lse(static_cast<size_t>(p.lse.size()) * 4);
  p.out.data = out.data();
  p.lse.data = lse.data();
  p.scale = 4 / static_cast<float>(s.head_dim);
  if (s.sink_tokens) p.scale /= 48 * static_cast<float>(q.scale(0, 0, 0));
  p.max_seqlen_q = s.seqlen_q;
  p.max_seqlen_k = s.seqlen_k;
  if (s.window_left >= 0) p.window_left = s.window_left;
  if (s.window_right >= 0) p.window_right = s.window_right;
  if (s.causal) p.window_right = 0;

  namespace sm90 = fa::cuda::sm90;
  const sm90::ForwardTile tile =
      sm90::forward_tile(sm90::ForwardVariant::kFp8, s.head_dim, s.head_dim_v);
  fa::cuda::ForwardLaunch plan{};
  plan.pack = s.heads / s.kv_heads;
  plan.keys = plan.box_keys = tile.keys;
  plan.m_blocks = (s.seqlen_q * plan.pack + tile.rows() - 1) / tile.rows();
  plan.head_blocks = s.kv_heads;
  plan.tiles = plan.m_blocks * plan.head_blocks * s.batch;
  plan.section = 1;
  sm90::ForwardParams params = sm90::forward_params(p, plan);
  params.q_scales = q.params();
  params.k_scales = k.params();
  params.v_scales = v.params();
  const DeviceMemory drawn(sizeof(int));
  params.drawn = static_cast<int*>(drawn.data());
  *params.drawn = 0;
  cudaDeviceProp properties;
  cudaGetDeviceProperties(&properties, 0);
  simt::keep_reports();
  fa::cuda::launch(sm90::find_forward(fa::DType::kFloat8E4M3, sm90::ForwardVariant::kFp8,
                                      tile.width, tile.width_v),
                   kBlocks, tile.threads(),
                   static_cast<size_t>(sm90::forward_shared_bytes(tile, 1)), {properties, nullptr},
                   params);
  for (const simt::Report& report : simt::take_reports()) {
    if (!report.ok()) return report.error;
    const simt::Counters& c = report.counters;
    if (c.ldmatrix_conflicts || c.stmatrix_conflicts)
      return simt::format("bank conflicts: %llu of ldmatrix, %llu of stmatrix",
                          static_cast<unsigned long long>(c.ldmatrix_conflicts),
                          static_cast<unsigned long long>(c.stmatrix_conflicts));
  }

  const fa::WindowMask window = {p.window_left, p.window_right, 0, s.seqlen_k,
                                 s.seqlen_k - s.seqlen_q};
  for (int64_t b = 0; b < s.batch; ++b) {
    for (int64_t i = 0; i < s.seqlen_q; ++i) {
      for (int64_t h = 0; h < s.heads; ++h) {
        const Row expected = reference_row(window, q, k, v, p.scale, b, h, i, tile.keys);
        // The output is bfloat16; now and then a weight is rounded the other way.
        const double allowed = 0.012 * v.scale(b, 0, h / plan.pack) * 64;
        for (int64_t d = 0; d < s.head_dim_v; ++d) {
          const double e = expected.out[static_cast<size_t>(d)];
          const double a = read_element(
              p.out, b * p.out.strides[0] + i * p.out.strides[1] + h * p.out.strides[2] + d);
          if (std::isnan(e) ? !std::isnan(a) : !(std::fabs(a - e) <= allowed))
            return simt::format(
                "wrong values: out[%d, %d, %d, %d] is %.9g, not %.9g; allowed: %.2g", int(b),
                int(i), int(h), int(d), a, e, allowed);
        }
        const double a = read_element(p.lse, b * p.lse.strides[0] + h * p.lse.strides[1] + i);
        if (!(a == expected.lse || std::fabs(a - expected.lse) <= 1e-5))
          return simt::format("wrong values: lse[%d, %d, %d] is %.9g, not %.9g", int(b), int(h),
                              int(i), a, expected.lse);
      }
    }
  }
  return {};
}

}  // namespace simt_test
